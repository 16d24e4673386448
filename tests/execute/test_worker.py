"""What a node finds in its process, and what becomes of what it returns, prints and raises."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from execute_bench import Bench

from compressbuild.api import WorkInput
from compressbuild.execute.executor import Progress, Started
from compressbuild.execute.local import LocalExecutor


def test_the_process_is_what_was_promised(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    bench.executor = LocalExecutor()
    with bench.executor:
        finished = bench.run("facts", env={"DECLARED": "yes"}, threads=3, seed=7)
    seen = finished.result.facts
    scratch = str(bench.tmp / "nodes" / "1" / "scratch")
    assert finished.cause == "ok"
    assert seen["cwd"] == scratch
    environ = seen["environ"]
    assert environ["HOME"] == environ["TMPDIR"] == scratch
    assert environ["DECLARED"] == "yes"
    assert environ["OMP_NUM_THREADS"] == "3"
    assert environ["PYTHONHASHSEED"] == "0"
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert environ["PATH"] == os.environ["PATH"]
    assert "SECRET_TOKEN" not in environ
    assert "hunter2" not in str(environ)
    assert seen["session"] == seen["pid"]
    assert seen["oom_score_adj"] == "1000"
    assert seen["stdin"] == ""
    assert seen["descriptors"] == sorted(["/dev/null", str(bench.log(1)), str(bench.log(1))])
    assert (bench.tmp / "nodes/1/out/artifact.bin").read_bytes() == b"bytes"
    assert finished.result.peak_rss > 1 << 20


def test_randomness_depends_on_the_seed_alone(bench: Bench) -> None:
    first, again, other = (bench.run("facts", seed=seed).result.facts for seed in (1, 1, 2))
    assert first["random"] == again["random"] != other["random"]
    assert first["hash"] == again["hash"]
    assert first["pid"] != again["pid"]


def test_parameters_and_subject_arrive_typed(bench: Bench) -> None:
    subject = bench.tmp / "model"
    subject.mkdir()
    inputs = {"subject": WorkInput(path=str(subject), kind="onnx")}
    result = bench.run("typed", {"factor": 0.25}, params_type="nodes_for_tests:Scale", inputs=inputs).result
    assert result.facts == {"factor": 0.25, "subject": "model", "type": "Scale"}


def test_bad_parameters_are_one_line(bench: Bench) -> None:
    inputs = {"subject": WorkInput(path=str(bench.tmp), kind="onnx")}
    finished = bench.run("typed", {"factor": "x"}, params_type="nodes_for_tests:Scale", inputs=inputs)
    assert finished.cause == "raised"
    assert finished.result.error == "nodes_for_tests:typed: Expected `float`, got `str` - at `$.factor`"
    assert finished.result.trace is None


def test_saved_json_is_sorted_and_ends_its_line(bench: Bench) -> None:
    finished = bench.run("unsorted", save_json="metrics.json")
    text = (bench.tmp / "nodes/1/out/metrics.json").read_text()
    assert text == ('{\n  "a": {\n    "b": "x",\n    "y": [\n      1.5,\n      null\n    ]\n  },\n  "z": 1\n}\n')
    assert finished.result.facts == {"a": {"b": "x", "y": [1.5, None]}, "z": 1}


def test_a_function_may_return_nothing(bench: Bench) -> None:
    assert bench.run("nothing").result.facts == {}


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("a_list", "nodes_for_tests:a_list returned a list"),
        ("no_json", "nodes_for_tests:no_json returned facts that are not JSON: a object has no place in JSON"),
        ("no_such_function", "'nodes_for_tests' has no 'no_such_function'"),
        ("no_such_module:f", "cannot import 'no_such_module' (no_such_module:f)"),
    ],
)
def test_what_a_node_cannot_be_is_an_error_not_a_traceback(bench: Bench, function: str, error: str) -> None:
    finished = bench.run(function)
    assert (finished.cause, finished.result.error) == ("raised", error)
    assert finished.result.trace is None


def test_noise_goes_to_the_log_and_harms_nothing(bench: Bench) -> None:
    finished = bench.run("noisy")
    assert finished.result.facts == {"value": 1}
    log = bench.log(1).read_bytes()
    for piece in (b"printed", b"to stderr", b"\x00\x00\xff\xff raw", b"\xff\xfe binary", b"from C", b"from a shell"):
        assert piece in log
    for piece in (b"INFO cbuild: logged", b"WARNING elsewhere: a library's warning", b"a Python warning"):
        assert piece in log


def test_progress_is_reported_in_order_and_in_measure(bench: Bench) -> None:
    bench.start("progress", {"steps": 2000})
    happened = bench.collect()
    assert isinstance(happened[0], Started)
    reports = [each for each in happened if isinstance(each, Progress)]
    steps = [each.done for each in reports if each.total == 2000]
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert steps[-1] == 2000
    assert len(steps) < 500, "a fast loop would flood the engine"
    assert reports[0].values == {"loss": 1.0, "phase": "train"}
    assert reports[-1].values == {"loss": None, "odd": "<class 'object'>"}


def test_an_exception_shows_the_frames_of_the_project(bench: Bench) -> None:
    (bench.project / "mine.py").write_text(
        "import random\n\n\ndef run(ctx, params):\n    inner()\n\n\ndef inner():\n    random.sample([1], 5)\n"
    )
    result = bench.run("mine:run", code_files=("mine.py",)).result
    assert result.error == "ValueError: Sample larger than population or is negative"
    assert result.trace is not None
    assert [line for line in result.trace.splitlines() if line.startswith("  File")] == [
        f'  File "{bench.project}/mine.py", line 5, in run',
        f'  File "{bench.project}/mine.py", line 9, in inner',
    ]
    log = bench.log(1).read_text()
    assert "random.py" in log
    assert "worker.py" in log


def test_a_long_message_is_cut_to_a_line_and_kept_in_the_trace(bench: Bench) -> None:
    result = bench.run("wrong").result
    assert result.error == "ValueError: the first line"
    assert "the second line" in (result.trace or "")


def test_a_user_error_is_a_line_with_its_hint(bench: Bench) -> None:
    result = bench.run("user_error").result
    assert (result.error, result.hint, result.trace) == ("the ratio leaves no channel", "try a smaller one", None)


@pytest.mark.parametrize(("size", "cause"), [((8 << 20) - 100, "ok"), (8 << 20, "raised"), (20 << 20, "raised")])
def test_facts_have_a_limit(bench: Bench, size: int, cause: str) -> None:
    (bench.project / "mine.py").write_text("def run(ctx, params):\n    return {'text': 'a' * params['size']}\n")
    end = bench.run("mine:run", {"size": size}, code_files=("mine.py",))
    assert end.cause == cause
    if cause == "raised":
        assert "of facts, and at most 8 MiB are kept" in str(end.result.error)
        assert "write the rest to a file in ctx.out" in str(end.result.hint)


def test_a_missing_library_says_what_to_install(bench: Bench) -> None:
    result = bench.run("missing_module").result
    assert result.error == "ModuleNotFoundError: No module named 'no_such_module_at_all'"
    assert "no_such_module_at_all" in (result.hint or "")


def test_sys_exit_is_a_failure(bench: Bench) -> None:
    finished = bench.run("exits")
    assert (finished.cause, finished.result.error) == ("raised", "SystemExit: 3")


def test_the_log_of_a_node_run_again_holds_the_last_run(bench: Bench, tmp_path: Path) -> None:
    bench.run("noisy")
    first = bench.log(1).read_bytes()
    bench.tokens = 0
    bench.run("noisy")
    assert len(bench.log(1).read_bytes()) == len(first)


def test_the_kind_validates_what_was_made(bench: Bench) -> None:
    finished = bench.run("nothing", validate="nodes_for_tests:refuse")
    assert (finished.cause, finished.result.error) == ("raised", "its output is not valid: the file 'made' is empty")


def test_a_checkpoint_is_made_when_asked_for(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("checkpointed", checkpoint=str(tmp_path / "kept")).result.facts == {"seen": []}
    assert bench.run("checkpointed", checkpoint=str(tmp_path / "kept")).result.facts == {"seen": ["epoch"]}
    assert bench.run("checkpointed").result.facts == {"seen": None}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nan", "returned the value nan, which is not finite"),
        ("infinite", "returned the value inf, which is not finite"),
        ("text", "returned the value '0.5', which is not finite"),
        ("none", "returned the value None, which is not finite"),
        ("yes", "returned the value True, which is not finite"),
        ("left out", "returned no 'value'"),
    ],
)
def test_a_metric_without_a_finite_value_fails(value: str, said: str, bench: Bench) -> None:
    result = bench.run("measured", {"value": value}, save_json="metrics.json", measures=True).result
    assert (result.ok, result.error) == (False, f"nodes_for_tests:measured {said}")
    assert result.hint
    assert not (bench.tmp / "nodes/1/out/metrics.json").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([1, 2], "returned 'per_class' as a list, not a dict"),
        ({"3": 0.5}, "returned 0.5 for '3' of 'per_class', not a dict"),
        ({"3": {"n": 4, "correct": "2"}}, "returned '2' as 'correct' of '3' in 'per_class', not a number"),
        ({"3": {"value": True}}, "returned True as 'value' of '3' in 'per_class', not a number"),
    ],
)
def test_a_metric_with_rows_that_nobody_can_read_fails(rows: object, said: str, bench: Bench) -> None:
    result = bench.run("measured", {"value": "good", "per_class": rows}, measures=True).result
    assert (result.ok, result.error) == (False, f"nodes_for_tests:measured {said}")
    assert "name → {'value': number}" in (result.hint or "")


def test_rows_may_say_more_or_nothing(bench: Bench) -> None:
    rows = {"a": {"n": 0, "correct": 0, "support": "none"}, "b": {"value": float("nan")}, "c": {}}
    assert bench.run("measured", {"value": "good", "per_class": rows}, measures=True).result.ok


def test_a_metric_with_one_does_not(bench: Bench) -> None:
    assert bench.run("measured", {"value": "good"}, save_json="metrics.json", measures=True).result.ok
    assert bench.run("measured", {"value": "nan"}).result.ok, "what is no metric may report what it likes"
