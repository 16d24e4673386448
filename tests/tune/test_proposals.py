"""The next point: inside the ranges, a function of what is known, away from what misses the gates; axes and labels."""

from __future__ import annotations

from compressbuild.compressfile.spec import RangeSpec
from compressbuild.errors import Mark
from compressbuild.tune.propose import propose
from compressbuild.tune.space import Axis, Point, Space, _labels
from compressbuild.tune.trials import Objective, Trial

HERE = Mark("Compressfile", 1, 1)
SIZE = (Objective("size", "minimize"),)


def axis(**rest: object) -> Axis:
    whole = bool(rest.pop("whole", False))
    return Axis("p", RangeSpec("p", HERE, **rest), whole)  # type: ignore[arg-type]


AXES = {
    "float": axis(low=0.1, high=0.7),
    "log": axis(low=0.0001, high=1, log=True),
    "step": axis(low=0, high=1, step=0.1),
    "int": axis(low=8, high=64, step=8, whole=True),
    "choose": axis(choices=("a", True, 1, None, [1, 2], {"k": 1})),
}


def searched(space: Space, count: int, seed: int, wall: float = 0.0) -> list[Trial]:
    """A search for the least ``float``, where those below ``wall`` miss a gate."""
    done: list[Trial] = []
    while len(done) < count and (point := propose(space, done, SIZE, seed)) is not None:
        beyond = max(wall - point["float"], 0.0) if "float" in point else 0.0
        state = "infeasible" if beyond else "feasible"
        value = (float(point.get("float", 0)),)
        done.append(Trial(number=len(done), point=dict(point), state=state, values=value, violation=beyond))  # type: ignore[arg-type]
    return done


def test_points_are_inside_their_ranges_and_short_to_write():
    done = searched(Space(AXES), 20, 3)
    assert len({str(trial.point) for trial in done}) == 20
    for trial in done:
        assert all(AXES[path].holds(value) for path, value in trial.point.items())
        assert len(f"{trial.point['float']}") <= 6
        assert trial.point["step"] in [round(n / 10, 12) for n in range(11)]
        assert trial.point["int"] in range(8, 65, 8)
        assert type(trial.point["int"]) is int
    assert len({str(trial.point["choose"]) for trial in done}) > 3
    assert min(trial.point["log"] for trial in done) < 0.01


def test_a_search_depends_on_its_seed_and_on_nothing_else():
    space = Space(AXES)
    assert searched(space, 13, 1) == searched(space, 13, 1)
    assert searched(space, 13, 1) != searched(space, 13, 2)


def test_points_that_miss_the_gates_are_avoided():
    space = Space({"float": AXES["float"]})
    for seed in (0, 1, 2):
        free, walled = searched(space, 40, seed), searched(space, 40, seed, wall=0.4)
        assert min(t.point["float"] for t in free) < 0.12
        inside = [t.point["float"] for t in walled if t.state == "feasible"]
        assert 0.4 <= min(inside) < 0.43
        late = [t.point["float"] for t in walled[20:]]
        assert sum(late) / len(late) > 0.35, "most of the later points are near or inside the gate"


def test_true_and_one_are_two_points():
    space = Space({"choose": axis(choices=(True, 1))})
    known = [Trial(number=0, point={"choose": True}, state="feasible", values=(1.0,))]
    point = propose(space, known, SIZE, 0)
    assert point is not None
    assert point["choose"] is not True


def test_nothing_is_proposed_where_every_point_is_known():
    space = Space({"step": axis(low=0, high=1, step=0.5)})
    known = [Trial(number=n, point={"step": n / 2}, state="feasible", values=(1.0,)) for n in range(3)]
    assert propose(space, known, SIZE, 0) is None
    assert propose(space, known[:2], SIZE, 0) == {"step": 1.0}


def test_every_point_of_a_space_that_can_be_counted():
    space = Space({"a": axis(choices=("x", "y")), "b": axis(low=1, high=3, whole=True)})
    every: list[Point] = [{"a": a, "b": b} for a in ("x", "y") for b in (1, 2, 3)]
    assert space.every(6) == every
    assert space.every(5) is None
    assert Space({"a": axis(low=0.0, high=1.0)}).every(1000) is None
    assert Space({"a": axis(low=0, high=10**12, whole=True)}).every(1000) is None


def test_a_point_outside_a_changed_range_is_known_as_such():
    assert not axis(low=0.2, high=0.7).holds(0.1)
    assert axis(low=0.2, high=0.7).holds(0.2)
    assert not axis(low=1, high=9, whole=True).holds(2.5)
    assert not axis(choices=(1, 2)).holds(True)
    assert not axis(low=0, high=1, step=0.5).holds(0.25)
    space = Space({"a": axis(low=1, high=9, whole=True)})
    assert space.holds({"a": 3})
    assert not space.holds({"a": 3, "b": 4})


def test_labels_are_as_long_as_they_must_be():
    assert _labels([("ratio", "prune", "a"), ("bits", "quantize", "a")]) == ["ratio", "bits"]
    assert _labels([("data", "prune", "a"), ("data", "tune", "a")]) == ["prune.data", "tune.data"]
    assert _labels([("r", "p", "a"), ("r", "p", "b")]) == ["a/p.r", "b/p.r"]
    assert _labels([("r", "p", "a"), ("r", "p", "a"), ("r", "p", "a")]) == ["a/p.r", "a/p.r#2", "a/p.r#3"]
