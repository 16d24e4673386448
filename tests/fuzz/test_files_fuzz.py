"""Files that anybody may have written, mutated: refused or read, in little time and memory, never with a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import within
from fuzzing import GROWTH, mutated, peak, survive
from quick import Quick
from sweeps import Tally, tallied, tries

from compressbuild.digest import digest_value
from compressbuild.store import ActionResult
from compressbuild.store.ac import ActionCache
from compressbuild.store.tree import Tree, TreeFile

TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: a}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {note: x}}], gates: {length: {max: 100}}}
"""
RESULT = ActionResult(
    key=digest_value("k"), output=digest_value("o"), kind="onnx", label="a/b", size=3, seconds=0.5, peak_rss=1,
    facts={"a": [1, 2.5, "é", None]}, created=1.0,
)  # fmt: skip
TREE = Tree((TreeFile("a/b", digest_value("x"), 3, True), TreeFile("c", digest_value("y"), 0, False)), ("d",))


def body(data: bytes) -> bytes:
    """Without its seal: else every mutant ends at the checksum."""
    return data[data.index(b"\n") + 1 :]


def unsealed(data: bytes) -> object:
    from compressbuild.digest import seal

    return ActionCache.decode(seal(ActionCache._MAGIC, data), RESULT.key)


def records(tally: Tally, count: int) -> None:
    whole = ActionCache.encode(RESULT)
    survive(lambda data: ActionCache.decode(data, RESULT.key), [whole], (), tally, count)
    survive(unsealed, [body(whole)], (), tally, count)


def trees(tally: Tally, count: int) -> None:
    survive(Tree.decode, [TREE.encode()], (ValueError,), tally, count)


@pytest.mark.parametrize("kind", [records, trees], ids=lambda kind: kind.__name__)
def test_formats_of_the_store(kind: Callable[[Tally, int], None], record_property: Callable[[str, object], None]):
    with tallied(record_property) as tally:
        kind(tally, 400)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [records, trees], ids=lambda kind: kind.__name__)
def test_formats_of_the_store_long(kind: Callable[[Tally, int], None], record_property: Callable[[str, object], None]):
    with tallied(record_property) as tally:
        kind(tally, tries(50_000))


def published(root: Path, record_property: Callable[[str, object], None], count: int) -> None:
    """Evidence, provenance, history and state of a built project, under the commands that read them."""
    work = Quick(root / "work", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    work("all")
    names = [
        "build/b/metrics.json",
        "build/b/provenance.json",
        ".cbuild/history/b.jsonl",
        ".cbuild/traces",
        ".cbuild/stat",
    ]
    kept = {name: (work.root / name).read_bytes() for name in names}
    with tallied(record_property) as tally:
        before = peak()
        for _ in tally.upto(count):
            name = tally.rng.choice(sorted(kept))
            (work.root / name).write_bytes(mutated(kept[name], tally.rng))
            args = tally.rng.choice((("verify",), ("show", "b"), ("history", "b"), ("compare", "a", "b"), ("report",)))
            with tally.case(f"{name}: {args}"):
                with within(20):
                    ran = work(*args, code=None)
                assert ran.code in (0, 1, 2), ran.text
                assert "Traceback" not in ran.text, ran.text
                if args == ("verify",) and name.startswith("build/"):
                    assert ran.code == (0 if (work.root / name).read_bytes() == kept[name] else 1), ran.text
            (work.root / name).write_bytes(kept[name])
        assert peak() - before < GROWTH, "it takes memory"
        assert os.path.getsize("/etc/passwd")


def test_published_files(fast_path: Path, record_property: Callable[[str, object], None]):
    published(fast_path, record_property, 25)


@pytest.mark.slow
def test_published_files_long(fast_path: Path, record_property: Callable[[str, object], None]):
    published(fast_path, record_property, tries(5000))
