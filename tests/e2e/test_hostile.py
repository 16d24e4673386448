"""A plugin that does harm: it is named, other targets are built, and no process is left."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import hostile
import pytest
from command import Ran, Work
from installed import install
from sweeps import tallied

from compressbuild.execute import landlock
from compressbuild.execute.sandbox import lack

KILLED = ("crashed", "the workers' parent process ended")
# way → (cause, a part of what is said); None: no harm is done, and the target is published.
EXPECTED: dict[str, tuple[str, str] | None] = {
    "import error": ("raised", "No module named 'no_such_module'"),
    "SystemExit": ("raised", "SystemExit: 0"),
    "exit": ("crashed", "exited with status 0 without a result"),
    "segfault": ("crashed", "SIGSEGV"),
    "hang": ("timeout", "exceeded its timeout"),
    "stops": ("timeout", "exceeded its timeout"),
    "kills its parent": KILLED,
    "closes": ("crashed", "without a result"),
    "fifo": ("raised", "is a special file"),
    "link": ("raised", "is a symbolic link"),
    "itself": ("raised", "is a symbolic link"),
    "fork bomb": ("timeout", "exceeded its timeout"),
    "daemon": None,
    "nohup": None,
    "junk": ("crashed", "what it sent as its result is unreadable"),
    "streams": None,
    "log": None,
    "terminal": ("raised", "ValueError"),
    "shout": ("raised", "ValueError: xxx"),
    "unprintable": ("crashed", "without a result"),
    "base": ("raised", "NotAnException: neither caught"),
    "recursion": ("raised", "RecursionError"),
    "nested": ("raised", "RecursionError"),
    "cyclic": ("raised", "RecursionError"),
    "heavy": ("raised", "of facts, and at most 8 MiB are kept"),
    "outside": ("raised", "planted.py"),
    "cache": ("raised", "belongs to an input of this node"),
    "no out": ("raised", "out"),  # the kernel refuses, or the directory is missed
    "no scratch": None,
    "deep": ("raised", "has a path of more than 1000 characters"),
    "names": None,
    "shut": None,
    "good": None,
}
# Landlock lets it signal no process that it did not start.
if landlock.version() >= 6:
    EXPECTED["kills its parent"] = ("raised", "PermissionError")
SANDBOXES = [kind for kind in ("auto", "bubblewrap") if lack(kind) is None]


def target(way: str) -> str:
    return "h-" + way.replace(" ", "-").lower()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "hostile-plugin", "1.0", {"hostile": "hostile"})
    shutil.copy(hostile.__file__, site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    project = Work(tmp_path / "project", toy=True)
    project.write("f.txt", "abc")
    return project


def declare(work: Work, ways: list[str]) -> None:
    lines = ["version: 1", "models: {f: {file: f.txt}}", "targets:"]
    for way in ways:
        seconds = 4 if (EXPECTED[way] or ("", ""))[0] == "timeout" else 200
        lines.append(f"  {target(way)}: {{from: f, steps: [{{hostile.harm: {{how: {way}}}, timeout: {seconds}s}}]}}")
    work.write("Compressfile", "\n".join(lines) + "\n")


def check(work: Work, way: str, ran: Ran) -> None:
    expected, found = EXPECTED[way], ran.targets[target(way)]
    failures = {failure.node: failure for failure in ran.failures}
    if expected is None:
        assert found.status == "published", f"{way}: {found}"
        return
    assert found.status == "failed", f"{way}: {found}"
    failure = failures[f"{target(way)}/hostile.harm"]
    assert failure.cause == expected[0], f"{way}: {failure.cause}, {failure.error[:300]}"
    assert expected[1] in failure.error, f"{way}: {failure.error[:300]}"
    assert not (work.root / "build" / target(way)).exists(), way


def harmed(work: Work, ways: list[str], record_property: Callable[[str, object], None]) -> None:
    declare(work, ways)
    with tallied(record_property) as tally:
        ran = work.json("-k", "all", code=None)
        for way in ways:
            with tally.case():
                check(work, way, ran)
        assert "Traceback" not in ran.err, ran.err
        assert work.settle() == [], "a process is left"
        plain = work("-k", "all", code=None)
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", plain.text), "a control character reached the terminal"
        work("--help")
        assert work.settle() == [], "a process is left"
        assert work("cache", "verify", code=None).code == 0


def test_some_harm(work: Work, record_property: Callable[[str, object], None]):
    harmed(work, ["good", "deep", "junk", "daemon", "unprintable", "closes"], record_property)


@pytest.mark.slow
@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_all_harm(
    work: Work, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch, sandbox: str
):
    assert set(EXPECTED) == set(hostile.WAYS)
    monkeypatch.setattr(work, "environment", functools.partial(work.environment, CBUILD_SANDBOX=sandbox))
    harmed(work, list(EXPECTED), record_property)


@pytest.mark.parametrize("sandbox", ["none", *SANDBOXES[1:]])
def test_the_neighbours_of_a_node_that_kills_its_parent_are_built(
    work: Work, monkeypatch: pytest.MonkeyPatch, sandbox: str
):
    """They did nothing wrong, so they run again; the one that did it fails by its name."""
    monkeypatch.setitem(EXPECTED, "kills its parent", KILLED if sandbox == "none" else EXPECTED["kills its parent"])
    declare(work, ["kills its parent"])
    text = (work.root / "Compressfile").read_text()
    beside = "".join(f"  t{n}: {{from: f, steps: [toy.copy: {{seconds: 0.5, note: '{n}'}}]}}\n" for n in range(3))
    work.write("Compressfile", text + beside)
    ran = work.json("-k", "-j", "4", "all", code=1, CBUILD_SANDBOX=sandbox)
    check(work, "kills its parent", ran)
    assert {name: ran.targets[name].status for name in ("t0", "t1", "t2")} == dict.fromkeys(
        ("t0", "t1", "t2"), "published"
    )
    assert work.settle() == []
