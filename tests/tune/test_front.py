"""What is best of the trials, against an oracle that looks at every pair; how far a gate was missed."""

from __future__ import annotations

import random

from compressbuild.evaluate.gates import Verdict
from compressbuild.tune.trials import Objective, Trial, best, front, violation

COST, QUALITY = Objective("size", "minimize"), Objective("top1", "maximize")


def trials(rng: random.Random, width: int) -> list[Trial]:
    states = ("feasible", "feasible", "infeasible", "failed")
    return [
        Trial(
            number=number,
            point={"p": number},
            state=(state := rng.choice(states)),  # type: ignore[arg-type]
            values=() if state == "failed" else tuple(float(rng.randint(0, 4)) for _ in range(width)),
        )
        for number in range(rng.randint(0, 12))
    ]


def test_the_front_has_what_nothing_beats_and_nothing_else():
    rng = random.Random(3)
    for _ in range(500):
        found = trials(rng, 2)
        feasible = [t for t in found if t.state == "feasible"]
        unbeaten = {
            t.values
            for t in feasible
            if not any(
                o.values != t.values and o.values[0] <= t.values[0] and o.values[1] >= t.values[1] for o in feasible
            )
        }
        shown = front(found, (COST, QUALITY))
        assert sorted(t.values for t in shown) == sorted(unbeaten)
        assert [t.values[0] for t in shown] == sorted(t.values[0] for t in shown)
        chosen = best(found, (COST, QUALITY))
        assert (chosen is None) == (not feasible)
        assert chosen is None or chosen in shown


def test_the_best_of_one_objective_is_the_first_of_the_least():
    rng = random.Random(4)
    for _ in range(200):
        found = trials(rng, 1)
        feasible = [t for t in found if t.state == "feasible"]
        for objective, least in ((COST, min), (QUALITY, max)):
            chosen = best(found, (objective,))
            if not feasible:
                assert chosen is None
                continue
            extreme = least(t.values[0] for t in feasible)
            assert chosen == next(t for t in feasible if t.values[0] == extreme)


def test_of_several_objectives_the_balanced_trial_is_chosen():
    ends = [(0.0, 0.0), (10.0, 1.0)]
    found = [
        Trial(number=n, point={}, state="feasible", values=values)
        for n, values in enumerate([*ends, (2.0, 0.9), (9.0, 0.95)])
    ]
    chosen = best(found, (COST, QUALITY))
    assert chosen is not None
    assert chosen.values == (2.0, 0.9)


def verdict(ok: bool, margin: float | None, bound: float = 0.5, kind: str = "fail") -> Verdict:
    return Verdict(metric="top1", limit="min", bound=bound, verdict=kind, ok=ok, margin=margin)  # type: ignore[arg-type]


def test_the_violation_grows_with_the_distance_from_a_gate():
    assert violation([]) == 0
    assert violation([verdict(True, 0.1, kind="pass"), verdict(True, -0.1, kind="inconclusive")]) == 0
    near, far = violation([verdict(False, -0.01)]), violation([verdict(False, -0.3)])
    assert 0 < near < far
    assert violation([verdict(False, -0.3), verdict(False, -0.01)]) > far
    assert violation([verdict(False, 0.01, kind="inconclusive")]) > 0
    assert violation([verdict(False, None, kind="unmeasured")]) > 0
