"""Mutants of files, and what reading one may cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from damage import within
from sweeps import Tally

__all__ = ["GROWTH", "forget_peak", "modest", "mutated", "peak", "survive"]

T = TypeVar("T")

GROWTH = 200 << 20
PIECES = [
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b"\\ud800",
    b"\xff",
    b"\x00",
    b'"',
    b"[" * 2000,
    b'{"a":' * 2000,
    b"true",
    b",",
    b"../",
    b"/etc/passwd",
    b"\xe2\x80\xa8",
    b"\xf0\x9f",
    b"\n",
    b" ",
    b"18446744073709551616",
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few changes: a piece in place of another, a bit, a cut, something twice."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((0, 1, 4, 40)))
        match rng.randrange(5):
            case 0:
                data = data[:at] + rng.choice(PIECES) + data[end:]
            case 1 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
            case 2:
                data = data[:at]
            case 3:
                data = data[:end] + data[at:]
            case _:
                data = data[:at] + rng.randbytes(rng.randrange(9)) + data[end:]
    return data


def peak() -> int:
    """The most memory that this process has had since :func:`forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def forget_peak() -> None:
    """What came before must not hide what comes."""
    Path("/proc/self/clear_refs").write_text("5")


def modest(run: Callable[[], T], seconds: float = 1.0) -> T:
    """``run()``, in little CPU time and memory. The fastest of three counts: a busy machine is slow at times."""
    forget_peak()
    before = peak()
    for _ in range(3):
        began = time.process_time()
        found = run()
        if time.process_time() - began < seconds:
            assert peak() - before < GROWTH, "it takes memory"
            return found
    raise AssertionError("slow, three times")


def survive(
    read: Callable[[bytes], object], seeds: list[bytes], allowed: tuple[type[Exception], ...], tally: Tally, count: int
) -> None:
    """``read`` mutants of ``seeds``: each ends with a result or an ``allowed`` error, in little time and memory."""

    def reads(data: bytes) -> None:
        try:
            with within(10):
                read(data)
        except allowed:
            pass
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}") from error

    for _ in tally.upto(count):
        data = mutated(tally.rng.choice(seeds), tally.rng)
        with tally.case(repr(data[:200])):
            modest(partial(reads, data))
