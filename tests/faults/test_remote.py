"""A cache on a network file system without locks is refused; one that shows files late still gives right bytes."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Work, finish
from sweeps import Tally, tallied, tries

TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {seconds: 0.1}}, {toy.mix: {salt: 2, modulus: 1000}}]}
  c: {from: a, steps: [{toy.copy: {note: c}}]}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): a network file system cannot be played")
    library = tmp_path_factory.mktemp("remote") / "remote.so"
    source = Path(__file__).with_name("remote.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return str(library)


def project(root: Path) -> Work:
    work = Work(root, toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    return work


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_no_locks(shim: str, tmp_path: Path, number: int) -> None:
    work, cache = project(tmp_path / "work"), tmp_path / "cache"
    remote = {"LD_PRELOAD": shim, "REMOTE_ROOT": str(cache), "REMOTE_FLOCK": str(number)}
    ran = work("all", "--cache-dir", str(cache), code=1, **remote)
    assert f"error: cannot lock {cache}/" in ran.err
    assert "hint: put the cache on a file system that has locks" in ran.err
    assert not (work.root / "build").exists()
    assert work("all", "--cache-dir", str(cache)).code == 0, "where there are locks, the same directory serves"


def rounds(shim: str, root: Path, tally: Tally, count: int) -> None:
    """Two builds run at once. Each sees the results of the other half a second late, so an action may run twice."""
    clean = project(root / "clean")
    clean("all")
    for number in tally.upto(count):
        cache = root / f"cache{number}"
        delay = str(tally.rng.choice((50, 500, 3000)))
        remote = {"LD_PRELOAD": shim, "REMOTE_ROOT": str(cache), "REMOTE_DELAY": delay}
        works = [project(root / f"work{number}-{each}") for each in "ab"]
        with tally.case(f"{delay} ms"):
            processes = [work.start("all", "--json", "--cache-dir", str(cache), **remote) for work in works]
            for work, ran in zip(works, [finish(process, 180) for process in processes], strict=True):
                assert ran.code == 0, ran.text
                assert "Traceback" not in ran.text, ran.text
                assert work.published() == clean.published(), "other bytes"
            assert works[0]("cache", "verify", "--cache-dir", str(cache), code=None).code == 0
            again = works[1].json("all", "--cache-dir", str(cache))
            assert not again.started, "the cache is whole, once all can be seen"


def test_files_seen_late(shim: str, fast_path: Path, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        rounds(shim, fast_path, tally, 1)


@pytest.mark.slow
def test_files_seen_late_long(shim: str, fast_path: Path, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        rounds(shim, fast_path, tally, tries(60))


def test_the_shim_hides_what_another_made(shim: str, tmp_path: Path) -> None:
    code = "import os, sys; os.stat(sys.argv[1])"
    (tmp_path / "file").write_text("x")
    remote = {"LD_PRELOAD": shim, "REMOTE_ROOT": str(tmp_path), "REMOTE_DELAY": "600000"}
    ran = subprocess.run(["python3", "-c", code, str(tmp_path / "file")], env=remote, capture_output=True, check=False)
    assert b"FileNotFoundError" in ran.stderr
