"""``cbuild tune``: what it chooses, against loops over all values; what it runs, keeps, writes and refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from command import Ran, Work
from quick import Quick

TEXT = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, shares]}
targets:
  a:
    from: f
    steps:
      - toy.mix: {salt: {choose: [1, 7, 20, 300]}, modulus: 1000}  # the first
  b:
    from: a
    steps:
      - toy.mix: {salt: {choose: [0, 2, 5]}, modulus: {search: [5, 905], step: 300}}
    gates: {length: {min: 2}}
"""
FILL = [
    "--set", "targets.a.steps.0.toy.mix.salt.value={}", "--set", "targets.b.steps.0.toy.mix.salt.value={}",
    "--set", "targets.b.steps.0.toy.mix.modulus.value={}",
]  # fmt: skip

FIRST = [word.format(("7", "2", "905")[at // 2]) for at, word in enumerate(FILL)]
"""Values for the ranges, with which the targets can be built."""


@pytest.fixture
def work(tmp_path: Path) -> Quick:
    found = Quick(tmp_path / "tuned", toy=True)
    found.write("f.txt", "abc")
    found.write("Compressfile", TEXT)
    return found


def tuned(work: Work, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(work("tune", *words, "--json", code=code).out)
    return found


def records(work: Work) -> set[str]:
    """The action results in the cache."""
    return {path.name for path in (work.root / "cache" / "ac").rglob("*") if path.is_file()}


def point(trial: dict[str, Any]) -> tuple[object, ...]:
    return tuple(trial["parameters"].values())


def looped(work: Work) -> dict[tuple[int, int, int], tuple[int, int]]:
    """Every point by an ordinary build of its own: (exit status, length)."""
    found = {}
    for values in itertools.product((1, 7, 20, 300), (0, 2, 5), (5, 305, 605, 905)):
        words = [word.format(values[at // 2]) for at, word in enumerate(FILL)]
        ran = work("b", *words, "--json", code=None)
        event = next(e for e in ran.events if getattr(e, "target", "") == "b")
        found[values] = (ran.code, int(event.metrics["length"]))  # type: ignore[attr-defined]
    return found


def test_all_values_are_tried_where_there_are_few_and_the_best_is_that_of_a_loop(work: Quick, tmp_path: Path):
    found = tuned(work, "b", "--minimize", "length", "--trials", "48")
    other = Quick(tmp_path / "other", toy=True)
    other.write("f.txt", "abc")
    other.write("Compressfile", TEXT)
    oracle = looped(other)
    assert {point(t): (0 if t["state"] == "feasible" else 3, t["values"]["length"]) for t in found["trials"]} == oracle
    assert {code for code, _ in oracle.values()} == {0, 3}, "some points miss the gate"
    least = min(length for code, length in oracle.values() if code == 0)
    assert least > min(length for _, length in oracle.values()), "the gate decides"
    chosen = found["trials"][found["chosen"] - 1]
    assert (chosen["state"], chosen["values"]["length"]) == ("feasible", least)
    assert records(work) == records(other), "a trial is an ordinary build"


def test_a_second_search_goes_on_and_runs_no_node_again(work: Quick):
    work.write("Compressfile", TEXT.replace("[5, 905], step: 300", "[5, 905]"))
    first = tuned(work, "b", "--minimize", "length", "--trials", "6")
    before = records(work)
    second = tuned(work, "b", "--minimize", "length", "--trials", "9", "--seed", "5")
    assert [point(t) for t in second["trials"][:6]] == [point(t) for t in first["trials"]]
    assert [t["ran"] for t in second["trials"][:6]] == [0] * 6
    assert all(t["ran"] for t in second["trials"][6:])
    assert before < records(work)
    again = records(work)
    third = tuned(work, "b", "--minimize", "length", "--trials", "9")
    assert [t["ran"] for t in third["trials"]] == [0] * 9
    assert records(work) == again


def test_the_search_is_a_function_of_its_seed_also_when_it_was_stopped(work: Quick, tmp_path: Path):
    text = TEXT.replace("[5, 905], step: 300", "[5, 905]")

    def points(name: str, *runs: str, seed: str = "7") -> list[tuple[object, ...]]:
        one = Quick(tmp_path / name, toy=True)
        one.write("f.txt", "abc")
        one.write("Compressfile", text)
        for trials in runs:
            found = tuned(one, "b", "--minimize", "length", "--trials", trials, "--seed", seed)
        return [point(t) for t in found["trials"]]

    whole = points("whole", "14")
    assert len(set(whole)) == 14
    assert points("stopped", "4", "12", "14") == whole
    assert points("other", "14", seed="8") != whole


def test_it_publishes_nothing_and_leaves_what_is_published(work: Quick):
    values = ("7", "2", "905")
    words = [word.format(values[at // 2]) for at, word in enumerate(FILL)]
    work("all", *words)
    before = work.everything()
    history = {path.name: path.read_bytes() for path in (work.root / ".cbuild/history").iterdir()}
    assert history
    tuned(work, "b", "--minimize", "length", "--trials", "5")
    assert work.everything() == before
    assert {path.name: path.read_bytes() for path in (work.root / ".cbuild/history").iterdir()} == history
    assert not (work.root / ".cbuild/rejected").exists()


def test_apply_writes_the_values_which_build_without_running(work: Quick):
    shown = work("tune", "b", "--minimize", "length", "--trials", "48", "--apply").out
    assert "best: " in shown
    assert "wrote Compressfile" in shown
    text = (work.root / "Compressfile").read_text()
    assert "# the first" in text
    assert text.count("value: ") == 3
    before = records(work)
    work("b")
    assert records(work) == before
    assert (work.root / "build/b/value").is_file()
    assert "has these values already" in work("tune", "b", "--minimize", "length", "--trials", "48", "--apply").out
    assert (work.root / "Compressfile").read_text() == text


def test_a_range_without_a_value_is_in_the_way_of_what_uses_it_alone(work: Quick):
    said = work("b", code=4).err
    assert "target 'b' cannot be built: it needs a value for 'salt' of 'toy.mix'" in said
    assert (
        "cbuild tune a --minimize METRIC --apply' chooses it; or add 'value:' to the range at Compressfile:8:25" in said
    )
    # The same step with the value that stands in for it, written in another target, is another node.
    same = "  c: {from: f, steps: [{toy.mix: {salt: 1, modulus: 1000}}]}\n  d: {from: c, steps: [toy.copy]}\n"
    work.write("Compressfile", TEXT + same)
    ran = work("all")
    assert "skipped b: needs a value for" in ran.out
    assert (work.root / "build/d").is_dir()
    assert not (work.root / "build/b").exists()
    assert "needs a value for" in work("list").out


def test_the_front_of_several_objectives(work: Quick):
    found = tuned(work, "b", "--minimize", "length", "--maximize", "shares", "--trials", "48")
    trials = {t["trial"]: t for t in found["trials"] if t["state"] == "feasible"}
    values = {n: (t["values"]["length"], -t["values"]["shares"]) for n, t in trials.items()}
    least = {v for v in values.values() if not any(o != v and o[0] <= v[0] and o[1] <= v[1] for o in values.values())}
    assert [values[n] for n in found["front"]] == sorted(least)
    assert found["chosen"] in found["front"]


def test_a_trial_that_misses_a_gate_is_not_measured_further(work: Quick, tmp_path: Path):
    """Times are measured when nothing else runs, so they are dear. Of a trial that keeps the gates they are."""
    text = TEXT.replace("[length, shares]", "[length, wait]").replace("[5, 905], step: 300", "[5, 105], step: 100")
    work.write("Compressfile", text)
    ran = work("tune", "b", "--minimize", "wait", "--trials", "24", "--json", "-v")
    trials = json.loads(ran.out)["trials"]
    assert {trial["state"] for trial in trials} == {"feasible", "infeasible"}
    for trial in trials:
        assert trial["values"] == ({"wait": 2} if trial["state"] == "feasible" else {})
    assert 1 <= ran.err.count("b/wait") <= sum(trial["state"] == "feasible" for trial in trials)
    assert ran.err.count("b/length") > ran.err.count("b/wait")
    again = work("tune", "b", "--minimize", "wait", "--trials", "24")
    assert "length min fail; not measured further" in again.out
    assert all(trial["ran"] == 0 for trial in tuned(work, "b", "--minimize", "wait", "--trials", "24")["trials"])


def test_trials_of_one_build_are_those_of_builds_of_their_own(work: Quick, tmp_path: Path):
    one = tuned(work, "b", "--minimize", "length", "--trials", "48")
    other = Quick(tmp_path / "other", toy=True)
    other.write("f.txt", "abc")
    other.write("Compressfile", TEXT)
    many = tuned(other, "b", "--minimize", "length", "--trials", "48", "--at-once", "7", "-j", "3")
    assert many == one, "also how many nodes ran for each"
    assert records(work) == records(other)
    assert [
        t["ran"] for t in tuned(work, "b", "--minimize", "length", "--trials", "48", "--at-once", "48")["trials"]
    ] == [0] * 48


def test_a_batch_is_a_function_of_the_seed_also_when_it_was_stopped_within(work: Quick, tmp_path: Path):
    text = TEXT.replace("[5, 905], step: 300", "[5, 905]")

    def points(name: str, *runs: str) -> list[tuple[object, ...]]:
        found = Quick(tmp_path / name, toy=True)
        found.write("f.txt", "abc")
        found.write("Compressfile", text)
        for trials in runs:
            said = tuned(found, "b", "--minimize", "length", "--trials", trials, "--seed", "7", "--at-once", "4")
        return [point(t) for t in said["trials"]]

    whole = points("whole", "22")
    assert len(set(whole)) == 22
    assert points("stopped", "6", "15", "22") == whole


def test_in_a_batch_each_trial_has_its_own_end(work: Quick):
    """One fails, one misses a gate before it is measured, others go on; what failed has its own cause."""
    work.write(
        "Compressfile",
        "version: 1\nmodels: {f: {file: f.txt}}\nevaluate: {metrics: [length, wait]}\ntargets:\n"
        "  a:\n    from: f\n    steps:\n      - toy.mix: {salt: {choose: [1, 710]}, modulus: 1000}\n"
        "      - toy.copy: {fail: {choose: ['', raise, empty]}}\n    gates: {length: {min: 3}}\n",
    )
    ran = work("tune", "a", "--minimize", "wait", "--trials", "6", "--at-once", "6", "--json", "-v")
    trials = {point(t): t for t in json.loads(ran.out.splitlines()[-1])["trials"]}
    assert {key: trial["state"] for key, trial in trials.items() if key[1]} == {
        (salt, fail): "failed" for salt in (1, 710) for fail in ("raise", "empty")
    }
    assert trials[1, "raise"]["reason"] == "a/toy.copy failed: asked to fail"
    assert "asked to fail" not in trials[710, "empty"]["reason"]
    states = {trials[1, ""]["state"], trials[710, ""]["state"]}
    assert states == {"feasible", "infeasible"}, "the text is 295, and 4"
    assert ran.err.count("a/wait") <= 1, "what missed the gate is not measured"


def test_a_search_with_trials_that_were_not_measured_goes_on(work: Quick):
    text = TEXT.replace("[length, shares]", "[length, wait]").replace("[5, 905], step: 300", "[5, 905]")
    work.write("Compressfile", text.replace("min: 2", "min: 3"))
    found = tuned(work, "b", "--minimize", "wait", "--trials", "12")
    assert len({point(trial) for trial in found["trials"]}) == 12
    assert {trial["state"] for trial in found["trials"]} == {"feasible", "infeasible"}


def test_a_trial_that_fails_is_named_and_the_search_goes_on(work: Quick):
    work.write(
        "Compressfile",
        "version: 1\nmodels: {f: {file: f.txt}}\nevaluate: {metrics: [length]}\ntargets:\n"
        "  a: {from: f, steps: [{toy.copy: {fail: {choose: [raise, '']}}}]}\n",
    )
    ran = work("tune", "a", "--minimize", "length")
    assert "trial 1: fail raise: failed: a/toy.copy failed: asked to fail" in ran.out
    assert 'trial 2: fail "": length 3 B' in ran.out
    assert "2 trials: 1 keep the gates, 0 do not, 1 failed" in ran.out
    work.edit("Compressfile", "[raise, '']", "[raise, empty]")
    assert "every trial failed" in work("tune", "a", "--minimize", "length", "--apply", code=1).err
    assert "value" not in (work.root / "Compressfile").read_text()


def test_no_trial_that_keeps_the_gates(work: Quick):
    work.edit("Compressfile", "length: {min: 2}", "length: {min: 9}")
    ran = work("tune", "b", "--minimize", "length", "--trials", "3", "--apply", code=3)
    assert "no trial keeps the gates" in ran.err
    assert "length min fail" in ran.out
    assert "value" not in (work.root / "Compressfile").read_text()


def test_a_changed_model_is_measured_again_and_points_outside_the_range_are_forgotten(work: Quick):
    first = tuned(work, "b", "--minimize", "length", "--trials", "48")
    work.write("f.txt", "another")
    second = tuned(work, "b", "--minimize", "length", "--trials", "48")
    assert [point(t) for t in first["trials"]] == [point(t) for t in second["trials"]]
    assert second["trials"][0]["ran"] > 0
    work.edit("Compressfile", "[0, 2, 5]", "[0, 2]")
    assert {point(t)[1] for t in tuned(work, "b", "--minimize", "length", "--trials", "48")["trials"]} == {0, 2}


def test_a_damaged_record_is_dropped_with_a_warning(work: Quick):
    tuned(work, "b", "--minimize", "length", "--trials", "3")
    record = work.root / ".cbuild/tune/b"
    data = bytearray(record.read_bytes())
    data[len(data) // 2] ^= 1
    record.write_bytes(data)
    ran = work("tune", "b", "--minimize", "length", "--trials", "3")
    assert "warning: the record of earlier trials of 'b' is damaged" in ran.err
    assert "warning" not in work("tune", "b", "--minimize", "length", "--trials", "3").err


def test_no_trial_begins_after_the_time(work: Quick):
    ran = work("tune", "b", "--minimize", "length", "--trials", "9", "--timeout", "0.000001s", code=1)
    assert "the time is over after 0 of 9 trials" in ran.err
    assert "no trial was made" in ran.err


def test_the_report_shows_the_last_search(work: Quick):
    found = tuned(work, "b", "--minimize", "length", "--trials", "48")
    (target,) = json.loads(work("report", "--format", "json", "b", "-o", "-", *FIRST).out)["targets"]
    shown = target["search"]
    assert [(t["number"], t["state"]) for t in shown["trials"]] == [(t["trial"], t["state"]) for t in found["trials"]]
    assert (shown["front"], shown["chosen"]) == (found["front"], found["chosen"])
    assert (shown["across"], shown["up"]) == ("length", "shares")
    assert {limit for t in shown["trials"] for limit in t["limits"]["length"]} == {2}
    tuned(work, "b", "--minimize", "length", "--maximize", "shares", "--trials", "48")
    work("report", "b", *FIRST)
    assert '"objectives":{"length":"minimize","shares":"maximize"}' in (work.root / "report.html").read_text()
    kept = work.root / ".cbuild/searched/b"
    kept.write_bytes(kept.read_bytes()[:-3])
    said = json.loads(work("report", "--format", "json", "b", "-o", "-", *FIRST).out)
    assert said["targets"][0]["search"] is None, "what is damaged is not shown"


def refused(work: Work, *words: str) -> Ran:
    ran = work("tune", *words, code=2)
    assert "Traceback" not in ran.text
    return ran


def test_what_it_refuses(work: Quick):
    assert "nothing to search for" in refused(work, "b").err
    assert "'b' measures length, shares" in refused(work, "b").err
    assert "did you mean 'length'?" in refused(work, "b", "--minimize", "lenth").err
    assert "--minimize length" in refused(work, "b", "--maximize", "length").err
    assert "'length' is named twice" in refused(work, "b", "--minimize", "length", "--minimize", "length").err
    assert "unknown target 'bb'" in refused(work, "bb", "--minimize", "length").err
    assert "Invalid value for '--timeout'" in refused(work, "b", "--minimize", "length", "--timeout", "soon").err
    work.edit("Compressfile", "[5, 905], step: 300", "[5.5, 905]")
    assert (
        "Compressfile:12:55: error: parameter 'modulus' takes whole numbers only\n   12 | "
        in refused(work, "b", "--minimize", "length").err
    )
    work.edit("Compressfile", "{search: [5.5, 905]}", "{choose: [9, many]}")
    said = refused(work, "b", "--minimize", "length").err
    assert "Compressfile:12:55: error:" in said
    assert "(the range has many)" in said
    work.edit("Compressfile", "{choose: [9, many]}", "9")
    work.edit("Compressfile", "{choose: [0, 2, 5]}", "0")
    work.edit("Compressfile", "{choose: [1, 7, 20, 300]}", "1")
    assert "target 'b' has no range to search" in refused(work, "b", "--minimize", "length").err


def test_a_range_in_a_variable_is_refused(work: Quick):
    work.edit("Compressfile", "salt: {choose: [0, 2, 5]}", 'salt: "${vars.salts}"')
    work.edit("Compressfile", "version: 1\n", "version: 1\nvars: {salts: {choose: [0, 2], value: 2}}\n")
    assert "the range of parameter 'salt' stands in a variable" in refused(work, "b", "--minimize", "length").err


def test_another_target_without_a_value_is_only_in_the_way_if_it_is_used(work: Quick):
    other = "  other: {from: f, steps: [{toy.mix: {salt: {search: [40, 90]}}}]}\n"
    work.write("Compressfile", TEXT + other)
    tuned(work, "b", "--minimize", "length", "--trials", "2")
    work.edit("Compressfile", "{choose: [0, 2, 5]}", "{choose: [0, 2, 5]}, others: [other]")
    said = work("tune", "b", "--minimize", "length", code=4).err
    assert "target 'b' cannot be built: it needs a value for 'salt' of 'toy.mix'" in said
    assert "cbuild tune other --minimize METRIC --apply" in said


def test_a_matrix_gives_its_targets_one_range(work: Quick):
    work.write(
        "Compressfile",
        "version: 1\nmodels: {f: {file: f.txt}}\nevaluate: {metrics: [length]}\ntargets:\n"
        '  "m-${n}":\n    matrix: {n: [10, 1000]}\n    from: f\n'
        '    steps: [{toy.mix: {salt: {choose: [1, 7, 20]}, modulus: "${n}"}}]\n',
    )
    found = tuned(work, "m-1000", "--minimize", "length", "--apply")
    assert {t["values"]["length"] for t in found["trials"]} == {3}
    assert "value: 1}" in (work.root / "Compressfile").read_text()
    assert {t["values"]["length"] for t in tuned(work, "m-10", "--minimize", "length")["trials"]} == {1}
