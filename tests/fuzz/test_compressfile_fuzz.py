"""Whatever the text, loading it gives a Spec or located diagnostics that can be printed; never another exception."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fuzzing import modest, mutated
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sweeps import Tally, tallied, tries

from compressbuild.compressfile.excerpt import render
from compressbuild.compressfile.load import loads
from compressbuild.compressfile.text import decode
from compressbuild.errors import CompressfileError

ROOT = Path(__file__).parent.parent.parent
SEEDS = [file.read_bytes() for file in sorted((ROOT / "tests" / "golden").glob("*.yaml"))]
SEEDS = [seed for seed in SEEDS if len(seed) < 2000]
PIECES = [
    *("version: 1\n", "vars:", "targets:", "models:", "groups:", "evaluate:", "steps:", "from:", "matrix:", "gates:"),
    *("  ", "\n", "- ", ": ", "[", "]", "{", "}", ",", "'", '"', "#", "&a", "*a", "!!x", "|", ">", "?", "---\n", "\t"),
    *("${vars.a}", "${x}", "$${", "${", "a", "b", "1", "0x1", "yes", "null", "1e9", "all", "*", "é", "数", "\u2028"),
]
PATHS = ["vars.a", "targets.a.steps.0.p.q", "targets.a", "defaults.seed", "evaluate.metrics.0.x", "", "..", "version"]


def survive(data: bytes | str, overrides: list[str]) -> None:
    try:
        text = decode(data, "f") if isinstance(data, bytes) else data
        loads(text, Path("Compressfile"), overrides)
    except CompressfileError as error:
        refused = error
    else:
        return
    assert refused.diagnostics
    assert all(found.message and found.mark is not None for found in refused.diagnostics)
    assert render(refused).encode()


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_pieces(text: str) -> None:
    survive(text, [])
    survive("version: 1\n" + text, [])


@settings(max_examples=300)
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_files(seed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(at, min(at + 8, len(seed))))
    piece = data.draw(st.one_of(st.sampled_from(PIECES).map(str.encode), st.binary(max_size=4)))
    survive(seed[:at] + piece + seed[end:], [])


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    survive(text, [])


@settings(max_examples=200)
@given(
    st.sampled_from(PATHS), st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
)
def test_settings(path: str, value: str) -> None:
    survive(
        "version: 1\nvars: {a: 1}\nmodels: {m: {file: m.onnx}}\ntargets: {a: {from: m, steps: [p]}}\n",
        [f"{path}={value}"],
    )


def texts(tally: Tally, count: int) -> None:
    """Mutants of whole files, some with an override."""
    for _ in tally.upto(count):
        data = mutated(tally.rng.choice(SEEDS), tally.rng)
        overrides = []
        if tally.rng.random() < 0.3:
            value = mutated(b"[1, 2]", tally.rng).decode(errors="surrogateescape")
            overrides = [f"{tally.rng.choice(PATHS)}={value}"]
        with tally.case(f"{data[:300]!r} {overrides}"):
            modest(partial(survive, data, overrides))


def test_mutants(record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        texts(tally, 150)


@pytest.mark.slow
def test_many_mutants(record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        texts(tally, tries(100_000))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=200)
@given(trees)
def test_json_is_read_as_it_is_written(tree: object) -> None:
    """Every JSON text without a raw line break of YAML's or a NUL is a text of this reader, with the same value."""
    import json

    from compressbuild.compressfile.nodes import plain
    from compressbuild.compressfile.problems import Problems
    from compressbuild.compressfile.reader import read

    text = json.dumps(tree)
    assume("\\u0000" not in text and "\\ud" not in text)  # NUL is refused; YAML writes no surrogate pairs
    problems = Problems()
    node = read(text, "f", problems)
    problems.check()
    assert node is not None
    assert plain(node) == tree


def test_a_matrix_whose_name_is_wrong_is_not_written_out() -> None:
    """Found by the mutants: 100,000 points, and the same complaint of each."""
    axes = ", ".join(f'{axis}: "${{vars.n}}"' for axis in "abdef")
    text = (
        f"version: 1\nvars: {{n: {list(range(10))}}}\nmodels: {{m: {{file: m.onnx}}}}\n"
        f"targets:\n  a-${{a}}${{b}}${{c}}${{d}}${{e}}${{f}}: {{matrix: {{{axes}}}, from: m}}\n"
    )

    def refused() -> None:
        with pytest.raises(CompressfileError, match="unknown name 'c'"):
            loads(text, Path("Compressfile"), [])

    modest(refused, 0.5)
