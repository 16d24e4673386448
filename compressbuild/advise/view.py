"""What the checks read of a target, and what they answer. All of it is data, so a check is a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..compressfile.spec import DatasetSpec
from ..errors import Mark
from ..evaluate.concerns import NEGLIGIBLE

__all__ = ["Advice", "Edit", "Measured", "Seen", "Step"]


class Edit(msgspec.Struct, frozen=True):
    """A change of the Compressfile. ``mark``: the step, or the entry, that it changes.

    ``set``: give ``key`` the value ``text``. ``replace``: the step becomes ``text``, with the step ``then`` behind it
    if that is given. ``after``: ``text`` is a step behind it. ``remove``: the step goes.
    """

    kind: Literal["set", "replace", "after", "remove"]
    mark: Mark
    key: str = ""
    text: str = ""
    then: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """``what``: what is wrong, and what to do. ``evidence``: the numbers. ``edit``: None where the change is the
    reader's to make."""

    check: str
    target: str
    what: str
    evidence: tuple[str, ...]
    mark: Mark
    reference: str
    edit: Edit | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a target as it is resolved. ``output`` and ``before``: digests of what it made and of what it was
    given, None if it is not built."""

    node: int
    technique: str
    mark: Mark
    params: Mapping[str, Any] = {}
    facts: Mapping[str, Any] = {}
    output: str | None = None
    before: str | None = None


class Measured(msgspec.Struct, frozen=True):
    """A target with the steps before it was compiled, and its quality."""

    target: str
    nodes: tuple[int, ...]
    value: float


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One target.

    ``saturates``: whether 8-bit products do on the processors that its platform is for. ``on_cpu``: its kernels
    are chosen by the extensions of the processor. ``isa``: those of this machine.
    ``quota``: CPUs that a container may use here, None without a limit. ``threads``: what its runtime asks for.
    ``best``: the better of its baseline and of what gates compare with. ``allowed``: how much quality may be lost
    to it; None where a gate on quality is met. ``gated``: metrics with a gate. ``training``: the
    dataset that the file trains on; ``recipe``: that with its epochs and rate, as parameters are written.
    ``same_model``: whether the target is made from what its baseline is made from.
    """

    target: str
    steps: tuple[Step, ...] = ()
    platform: str | None = None
    platform_mark: Mark | None = None
    scheme: str | None = None
    saturates: bool = False
    on_cpu: bool = False
    arch: str | None = None
    isa: tuple[str, ...] = ()
    quota: float | None = None
    threads: int | None = None
    quality: str | None = None
    lower_is_better: bool = False
    value: float | None = None
    best: tuple[str, float] | None = None
    allowed: float | None = None
    speed: str | None = None
    ratios: tuple[float, float, float] | None = None
    baseline: str | None = None
    baseline_steps: tuple[str, ...] = ()
    same_model: bool = False
    sizes: tuple[int, int] | None = None
    gated: frozenset[str] = frozenset()
    evaluation: str | None = None
    datasets: Mapping[str, DatasetSpec] = {}
    training: str | None = None
    recipe: str = ""
    siblings: tuple[Measured, ...] = ()
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
        """Whether it is no faster than its baseline, by the interval of their ratio. A baseline that is another model
        says nothing of these steps."""
        return self.same_model and self.ratios is not None and self.ratios[2] >= 1 - NEGLIGIBLE

    def timed(self) -> str:
        """The ratio of its speed, in words."""
        assert self.ratios is not None
        ratio, low, high = self.ratios
        return f"{self.speed} ×{ratio:.2f} [{low:.2f}–{high:.2f}] of {self.baseline}"
