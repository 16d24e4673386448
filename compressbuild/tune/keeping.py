"""What a search found, kept for the report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..project import STATE_DIR
from ..report.data.searched import Searched, Tried, keep
from .search import Search
from .trials import Trial, best, front

__all__ = ["kept_for_report"]


def kept_for_report(search: Search, done: Sequence[Trial]) -> OSError | None:
    """Keep the trials of a search; what prevented it."""
    chosen = best(done, search.objectives)
    names = [objective.metric for objective in search.objectives]
    gated = dict.fromkeys(metric for trial in done for metric in trial.limits if metric not in names)
    others = dict.fromkeys(metric for trial in done for metric in trial.metrics if metric not in names)
    found = Searched(
        time=time.time(),
        objectives={objective.metric: objective.direction for objective in search.objectives},
        trials=tuple(
            Tried(
                number=trial.number + 1,
                parameters=search.space.said(trial.point),
                state=trial.state,
                values=dict(trial.metrics),
                limits={name: list(places) for name, places in trial.limits.items()},
                reason=trial.reason,
            )
            for trial in done
        ),
        front=tuple(trial.number + 1 for trial in front(done, search.objectives)),
        chosen=None if chosen is None else chosen.number + 1,
        units={name: unit for name, unit in search.units.items() if unit},
        relative=tuple(objective.metric for objective in search.objectives if objective.relative),
        across=names[0],
        up=next(iter([*names[1:], *gated, *others]), ""),
    )
    return keep(search.path.parent / STATE_DIR, search.target, found)
