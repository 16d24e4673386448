"""Whatever stands where a file or directory of the cache belongs: no hang, no traceback, and the next commit works."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.digest import StatCache, digest_value, load_sealed, read_regular, save_sealed
from compressbuild.errors import StoreError
from compressbuild.plan.traces import Trace, Traces
from compressbuild.store import ActionResult, Store

THINGS = ("directory", "fifo", "socket", "loop", "foreign link", "empty", "device")
PLACES = ("record", "record's shard", "object", "object's shard", "verified", "cas", "ac", "tmp")
KEY = digest_value("a")


def put(path: Path, thing: str) -> None:
    """Replace what is there."""
    if path.is_dir():
        path.rename(path.with_name(path.name + ".was"))
    path.unlink(missing_ok=True)
    if thing == "directory":
        path.mkdir()
    elif thing == "fifo":
        os.mkfifo(path)
    elif thing == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    elif thing == "loop":
        path.symlink_to(path.name)
    elif thing == "foreign link":
        path.symlink_to("/etc/passwd")
    elif thing == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("place", PLACES)
def test_a_commit_works_again(store: Store, commit: Callable[..., ActionResult], place: str, thing: str) -> None:
    result = commit(store, "a", {"x": b"1"})
    store.close()
    record, tree = Path(store.dir.record(KEY)), Path(store.dir.object(result.output))
    where = {
        "record": record,
        "record's shard": record.parent,
        "object": tree,
        "object's shard": tree.parent,
        "verified": store.path / "verified",
        "cas": store.path / "cas",
        "ac": store.path / "ac",
        "tmp": store.path / "tmp",
    }[place]
    put(where, thing)
    with Store(store.path) as again:
        found = again.lookup(KEY)
        usable = place in ("verified", "tmp")  # what the others hid is built again
        assert (type(found).__name__ == "Hit") == usable
        assert commit(again, "a", {"x": b"1"}).output == result.output
        assert type(again.lookup(KEY)).__name__ == "Hit"
    assert Path("/etc/passwd").stat().st_size > 0


@pytest.mark.parametrize("thing", THINGS)
def test_a_version_that_is_no_file_is_named(store: Store, thing: str) -> None:
    put(store.path / "version", thing)
    with pytest.raises(StoreError, match="version") as caught:
        Store(store.path)
    assert caught.value.hint


@pytest.mark.parametrize("thing", THINGS)
def test_state_that_is_no_file_is_no_state(tmp_path: Path, thing: str) -> None:
    (tmp_path / "f").write_text("x")
    for name in ("stat", "traces"):
        put(tmp_path / name, thing)
    stat = StatCache(tmp_path / "stat", tmp_path)
    assert stat.digest(tmp_path / "f")
    traces = Traces(tmp_path / "traces")
    traces.record(["a/b"], Trace(KEY, {}))
    for error in (stat.save(), traces.save()):
        assert (error is not None) == (thing == "directory")
    assert Path("/etc/passwd").stat().st_size > 0


def test_every_damage_of_one_byte_is_seen(tmp_path: Path) -> None:
    """None of them is believed, none raises."""
    path = tmp_path / "memo"
    assert save_sealed(path, b"magic-1", {"a": "é" * 10}) is None
    whole = path.read_bytes()
    assert load_sealed(path, b"magic-1", dict[str, str]) == {"a": "é" * 10}
    for place in range(len(whole)):
        for bit in (1, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            assert load_sealed(path, b"magic-1", dict[str, str]) is None
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert load_sealed(path, b"magic-1", dict[str, str]) is None


def test_what_cannot_be_saved_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = save_sealed(tmp_path / "file" / "memo", b"m", 1)
    assert isinstance(error, OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "l").symlink_to("f")
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "l")


def test_an_output_replaced_by_a_link_is_refused(store: Store, tmp_path: Path) -> None:
    """What is behind the link stays where it is."""
    precious = tmp_path / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "sub" / "thesis.txt").write_text("mine")
    before = (precious / "sub" / "thesis.txt").stat()
    scratch = store.scratch()
    scratch.rmdir()
    scratch.symlink_to(precious)
    with pytest.raises(StoreError, match="no longer a directory"):
        store.commit(scratch, key=KEY, kind="k", label="a", seconds=0, peak_rss=0, facts={}, consume=True)
    after = (precious / "sub" / "thesis.txt").stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_a_file_that_shrinks_while_it_is_hashed_kills_nobody(tmp_path: Path) -> None:
    """A mapped file would: SIGBUS."""
    big = tmp_path / "big"
    big.write_bytes(bytes(64 << 20))
    script = (
        "import os, sys, threading\n"
        "from compressbuild import digest\n"
        "path = sys.argv[1]\n"
        "threading.Timer(0.002, lambda: os.truncate(path, 10)).start()\n"
        "for _ in range(50):\n"
        "    try: digest._hash(path, 64 << 20)\n"
        "    except OSError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(big)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_build_waits_for_gc_and_says_so(
    store: Store, commit: Callable[..., ActionResult], capfd: pytest.CaptureFixture[str]
) -> None:
    commit(store, "a", {"x": b"1"})
    store.close()
    held = store.users.try_exclusive()
    assert held is not None
    threading.Timer(0.5, held.release).start()
    store.use()
    assert "another process is cleaning the cache" in capfd.readouterr().err
