"""A changed Compressfile takes the place of the old one whole, or the old one stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from compressbuild.compressfile.replacing import replace, replace_text
from compressbuild.errors import UsageError


def test_mode_and_link_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "real", tmp_path / "Compressfile"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to("real")
    replace(link, b"new", b"old")
    assert (link.is_symlink(), file.read_text(), file.stat().st_mode & 0o777) == (True, "new", 0o640)
    assert sorted(os.listdir(tmp_path)) == ["Compressfile", "real"]


@pytest.mark.parametrize("at", ["fsync", "copymode", "replace"])
@pytest.mark.parametrize("what", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, what: BaseException
) -> None:
    file = tmp_path / "Compressfile"
    file.write_text("old")

    def fails(*_: object) -> None:
        raise what

    place = {"fsync": "os.fsync", "copymode": "shutil.copymode", "replace": "os.replace"}[at]
    with monkeypatch.context() as patch:
        patch.setattr(place, fails)
        with pytest.raises(UsageError if isinstance(what, OSError) else KeyboardInterrupt):
            replace(file, b"new", b"old")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["Compressfile"]


def test_what_was_saved_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "Compressfile"
    file.write_text("saved meanwhile")
    with pytest.raises(UsageError, match="was changed while this command ran"):
        replace(file, b"new", b"old")
    with pytest.raises(UsageError, match="was changed while this command ran"):
        replace_text(file, "new", "old")
    assert file.read_text() == "saved meanwhile"
    assert os.listdir(tmp_path) == ["Compressfile"]
    file.unlink()
    with pytest.raises(UsageError, match="was changed while this command ran"):
        replace_text(file, "new", "old")


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    file = tmp_path / "Compressfile"
    file.write_bytes(b"\xef\xbb\xbfold\r\n")
    replace_text(file, "new\r\n", "old\r\n")
    assert file.read_bytes() == b"\xef\xbb\xbfnew\r\n"
