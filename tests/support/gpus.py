"""A machine with two GPUs, as far as the program that lists them says."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEVICES", "two_gpus"]

DEVICES = ["GPU-aaaa", "GPU-bbbb"]
_SMI = """\
#!/bin/sh
echo "0, GPU-aaaa, NVIDIA L40S, 8.9, 46068, 550.54.15"
echo "1, GPU-bbbb, NVIDIA L40S, 8.9, 46068, 550.54.15"
"""


def two_gpus(place: Path) -> Path:
    """A directory for the front of $PATH."""
    place.mkdir()
    (place / "nvidia-smi").write_text(_SMI)
    (place / "nvidia-smi").chmod(0o755)
    return place
