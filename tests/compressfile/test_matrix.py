from __future__ import annotations

from collections.abc import Callable

from compressbuild.compressfile.nodes import plain
from compressbuild.compressfile.spec import Spec


def test_cross_product_in_order(spec: Callable[..., Spec]) -> None:
    loaded = spec(
        """\
targets:
  first: {from: net}
  s-${p}-${n}:
    matrix: {p: [fp16, int8], n: [1, 0.5, true]}
    from: net
    platform: cpu
    steps:
      - "convert.${p}"
      - x.${p}: {n: "${n}", text: "<${n}>"}
    gates: {"top${n}": {min: 0.5}}
  last: {from: s-fp16-1}
"""
    )
    assert list(loaded.targets) == [
        *["first", "s-fp16-1", "s-fp16-0.5", "s-fp16-true", "s-int8-1", "s-int8-0.5", "s-int8-true", "last"]
    ]
    target = loaded.targets["s-int8-0.5"]
    assert [step.technique for step in target.steps] == ["convert.int8", "x.int8"]
    assert target.steps[1].params is not None
    assert plain(target.steps[1].params) == {"n": 0.5, "text": "<0.5>"}
    assert target.gates[0].metric == "top0.5"


def test_axis_of_mappings(spec: Callable[..., Spec]) -> None:
    loaded = spec(
        """\
targets:
  s-${p}:
    matrix:
      p:
        - {name: fp16, steps: [convert.fp16], at: {platform: gpu}, from: net}
        - {name: int8, steps: [{quantize.static: {data: calib}}], at: {platform: cpu}, from: s-fp16}
    from: ${p.from}
    steps: ${p.steps}
    platform: ${p.at.platform}
    gates: {size: {max: 1, unmeasured: allow}}
  t-${p.name}:
    matrix: {p: [{name: fp16}]}
    from: s-${p}
"""
    )
    found = [(name, t.source, t.platform, [s.technique for s in t.steps]) for name, t in loaded.targets.items()]
    assert found == [
        ("s-fp16", "net", "gpu", ["convert.fp16"]),
        ("s-int8", "s-fp16", "cpu", ["quantize.static"]),
        ("t-fp16", "s-fp16", None, []),
    ]


def test_axis_from_a_variable(spec: Callable[..., Spec]) -> None:
    text = 'vars: {ps: [a, b]}\ntargets:\n  s-${p}: {matrix: {p: "${vars.ps}"}, from: net}\n'
    assert list(spec(text).targets) == ["s-a", "s-b"]
    assert list(spec(text, "vars.ps=[c]").targets) == ["s-c"]


def test_exclude(spec: Callable[..., Spec]) -> None:
    loaded = spec(
        """\
targets:
  ${a}-${b}:
    matrix: {a: [x, {name: y}], b: [1, 2, 3], exclude: [{a: x, b: 2}, {b: 3}, {a: y, b: 1}]}
    from: net
"""
    )
    assert list(loaded.targets) == ["x-1", "y-2"]


def test_parts_that_do_not_depend_on_an_axis_are_read_once(spec: Callable[..., Spec]) -> None:
    loaded = spec(
        """\
targets:
  ${a}-${b}:
    matrix: {a: [x, y], b: [1, 2]}
    from: net
    steps: ["p.${a}"]
    gates: {size: {max: 5}}
"""
    )
    targets = loaded.targets
    assert targets["x-1"].gates is targets["y-2"].gates
    assert targets["x-1"].steps is targets["x-2"].steps
    assert targets["x-1"].steps != targets["y-1"].steps


def test_ten_thousand_points(spec: Callable[..., Spec]) -> None:
    digits = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    loaded = spec(
        f"vars: {{d: {digits}}}\ntargets:\n"
        "  t-${a}${b}${c}${d}:\n    from: net\n    steps: [{p: {x: '${a}'}}]\n"
        + "    matrix: {"
        + ", ".join(f"{axis}: '${{vars.d}}'" for axis in "abcd")
        + "}\n"
    )
    assert len(loaded.targets) == 10_000
    assert list(loaded.targets)[1234] == "t-1234"


def test_an_error_in_the_body_is_said_once(refused: Callable[..., list[str]]) -> None:
    text = "targets:\n  s-${p}: {matrix: {p: [a, b, c]}, form: net, steps: ['${q}']}\n"
    assert refused(text) == ["unknown key 'form' in target 's-${p}'", "unknown name 'q' in '${q}'"]
