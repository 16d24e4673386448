"""A file that a command writes is the old one or the new one, whatever fails, and whatever lies in its place."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from compressbuild.whole import write_new, write_whole

STEPS = ("open", "write", "fsync", "chmod", "replace")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("step", STEPS)
def test_what_was_there_is_there_still(tmp_path: Path, step: str) -> None:
    (path := tmp_path / "f").write_bytes(b"old")
    with (
        mock.patch(f"os.{step}", side_effect=OSError(errno.ENOSPC, "no space")),
        pytest.raises(OSError, match="no space"),
    ):
        write_whole(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["open", "write", "fsync"])
def test_nothing_is_made_where_nothing_was(tmp_path: Path, step: str) -> None:
    for write in (write_new, write_whole):
        with (
            mock.patch(f"os.{step}", side_effect=OSError(errno.ENOSPC, "no space")),
            pytest.raises(OSError, match="no space"),
        ):
            write(str(tmp_path / "f"), b"new")
        assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """But not what one that lives writes at this moment, nor somebody's file of a like name."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    others = [f".f.{os.getppid():x}.cbuild-new", ".f.1a2b", ".f.xyz.cbuild-new", ".g.ffffff.cbuild-new"]
    for name in (f".f.{gone.pid:x}.cbuild-new", *others):
        (tmp_path / name).write_text("")
    write_whole(str(tmp_path / "f"), b"new")
    assert names(tmp_path) == sorted([*others, "f"])


def test_a_disk_that_takes_a_part_at_a_time(tmp_path: Path) -> None:
    """``write`` then says how much it took, and that is no error."""
    plain = os.write
    with mock.patch("os.write", side_effect=lambda descriptor, data: plain(descriptor, bytes(data)[:3])):
        write_whole(str(tmp_path / "f"), b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_memo_is_whole_too(tmp_path: Path) -> None:
    from io import FileIO

    from compressbuild.digest import load_sealed, save_sealed

    class Slow(FileIO):
        def write(self, data) -> int:
            return super().write(bytes(data)[:7])

    with mock.patch("builtins.open", lambda path, mode, **_: Slow(path, mode)):
        assert save_sealed(tmp_path / "memo", b"test-1", {"a": list(range(50))}) is None
    assert load_sealed(tmp_path / "memo", b"test-1", dict) == {"a": list(range(50))}


def test_the_mode_and_a_link_stay(tmp_path: Path) -> None:
    (real := tmp_path / "real").write_bytes(b"old")
    real.chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_whole(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["link", "real"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EBUSY])
def test_a_file_in_a_directory_that_takes_no_other(tmp_path: Path, number: int) -> None:
    """As one that a container has mounted alone."""
    (path := tmp_path / "f").write_bytes(b"old and longer")
    with mock.patch("os.replace", side_effect=OSError(number, "refused")):
        write_whole(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["f"]


def test_what_the_shell_has_opened_is_written_to(tmp_path: Path) -> None:
    """Not replaced: then the shell's file would get nothing."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    for place in ("/dev/stdout", "/proc/self/fd/1", str(tmp_path / "link")):
        code = f"from compressbuild.whole import write_whole; write_whole({place!r}, b'said')"
        with (tmp_path / "out").open("w") as out:
            subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
        assert (tmp_path / "out").read_bytes() == b"said"
        piped = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
        assert piped.stdout == b"said"


def test_a_directory_in_memory_is_one_like_others(fast_path: Path) -> None:
    """Although it lies below ``/dev``."""
    write_whole(str(fast_path / "f"), b"first")
    write_whole(str(fast_path / "f"), b"second")
    assert (fast_path / "f").read_bytes() == b"second"
    assert names(fast_path) == ["f"]


def test_a_fifo_without_a_reader_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(OSError, match="No such device"):
        write_whole(str(tmp_path / "f"), b"new")
    write_whole("/dev/null", b"new")
    with pytest.raises(IsADirectoryError):
        write_whole(str(tmp_path), b"new")


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    write_new(str(tmp_path / "f"), b"first")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("f", "dangling"):
        with pytest.raises(FileExistsError):
            write_new(str(tmp_path / name), b"second")
    with mock.patch("os.path.lexists", return_value=False), pytest.raises(FileExistsError):
        write_new(str(tmp_path / "f"), b"somebody was faster")
    assert (tmp_path / "f").read_bytes() == b"first"
    with mock.patch("os.link", side_effect=PermissionError(errno.EPERM, "no links here")):
        write_new(str(tmp_path / "g"), b"first")
    assert (tmp_path / "g").read_bytes() == b"first"
    assert names(tmp_path) == ["dangling", "f", "g"]
