"""The weights of an IR, mapped into memory, whose pages are given back while OpenVINO copies them.

OpenVINO's CPU plugin copies a weight into the layout and type that its kernel wants, some when it compiles, others one
by one in the first inference. What it has read of the file stays resident, so that a model takes twice its size; no
setting of OpenVINO (2026.4) changes that. The operating system, however, can drop pages of a mapping: those that are
read again come from the file again, which may take time but changes no result.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .artifact import WEIGHTS, read
from .runtime import openvino

__all__ = ["Weights"]

LARGE = 256 << 20  # bytes; of smaller ones twice as much is little, too
_EVERY = 0.01  # seconds, in which OpenVINO copies some ten megabytes; once takes 0.04 ms a gigabyte


class Weights:
    """``model.bin`` of an IR. Whoever runs the model has to hold on to it: OpenVINO does not keep the mapping alive."""

    def __init__(self, directory: Path) -> None:
        with (directory / WEIGHTS).open("rb") as file:
            # Copy on write, for OpenVINO wants memory that can be written to. It never does: what it maps is read-only.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._tensor = openvino.Tensor(np.frombuffer(self._map, np.uint8), shared_memory=True)
        self._directory = directory

    @staticmethod
    def worthwhile(directory: Path) -> bool:
        """Whether they are large, and this system takes pages back. Windows has no such call; that of macOS may
        leave them where they are."""
        file = directory / WEIGHTS
        return hasattr(mmap, "MADV_DONTNEED") and file.is_file() and file.stat().st_size >= LARGE

    def model(self) -> Any:
        """The model on these weights. UserError if OpenVINO cannot read it."""
        return read(self._directory, self._tensor)

    @contextlib.contextmanager
    def given_back(self) -> Iterator[None]:
        """Give back what is read of them meanwhile."""
        done = threading.Event()
        thread = threading.Thread(target=self._give_back, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _give_back(self, done: threading.Event) -> None:
        with contextlib.suppress(OSError):  # pages that are locked (mlockall) stay
            while True:
                self._map.madvise(mmap.MADV_DONTNEED)
                if done.wait(_EVERY):
                    break
            self._map.madvise(mmap.MADV_DONTNEED)
