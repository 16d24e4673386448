"""What a build came to, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..evaluate.concerns import Concern
from ..evaluate.gates import Measured, Verdict
from ..evaluate.roles import Roles

__all__ = ["BuildReport", "TargetReport"]


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a target. ``metrics``: name → what its function returned; ``unmeasured``: name → why not.

    ``directory``: where it was published, relative to the project. ``failures``: positions of the nodes that failed it.
    """

    name: str
    status: Literal["published", "up to date", "gate failed", "failed", "not built", "skipped", "checked"]
    platform: str | None = None
    baseline: str | None = None
    reason: str = ""
    directory: str | None = None
    digest: str | None = None
    size: int | None = None
    facts: Mapping[str, Any] = {}
    metrics: Mapping[str, Measured] = {}
    unmeasured: Mapping[str, str] = {}
    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[Concern, ...] = ()


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """``counts``: node status (built, cached, failed, skipped) → how many. ``units``: of each metric; ``roles``: which
    come first. ``install``: the ``pip install`` for what was skipped for want of nothing else."""

    units: Mapping[str, str] = {}
    roles: Roles = Roles()

    targets: tuple[TargetReport, ...]
    counts: Mapping[str, int]
    exit_code: int
    install: str | None = None
