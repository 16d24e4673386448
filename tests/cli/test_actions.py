"""``action.yml`` and ``.pre-commit-hooks.yaml``, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from command import CBUILD, Ran, Work
from repositories import commit, git

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
TEXT = """\
version: 1
models: {f: {file: f.txt}, g: {file: g.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [toy.copy], tags: [edge]}
  b: {from: g, steps: [toy.copy], gates: {length: {max: 5}}}
"""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path / "repository" / "model", toy=True)
    for name, text in {"Compressfile": TEXT, "f.txt": "abc", "g.txt": "abcd"}.items():
        made.write(name, text)
    git(made.root.parent, "init", "-q", "-b", "main")
    commit(made.root)
    return made


class Runner:
    """GitHub's runner, as far as a composite action with steps in bash needs it. ``uses`` steps are left out."""

    def __init__(self, work: Work, **inputs: str) -> None:
        self.work = work
        self.files = work.root.parent.parent
        known = {f"inputs.{name}": each["default"] for name, each in ACTION["inputs"].items()}
        assert {f"inputs.{name}" for name in inputs} <= set(known)
        self.values = {
            **known, **{f"inputs.{name}": value for name, value in inputs.items()},
            "runner.temp": str(self.files / "temp"), "runner.os": "Linux", "github.sha": "0" * 40,
        }  # fmt: skip

    def expanded(self, text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: self.values[found[1]], text)

    def wanted(self, step: dict[str, str]) -> bool:
        if "if" not in step:
            return True
        name, value = re.fullmatch(r"([\w.]+) == '(\w*)'", step["if"]).groups()  # type: ignore[union-attr]
        return self.values[name] == value

    def run(self) -> Ran:
        """Every step of the action; what all printed, and the status of the last that ran."""
        ran = Ran(0, "", "")
        for step in ACTION["runs"]["steps"]:
            if "uses" in step or not self.wanted(step):
                continue
            assert step["shell"] == "bash"
            script = self.files / "step.sh"
            script.write_text(self.expanded(step["run"]))
            env = self.work.environment(
                **{name: self.expanded(value) for name, value in step.get("env", {}).items()},
                GITHUB_ACTIONS="true", GITHUB_OUTPUT=str(self.files / "output"), GITHUB_ACTION_PATH=str(ROOT),
                GITHUB_STEP_SUMMARY=str(self.files / "summary"), GITHUB_WORKSPACE=str(self.work.root.parent),
            )  # fmt: skip
            env["PATH"] = f"{Path(CBUILD).parent}{os.pathsep}{env['PATH']}"
            directory = self.work.root.parent / self.expanded(step.get("working-directory", "."))
            words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
            done = subprocess.run(words, cwd=directory, env=env, capture_output=True, text=True, check=False)
            ran = Ran(done.returncode, ran.out + done.stdout, ran.err + done.stderr)
            if ran.code:
                break
        return ran

    def output(self) -> str:
        return (self.files / "output").read_text().splitlines()[-1].removeprefix("targets=")


def test_the_action(work: Work):
    """A pull request, whose second commit misses a gate."""
    runner = Runner(work, directory="model", install="false")
    ran = runner.run()
    assert ran.code == 0, ran.text
    assert runner.output() == "all"
    assert len(list(ElementTree.parse(work.root / "cbuild-junit.xml").iter("testcase"))) == 2
    git(work.root, "switch", "-qc", "topic")
    work.write("g.txt", "abcdefg")
    commit(work.root)
    runner = Runner(work, directory="model", install="false", since="main", junit="other.xml")
    ran = runner.run()
    assert ran.code == 3, ran.text
    assert runner.output() == "b"
    assert "::error file=model/Compressfile,line=6," in ran.err
    assert "❌ **b**" in (runner.files / "summary").read_text()
    (case,) = ElementTree.parse(work.root / "other.xml").iter("testcase")
    assert case.find("failure") is not None


def test_the_action_where_nothing_differs(work: Work):
    runner = Runner(work, directory="model", install="false", since="main", targets="tag:edge b")
    ran = runner.run()
    assert (ran.code, runner.output()) == (0, "")
    assert "nothing differs from main\n" in ran.out
    runner = Runner(work, directory="model", install="false", since="absent")
    assert runner.run().code == 2
    runner = Runner(work, directory="model", install="false", locked="true")
    assert runner.run().code == 4


def test_the_action_installs_what_is_there(work: Work, tmp_path: Path):
    """The step's words, given to a ``python`` that writes down what it was asked."""
    python = work.write("../bin/python", f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\nexit 9\n')
    python.chmod(0o755)
    env = {"PATH": f"{python.parent}:{os.environ['PATH']}", "GITHUB_ACTION_PATH": str(ROOT)}
    (step,) = [step for step in ACTION["runs"]["steps"] if step.get("if")]
    for extras, asked in (("onnx,torch", f"{ROOT}[onnx,torch]"), ("", str(ROOT))):
        done = subprocess.run(["bash", "-ec", step["run"]], env={**env, "EXTRAS": extras}, check=False)
        assert done.returncode == 9
        assert (tmp_path / "asked").read_text().split("\n")[:-1] == ["-m", "pip", "install", asked]


def test_the_hook(work: Work):
    """The entry with file names behind it, as pre-commit runs it."""
    work.write("broken/Compressfile", TEXT.replace("from: f", "form: f"))
    work.write("f.txt", "changed")
    env = work.environment()
    env["PATH"] = f"{Path(CBUILD).parent}{os.pathsep}{env['PATH']}"

    def hook(*files: str) -> Ran:
        words = [*shlex.split(HOOK["entry"]), *files]
        done = subprocess.run(words, cwd=work.root, env=env, capture_output=True, text=True, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    assert hook("Compressfile") == Ran(0, "", "")
    ran = hook("broken/Compressfile", "Compressfile")
    assert (ran.code, ran.out) == (1, "")
    assert "broken/Compressfile:5:7: error: unknown key 'form'" in ran.err
    named = [path for path in ("Compressfile", "a/Compressfile", "Compressfile.lock", "xCompressfile") if
             re.search(HOOK["files"], path)]  # fmt: skip
    assert named == ["Compressfile", "a/Compressfile"]


@pytest.mark.slow
def test_the_hook_in_pre_commit(tmp_path: Path):
    """pre-commit itself, which installs this repository into an environment of its own."""
    command = shutil.which("pre-commit") or shutil.which("pre-commit", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("there is no pre-commit")
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv", "cache", "build", ".cbuild"))
    git(tmp_path, "init", "-q", "source")
    commit(source)
    project = tmp_path / "project"
    project.mkdir()
    git(tmp_path, "init", "-q", "project")
    text = "version: 1\nmodels: {m: {file: m.onnx}}\ntargets: {a: {from: m, steps: [convert.fp16]}}\n"
    (project / "Compressfile").write_text(text)
    commit(project)
    env = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    words = [command, "try-repo", str(source), HOOK["id"], "--all-files"]
    done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout
    (project / "Compressfile").write_text(text.replace("fp16", "fp17"))
    done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "did you mean 'convert.fp16'?" in done.stdout
