"""A directory that cannot be listed is an error, not an empty one: what is below it would count as not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest import mock

import pytest
from cbuild_push.directory import Files

from compressbuild.agent.jobs import _stats
from compressbuild.closure.data import data_files
from compressbuild.digest import walk
from compressbuild.environment.made import files_of


@pytest.mark.parametrize(
    "read",
    [
        lambda root: walk(root),
        lambda root: files_of(root),
        lambda root: data_files(str(root / "module.py"), ["data"]),
        lambda root: _stats(root),
        lambda root: Files(root).names(),
    ],
    ids=["walk", "an environment", "data of a plugin", "code on another machine", "what was pushed"],
)
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES], ids=errno.errorcode.get)
def test_it_is_not_passed_over(tmp_path: Path, read: Callable[[Path], Iterable[object]], number: int) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/file").write_text("x")
    assert list(read(tmp_path))
    plain = os.scandir

    def refused(path: str) -> object:
        if os.fspath(path).endswith("deep"):
            raise OSError(number, os.strerror(number), path)
        return plain(path)

    with mock.patch("os.scandir", refused), pytest.raises(OSError, match="deep"):
        list(read(tmp_path))
