"""Which metrics come first in tables, and which of them decide what to ship: their records say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ..api import Metric, RunMetric

__all__ = ["Roles", "apart"]

_ROLES = ("quality", "cost")


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """``shown``: names of those that come first, in order. ``quality`` and ``speed``: those that may decide, the most
    important first; of quality also those without a priority. Speed is a cost that is measured side by side with a
    baseline, and the less the better."""

    shown: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    speed: tuple[str, ...] = ()

    @classmethod
    def of(cls, metrics: Mapping[str, Metric]) -> Roles:
        deciding = sorted(
            (m for m in metrics.values() if m.role in _ROLES and m.priority > 0),
            key=lambda m: (_ROLES.index(m.role), -m.priority),
        )
        quality = sorted((m for m in metrics.values() if m.role == "quality"), key=lambda m: -m.priority)
        return cls(
            shown=tuple(m.name for m in deciding),
            quality=tuple(m.name for m in quality if m.direction != "none"),
            speed=tuple(m.name for m in deciding if _is_speed(m)),
        )

    def in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        """Each name once: those that come first, then the others as they are."""
        given = dict.fromkeys(names)
        return tuple(dict.fromkeys((*(name for name in self.shown if name in given), *given)))

    def quality_of(self, names: Iterable[str]) -> str | None:
        """The one of ``names`` that says how good a target is."""
        given = frozenset(names)
        return next((name for name in self.quality if name in given), None)

    def speed_of(self, names: Iterable[str]) -> str | None:
        """The one of ``names`` that says how fast a target is."""
        given = frozenset(names)
        return next((name for name in self.speed if name in given), None)


def apart(metric: Metric) -> bool:
    """Whether its values depend on the moment of measuring: only a ratio measured alternately can be compared."""
    return isinstance(metric, RunMetric) and metric.exclusive


def _is_speed(metric: Metric) -> bool:
    return metric.role == "cost" and apart(metric) and metric.direction == "lower"
