"""Timing models in turns, in several sessions.

A *block* runs one model a few times and keeps the median. A *pair* is one block of each model, A B, then B A, and so
on: what slows the machine for longer than a block slows both sides. A *session* loads the models again, to other places
in memory, and takes some pairs: within one process the layout of memory and the state of the processor's tables are
accidents that stay (Mytkowicz et al., "Producing wrong data without doing anything obviously wrong!", ASPLOS 2009), so
repeating runs inside one session says little about the next one. The interval is therefore taken over sessions
(Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013; Georges et al., "Statistically rigorous
Java performance evaluation", OOPSLA 2007).

What does not count:

* runs in which the kernel took the processor away (getrusage(2), ``ru_nivcsw``): on a crowded machine a run longer than
  a time slice waits for its turn while a shorter one does not, which no interleaving evens out;
* pairs in which both models together were much slower than in the quickest pairs. A neighbour on a shared machine slows
  models by different factors. Pairs are dropped by the product of the two times, which favours neither model.
"""

from __future__ import annotations

import gc
import math
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .params import Latency

__all__ = ["Estimate", "Sample", "Timed", "estimate", "measure"]

BLOCK_SECONDS = 0.002  # a block is as long as this or one run, whichever is longer
MOST_RUNS = 64  # in a block
FEWEST_PAIRS = 5
FEWEST_SESSIONS = 4
QUICKEST = 10  # percentile of the pairs' times that the others are held against
DISTURBED = 1.15  # slower than that by this factor
MOST_TIME = 5  # times the seconds that were asked for, while it is noisy
NOISY = 0.10  # width of an interval over its value

# Student's t, 97.5 %, for 1, 2, 3 … degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)


@dataclass(slots=True)
class Timed:
    """One model under the clock, in one session. ``runs``: seconds of every run that a block made; ``waited``: in how
    many of them the processor was taken away."""

    run: Callable[[], object]
    repeat: int = 1
    runs: list[float] = field(default_factory=list)
    waited: int = 0

    def warm_up(self, count: int, limit: float, clock: Callable[[], float]) -> None:
        """Run ``count`` times, or once at least if that takes ``limit`` seconds; sets how many runs a block has."""
        start = clock()
        each = [self._once(clock)]
        while len(each) < count and clock() - start < limit:
            each.append(self._once(clock))
        self.repeat = min(MOST_RUNS, max(1, math.ceil(BLOCK_SECONDS / max(min(each), 1e-9))))

    def block(self, clock: Callable[[], float], switches: Callable[[], int]) -> tuple[float, bool]:
        """(median seconds of the runs that kept the processor, True), or (that of all, False) if none did."""
        times, kept = [], []
        for _ in range(self.repeat):
            before = switches()
            times.append(self._once(clock))
            kept.append(switches() == before)
        self.runs += times
        self.waited += kept.count(False)
        undisturbed = [time for time, keep in zip(times, kept, strict=True) if keep]
        return float(np.median(undisturbed or times)), bool(undisturbed)

    def _once(self, clock: Callable[[], float]) -> float:
        start = clock()
        self.run()
        return clock() - start


@dataclass(frozen=True, slots=True)
class Estimate:
    """``value`` with its 95 % interval over sessions."""

    value: float
    low: float
    high: float

    @property
    def is_noisy(self) -> bool:
        return not self.high - self.low <= NOISY * self.value


@dataclass(slots=True)
class Sample:
    """What was timed of ``models`` models. ``pairs``: seconds of each model's block; ``session``: the number of the
    session that each pair is of; ``kept``: whether the processor was; ``runs``: for each model, every run's seconds;
    ``waited``: in how many of all those the processor was taken away."""

    models: int
    pairs: list[tuple[float, ...]] = field(default_factory=list)
    session: list[int] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    runs: list[list[float]] = field(default_factory=list)
    waited: int = 0

    def add(self, number: int, blocks: Sequence[tuple[float, bool]]) -> None:
        self.pairs.append(tuple(seconds for seconds, _ in blocks))
        self.kept.append(all(kept for _, kept in blocks))
        self.session.append(number)

    @property
    def sessions(self) -> int:
        return len(set(self.session))

    def undisturbed(self) -> np.ndarray[Any, Any]:
        """Which pairs are worth counting."""
        kept = np.asarray(self.kept)
        if kept.sum() < FEWEST_PAIRS:
            return kept
        slowness = np.log(np.maximum(self.pairs, 1e-12)).mean(axis=1)
        found: np.ndarray[Any, Any] = kept & (slowness <= np.percentile(slowness[kept], QUICKEST) + math.log(DISTURBED))
        return found

    @property
    def is_crowded(self) -> bool:
        """Whether too little is undisturbed to be sure."""
        return not self._suffices(self.undisturbed(), FEWEST_SESSIONS)

    def counted(self) -> np.ndarray[Any, Any]:
        """Which pairs count: the undisturbed ones, or all where those are of less than two sessions."""
        worth = self.undisturbed()
        return worth if self._suffices(worth, 2) else np.ones(len(self.pairs), bool)

    def _suffices(self, pairs: np.ndarray[Any, Any], sessions: int) -> bool:
        left = len(set(np.asarray(self.session)[pairs]))
        return bool(pairs.sum() >= FEWEST_PAIRS) and left >= min(sessions, self.sessions)

    def time(self, model: int = 0) -> Estimate:
        """Seconds of a run."""
        return self._estimate(lambda logs: logs[:, model])

    def ratio(self) -> Estimate:
        """Seconds of the first model over those of the second."""
        return self._estimate(lambda logs: logs[:, 0] - logs[:, 1])

    def session_ratios(self) -> list[float]:
        """The ratio of each session."""
        return [float(value) for value in np.exp(self._of_sessions(lambda logs: logs[:, 0] - logs[:, 1]))]

    @property
    def is_noisy(self) -> bool:
        """Whether too little was undisturbed, or the interval that matters is wide."""
        return self.is_crowded or (self.ratio() if self.models > 1 else self.time()).is_noisy

    def spread(self, model: int = 0) -> float:
        """Interquartile range of all blocks over their median."""
        low, middle, high = np.percentile([pair[model] for pair in self.pairs], (25, 50, 75))
        return float((high - low) / middle) if middle else 0.0

    def _estimate(self, of: Callable[[Any], Any]) -> Estimate:
        return estimate(self._of_sessions(of))

    def _of_sessions(self, of: Callable[[Any], Any]) -> list[float]:
        logs, session, counts = of(np.log(np.maximum(self.pairs, 1e-12))), np.asarray(self.session), self.counted()
        return [float(np.median(logs[counts & (session == number)])) for number in np.unique(session[counts])]


def estimate(logs: Sequence[float]) -> Estimate:
    """The geometric mean of values given by their logarithms, one for each session, with Student's 95 % interval."""
    mean, count = float(np.mean(logs)), len(logs)
    if count == 1:
        return Estimate(math.exp(mean), 0.0, math.inf)
    half = _T[min(count - 1, len(_T)) - 1] * float(np.std(logs, ddof=1)) / math.sqrt(count)
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def measure(
    session: Callable[[], list[Timed]],
    params: Latency,
    clock: Callable[[], float],
    progress: Callable[[float], None] = lambda _: None,
    switches: Callable[[], int] = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
) -> Sample:
    """Time one model, or two in turns. ``session`` loads them again.

    It takes ``params.seconds`` and what loading takes, and up to twice as many sessions while the result is noisy.
    Where loading or a single run is slow there are fewer sessions, four at least: after twice the time it ends, after
    five times where it is noisy.
    """
    sample = Sample(0)
    slot, most = params.seconds / params.sessions, math.ceil(params.blocks / params.sessions)
    start = clock()
    with _no_collection():
        for number in range(2 * params.sessions):
            _run_session(sample, number, session(), params, clock, switches, slot, most)
            progress(min((number + 1) / (2 * params.sessions), 1.0))
            used, noisy = (clock() - start) / params.seconds, sample.is_noisy
            late, enough = used > (MOST_TIME if noisy else 2), number + 1 >= params.sessions and not noisy
            if number + 1 >= FEWEST_SESSIONS and (late or enough):
                break
    progress(1.0)
    return sample


def _run_session(
    sample: Sample,
    number: int,
    timed: list[Timed],
    params: Latency,
    clock: Callable[[], float],
    switches: Callable[[], int],
    slot: float,
    most: int,
) -> None:
    sample.models = len(timed)
    for one in timed:
        one.warm_up(params.warmup, slot / 4, clock)
    began = clock()
    for count in range(most):
        turn = timed if len(sample.pairs) % 2 == 0 else timed[::-1]  # who goes first alternates
        blocks = {id(one): one.block(clock, switches) for one in turn}
        sample.add(number, [blocks[id(one)] for one in timed])
        if clock() - began >= slot and count >= 1:
            break
    sample.runs = sample.runs or [[] for _ in timed]
    for runs, one in zip(sample.runs, timed, strict=True):
        runs += one.runs
        sample.waited += one.waited


@contextmanager
def _no_collection() -> Iterator[None]:
    """The garbage collector would run in some blocks and not in others."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
