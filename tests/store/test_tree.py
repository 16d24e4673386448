from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.errors import StoreError
from compressbuild.store.tree import Tree, TreeFile, scan

D = "0123456789abcdef" * 4


def raw(files: list[list[object]], empty: list[str] | None = None) -> bytes:
    return b"compressbuild-tree 1\n" + msgspec.json.encode({"files": files, "empty": empty or []})


def test_a_tree_reads_back() -> None:
    tree = Tree((TreeFile("a", D, 1), TreeFile("b/é\n", D, 0, True)), ("b/c",))
    assert Tree.decode(tree.encode()) == tree
    assert tree.size == 1
    assert Tree.decode(Tree(()).encode()) == Tree(())


def test_the_format_is_fixed() -> None:
    tree = Tree((TreeFile("model.onnx", D, 7),), ("x",))
    text = b'compressbuild-tree 1\n{"files":[["model.onnx","%b",7,false]],"empty":["x"]}' % D.encode()
    assert tree.encode() == text


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "../x", "a/../../x", "a/./b", "a//b", "a/", "./a", "a\0b", "a/..", "/"],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"unsafe|unsorted"):
        Tree.decode(raw([[path, D, 1, False]]))
    with pytest.raises(ValueError, match=r"unsafe|unsorted"):
        Tree.decode(raw([], [path]))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a tree"),
        (b"compressbuild-tree 2\n{}", "not a tree"),
        (b"compressbuild-tree 1\n{", "not a tree"),
        (raw([["a", "../../x", 1, False]]), "bad digest"),
        (raw([["a", D.upper(), 1, False]]), "bad digest"),
        (raw([["a", D, -1, False]]), "bad digest or size"),
        (raw([["a", D, 1, False], ["a", D, 1, False]]), "repeated"),
        (raw([["b", D, 1, False], ["a", D, 1, False]]), "unsorted"),
        (raw([["a", D, 1, False], ["a/b", D, 1, False]]), "is a file or empty"),
        (raw([["a", D, 1, False]], ["a"]), "repeated"),
        (raw([["a", D, 1, False]], ["a/b"]), "is a file or empty"),
        (raw([["a/b", D, 1, False]], ["a"]), "is a file or empty"),
        (raw([["a", D, 1]]), "canonical"),
        (raw([["a", D, 1, False]]) + b" ", "canonical"),
        (raw([["a", D, 1, False, 9]]), "not a tree"),
        (b'compressbuild-tree 1\n{"empty":[],"files":[]}', "canonical"),
        (b'compressbuild-tree 1\n{"files":[],"empty":[],"more":1}', "not a tree"),
    ],
)
def test_what_encode_would_not_write_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Tree.decode(data)


parts = st.sampled_from(["a", "b", "..", ".", "", "a\0", "c.d", "é"])
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


@given(
    st.lists(st.tuples(paths, st.just(D), st.integers(-1, 3), st.booleans()), max_size=4), st.lists(paths, max_size=2)
)
def test_whatever_decodes_can_be_unpacked_below_its_directory(
    files: list[tuple[object, ...]], empty: list[str]
) -> None:
    """Against the operating system's own idea of paths."""
    try:
        tree = Tree.decode(raw([list(file) for file in sorted(files)], sorted(empty)))
    except ValueError:
        return
    all_paths = [file.path for file in tree.files] + list(tree.empty)
    full = [os.path.normpath(os.path.join("/dest", path)) for path in all_paths]
    assert all(path.startswith("/dest/") for path in full)
    assert len(set(full)) == len(full)
    for path in full:
        assert not any(other.startswith(path + "/") for other in full)


def test_scan_finds_files_and_empty_directories(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "f").write_bytes(b"1")
    (tmp_path / "g").write_bytes(b"22")
    files, empty = scan(str(tmp_path))
    assert [(found.path, found.stat.st_size) for found in files] == [("d/f", 1), ("g", 2)]
    assert empty == ["d/e"]


def test_scan_refuses_what_is_no_plain_content(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match=r"'d/link' in the artifact .* is a symbolic link") as error:
        scan(str(tmp_path))
    assert "write a copy instead" in str(error.value.hint)
    (tmp_path / "d" / "link").unlink()
    (tmp_path / "dirlink").symlink_to(tmp_path / "d")
    with pytest.raises(StoreError, match="symbolic link"):
        scan(str(tmp_path))
    (tmp_path / "dirlink").unlink()
    os.mkfifo(tmp_path / "d" / "fifo")
    with pytest.raises(StoreError, match="special file"):
        scan(str(tmp_path))


def test_scan_refuses_names_that_are_not_utf8(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    with pytest.raises(StoreError, match="not UTF-8"):
        scan(str(tmp_path))
