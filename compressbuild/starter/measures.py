"""What a first Compressfile measures: a metric whose record says that it judges such a model, and the main costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..api import ArtifactMetric, Metric
from ..errors import UsageError
from ..evaluate.roles import Roles
from ..registry import Registry
from .data import Data

__all__ = ["Measures", "costs", "measures"]


class Measures(msgspec.Struct, frozen=True):
    """``quality``: the metric of the answers. ``speed`` and ``size``: names of metrics, None if no plugin has one."""

    quality: Metric
    speed: str | None
    size: str | None

    @property
    def costs(self) -> tuple[str, ...]:
        return tuple(name for name in (self.speed, self.size) if name is not None)


def measures(registry: Registry, data: Data | None, config: Mapping[str, Any]) -> Measures:
    """Of each sort the metric with the highest priority. ``config``: of a Hugging Face model: without data, it says
    what the model seems to be for."""
    if data is not None:
        classes = data.classes
    else:
        said = [str(name) for name in config.get("architectures") or ()]
        classes = not config or any("Classification" in name for name in said)
    sort = "classes" if classes else "outputs"
    quality = _first(m for m in registry.metrics.values() if m.judges == sort)
    if quality is None:
        raise UsageError(
            f"no installed metric judges {sort}", hint="install a plugin with metrics: 'cbuild plugins' lists them"
        )
    return Measures(quality, *costs(registry))


def costs(registry: Registry) -> tuple[str | None, str | None]:
    """The metrics of speed and of size that come first."""
    known = registry.metrics
    size = _first(m for m in known.values() if isinstance(m, ArtifactMetric) and (m.role, m.unit) == ("cost", "B"))
    return next(iter(Roles.of(known).speed), None), size.name if size is not None else None


def _first(metrics: Iterable[Metric]) -> Metric | None:
    return min(metrics, key=lambda metric: (-metric.priority, metric.name), default=None)
