"""Equal steps on equal inputs are one node; references are edges; kinds must fit."""

from __future__ import annotations

import networkx
import pytest
from msgspec.structs import replace

from compressbuild.errors import CompressfileError
from compressbuild.graph import Graph


def compressfile(targets: str) -> str:
    return f"version: 1\nmodels:\n  m: {{file: f.txt}}\ntargets:\n{targets}"


def problems(toy, targets: str) -> list[tuple[str, str | None, int]]:
    toy.write("Compressfile", compressfile(targets))
    with pytest.raises(CompressfileError) as caught:
        _ = toy.open().graph
    return [(d.message, d.hint, d.mark.line) for d in caught.value.diagnostics]


def test_shared_prefix_is_one_node(toy) -> None:
    toy.write(
        "Compressfile",
        compressfile(
            "  a: {from: m, steps: [toy.mix: {salt: 1}, toy.mix: {salt: 2}]}\n"
            "  b: {from: m, steps: [toy.mix: {salt: 1}, toy.mix: {salt: 3}]}\n"
            "  c: {from: m, steps: [toy.mix: {modulus: 7, salt: 1}]}\n"
        ),
    )
    graph = toy.open().graph
    assert [n.position for n in graph.nodes] == ["m/source", "a/toy.mix", "a/toy.mix#2", "b/toy.mix#2"]
    assert graph.targets["c"].artifact == graph.nodes[1].index, "a default written out is still the same step"
    assert graph.positions[1] == ["a/toy.mix", "b/toy.mix", "c/toy.mix"]


def test_references_are_edges(toy) -> None:
    toy.write(
        "Compressfile",
        compressfile(
            "  a: {from: m, steps: [toy.mix: {salt: 1}]}\n  b: {from: m, steps: [toy.mix: {others: [a, m]}]}\n"
        ),
    )
    graph = toy.open().graph
    node = graph.nodes[graph.targets["b"].artifact]
    assert {role: graph.nodes[i].position for role, i in node.inputs.items()} == {
        "subject": "m/source",
        "others": "a/toy.mix",
        "others#2": "m/source",
    }
    assert node.references == {"a": "others", "m": "others#2"}
    assert "others" not in node.key_params, "what a target is called is no part of the key"


def test_every_problem_of_a_pass_is_reported(toy) -> None:
    found = problems(
        toy,
        (
            "  a: {from: m, steps: [toy.mxi]}\n"
            "  b: {from: m, steps: [toy.mix: {slat: 1}]}\n"
            "  c: {from: m, steps: [toy.mix: {salt: high}]}\n"
            "  d: {from: m, steps: [toy.mix: {others: [aa]}]}\n"
            "  e: {from: m, steps: [toy.copy: {data: nothing}]}\n"
        ),
    )
    assert found == [
        ("unknown technique 'toy.mxi'", "did you mean 'toy.mix'?", 5),
        ("technique 'toy.mix' has no parameter 'slat'", "did you mean 'salt'?", 6),
        ("technique 'toy.mix', parameter 'salt': expected 'int', got 'str'", None, 7),
        ("parameter 'others' names an unknown model or target 'aa'", "did you mean 'a'?", 8),
        ("parameter 'data' names an unknown dataset 'nothing'", "known: none", 9),
    ]


def test_a_kind_that_does_not_fit_is_refused_at_plan_time(toy) -> None:
    toy.write("model.onnx", "")
    text = "version: 1\nmodels:\n  m: {file: model.onnx}\ntargets:\n  a: {from: m, steps: [toy.mix]}\n"
    toy.write("Compressfile", text)
    with pytest.raises(CompressfileError) as caught:
        _ = toy.open().graph
    assert str(caught.value) == "technique 'toy.mix' takes text, but its input is 'onnx'"


def test_unknown_metric_and_gate(toy) -> None:
    found = problems(toy, "  a: {from: m, steps: [toy.mix], gates: {lenght: {max: 3}}}\n")
    assert [(message, hint) for message, hint, _ in found] == [("unknown metric 'lenght'", "did you mean 'length'?")]


def test_criticality_is_the_longest_path_to_a_leaf(toy) -> None:
    toy.write(
        "Compressfile",
        compressfile(
            "  a: {from: m, steps: [toy.mix: {salt: 1}, toy.mix: {salt: 2}]}\n"
            "  b: {from: m, steps: [toy.mix: {salt: 3}]}\n"
        ),
    )
    graph = toy.open().graph
    assert graph.criticality(lambda node: 1.0) == [3.0, 2.0, 1.0, 1.0]


def test_the_order_is_the_lexicographic_topological_sort(toy) -> None:
    """A target may name one further down the file: its nodes still come after their inputs."""
    toy.write(
        "Compressfile",
        compressfile(
            "  a: {from: c, steps: [toy.mix: {salt: 1}]}\n"
            "  b: {from: m, steps: [toy.mix: {others: [a, c]}]}\n"
            "  c: {from: m, steps: [toy.mix: {salt: 3}, toy.mix: {salt: 4}]}\n"
        ),
    )
    graph = toy.open().graph
    assert len(graph.nodes) == 5
    assert list(graph.order) == list(networkx.lexicographical_topological_sort(graph.digraph))


def test_a_node_before_its_input_is_refused(toy) -> None:
    toy.write("Compressfile", compressfile("  a: {from: m, steps: [toy.mix: {salt: 1}]}\n"))
    graph = toy.open().graph
    first, second = graph.nodes
    nodes = (replace(second, index=0, inputs={"subject": 1}), replace(first, index=1))
    with pytest.raises(ValueError, match=r"a/toy\.mix comes before one of its inputs"):
        Graph(graph.spec, graph.registry, nodes, graph.targets, graph.positions)


def test_the_order_of_a_closure_depends_on_nothing_else(toy) -> None:
    """A statement lists the steps of its target: another target in the file must not change it."""
    own = "  z: {from: m, steps: [toy.mix: {others: [c, a]}]}\n"
    made = (
        "  a: {from: m, steps: [toy.mix: {salt: 1}]}\n"
        "  b: {from: a, steps: [toy.mix: {salt: 2}]}\n"
        "  c: {from: m, steps: [toy.mix: {salt: 3}, toy.mix: {salt: 4, others: [a]}]}\n"
    )
    orders = []
    for text in (made + own, own + made):
        toy.write("Compressfile", compressfile(text))
        graph = toy.open().graph
        index = graph.targets["z"].artifact
        orders.append([graph.nodes[each].position for each in graph.ordered([index])])
    assert orders[0] == ["m/source", "c/toy.mix", "a/toy.mix", "c/toy.mix#2", "z/toy.mix"]
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    "form", ["{{from: {before}, steps: [toy.copy]}}", "{{from: m, steps: [toy.mix: {{others: [{before}]}}]}}"]
)
def test_a_deep_chain_whose_end_is_written_first(toy, form: str) -> None:
    """Each target is made from the next, or names it: no depth of calls limits that."""
    deep = 600
    lines = [f"  t{i}: {form.format(before=f't{i - 1}' if i else 'm')}\n" for i in reversed(range(deep))]
    toy.write("Compressfile", compressfile("".join(lines)))
    graph = toy.open().graph
    assert len(graph.nodes) == deep + 1
    assert graph.nodes[-1].position.startswith(f"t{deep - 1}/")


def test_targets_that_name_each_other_are_refused(toy) -> None:
    toy.write(
        "Compressfile",
        compressfile(
            "  a: {from: m, steps: [toy.mix: {others: [b]}]}\n"
            "  b: {from: c, steps: [toy.copy]}\n"
            "  c: {from: m, steps: [toy.mix: {others: [a]}]}\n"
        ),
    )
    with pytest.raises(CompressfileError, match="targets are made from each other: a -> b -> c -> a"):
        _ = toy.open().graph
