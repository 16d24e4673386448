"""How fast this machine is at most, measured: bytes read and float32 arithmetic a second.

Kernels are NumPy's BLAS: ``sdot`` of an array with itself reads it once, for a run mostly reads weights; ``sgemm``.
Each thread has its own arrays, and BLAS itself runs in as many threads as the node has: one, unless it is told.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

__all__ = ["BEYOND_CACHE", "arithmetic", "bandwidth"]

BEYOND_CACHE = 256 << 20  # bytes that no cache of a processor's core keeps from one reading to the next
_LEAST = 1 << 20  # below, the time is that of the call
_ROUND = 0.005  # seconds of a round at least, against which starting the threads is nothing
_SIDE = 512  # of the matrices: three of them fit the caches

Kernel = Callable[[], object]


def bandwidth(size: int, threads: int, seconds: float) -> float:
    """Bytes a second that ``threads`` read together of ``size`` bytes, again and again; 1 MiB to 256 MiB are tried."""
    each = min(max(size, _LEAST), BEYOND_CACHE) // (4 * threads)

    def reader() -> Kernel:
        array = np.ones(each, np.float32)
        return lambda: np.dot(array, array)

    return _rate(reader, 4 * each, threads, seconds)


def arithmetic(threads: int, seconds: float) -> float:
    """Float32 operations a second of matrix products, a multiplication and an addition being two."""

    def product() -> Kernel:
        left, right = np.ones((2, _SIDE, _SIDE), np.float32)
        out = np.empty_like(left)
        return lambda: np.matmul(left, right, out=out)

    return _rate(product, 2 * _SIDE**3, threads, seconds)


def _rate(make: Callable[[], Kernel], amount: float, threads: int, seconds: float) -> float:
    """The most a second, over rounds in which all threads work at once: a ceiling, so the best and not the median."""
    kernels = [make() for _ in range(threads)]
    start = time.perf_counter()
    for kernel in kernels:
        kernel()
    once = (time.perf_counter() - start) / threads
    repeat = max(1, math.ceil(_ROUND / max(once, 1e-9)))

    def work(kernel: Kernel) -> None:
        for _ in range(repeat):
            kernel()

    best, end = 0.0, time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while True:
            start = time.perf_counter()
            list(pool.map(work, kernels))
            now = time.perf_counter()
            best = max(best, threads * repeat * amount / (now - start))
            if now >= end:
                return best
