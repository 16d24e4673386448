"""What the checks of ``cbuild advise`` read of a target, and what they answer. All of it is data, so a check is pure.

A check is a function ``f(seen: Seen) -> Iterable[Advice]``, which a :class:`~compressbuild.api.Check` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..errors import Mark
from .part import Rows

__all__ = ["EMPTY", "NEGLIGIBLE", "Advice", "Edit", "Failure", "Mark", "Measured", "Origin", "Seen", "Step"]

EMPTY = "empty-data"
"""What a UserError is ``about`` where a dataset has no samples."""
NEGLIGIBLE = 0.01
"""Of a time: the same file, loaded twice, differs by as much."""
_WIDE = 0.1


class Edit(msgspec.Struct, frozen=True):
    """A change of the Compressfile. ``mark``: the step, or the entry, that it changes.

    ``set``: give ``key`` the value ``text``. ``replace``: the step becomes ``text``, with the step ``then`` behind it
    if that is given. ``after``: ``text`` is a step behind it. ``remove``: the step goes. What does not resolve is not
    offered.
    """

    kind: Literal["set", "replace", "after", "remove"]
    mark: Mark
    key: str = ""
    text: str = ""
    then: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """``what``: what is wrong, and what to do. ``evidence``: the numbers. ``mark``: the line. ``edit``: None where the
    change is the reader's to make. ``explains_loss``: it says which step lost quality, and why; ``explains_failure``:
    why the step failed, so that its error alone need not be shown.

    The engine fills in ``check``, ``target`` and, where it is empty, ``reference``.
    """

    what: str
    mark: Mark
    evidence: tuple[str, ...] = ()
    edit: Edit | None = None
    reference: str = ""
    explains_loss: bool = False
    explains_failure: bool = False
    check: str = ""
    target: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a target as it is resolved. ``traits``: those of its technique. ``output`` and ``before``: digests of
    what it made and of what it was given, None if it is not built. ``facts``: what its function returned."""

    node: int
    technique: str
    mark: Mark
    traits: tuple[str, ...] = ()
    params: Mapping[str, Any] = {}
    facts: Mapping[str, Any] = {}
    output: str | None = None
    before: str | None = None

    def has(self, *traits: str) -> bool:
        """Whether its technique has one of these traits."""
        return not frozenset(traits).isdisjoint(self.traits)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What failed in the last build, and would do so again. ``name``: of the technique, backend or metric; ``node``: as
    of a step. ``error`` and ``hint``: as the build showed them. ``about``, ``change``: as of a UserError. ``params``:
    those of the node; of a backend the settings of its platform."""

    node: int
    role: str
    name: str
    mark: Mark
    error: str
    hint: str | None = None
    about: str = ""
    change: Mapping[str, str] = {}
    params: Mapping[str, Any] = {}


class Measured(msgspec.Struct, frozen=True):
    """A target with the steps before it was compiled, and its quality."""

    target: str
    nodes: tuple[int, ...]
    value: float


class Origin(msgspec.Struct, frozen=True):
    """Where a dataset's rows are from. Two with equal ``source`` read the same rows; ``rows``: the part of them."""

    name: str
    source: str
    rows: Rows = Rows()

    def shares(self, other: Origin) -> bool:
        """Whether both have the same rows, or one has all of them."""
        if self.name == other.name:
            return True
        return self.source == other.source and (self.rows == other.rows or Rows() in (self.rows, other.rows))


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One target, as it stands in the Compressfile and as it was last built and measured.

    ``mark``: where the target stands. ``metrics``: name → what the metric returned. ``baseline_metrics``: those of the
    baseline. ``details``: those that the report shows besides.
    ``backend``, ``scheme``: of its platform. ``saturates``: whether 8-bit products do on the processors that its
    platform is for. ``sparse``: whether its kernels skip zeros in a pattern. ``on_cpu``: its kernels are chosen by the
    extensions of the processor. ``isa``: those of this machine.
    ``quota``: CPUs that a container may use here, None without a limit. ``threads``: what its runtime asks for.
    ``classes``: whether one of its metrics judges classes; elsewhere labels may be mere placeholders.
    ``best``: the better of its baseline and of what gates compare with. ``allowed``: how much quality may be lost
    to it; None where a gate on quality is met. ``gated``: metrics with a gate; ``missed``: those
    that fail it. ``ratios``: of the speed to the
    baseline's, with its interval. ``sizes``: bytes of it and of the baseline. ``training``: the
    dataset that the file trains on; ``recipe``: that with its epochs and rate, as parameters are written.
    ``same_model``: whether the target is made from what its baseline is made from. ``baseline_traits``: of all steps
    of the baseline; ``baseline_nodes``: those steps. ``siblings``: other targets with a quality. ``asked``: metrics
    that some target of the file measures. ``last_metric``: where the last one in the list of ``evaluate`` stands.
    ``failed``: why it has no results, if its last build says so.
    ``thorough``: asked for with ``--measure``, so that what was never tried is worth a word, too.
    """

    target: str
    steps: tuple[Step, ...] = ()
    metrics: Mapping[str, Mapping[str, Any]] = {}
    baseline_metrics: Mapping[str, Mapping[str, Any]] = {}
    details: Mapping[str, Mapping[str, Any]] = {}
    mark: Mark | None = None
    platform: str | None = None
    platform_mark: Mark | None = None
    backend: str | None = None
    scheme: str | None = None
    saturates: bool = False
    sparse: bool = False
    on_cpu: bool = False
    arch: str | None = None
    isa: tuple[str, ...] = ()
    quota: float | None = None
    threads: int | None = None
    quality: str | None = None
    lower_is_better: bool = False
    classes: bool = True
    value: float | None = None
    best: tuple[str, float] | None = None
    allowed: float | None = None
    speed: str | None = None
    ratios: tuple[float, float, float] | None = None
    baseline: str | None = None
    baseline_traits: frozenset[str] = frozenset()
    baseline_nodes: frozenset[int] = frozenset()
    same_model: bool = False
    sizes: tuple[int, int] | None = None
    gated: frozenset[str] = frozenset()
    missed: frozenset[str] = frozenset()
    evaluation: str | None = None
    datasets: Mapping[str, Origin] = {}
    training: str | None = None
    recipe: str = ""
    siblings: tuple[Measured, ...] = ()
    asked: frozenset[str] = frozenset()
    last_metric: Mark | None = None
    failed: Failure | None = None
    thorough: bool = False
    built: bool = False

    @property
    def lost(self) -> float | None:
        """How much quality is lost to ``best``; below 0 is a gain."""
        if self.value is None or self.best is None:
            return None
        return (self.value - self.best[1]) * (1 if self.lower_is_better else -1)

    @property
    def too_much(self) -> bool:
        """Whether more quality is lost than may be."""
        lost = self.lost
        return lost is not None and self.allowed is not None and lost > self.allowed

    @property
    def not_faster(self) -> bool:
        """Whether it is no faster than its baseline, by the interval of their ratio; an interval so wide that it may
        be a tenth faster shows nothing. A baseline that is another model says nothing of these steps."""
        if not self.same_model or self.ratios is None:
            return False
        return self.ratios[2] >= 1 - NEGLIGIBLE and self.ratios[1] >= 1 - _WIDE

    @property
    def slower(self) -> bool:
        """Whether it is surely slower than a baseline made from the same model."""
        return self.same_model and self.ratios is not None and self.ratios[1] > 1 + NEGLIGIBLE

    def timed(self) -> str:
        """The ratio of its speed, in words: the first evidence of advice on speed."""
        assert self.ratios is not None
        ratio, low, high = self.ratios
        return f"{self.speed} ×{ratio:.2f} [{low:.2f}–{high:.2f}] of {self.baseline}"

    def smaller(self) -> tuple[str, ...]:
        """The ratio of its size, in words; nothing where it is not known."""
        if self.sizes is None or not self.sizes[1]:
            return ()
        return (f"size ×{self.sizes[0] / self.sizes[1]:.2f} of {self.baseline}",)
