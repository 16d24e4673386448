"""The next point to try, by Optuna's TPE sampler: a function of the trials so far and a seed, so a search that was
stopped goes on as if it had not been."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from .space import Axis, Point, Space, identity
from .trials import Objective, Trial

__all__ = ["propose", "require"]

_ATTEMPTS = 20
_APART = 1_000_003  # seeds of the attempts for one trial are far from those of the next trials


def require() -> None:
    """UsageError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UsageError("'cbuild tune' needs Optuna", hint="pip install 'compressbuild[tune]'") from None


def propose(
    space: Space,
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    seed: int,
    pending: Sequence[Point] = (),
) -> Point | None:
    """A point that is not among ``trials``; None where none is found. ``pending``: points whose results are not known
    yet, which count as bad, so that others are proposed (the constant liar)."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = {identity(point) for point in (*(trial.point for trial in trials), *pending)}
    distributions = {path: _distribution(axis) for path, axis in space.axes.items()}
    for attempt in range(_ATTEMPTS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constraints are an experimental part of Optuna, which says so each time
            sampler = optuna.samplers.TPESampler(
                seed=(seed + len(trials) + len(pending) + attempt * _APART) % 2**32,
                constant_liar=bool(pending),
                constraints_func=lambda trial: (trial.user_attrs["violation"],),
            )
            study = optuna.create_study(directions=[o.direction for o in objectives], sampler=sampler)
            study.add_trials([_past(trial, space, distributions, len(objectives)) for trial in trials])
            study.add_trials([_running(point, space, distributions) for point in pending])
            asked = study.ask(distributions)
        point = {path: _value(axis, asked.params[path]) for path, axis in space.axes.items()}
        if identity(point) not in known:
            return point
    return None


def _distribution(axis: Axis) -> Any:
    from optuna import distributions

    found = axis.range
    if found.choices:
        return distributions.CategoricalDistribution([_text(value) for value in found.choices])
    assert found.low is not None
    assert found.high is not None
    if axis.whole:
        return distributions.IntDistribution(int(found.low), int(found.high), log=found.log, step=int(found.step or 1))
    return distributions.FloatDistribution(float(found.low), float(found.high), log=found.log, step=found.step)


def _running(point: Point, space: Space, distributions: dict[str, Any]) -> Any:
    import optuna

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, params=_params(point, space), distributions=distributions
    )


def _params(point: Point, space: Space) -> dict[str, Any]:
    return {path: _text(point[path]) if axis.range.choices else point[path] for path, axis in space.axes.items()}


def _past(trial: Trial, space: Space, distributions: dict[str, Any], objectives: int) -> Any:
    import optuna

    failed = trial.state == "failed"
    unread = [0.0] * objectives  # of a trial outside its gates, the sampler reads the violation alone
    return optuna.trial.create_trial(
        params=_params(trial.point, space),
        distributions=distributions,
        values=None if failed else list(trial.values) or unread,
        state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
        user_attrs={"violation": trial.violation},
        system_attrs={} if failed else {"constraints": (trial.violation,)},
    )


def _text(value: Any) -> str:
    """A choice as Optuna keeps it: it takes no lists or mappings."""
    return json.dumps(value, ensure_ascii=False)


def _value(axis: Axis, param: Any) -> Any:
    return json.loads(param) if axis.range.choices else axis.rounded(param)
