"""Locks, environments and records that are wrong: what is said, and where."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from compressbuild.api import Environment, Stack, Technique
from compressbuild.environment import Environments, making
from compressbuild.environment import wanted as declaring
from compressbuild.environment.lockfile import read_lock
from compressbuild.errors import CompressfileError, Mark, PluginError
from compressbuild.graph import Node, RunWith
from compressbuild.graph.draft import _placed
from compressbuild.registry.records import check_record
from compressbuild.words import PYTHONS, pythons

SHA = "--hash=sha256:" + "0" * 64
WORKER = f"msgspec==0.20.0 {SHA}\n"


def read(tmp_path, text: str):
    path = tmp_path / "lock.txt"
    path.write_text(text)
    return read_lock(str(path), "lock.txt")


def test_what_uv_writes_is_read(tmp_path):
    found = read(
        tmp_path,
        f"# by uv\nmsgspec==0.20.0 ; python_full_version >= '3.11' \\\n    {SHA} \\\n    {SHA[:-1]}1\n    # via x\n"
        f"Typing.Extensions[more]==4.1 {SHA}  # a remark\n",
    )
    first, second = found.pins
    assert (first.name, first.version, first.marker) == ("msgspec", "0.20.0", "python_full_version >= '3.11'")
    assert first.hashes == (SHA[7:], SHA[7:-1] + "1")
    assert (second.name, second.version) == ("typing-extensions", "4.1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("numpy", "'numpy' does not pin a distribution to one version"),
        ("numpy>=1.0 " + SHA, "'numpy>=1.0' does not pin"),
        ("numpy==1.*", "'numpy==1.*' does not pin"),
        ("numpy==1.0", "'numpy==1.0' has no sha256"),
        ("numpy==1.0 --hash=md5:00", "'numpy==1.0' has no sha256"),
        ("-r other.txt", "'-r other.txt' does not pin"),
        ("--index-url https://example.org/simple", "does not pin"),
        ("-e .", "does not pin"),
        (f"numpy @ https://example.org/numpy.whl {SHA}", "does not pin"),
        (f"numpy==1.0 {SHA} --config-settings=a=b", "does not pin"),
    ],
)
def test_a_line_that_is_no_pin_is_refused_with_its_place(tmp_path, line, said):
    with pytest.raises(CompressfileError) as error:
        read(tmp_path, f"{WORKER}\n{line}\n")
    (found,) = error.value.diagnostics
    assert said in found.message
    assert (found.mark.file, found.mark.line) == ("lock.txt", 3)


def test_a_lock_must_have_what_a_worker_imports(tmp_path):
    with pytest.raises(CompressfileError, match="does not pin msgspec, which each worker imports"):
        read(tmp_path, f"numpy==1.0 {SHA}\n")


def test_every_part_of_a_pin_is_in_the_digest(tmp_path):
    texts = [
        WORKER,
        f"msgspec==0.21.0 {SHA}\n",
        f"msgspec==0.20.0 {SHA[:-1]}1\n",
        f"msgspec==0.20.0 ; os_name == 'posix' {SHA}\n",
        f"{WORKER}numpy==1.0 {SHA}\n",
    ]
    assert len({read(tmp_path, text).digest for text in texts}) == len(texts)
    assert read(tmp_path, "# x\n" + WORKER).digest == read(tmp_path, WORKER).digest


def test_a_lock_that_is_not_there_is_said_with_its_place(tmp_path):
    mark = Mark("Compressfile", 2, 3)
    with pytest.raises(CompressfileError, match=r"the lock locks/a.txt cannot be read") as error:
        read_lock(str(tmp_path / "absent"), "locks/a.txt", mark)
    assert error.value.diagnostics[0].mark == mark


def test_a_build_with_a_wrong_lock_says_the_line(built):
    (built.site / "twotools/locks/new.txt").write_text(WORKER + "tinytool\n")
    for words in (["all"], ["-n", "all"], ["env", "make"]):
        ran = built(*words, code=2)
        assert "twotools:locks/new.txt:2:1: error: 'tinytool' does not pin" in ran.err, words
        assert "Traceback" not in ran.text
    assert "unusable" in built("doctor").out
    assert "new: unusable" in built("env", "list").out


def test_another_file_than_the_locked_one_is_refused(built):
    """An index, or somebody between, gives another wheel of that name and version."""
    path = built.site / "twotools/locks/new.txt"
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("tinytool")) + 1
    lines[at] = lines[at][:-4] + "beef"
    path.write_text("\n".join(lines))
    ran = built("env", "make", "new", code=4)
    assert "is not made, and cannot be made now" in ran.err
    assert "hash" in ran.err.lower()
    assert "new: not made" in built("env", "list").out


def test_a_module_that_the_lock_does_not_have_is_said(built):
    path = built.site / "twotools/locks/new.txt"
    text = path.read_text()
    path.write_text("msgspec==" + text.partition("msgspec==")[2].partition("tinytool==")[0])
    ran = built("all", code=1)
    assert "cannot import 'tinytool'" in ran.text
    assert "add it to the lock of the step's environment" in ran.text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{nwe: {python: '3.12'}}", "no installed plugin declares an environment 'nwe'"),
        ("{new: {requirement: a.txt}}", "unknown key 'requirement' in environment 'new'"),
        ("{new: {python: 3.12}}", "'python' of environment 'new' must be versions of Python"),
        ("{new: {python: newest}}", "'python' of environment 'new' cannot be 'newest'"),
        ("{new: {requirements: /etc/passwd}}", "leads outside the project"),
        ("{new: {requirements: absent.txt}}", "the lock absent.txt cannot be read"),
        ("[new]", "'environments' must be a mapping"),
    ],
)
def test_what_the_compressfile_cannot_say(built, written, said):
    built.edit("Compressfile", "models:", f"environments: {written}\nmodels:")
    ran = built("all", code=2)
    assert said in ran.err
    assert "Compressfile:2:" in ran.err
    assert "Traceback" not in ran.text


def test_a_python_that_is_not_here_is_said(built):
    built.edit("Compressfile", "models:", "environments: {new: {python: '3.99'}}\nmodels:")
    assert "no 3.99 was found" in built("env", "list").out
    ran = built("env", "make", "new", code=4)
    assert "it needs Python 3.99 (not found)" in ran.err
    assert "uv python install" in ran.err


def test_without_uv_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    from compressbuild.environment.python import Python
    from compressbuild.environment.wanted import Wanted
    from compressbuild.errors import Incompatible

    monkeypatch.setattr(declaring, "find_uv", lambda: None)
    wanted = Wanted("new", read(tmp_path, WORKER), ">=3.11", Python("3.12", "/x"), "0" * 64)
    with pytest.raises(Incompatible, match=r"it needs uv, which makes environments \(not found\)") as error:
        making.make(wanted, tmp_path / "cache/env", print)
    assert "compressbuild[environments]" in error.value.hint


def test_a_lock_for_other_machines_is_refused_before_anything_is_downloaded(built):
    """uv would leave out every line, and say that all went well."""
    path = built.site / "twotools/locks/new.txt"
    path.write_text(re.sub(r"(==[\w.]+)", r"\1 ; sys_platform == 'plan9'", path.read_text()))
    calls = built.root.parent / "calls"
    ran = built("env", "make", "new", code=4, **built.uv(f'echo "$1" >> {calls}'))
    assert not calls.exists()
    assert "it needs a lock of 'new' for Python 3." in ran.err
    assert "'environments: {new: …}'" in ran.err
    assert "it needs a lock of 'new'" in built("both", code=4).err
    doctor = built("doctor").out
    assert re.search(r"^run-new +needs a lock of 'new' for Python 3", doctor, re.MULTILINE)
    assert re.search(r"^run-old +can compile, can run here$", doctor, re.MULTILINE)
    path.write_text(re.sub(r" ; sys_platform == 'plan9'", " ; sys_platform = 'x'", path.read_text()))
    assert "'sys_platform = 'x'' of " in built("env", "make", "new", code=2).err


def test_doctor_looks_for_uv_where_an_environment_is_not_made(built, monkeypatch, tmp_path):
    """A made one needs no uv."""
    shutil.rmtree(built.place("new"))
    without = {"PATH": "/usr/bin:/bin"}
    if shutil.which("uv", path=without["PATH"]) or (Path(sys.executable).parent / "uv").exists():
        pytest.skip("uv cannot be hidden")
    doctor = built("doctor", **without).out
    assert re.search(r"^run-new +needs uv$", doctor, re.MULTILINE)
    assert re.search(r"^run-old +can compile, can run here$", doctor, re.MULTILINE)
    assert "environments" in re.search(r"pip install '(.*)'", doctor)[1]
    offered = built("plugins", **without).out
    for name, verdict in (("tool.new", "unavailable"), ("run-new", "cannot compile here")):
        assert re.search(
            rf"^  ! {name} {verdict}: needs the Python package uv \(not installed\)", offered, re.MULTILINE
        )
    assert "! tool.old" not in offered
    assert "! run-old" not in offered
    assert "needs uv" not in built("plugins").out
    assert re.search(r"^run-new +can compile, can run here$", built("doctor").out, re.MULTILINE)


def test_two_environments_are_not_put_into_one_process():
    loads = {"subject": RunWith("a:b", "backend a", 1, environment="one", tools=("x",))}
    node = Node(0, "a/b", "metric", "m", 1, "a:b", "metrics", Mark("", 1, 1), run_with=loads)
    assert _placed(node).environment == "one"
    for other in (RunWith("c:d", "backend c", 1, environment="two"), RunWith("c:d", "backend c", 1, tools=("torch",))):
        both = Node(0, "a/b", "metric", "m", 1, "a:b", "metrics", Mark("", 1, 1), run_with={**loads, "baseline": other})
        assert "one Python environment for software of several" in _placed(both).missing[0].what


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (Environment(name="Not OK", requirements="a:b.txt"), "the environment has the name 'Not OK'"),
        (Environment(name="a", requirements="lock.txt"), "the 'requirements' of environment 'a' cannot be 'lock.txt'"),
        (Environment(name="a", requirements="a:../b.txt"), "cannot be 'a:../b.txt'"),
        (Environment(name="a", requirements="a:/etc/b.txt"), "cannot be 'a:/etc/b.txt'"),
        (
            Environment(name="a", requirements="a:b.txt", python="2.7"),
            "the 'python' of environment 'a' cannot be '2.7'",
        ),
        ("litert", "'stack' must be a well-formed Stack"),
    ],
)
def test_a_record_with_a_wrong_environment_is_refused(environment, said):
    record = Technique(name="t", run="a:b", produces="text", stack=Stack(environment=environment))
    found = check_record("technique", record)
    assert found is not None
    assert said in found.message
    assert check_record("technique", Technique(name="t", run="a:b", produces="text")) is None


def test_modules_of_an_environment_are_not_asked_of_the_engine():
    environment = Environment(name="a", requirements="a:b.txt")
    assert Stack(modules=("nowhere",), environment=environment).needs.modules == ()
    assert Stack(modules=("nowhere",), environment=environment).also(tools=("x",)).environment == environment


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        (">=3.11", (11, 14), (10,)),
        (">=3.11,<3.13", (11, 12), (13,)),
        ("3.12", (12,), (11, 13)),
        ("==3.12.*", (12,), (11,)),
        (">=3.11, !=3.12", (11, 13), (12,)),
        ("<=3.12", (12,), (13,)),
        (">3.11", (12,), (11,)),
    ],
)
def test_versions_of_python(text, right, wrong):
    assert PYTHONS.fullmatch(text)
    assert all(pythons(text, minor) for minor in right)
    assert not any(pythons(text, minor) for minor in wrong)


def test_two_plugins_that_disagree_about_an_environment_are_named(tmp_path):
    stacks = [Stack(environment=Environment(name="a", requirements=f"a:{n}.txt")) for n in ("one", "two")]
    records = {f"t{n}": Technique(name=f"t{n}", run="a:b", produces="text", stack=s) for n, s in enumerate(stacks)}
    registry = SimpleNamespace(techniques=records, backends={}, kinds={}, metrics={}, sources={})
    found = Environments(SimpleNamespace(environments={}, root=tmp_path), registry, tmp_path)
    with pytest.raises(PluginError, match="technique 't0' and technique 't1' declare environment 'a' differently"):
        found.wanted("a")
    problems = []
    assert found.found("a", problems) is None
    assert "differently" in problems[0].message
    assert found.found(None, problems) is None
