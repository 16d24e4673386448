"""Wheels made here, so that an environment can be filled without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path


def wheel(directory: Path, name: str, version: str, files: Mapping[str, bytes], tag: str = "py3-none-any") -> Path:
    """A wheel of ``files``, with the metadata that the specification asks for."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    rows = [f"{path},{_record(data)},{len(data)}" for path, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = directory / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in content.items():
            archive.writestr(zipfile.ZipInfo(member), data)
    return path


def _record(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def repacked(directory: Path, name: str) -> Path:
    """A wheel of an installed distribution."""
    found = distribution(name)
    own = [file for file in found.files or () if file.parts[0] == name and "__pycache__" not in file.parts]
    tag = next(line[5:] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))
    return wheel(directory, name, found.version, {str(file): file.locate().read_bytes() for file in own}, tag)


def locked(wheels: Iterable[Path]) -> str:
    """A lock of these wheels, in the form that uv and pip-tools write."""
    lines = ["# made for a test"]
    for path in wheels:
        name, version = path.name.split("-")[:2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [f"{name}=={version} \\", f"    --hash=sha256:{digest}", "    # via the test"]
    return "\n".join([*lines, ""])
