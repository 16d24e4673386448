"""Patterns: what Python's own ``glob`` finds, but for directories that cannot be listed."""

from __future__ import annotations

import errno
import glob
import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressbuild.globbing import find

NAMES = st.sampled_from(["a", "b", "ab", "a.txt", ".a", ".b", "[x]"])
PARTS = st.sampled_from(["a", "b", "*", "**", "a*", "?", "*.txt", ".*", ".a", "[ab]", "[[]x]", "..", "."])


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Trees: empty, flat, deep, with hidden files, with links to files, to directories, to nothing."""
    # So deep that no '..' of a pattern comes to where other tests work.
    made = [tmp_path_factory.mktemp("tree") / "1/2/3/4/5" for _ in range(4)]
    for root in made:
        root.mkdir(parents=True)
    for number, root in enumerate(made[1:], 1):
        for name in ("a", "b", ".a"):
            (root / name / "ab" / "a").mkdir(parents=True)
            for path in (root / name, root / name / "ab", root / name / "ab/a")[:number]:
                for file in ("a.txt", "ab.txt", ".b", "[x]"):
                    (path / file).write_text("x")
        (root / "a/link").symlink_to(root / "b")
        (root / "b/ab.link").symlink_to("nowhere")
        (root / "b/loop").symlink_to("loop")
        (root / "a.txt").write_text("x")
    return made


@settings(max_examples=400)
@given(
    number=st.integers(0, 3), parts=st.lists(PARTS, min_size=1, max_size=4), absolute=st.booleans(), end=st.booleans()
)
def test_it_finds_what_glob_finds(roots: list[Path], number: int, parts: list[str], absolute: bool, end: bool) -> None:
    root = str(roots[number])
    pattern = "/".join(parts) + ("/" if end else "")
    if absolute:
        pattern = f"{root}/{pattern}"
    expected = set(glob.glob(pattern, root_dir=root, recursive=True))
    # Before Python 3.12, 'a/**' gives 'a/' where there is no a.
    assert find(pattern, root) == sorted(path for path in expected if os.path.lexists(os.path.join(root, path)))


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [("data/*/f", "data"), ("data/**/f", "data/x"), ("**", "data/x"), ("data/x/*", "data/x"), ("*/x/*", "data/x")],
)
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES], ids=errno.errorcode.get)
def test_a_directory_that_cannot_be_listed(tmp_path: Path, pattern: str, folder: str, number: int) -> None:
    (tmp_path / "data/x/y").mkdir(parents=True)
    (tmp_path / "data/x/f").write_text("f")
    assert find(pattern, str(tmp_path))
    plain = os.scandir

    def refused(path: str) -> object:
        if os.path.normpath(path) == str(tmp_path / folder):
            raise OSError(number, os.strerror(number), path)
        return plain(path)

    with mock.patch("os.scandir", refused):
        with pytest.raises(OSError, match=folder):
            find(pattern, str(tmp_path))
        glob.glob(pattern, root_dir=tmp_path, recursive=True)  # Python's own passes over it
