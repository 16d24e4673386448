"""The measured top speed of this machine: bytes read and arithmetic per second.

Bytes: ``sdot`` of an array with itself reads it once, for a run mostly reads weights. Arithmetic: matrix products by
the libraries that are at hand, each with kernels of its own; the fastest counts. Each thread has its own
arrays and computes in one thread.

A ceiling is the most that was ever reached, so a round is short: on a crowded machine the kernel takes the processor
away every few milliseconds, and a round that is longer than that is never seen undisturbed.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["BEYOND_CACHE", "Ceiling", "arithmetic", "bandwidth"]

BEYOND_CACHE = 256 << 20  # bytes that no cache of a processor's core keeps from one reading to the next
_LEAST = 1 << 20  # below, the time is that of the call
_PIECE = 2 << 20  # bytes read in one call: a tenth of a millisecond or so
_ROUND = 0.0005  # seconds of a round at least, against which the clock and a call are nothing
_SIDES = (256, 512)  # of the matrices: three of them fit the caches

Kernel = Callable[[], object]


@dataclass(slots=True)
class Ceiling:
    """``rate``: the most a second so far; ``by``: what reached it. ``makers``: name → makes a thread's kernel, and what
    one call of it does."""

    makers: Mapping[str, tuple[Callable[[], Kernel], float]]
    threads: int
    rate: float = 0.0
    by: str = ""

    def measure(self, seconds: float) -> None:
        """Try all for ``seconds`` together. What was measured before still counts."""
        for name, (make, amount) in self.makers.items():
            found = _rate([make() for _ in range(self.threads)], amount, seconds / len(self.makers))
            if found > self.rate:
                self.rate, self.by = found, name


def bandwidth(size: int, threads: int) -> Ceiling:
    """Bytes a second that ``threads`` read together of ``size`` bytes, again and again; 1 MiB to 256 MiB are tried."""
    each = min(max(size, _LEAST), BEYOND_CACHE) // (4 * threads)
    count = max(1, round(4 * each / _PIECE))

    def reader() -> Kernel:
        pieces = itertools.cycle(np.array_split(np.ones(each, np.float32), count))

        def read() -> object:
            piece = next(pieces)
            return np.dot(piece, piece)

        return read

    return Ceiling({"numpy sdot": (reader, 4 * each / count)}, threads)


def arithmetic(kind: str, threads: int) -> Ceiling:
    """Operations a second of matrix products, a multiplication and an addition being two. ``kind``: ``float32``,
    ``bfloat16``, or ``int8``, which is of unsigned by signed numbers, the sums in 32 bits."""
    makers: dict[str, tuple[Callable[[], Kernel], float]] = {}
    for side in _SIDES:
        for name, make in _products(kind, side):
            makers[f"{name} {side}"] = (make, 2.0 * side**3)
    return Ceiling(makers, threads)


def _products(kind: str, side: int) -> Iterator[tuple[str, Callable[[], Kernel]]]:
    """Of square matrices, by each library that is at hand; torch, where it is imported and in one thread already."""
    if kind == "float32":
        yield "numpy sgemm", lambda: _numpy_product(side)
    if kind != "bfloat16" and find_spec("onnxruntime") is not None:
        yield f"onnxruntime {'MatMul' if kind == 'float32' else 'MatMulInteger'}", lambda: _onnx_product(kind, side)
    torch: Any = sys.modules.get("torch")
    if kind == "bfloat16" or (kind == "float32" and torch is not None and torch.get_num_threads() == 1):
        yield "torch mm", lambda: _torch_product(kind, side)


def _numpy_product(side: int) -> Kernel:
    left, right = np.ones((2, side, side), np.float32)
    out = np.empty_like(left)
    return lambda: np.matmul(left, right, out=out)


def _onnx_product(kind: str, side: int) -> Kernel:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    operator, left, right, made = {
        "float32": ("MatMul", np.float32, np.float32, TensorProto.FLOAT),
        "int8": ("MatMulInteger", np.uint8, np.int8, TensorProto.INT32),
    }[kind]
    given = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(left)), [side, side])
    answer = helper.make_tensor_value_info("y", made, [side, side])
    weight = numpy_helper.from_array(np.ones((side, side), right), "w")  # a constant, which the session packs once
    graph = helper.make_graph([helper.make_node(operator, ["x", "w"], ["y"])], "product", [given], [answer], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", np.ones((side, side), left))
    binding.bind_output("y")
    return lambda: session.run_with_iobinding(binding)


def _torch_product(kind: str, side: int) -> Kernel:
    import torch

    torch.set_num_threads(1)
    left, right = torch.ones(2, side, side, dtype=getattr(torch, kind))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _rate(kernels: list[Kernel], amount: float, seconds: float) -> float:
    """The most a second that all threads did together in one round of the first: a ceiling, so the best and not the
    median. What the others did in that time is taken from their own rounds; those at the ends may count in part."""
    clock = time.perf_counter
    once = math.inf
    for kernel in (*kernels, *kernels):  # the first call of each also makes room
        start = clock()
        kernel()
        once = min(once, clock() - start)
    repeat, end = max(1, math.ceil(_ROUND / max(once, 1e-9))), clock() + seconds

    def work(kernel: Kernel) -> list[float]:
        """When each round was over; first, when they began."""
        moments = [clock()]
        while len(moments) < 2 or moments[-1] < end:
            for _ in range(repeat):
                kernel()
            moments.append(clock())
        return moments

    with ThreadPoolExecutor(len(kernels)) as pool:
        run: Any = map if len(kernels) == 1 else pool.map
        threads = list(run(work, kernels))
    first = threads[0]
    rounds = np.sum([np.interp(first, moments, np.arange(len(moments))) for moments in threads], axis=0)
    return float(np.max(np.diff(rounds) / np.diff(first))) * repeat * amount
