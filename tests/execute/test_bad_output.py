"""What a node leaves that is no artifact is that node's failure: nothing is moved away, and the others are built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toy import LEAVES

from compressbuild.store import unsound

FILE = """\
version: 1
models: {m: {file: f.txt}}
targets:
  bad: {from: m, steps: [toy.copy: {fail: WHAT}]}
  good: {from: m, steps: [toy.copy: {note: x}, toy.copy: {note: y}]}
"""


@pytest.mark.parametrize("what", LEAVES)
def test_it_fails_its_node_alone(toy, what: str) -> None:
    if what == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    toy.write("Compressfile", FILE.replace("WHAT", what))
    report, _ = toy.build("all", keep_going=True)
    assert {target.name: target.status for target in report.targets} == {"bad": "failed", "good": "published"}
    assert toy.value("good") == "abc"
    failed = next(event for event in toy.events if getattr(event, "cause", None))
    assert (failed.cause, failed.node) == ("raised", "bad/toy.copy")
    assert not list((toy.cache / "tmp").iterdir())
    assert (toy.root / "f.txt").read_text() == "abc"


def test_files_behind_a_link_stay_where_they_are(toy, tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    precious: Path = tmp_path_factory.mktemp("precious")
    (precious / "thesis.txt").write_text("years of work")
    monkeypatch.setitem(LEAVES, "replace", lambda out, model: (out.rmdir(), out.symlink_to(precious)))
    toy.write("Compressfile", FILE.replace("WHAT", "replace"))
    toy.build("all", keep_going=True)
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert (precious / "thesis.txt").stat().st_mode & 0o200, "nor are they made read-only"


def _unreadable(out: Path) -> None:
    (out / "value").write_text("x")
    (out / "value").chmod(0)


def _closed(out: Path) -> None:
    (out / "deep").mkdir()
    (out / "deep").chmod(0)


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (lambda out: out.rmdir(), "its output cannot be read: No such file or directory"),
        (lambda out: (out.rmdir(), out.write_text("x")), "is no longer a directory"),
        (_unreadable, "its output cannot be read: Permission denied (value)"),
        (_closed, "its output cannot be read: Permission denied"),
    ],
    ids=["nothing", "a file in its place", "an unreadable file", "a closed directory"],
)
def test_it_is_named(tmp_path: Path, leave, said: str) -> None:
    """As a user for whom modes count."""
    out = tmp_path / "out"
    out.mkdir()
    leave(out)
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                os.chdir(tmp_path)
                tmp_path.chmod(0o711)
                for path in (out, *out.glob("*")) if out.is_dir() else ():
                    os.chown(path, 65534, 65534)
                os.setuid(65534)
            os.write(writing, str(unsound("out" if os.getcwd() == str(tmp_path) else str(out))).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert said in os.read(reading, 4096).decode()


def test_check_follows_no_link_in_place_of_the_output(
    toy, tmp_path_factory: pytest.TempPathFactory, monkeypatch
) -> None:
    """The same bytes behind a link would pass for a sound run."""
    toy.write("Compressfile", FILE.replace("fail: WHAT", "note: z"))
    toy.build("all")
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "value").write_text("abc")
    import toy as plugin

    def linked(ctx, model, params) -> None:
        ctx.out.rmdir()
        ctx.out.symlink_to(elsewhere)

    monkeypatch.setattr(plugin, "copy", linked)
    report, _ = toy.build("bad", check=True)
    assert report.exit_code == 1
