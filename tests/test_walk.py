"""A directory that cannot be listed is an error, not an empty one: what is below it would count as not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from cbuild_push.directory import Files

from compressbuild.agent.jobs import _stats
from compressbuild.closure.data import data_files
from compressbuild.environment.made import files_of
from compressbuild.globbing import walk
from compressbuild.project import undeclared


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


def test_it_finds_what_python_finds(tmp_path: Path) -> None:
    """In its order of directories: from the top down, a link to one among them, and entered only if asked."""
    for folder in ("a/b/c", "d", ".e"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("x")
    (tmp_path / "a/link").symlink_to(tmp_path / "d")
    (tmp_path / "a/lost").symlink_to("nowhere")
    (tmp_path / "a/round").symlink_to("round")
    for follow in (False, True):
        assert list(walk(tmp_path, follow=follow)) == list(os.walk(tmp_path, followlinks=follow))
    for _, inside, _ in walk(tmp_path):
        inside[:] = [name for name in inside if name != "a"]
        assert "b" not in inside, "what the caller leaves out is not entered"


def test_a_link_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """It would be missing in the record of an environment, which then counts as changed."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib64").symlink_to("lib")
    assert dict(files_of(tmp_path)) == {"lib64": ("-> lib", 0, 0)}
    plain = os.lstat

    def refused(path: str | os.PathLike[str]) -> os.stat_result:
        if os.fspath(path).endswith("lib64"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return plain(path)

    with mock.patch("os.lstat", refused), pytest.raises(OSError, match="lib64"):
        list(files_of(tmp_path))


def test_what_is_published_cannot_be_listed(tmp_path: Path) -> None:
    """``cbuild clean`` said that there was nothing to remove."""
    project: Any = SimpleNamespace(published=tmp_path / "build", spec=SimpleNamespace(targets={}))
    assert undeclared(project) == []
    (tmp_path / "build/a").mkdir(parents=True)
    (tmp_path / "build/a/provenance.json").write_text("{}")
    assert undeclared(project) == ["a"]
    with (
        mock.patch("os.listdir", side_effect=OSError(errno.EIO, os.strerror(errno.EIO), "build")),
        pytest.raises(OSError, match="build"),
    ):
        undeclared(project)
