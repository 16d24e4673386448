"""How long nodes are expected to take, and in which order that puts them."""

from __future__ import annotations

from msgspec.structs import replace
from toyproject import Toy

from compressbuild.execute.expected import UNKNOWN, Expected
from compressbuild.graph import Node
from compressbuild.plan import Traces
from compressbuild.project import Project

FILE = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [wait]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.mix: {salt: 2}, threads: 3}]}
  c: {from: f, steps: [{toy.copy: {note: n}, memory: 1gib}]}
"""


def project(toy: Toy, **seconds: float) -> Project:
    """Built once; the nodes of these targets' steps took so long."""
    toy.write("Compressfile", FILE)
    toy.build()
    opened = toy.open()
    for name, value in seconds.items():
        position = node(opened, name).position
        last = opened.traces.get(position)
        assert last is not None
        opened.traces.record([position], replace(last, seconds=value, peak_rss=7))
    return opened


def node(opened: Project, target: str) -> Node:
    return opened.graph.nodes[opened.graph.targets[target].artifact]


def test_a_node_takes_as_long_as_it_last_did(toy: Toy) -> None:
    opened = project(toy, a=3.0, b=5.0)
    expected = Expected(opened.graph.nodes, opened.traces)
    assert [expected.seconds(node(opened, name)) for name in "ab"] == [3.0, 5.0]
    expected.ran(node(opened, "a"), 100.0)
    assert expected.seconds(node(opened, "b")) == 5.0, "what is known of it, not of others"


def test_a_new_node_takes_as_long_as_those_of_its_function(toy: Toy) -> None:
    opened = project(toy, a=3.0, b=5.0)
    new = replace(node(opened, "a"), position="new/toy.mix")
    expected = Expected(opened.graph.nodes, opened.traces)
    assert expected.seconds(new) == 4.0
    expected.ran(new, 10.0)
    assert expected.seconds(replace(new, position="newer/toy.mix")) == 6.0, "this build counts too"


def test_nothing_is_known_at_first(toy: Toy) -> None:
    opened = project(toy)
    nothing = Traces(toy.root / "none")
    expected = Expected(opened.graph.nodes, nothing)
    assert expected.seconds(node(opened, "a")) == UNKNOWN
    expected.ran(node(opened, "a"), 8.0)
    assert (expected.seconds(node(opened, "b")), expected.seconds(node(opened, "c"))) == (8.0, UNKNOWN)


def test_needs_are_declared_or_the_last_peak(toy: Toy) -> None:
    opened = project(toy, a=1.0, b=1.0, c=1.0)
    expected = Expected(opened.graph.nodes, opened.traces)
    needs = [expected.need(node(opened, name)) for name in "abc"]
    assert [(need.cpus, need.memory, need.exclusive) for need in needs] == [
        (1, 7, False),
        (3, 7, False),
        (1, 1 << 30, False),
    ]


def test_priority_counts_what_is_needed_and_not_alone(toy: Toy) -> None:
    opened = project(toy, a=3.0, b=5.0, c=1.0)
    graph, expected = opened.graph, Expected(opened.graph.nodes, opened.traces)
    a, b = node(opened, "a").index, node(opened, "b").index
    every = frozenset(range(len(graph.nodes)))
    measured = {n.index for n in graph.nodes if n.exclusive}
    assert measured
    whole = expected.priority(graph, every, measured)
    assert (whole[a], whole[b]) == (8.0, 5.0), "measurements that follow count as none"
    assert {whole[index] for index in measured} == {0.0}
    assert expected.priority(graph, every, measured | {b})[a] == 3.0
    assert expected.priority(graph, graph.needed(["a"]), measured)[a] == 3.0, "b is not built"
