"""What a search found, kept for the report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..project import STATE_DIR
from ..report.data.searched import Searched, Tried, keep
from .recipes import Contest, Entry, Outcome
from .search import Search
from .trials import Objective, Trial, best, front

__all__ = ["kept_for_report", "kept_recipes"]


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


def kept_recipes(contest: Contest, outcome: Outcome) -> OSError | None:
    """Keep the candidates of a search over recipes for the report of the target that was chosen; what prevented it."""
    if outcome.chosen is None:
        return None
    speed, size, quality = contest.speed, contest.size, contest.quality
    objectives = (Objective(speed, "minimize", relative=True), Objective(size, "minimize"))
    kept = [entry for entry in outcome.entries if entry.state == "kept"]
    trials = [
        Trial(number=entry.number, point={}, state="feasible", values=(entry.speed or 0.0, entry.size or 0.0))
        for entry in kept
    ]
    before = outcome.entries[0].quality
    bound = [before - contest.drop] if before is not None and contest.drop is not None else []

    def tried(entry: Entry) -> Tried:
        measured = {speed: entry.speed, size: entry.size, quality: entry.quality}
        return Tried(
            number=entry.number + 1,
            parameters={
                "recipe": entry.candidate.recipe.name if entry.candidate.recipe is not None else "none",
                "runtime": entry.candidate.runtime.name,
            },
            state="failed" if entry.state == "failed" else "feasible" if entry.state == "kept" else "infeasible",
            values={name: value for name, value in measured.items() if value is not None},
            limits={quality: bound} if bound and entry.quality is not None else {},
            reason="chosen" if entry is outcome.chosen else outcome.losses[entry.candidate.name],
        )

    found = Searched(
        time=time.time(),
        objectives={each.metric: each.direction for each in objectives},
        trials=tuple(map(tried, outcome.entries)),
        front=tuple(trial.number + 1 for trial in front(trials, objectives)),
        chosen=outcome.chosen.number + 1,
        units={size: "B"},
        relative=(speed,),
        across=speed,
        up=quality,
    )
    return keep(contest.path.parent / STATE_DIR, outcome.chosen.candidate.name, found)
