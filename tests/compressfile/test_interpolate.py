from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compressbuild.compressfile.nodes import Map, Scalar, plain
from compressbuild.compressfile.spec import Spec
from compressbuild.errors import CompressfileError


@pytest.fixture
def params(spec: Callable[..., Spec]) -> Callable[..., dict[str, Any]]:
    """The parameters of one step, in a file with these variables."""

    def expand(variables: str, written: str) -> dict[str, Any]:
        loaded = spec(f"vars: {variables}\ntargets:\n  a:\n    from: net\n    steps:\n      - p: {written}\n")
        (step,) = loaded.targets["a"].steps
        assert step.params is not None
        found = plain(step.params)
        assert isinstance(found, dict)
        return found

    return expand


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.5", 0.5),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("'3'", "3"),
        ("[1, a]", [1, "a"]),
        ("{k: [1]}", {"k": [1]}),
    ],
)
def test_a_whole_reference_keeps_the_type(params: Any, value: str, expected: object) -> None:
    found = params(f"{{v: {value}}}", '{x: "${vars.v}"}')["x"]
    assert found == expected
    assert type(found) is type(expected)


def test_a_reference_in_text_becomes_text(params: Any) -> None:
    variables = "{a: 1, b: 0.50, c: true, d: x}"
    assert params(variables, '{t: "${vars.a}/${vars.b}/${vars.c}/${vars.d}"}') == {"t": "1/0.5/true/x"}


def test_escape_and_lone_dollars(params: Any) -> None:
    assert params("{a: 1}", "{t: '$${vars.a} $ $5 $$ }{'}") == {"t": "${vars.a} $ $5 $$ }{"}


def test_text_that_comes_out_of_a_variable_is_not_expanded_again(params: Any) -> None:
    assert params("{a: '$${vars.b}', b: 1}", '{x: "${vars.a}", y: "-${vars.a}"}') == {
        "x": "${vars.b}",
        "y": "-${vars.b}",
    }


def test_keys(params: Any) -> None:
    assert params("{a: top, n: 5}", '{"${vars.a}-${vars.n}": 1}') == {"top-5": 1}


def test_variables_refer_to_variables_in_any_order(params: Any) -> None:
    variables = '{c: "${vars.b}", b: ["${vars.a}", "x${vars.a}"], a: 7}'
    assert params(variables, '{x: "${vars.c}"}') == {"x": [7, "x7"]}


def test_references_reach_into_mappings_longest_key_first(params: Any) -> None:
    variables = "{m: {a: {b: 1}, a.b: 2, c: {d.e: {f: 3}}}}"
    assert params(variables, '{x: "${vars.m.a.b}", y: "${vars.m.c.d.e.f}"}') == {"x": 2, "y": 3}


def test_every_section_is_expanded(spec: Callable[..., Spec]) -> None:
    loaded = spec(
        """\
vars: {d: test, dir: data, n: 2, mode: fast, who: a, t: 10m}
evaluate: {data: "${vars.d}", metrics: [{latency: {warmup: "${vars.n}"}}]}
targets:
  ${vars.who}: {from: net, platform: "${vars.p}", gates: {"top${vars.n}": {min: "${vars.n}"}}, timeout: "${vars.t}"}
groups: {g: ["${vars.who}"]}
""".replace("who: a,", "who: a, p: cpu,")
    )
    assert loaded.evaluate is not None
    assert loaded.evaluate.data == "test"
    target = loaded.targets["a"]
    assert (target.platform, target.options.timeout, target.gates[0].metric, target.gates[0].min) == (
        "cpu",
        600,
        "top2",
        2,
    )
    assert loaded.groups == {"g": ("a",)}


def test_the_place_is_where_the_reference_stands(spec: Callable[..., Spec]) -> None:
    loaded = spec('vars: {r: 0.5}\ntargets:\n  a: {from: net, steps: [{p: {x: "${vars.r}"}}]}\n')
    params = loaded.targets["a"].steps[0].params
    assert isinstance(params, Map)
    node = params.get("x")
    assert isinstance(node, Scalar)
    assert (node.value, node.mark.line, node.mark.length) == (0.5, 12, len('"${vars.r}"'))


def test_an_unused_variable_is_checked(refused: Callable[..., list[str]]) -> None:
    assert refused('vars: {a: "${vars.b}"}\n') == ["unknown variable 'vars.b'"]


def test_a_loop_is_reported_once(refused: Callable[..., list[str]]) -> None:
    assert refused('vars: {a: "${vars.b}", b: "${vars.a}", c: "${vars.a}"}\n') == [
        "variables refer to each other: a -> b -> a"
    ]


def test_many_doublings_end_soon(refused: Callable[..., list[str]]) -> None:
    doubled = "".join(f"  v{n + 1}: ['${{vars.v{n}}}', '${{vars.v{n}}}']\n" for n in range(25))
    (message,) = refused(f"vars:\n  v0: [x]\n{doubled}")
    assert "more than 100000 values" in message


def test_a_long_chain(spec: Callable[..., Spec]) -> None:
    chain = "".join(f"  v{n}: <${{vars.v{n + 1}}}\n" for n in range(2000))
    loaded = spec(f"vars:\n{chain}  v2000: end\ntargets: {{a: {{from: net, steps: ['${{vars.v0}}']}}}}\n")
    assert loaded.targets["a"].steps[0].technique == "<" * 2000 + "end"


def test_values_may_not_nest_without_end(refused: Callable[..., list[str]]) -> None:
    chain = "".join(f"  v{n}: ['${{vars.v{n + 1}}}']\n" for n in range(100))
    (message,) = refused(f"vars:\n{chain}  v100: end\n")
    assert "nests too deep" in message


def test_environment_is_out_of_reach(spec: Callable[..., Spec]) -> None:
    with pytest.raises(CompressfileError, match="environment variables cannot be read") as caught:
        spec("cache: ${env.HOME}\n")
    assert "--set" in str(caught.value.diagnostics[0].hint)
