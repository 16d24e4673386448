"""What becomes of freed memory."""

from __future__ import annotations

import ctypes

__all__ = ["return_freed"]

_M_MMAP_THRESHOLD = -3  # malloc.h
_BLOCK = 1 << 18  # bytes


def return_freed() -> None:
    """Have this process return large blocks to the system as they are freed. The GNU C library keeps blocks of up to
    32 MB, which are most weights, and runtimes copy and free each as they load a model. Others have no such call."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BLOCK)
