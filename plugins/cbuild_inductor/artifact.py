"""The kind ``aoti-package``: ``model.pt2``, a zip of shared libraries and weights, and ``interface.json``::

{"device": "cpu", "inputs": [{"name": "image", "shape": ["batch", 1, 8, 8], "dtype": "float32"}],
 "outputs": ["logits"], "torch": "2.13.0"}
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cbuild_kit.interface import Interface

__all__ = ["PACKAGE", "Package", "validate"]

PACKAGE = "model.pt2"
_INTERFACE = "interface.json"


@dataclass(frozen=True, slots=True)
class Package:
    """What ``interface.json`` says. ``torch``: the version whose libraries the package needs."""

    interface: Interface
    device: str
    torch: str

    def write(self, directory: Path) -> None:
        rows = self.interface.content()
        content = {"inputs": rows["inputs"], "outputs": rows["outputs"], "device": self.device, "torch": self.torch}
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        (directory / _INTERFACE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Package:
        """ValueError if the file is not what :meth:`write` makes."""
        try:
            found = json.loads((directory / _INTERFACE).read_text(encoding="utf-8"))
            interface = Interface.of_content({**found, "sizes": {}})
            return cls(interface, str(found["device"]), str(found["torch"]))
        except ValueError as error:
            raise ValueError(f"{_INTERFACE} is damaged: {error}") from error
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{_INTERFACE} is damaged: {error!r}") from error


def validate(directory: Path) -> None:
    """ValueError unless the package is whole and holds a compiled model."""
    Package.read(directory)
    try:
        with zipfile.ZipFile(directory / PACKAGE) as archive:
            names = archive.namelist()
            # torch never compresses; a few bytes that unpack to gigabytes are no package
            packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
            damaged = None if packed else archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{PACKAGE} is not a package, or it is cut off: {error}") from error
    if packed:
        raise ValueError(f"{PACKAGE} is damaged, it holds a compressed file: {packed[0]}")
    if damaged is not None:
        raise ValueError(f"{PACKAGE} is damaged: {damaged}")
    if not any(name.endswith((".so", ".pyd", ".dll", ".dylib")) for name in names):
        raise ValueError(f"{PACKAGE} holds no compiled model")
