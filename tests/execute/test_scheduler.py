"""Failures, early cutoff, eviction, damage, --check, tampering: the scheduler's decisions."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from inline import InlineExecutor

from compressbuild.store import Evicted, Hit
from compressbuild.store.gc import collect

HEAD = "version: 1\nmodels:\n  m: {file: f.txt}\ntargets:\n"


def statuses(report) -> dict[str, str]:
    return {t.name: t.status for t in report.targets}


def test_failure_stops_the_build_and_publishes_nothing_of_it(toy) -> None:
    toy.write(
        "Compressfile",
        HEAD + ("  bad: {from: m, steps: [toy.copy: {fail: raise}]}\n  after: {from: bad, steps: [toy.copy]}\n"),
    )
    report, _ = toy.build("all")
    assert report.exit_code == 1
    assert statuses(report) == {"bad": "failed", "after": "failed"}
    assert not (toy.root / "build").exists()


def test_keep_going_builds_what_does_not_depend_on_it(toy) -> None:
    toy.write(
        "Compressfile",
        HEAD
        + (
            "  bad: {from: m, steps: [toy.copy: {fail: raise}]}\n"
            "  after: {from: bad, steps: [toy.copy]}\n"
            "  good: {from: m, steps: [toy.copy: {note: x}, toy.copy: {note: y}, toy.copy: {note: z}]}\n"
        ),
    )
    report, _ = toy.build("all", keep_going=True)
    assert statuses(report) == {"bad": "failed", "after": "failed", "good": "published"}
    assert report.exit_code == 1


def test_a_failure_is_not_cached(toy) -> None:
    toy.write("Compressfile", HEAD + "  bad: {from: m, steps: [toy.copy: {fail: raise}]}\n")
    toy.build("all")
    assert toy.build("all")[1] == ["bad/toy.copy"]


def test_an_older_publication_is_taken_back(toy) -> None:
    toy.write("Compressfile", HEAD + "  t: {from: m, steps: [toy.copy]}\n")
    toy.build("all")
    assert toy.value("t") == "abc"
    report, _ = toy.build("all", overrides=["targets.t.steps.0.toy.copy.fail=raise"])
    assert report.targets[0].reason == "t/toy.copy failed; build/t was removed"
    assert not (toy.root / "build" / "t").exists()
    assert toy.build("all")[1] == []
    assert toy.value("t") == "abc"


def test_an_output_that_lacks_its_files_fails(toy) -> None:
    toy.write("Compressfile", HEAD + "  t: {from: m, steps: [toy.copy: {fail: empty}]}\n")
    report, _ = toy.build("all")
    finished = [e for e in toy.events if getattr(e, "status", "") == "failed" and hasattr(e, "error")]
    assert report.exit_code == 1
    assert finished[0].error == "its output has no file matching '*', which kind 'text' requires"


def test_changing_an_input_fails_the_node(toy) -> None:
    toy.write(
        "Compressfile",
        HEAD + ("  t: {from: m, steps: [toy.copy: {fail: tamper}]}\n  u: {from: m, steps: [toy.copy: {note: u}]}\n"),
    )
    report, _ = toy.build("all", keep_going=True)
    assert statuses(report) == {"t": "failed", "u": "published"}
    assert toy.value("u") == "abc"


def test_early_cutoff(toy) -> None:
    toy.write(
        "Compressfile",
        HEAD
        + ("  a: {from: m, steps: [toy.mix: {salt: 0, modulus: 2}]}\n  b: {from: a, steps: [toy.mix: {salt: 1}]}\n"),
    )
    toy.build("all")
    assert toy.build("all", overrides=["targets.a.steps.0.toy.mix.salt=2"])[1] == ["a/toy.mix"]


@pytest.mark.parametrize("how", ["truncate", "flip", "delete"])
def test_a_damaged_object_is_rebuilt(toy, how: str) -> None:
    toy.write(
        "Compressfile",
        HEAD
        + ("  a: {from: m, steps: [toy.mix: {modulus: 1000}]}\n  b: {from: a, steps: [toy.mix: {modulus: 1000}]}\n"),
    )
    toy.build("all")
    expected = toy.value("b")
    opened = toy.open()
    result = opened.store.lookup(opened.traces.get("a/toy.mix").key).result
    path = opened.store.dir.object(opened.store.cas.read_tree(result.output).files[0].digest)
    opened.close()
    os.chmod(path, 0o644)
    if how == "delete":
        os.unlink(path)
    else:
        data = Path(path).read_bytes()
        with open(path, "wb") as file:
            file.write(data[:-1] if how == "truncate" else bytes([data[0] ^ 1]) + data[1:])
    report, ran = toy.build("all")
    assert ran == ["a/toy.mix"], "the dependents stay cached: the bytes came out equal"
    assert report.exit_code == 0
    assert toy.value("b") == expected
    assert toy.build("all")[1] == []


def evict(toy, position: str, *, keep: list[str]) -> None:
    """Have gc remove the bytes of a node's result, oldest first, and keep those of others."""
    opened = toy.open()
    key = opened.traces.get(position).key
    kept = {opened.traces.get(other).key for other in keep}
    for room in range(collect(opened.store).size_after, 0, -50):
        collect(opened.store, max_size=room, keep=kept)
        if isinstance(opened.store.lookup(key, touch=False), Evicted):
            break
    assert isinstance(opened.store.lookup(key), Evicted)
    assert all(isinstance(opened.store.lookup(other), Hit) for other in kept)
    opened.close()


def test_an_evicted_intermediate_is_made_again_only_when_needed(toy) -> None:
    toy.write(
        "Compressfile",
        HEAD + ("  a: {from: m, steps: [toy.mix: {modulus: 1000}, toy.mix: {modulus: 999}, toy.mix: {salt: 1}]}\n"),
    )
    toy.build("all")
    evict(toy, "a/toy.mix#2", keep=["a/toy.mix#3"])
    assert toy.build("all")[1] == [], "its consumer is cached, so its bytes are not needed"
    ran = toy.build("all", overrides=["targets.a.steps.2.toy.mix.salt=2"])[1]
    assert ran[-2:] == ["a/toy.mix#2", "a/toy.mix#3"]


def test_an_evicted_input_that_cannot_be_made_again_fails_all_that_wait_for_it(toy) -> None:
    """One consumer asks for its bytes; the other is ready meanwhile, and there is no room for it before it fails."""

    class Forgetful(InlineExecutor):
        def start(self, token, request, **options) -> None:
            if request.label == "s/toy.mix":
                request = msgspec.structs.replace(request, run="toy:forgotten")
            super().start(token, request, **options)

    toy.write(
        "Compressfile",
        "version: 1\ndefaults: {threads: 2}\nvars: {salt: 1}\nmodels:\n  m: {file: f.txt}\ntargets:\n"
        "  s: {from: m, steps: [toy.mix: {modulus: 1000}]}\n"
        '  a: {from: s, steps: [toy.mix: {salt: "${vars.salt}"}]}\n'
        '  b: {from: s, steps: [toy.mix: {salt: "${vars.salt}", modulus: 50}]}\n'
        '  c: {from: m, steps: [toy.mix: {salt: "${vars.salt}"}]}\n',
    )
    toy.build("a", "b", "c")
    evict(toy, "s/toy.mix", keep=["m/source", "a/toy.mix", "b/toy.mix"])
    changed = ["vars.salt=2"]
    report, ran = toy.build("a", "b", "c", overrides=changed, executor=Forgetful(), keep_going=True)
    assert statuses(report) == {"a": "failed", "b": "failed", "c": "published"}
    assert sorted(ran) == ["c/toy.mix", "s/toy.mix"]
    assert {t.reason.partition(";")[0] for t in report.targets if t.name != "c"} == {"s/toy.mix failed"}


def test_evicted_bytes_that_another_node_makes_again_are_there_for_all(toy) -> None:
    """Two nodes of one key, evicted: once the first has run, the second is cached, and its consumer goes on."""
    toy.write(
        "Compressfile",
        HEAD
        + (
            "  s1: {from: m, steps: [toy.mix: {salt: 1, modulus: 1}]}\n"
            "  s2: {from: m, steps: [toy.mix: {salt: 2, modulus: 1}]}\n"
            "  x1: {from: s1, steps: [toy.mix: {salt: 5, modulus: 1000}]}\n"
            "  x2: {from: s2, steps: [toy.mix: {salt: 5, modulus: 1000}]}\n"
            "  y1: {from: x1, steps: [toy.mix: {salt: 6}]}\n"
            "  y2: {from: x2, steps: [toy.mix: {salt: 7}]}\n"
        ),
    )
    toy.build("all")
    evict(toy, "x1/toy.mix", keep=["y1/toy.mix", "y2/toy.mix"])
    changed = ["targets.y1.steps.0.toy.mix.salt=8", "targets.y2.steps.0.toy.mix.salt=9"]
    report, ran = toy.build("y1", "y2", overrides=changed)
    assert statuses(report) == {"y1": "published", "y2": "published"}
    assert sum(label in ("x1/toy.mix", "x2/toy.mix") for label in ran) == 1
    assert toy.value("y1") != toy.value("y2")


def test_check_finds_what_is_not_deterministic(toy) -> None:
    toy.write("Compressfile", HEAD + "  t: {from: m, steps: [toy.copy: {note: fine}]}\n")
    toy.build("all")
    report, ran = toy.build("all", check=True)
    assert ran == ["t/toy.copy"]
    assert (report.exit_code, statuses(report)) == (0, {"t": "checked"})
    toy.write("Compressfile", HEAD + "  t: {from: m, steps: [toy.copy: {fail: random}]}\n")
    toy.build("all")
    report, _ = toy.build("all", check=True)
    assert report.exit_code == 1
    errors = [e.error for e in toy.events if getattr(e, "error", "")]
    assert errors == ["declared deterministic, but this run produced different bytes: value"]


def test_remeasure_runs_only_measurements(toy) -> None:
    toy.write(
        "Compressfile",
        HEAD.replace("targets:", "evaluate: {metrics: [length, wait]}\ntargets:")
        + ("  t: {from: m, steps: [toy.copy]}\n"),
    )
    toy.build("all")
    assert toy.build("all", remeasure=True)[1] == ["t/wait"]


def test_deep_chains_need_no_recursion(toy) -> None:
    steps = ", ".join(f"toy.mix: {{salt: {i}, modulus: 1000000}}" for i in range(600))
    toy.write("Compressfile", HEAD + f"  t: {{from: m, steps: [{steps}]}}\n")
    report, ran = toy.build("all")
    assert report.exit_code == 0
    assert len(ran) == 600
    assert toy.build("all")[1] == []


def test_published_files_are_repaired_from_the_cache(toy) -> None:
    toy.write("Compressfile", HEAD + "  t: {from: m, steps: [toy.copy]}\n")
    toy.build("all")
    for spoil in (lambda p: p.write_text("x"), lambda p: p.unlink(), lambda p: (p.parent / "extra").write_text("x")):
        spoil(toy.root / "build" / "t" / "value")
        report, ran = toy.build("all")
        assert (ran, statuses(report)) == ([], {"t": "published"})
        assert toy.value("t") == "abc"
        assert sorted(p.name for p in (toy.root / "build" / "t").iterdir()) == [
            "metrics.json",
            "provenance.json",
            "value",
        ]
