"""What cannot be built: its own exit status, its cause, its log, and nothing published."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from command import Work, finish

TEXT = """
version: 1
models: {{f: {{file: f.txt}}}}
targets:
  good: {{from: f, steps: [{{toy.copy: {{note: good}}}}]}}
  bad:
    from: f
    steps:
      - toy.copy: {{note: before}}
      - toy.copy: {step}
        {options}
  below: {{from: bad, steps: [toy.copy]}}
"""

CASES = {
    "raise": ("{fail: raise}", "", "raised", "asked to fail"),
    "abort": ("{fail: crash}", "", "crashed", "aborted (SIGABRT)"),
    "segfault": ("{fail: segfault}", "", "crashed", "segmentation fault (SIGSEGV)"),
    "exit": ("{fail: exit}", "", "crashed", "exited with status 7"),
    "memory": ("{fail: hog}", "memory: 200MiB", "memory", "more than its memory limit of 200 MiB"),
    "timeout": ("{fail: sleep, seconds: 60}", "timeout: 0.5s", "timeout", "exceeded its timeout of 0.5 s"),
    "empty": ("{fail: empty}", "", "raised", "its output has no file matching '*', which kind 'text' requires"),
}


@pytest.mark.parametrize("case", CASES)
def test_failing_node(toys: Work, case: str):
    toys.write("Compressfile", TEXT.format(step="{note: fine}", options=""))
    toys("all")
    assert (toys.root / "build/bad/value").exists()

    step, options, cause, message = CASES[case]
    toys.write("Compressfile", TEXT.format(step=step, options=options))
    ran = toys.json("-k", "all", code=1)
    (failure,) = ran.failures
    assert (failure.node, failure.cause) == ("bad/toy.copy#2", cause)
    assert message in failure.error
    if case not in ("timeout", "empty"):
        assert f"about to {step.partition('fail: ')[2].strip('}')}" in Path(failure.log).read_text()
    assert {name: t.status for name, t in ran.targets.items()} == {
        "good": "up to date", "bad": "failed", "below": "failed",
    }  # fmt: skip
    assert sorted(os.listdir(toys.root / "build")) == ["good"]  # what it published before was removed
    assert toys.settle() == []

    again = toys.json("bad", code=1)  # a failure is not cached, what led to it is
    assert again.started == ["bad/toy.copy#2"]
    plain = toys("bad", code=1)
    assert message in plain.text
    assert "log: .cbuild/logs/" in plain.text


def test_failure_shows_the_frames_and_the_log(toys: Work):
    toys.write("Compressfile", TEXT.format(step="{fail: raise}", options=""))
    ran = toys("bad", code=1)
    assert "  error: RuntimeError: asked to fail\n" in ran.out
    assert 'raise RuntimeError("asked to fail")' in ran.out  # the plugin's own line
    assert "  | about to raise\n" in ran.out
    assert "compressbuild/execute" not in ran.out  # and none of the engine's
    assert "bad: failed: bad/toy.copy#2 failed\n" in ran.out
    assert "0 of 1 targets up to date" in ran.out


def test_without_keep_going_the_build_stops(toys: Work):
    toys.write("Compressfile", TEXT.format(step="{fail: raise}", options=""))
    toys.edit("Compressfile", "note: good", "note: good, seconds: 1")
    ran = toys.json("all", "-j1", code=1)
    assert {f.node for f in ran.failures} == {"bad/toy.copy#2"}
    assert "below/toy.copy" not in ran.started


GATED = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  short: {from: f, steps: [toy.copy], gates: {length: {max: 5}}}
  free: {from: f, steps: [toy.copy]}
"""


def test_unmet_gate(toys: Work):
    toys.write("Compressfile", GATED)
    toys("all")
    toys.write("f.txt", "abcdefgh")
    ran = toys("all", code=3)
    assert "short: gate failed: length max fail; build/short was removed" in ran.text
    titles, row = ran.out.splitlines()[-3:-1]
    assert titles.split() == ["target", "gate", "got", "off", "by", "verdict"]
    assert row.split() == ["short", "length:", "max", "5", "8", "3", "fail"]
    assert "1 of 2 targets up to date" in ran.text
    assert sorted(os.listdir(toys.root / "build")) == ["free"]
    again = toys.json("all", code=3)  # asked again: nothing runs, and it still fails
    assert again.started == []
    toys.edit("Compressfile", "max: 5", "max: 8")
    relaxed = toys.json("all")
    assert relaxed.started == []  # a gate is judged, not built
    assert relaxed.targets["short"].status == "published"


def test_gate_and_failure_at_once_is_a_failure(toys: Work):
    toys.write("f.txt", "abcdefgh")
    toys.write("Compressfile", GATED + "  broken: {from: f, steps: [{toy.copy: {fail: raise}}]}\n")
    toys("-k", "all", code=1)


def test_missing_files_are_named_before_anything_runs(toys: Work):
    toys.write("loaders.py", "def rows():\n    return []\n")
    toys.write(
        "Compressfile",
        """
version: 1
models: {f: {file: f.txt}, g: {file: absent.txt}}
datasets: {d: {loader: "loaders:rows", files: [data/calibration.bin]}}
targets:
  a: {from: f, steps: [{toy.copy: {seconds: 30}}, {toy.copy: {data: d}}]}
  b: {from: g, steps: [toy.copy]}
""",
    )
    for command in (("all",), ("all", "-n"), ("why", "all")):
        ran = toys(*command, code=2, timeout=25)
        assert "there is no file 'data/calibration.bin'" in ran.err
        assert "there is no file 'absent.txt'" in ran.err  # all of them at once
        assert "Compressfile:4:" in ran.err
    assert not (toys.root / "build").exists()


def test_missing_code_is_named(toys: Work):
    toys.write(
        "Compressfile",
        """
version: 1
models: {f: {file: f.txt}}
datasets: {d: {loader: "nowhere:rows"}, e: {loader: "loaders:row"}}
targets:
  a: {from: f, steps: [{toy.copy: {data: d}}]}
  b: {from: f, steps: [{toy.copy: {data: e}}]}
""",
    )
    toys.write("loaders.py", "def rows():\n    return []\n")
    ran = toys("all", code=2)
    assert "nowhere" in ran.err
    assert "did you mean 'loaders:rows'?" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def rows():\n    return [open('secret.txt').read()]\n", "secret.txt was read"),
        (
            "import importlib\ndef rows():\n    return [importlib.import_module('hid' + 'den').x]\n",
            "hidden.py was imported",
        ),
        ("def rows():\n    open('written.txt', 'w').write('x')\n    return []\n", "written.txt was written"),
    ],
)
def test_undeclared_input_fails_the_node(toys: Work, code: str, said: str):
    toys.write("secret.txt", "x")
    toys.write("hidden.py", "x = 1\n")
    toys.write("loaders.py", code.replace("open('", f"open('{toys.root}/"))
    toys.write(
        "Compressfile",
        """
version: 1
models: {f: {file: f.txt}}
datasets: {d: {loader: "loaders:rows"}}
targets:
  a: {from: f, steps: [{toy.copy: {data: d}}]}
""",
    )
    ran = toys("all", code=1)
    assert said in ran.out
    assert "hint:" in ran.out
    assert not (toys.root / "build/a").exists()


SLEEPERS = """
version: 1
models: {f: {file: f.txt}}
targets:
  quick: {from: f, steps: [{toy.copy: {note: q}}]}
  slow-${n}:
    matrix: {n: [1, 2]}
    from: quick
    steps: [{toy.copy: {seconds: 30, note: "n${n}"}}]
"""


@pytest.mark.parametrize("group", [True, False], ids=["group", "engine alone"])
def test_interrupt(toys: Work, group: bool):
    toys.write("Compressfile", SLEEPERS)
    process = toys.start("all", "--json")
    seen = _until_sleeping(process)
    os.killpg(process.pid, signal.SIGINT) if group else os.kill(process.pid, signal.SIGINT)
    began = time.monotonic()
    ran = finish(process, 20)
    assert ran.code == 130
    assert "interrupted" in ran.err
    assert "Traceback" not in ran.err
    assert time.monotonic() - began < 10
    assert toys.settle(5) == []
    assert any("quick/toy.copy" in line for line in seen)
    assert os.listdir(toys.root / "cache" / "tmp") == []
    assert toys.json("quick").started == []  # what had finished is kept


def test_terminate_and_quit_leave_no_process(toys: Work):
    toys.write("Compressfile", SLEEPERS)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        process = toys.start("all", "--json")
        _until_sleeping(process)
        process.send_signal(signum)
        ran = finish(process, 20)
        assert ran.code not in (0, None)
        assert toys.settle() == []


def _until_sleeping(process) -> list[str]:
    """The events up to the one that says that both sleepers have started."""
    lines: list[str] = []
    while sum('"node-started"' in line and '"slow-' in line for line in lines) < 2:
        line = process.stdout.readline()
        assert line, "the build ended early"
        lines.append(line)
    return lines


def test_more_jobs_than_files_may_be_open(toys: Work):
    """Each node holds a pipe and locks. As many run at once as there are descriptors for."""
    targets = "".join(f"  t{n}: {{from: f, steps: [toy.copy: {{seconds: 0.2, note: '{n}'}}]}}\n" for n in range(24))
    toys.write("Compressfile", "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n" + targets)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    try:
        build = toys.start("-j", "999", "all")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    ran = finish(build, 120)
    assert (ran.code, ran.err) == (0, "")
    assert "24 of 24 targets up to date" in ran.out
