"""Commands on closed and full streams, in odd places, on disks that keep nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from command import CBUILD, TOY_PATH, Inline, Work

COMMANDS = [["all"], ["all", "-v"], ["list"], ["-n", "all"], ["list", "--json"], ["verify"], ["schema"], ["--help"]]


def shell(work: Work, line: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=work.root,
        env={**os.environ, "PYTHONPATH": TOY_PATH, "CB": CBUILD},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_standard_output_closed_or_full(toys: Work, words: list[str]):
    command = " ".join(words)
    assert shell(toys, f"$CB {command} >&-") == (0, "")
    code, text = shell(toys, f"$CB {command} 2>&1 > /dev/full")
    assert (code, text) == (1, "cbuild: error: standard output: No space left on device\n")


def test_a_build_is_finished_though_nobody_can_read_of_it(toys: Work):
    (toys.root / "f.txt").write_text("changed")
    code, text = shell(toys, "$CB all 2>&1 > /dev/full")
    assert (code, text) == (1, "cbuild: error: standard output: No space left on device\n")
    assert "nothing to do" in toys("all").out


def test_no_file_takes_the_place_of_a_closed_stream(toys: Work):
    (toys.root / "f.txt").write_text("changed")
    assert shell(toys, "$CB all <&- >&- 2>&-")[0] == 0
    assert "0 bad" in toys("verify").out
    assert "are sound" in toys("cache", "verify").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", ".", "all"], "error: . is a directory"),
        (["--cache-dir", "/proc/x", "all"], "cannot open the cache /proc/x"),
        (["graph", "-o", "/dev/full"], "error: cannot write /dev/full: No space left on device"),
        (["graph", "-o", "."], "error: cannot write .: Is a directory"),
        (["--trace", ".", "all"], "Is a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_plain_mistakes(toys: Work, words: list[str], said: str):
    ran = toys(*words, code=None)
    assert ran.code in (1, 2)
    assert said in ran.err
    assert "Traceback" not in ran.text


def test_names_that_are_not_utf8(toys: Work):
    odd = Path(os.fsdecode(os.fsencode(toys.root) + b"/d\xff"))
    odd.mkdir()
    for name in ("Compressfile", "f.txt"):
        (odd / name).write_bytes((toys.root / name).read_bytes())
    ran = Inline(odd, toy=True)("all", code=2)
    assert "the project's directory, b'" in ran.err
    assert "has a name that is not UTF-8" in ran.err
    assert "the cache, b'" in toys("--cache-dir", os.fsdecode(b"c\xff"), "all", code=2).err


def test_what_cannot_be_kept_is_a_warning(toys: Work):
    """On a disk that is full when the state is saved, for which a directory in its place stands."""
    for name in ("stat", "traces"):
        path = toys.root / ".cbuild" / name
        path.unlink(missing_ok=True)
        (path / "in the way").mkdir(parents=True)
    (toys.root / "f.txt").write_text("changed")
    ran = toys("all")
    (line,) = ran.err.splitlines()
    assert line.startswith("warning: what was learnt is not kept, so the next build is slower: ")
    assert line.endswith(("Is a directory", "Directory not empty"))
    assert "0 bad" in toys("verify").out


def test_published_but_no_longer_declared(toys: Work):
    text = (toys.root / "Compressfile").read_text()
    (toys.root / "Compressfile").write_text(
        text.replace("  second:", "  other:").replace("from: second", "from: other")
    )
    (toys.root / "build/mine").mkdir()
    (toys.root / "build/mine/notes").write_text("nobody's")
    toys("all")
    assert "published, but no longer declared: second ('cbuild clean' removes them)" in toys("list").out
    assert "second: published, but no longer declared" in toys("verify").out
    assert toys("clean", "-n").out == "would remove build/second\n"
    assert toys("clean").out == "removed build/second\n"
    assert toys("clean").out == "nothing to remove: every published target is declared\n"
    assert sorted(path.name for path in (toys.root / "build").iterdir()) == [
        "first",
        "mine",
        "other",
        "third-1",
        "third-2",
    ]
