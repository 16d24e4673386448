"""Graphs of one Compressfile with other values as one: every node once, the same work, and each target as it was."""

from __future__ import annotations

import random
from contextlib import closing

import pytest

from compressbuild.graph import Graph
from compressbuild.graph.merging import merged

TEXT = """\
version: 1
models: {m: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: base}
targets:
  base: {from: m, steps: [toy.mix: {salt: 3}]}
  a: {from: m, steps: [toy.mix: {salt: 1}, toy.mix: {salt: {choose: [1, 2, 3, 4, 5]}}]}
  b:
    from: a
    steps: [toy.mix: {salt: {choose: [1, 2, 3, 4, 5]}, others: [base]}]
    gates: {length: {max-ratio: 2, against: base}}
"""


def graphs(toy, count: int, seed: int) -> dict[str, Graph]:
    toy.write("f.txt", "abc")
    toy.write("Compressfile", TEXT)
    rng = random.Random(seed)
    found = {}
    for number in range(count):
        words = [
            f"targets.{name}.steps.{step}.toy.mix.salt.value={rng.randint(1, 5)}" for name, step in (("a", 1), ("b", 0))
        ]
        with closing(toy.open(words)) as project:
            found[f"t{number}"] = project.graph
    return found


def work_of(graph: Graph, indices: object) -> set[tuple[object, ...]]:
    """What the nodes do, all the way down, without names and places."""

    def said(index: int) -> tuple[object, ...]:
        node = graph.nodes[index]
        inputs = tuple(sorted((role, said(source)) for role, source in node.inputs.items()))
        return (node.name, str(sorted(node.key_params.items())), inputs)

    return {said(index) for index in indices}  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(5))
def test_each_target_is_what_it_was_and_what_is_shared_is_once(toy, seed: int) -> None:
    own = graphs(toy, 4, seed)
    whole = merged(own, "b")
    assert list(whole.targets) == list(own)
    union = set()
    for key, graph in own.items():
        needed = graph.closure(graph.targets["b"].nodes)
        union |= {graph.identities[i] for i in needed}
        plan, before = whole.targets[key], graph.targets["b"]
        assert work_of(whole, whole.closure(plan.nodes)) == work_of(graph, needed)
        assert work_of(whole, [plan.artifact]) == work_of(graph, [before.artifact])
        gates = [each.gates[0] for each in (plan, before)]
        ours, theirs = (
            (*each.metrics, gate.metric, gate.against) for each, gate in zip((plan, before), gates, strict=True)
        )
        for now, then in zip(ours, theirs, strict=True):
            assert work_of(whole, [now.node]) == work_of(graph, [then.node])
        assert plan.name == "b", "its history is by its own name"
    assert set(whole.identities) == union
    assert len(whole.nodes) == len(union)
    assert len({node.position for node in whole.nodes}) == len(whole.nodes), "events and logs go by position"
    assert "base/toy.mix" in {node.position for node in whole.nodes}


def test_one_graph_keeps_its_positions(toy) -> None:
    own = graphs(toy, 1, 0)
    graph = own["t0"]
    needed = graph.closure(graph.targets["b"].nodes)
    assert {n.position for n in merged(own, "b").nodes} == {graph.nodes[i].position for i in needed}
