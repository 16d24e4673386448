"""What becomes of freed memory."""

from __future__ import annotations

import ctypes

__all__ = ["return_freed"]

_M_MMAP_THRESHOLD = -3  # malloc.h
_BLOCK = 1 << 18  # bytes


def return_freed() -> None:
    """Return freed memory to the system, and from now on large blocks as they are freed. The GNU C library keeps blocks
    of up to 32 MB, which are most weights, and runtimes copy and free each as they load a model. Others have no such
    calls."""
    library = ctypes.CDLL(None)
    mallopt, trim = getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BLOCK)
    if trim is not None:
        trim(0)
