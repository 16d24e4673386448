"""NVIDIA GPUs, without loading the driver into this process: what ``nvidia-smi`` or ``/proc/driver/nvidia`` say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["Gpu", "GpuProbe", "parse_smi", "query_smi", "visible"]

_QUERY = "index,uuid,name,compute_cap,memory.total,driver_version"
_TIMEOUT = 20.0  # seconds; the first call after boot initialises the driver


class Gpu(msgspec.Struct, frozen=True):
    """``sm``: compute capability as ``sm89``; ``memory``: bytes. None: the driver does not say."""

    index: str
    uuid: str
    name: str
    sm: str | None
    memory: int | None
    driver: str | None


class GpuProbe(msgspec.Struct, frozen=True):
    """The GPUs found, or why there are none (``reason``)."""

    gpus: tuple[Gpu, ...]
    reason: str = "none found"


def query_smi(root: Path) -> tuple[str, str | None]:
    """Run ``nvidia-smi``; its output, and what went wrong, if anything. Empty and None: there is no NVIDIA driver."""
    import shutil

    # WSL mounts the binary beside the driver's libraries, off PATH.
    binary = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib:/usr/bin:/bin")
    if binary is None:
        return "", "nvidia-smi is not installed" if (root / "proc/driver/nvidia").exists() else None
    import subprocess

    command = [binary, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"nvidia-smi: {error}"
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        return "", f"nvidia-smi: {lines[0] if lines else f'exit status {done.returncode}'}"
    return done.stdout, None


def parse_smi(text: str) -> tuple[Gpu, ...]:
    """Rows of ``nvidia-smi --query-gpu=index,uuid,name,compute_cap,memory.total,driver_version`` (CSV, MiB)."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 6:
            continue
        index, uuid, name, capability, memory, driver = cells
        major, dot, minor = capability.partition(".")
        sm = f"sm{major}{minor}" if dot and major.isdigit() and minor.isdigit() else None
        gpus.append(Gpu(index, uuid, name, sm, int(memory) * 2**20 if memory.isdigit() else None, driver or None))
    return tuple(gpus)


def read_proc(root: Path) -> tuple[Gpu, ...]:
    """What the kernel module says, for hosts and containers without ``nvidia-smi``: name and driver, no more."""
    base = root / "proc/driver/nvidia"
    try:
        first = (base / "version").read_text().splitlines()[0]
        folders = sorted((base / "gpus").iterdir())
    except (OSError, IndexError):
        return ()
    driver = next((word for word in first.split() if word[0].isdigit() and "." in word), None)
    gpus = []
    for index, folder in enumerate(folders):
        try:
            lines = (folder / "information").read_text().splitlines()
        except OSError:
            continue
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        if "Model" in fields:
            gpus.append(Gpu(str(index), fields.get("GPU UUID", ""), fields["Model"], None, None, driver))
    return tuple(gpus)


def visible(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Those that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; as in CUDA, the first wrong entry ends the list."""
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return gpus
    chosen: list[Gpu] = []
    for word in (part.strip() for part in listed.split(",")):
        found = next((g for g in gpus if word and (g.index == word or g.uuid.startswith(word))), None)
        if found is None:
            break
        chosen.append(found)
    return tuple(chosen)
