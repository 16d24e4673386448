from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from compressbuild import digest as digest_module
from compressbuild.digest import StatCache, digest_value, encode, file_digest, is_digest, seal, unseal

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))  # lone surrogates too
    | st.binary()
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.frozensets(hashable, max_size=3)
    ),
    max_leaves=12,
)


def same(a: object, b: object) -> bool:
    """Equal in type and content, written without the encoder: the oracle."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        assert isinstance(b, float)
        return (math.isnan(a) and math.isnan(b)) or struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    if isinstance(a, dict | frozenset):
        left, right = list(a.items() if isinstance(a, dict) else a), list(b.items() if isinstance(b, dict) else b)
        for item in left:
            match = next((i for i, other in enumerate(right) if same(item, other)), None)
            if match is None:
                return False
            del right[match]
        return not right
    return a == b


@given(values, values)
@settings(max_examples=400)
def test_two_values_encode_alike_only_if_they_are_the_same(a: object, b: object) -> None:
    assert (encode(a) == encode(b)) == same(a, b)


@given(values)
def test_a_value_encodes_like_its_copy(value: object) -> None:
    assert encode(value) == encode(eval(repr(value), {"nan": math.nan, "inf": math.inf}))


@given(st.lists(values, max_size=4), st.lists(values, max_size=4))
def test_no_encoding_is_a_prefix_of_another_sequence(a: list[object], b: list[object]) -> None:
    """Prefix-free: concatenated encodings can be taken apart in one way only."""
    joined = b"".join(map(encode, a)), b"".join(map(encode, b))
    assert (joined[0] == joined[1]) == same(a, b)


def test_look_alikes_differ() -> None:
    looks = [1, True, 1.0, "1", b"1", [1], (1,), frozenset({1}), {1: 1}, -1, 256, 255, 2**64, 2**70000]
    looks += [0, False, 0.0, -0.0, None, "", b"", [], (), {}, frozenset(), "None", math.inf, -math.inf, math.nan]
    looks += [[[1], 2], [1, [2]], [1, 2], ["1", "2"], ["12"], {"a": "b"}, {"b": "a"}, [("a", "b")], "é", "e\u0301"]
    assert len({encode(value) for value in looks}) == len(looks)
    assert len({digest_value(value) for value in looks}) == len(looks)


def test_order_counts_in_lists_and_not_in_dicts() -> None:
    assert encode({"a": 1, "b": 2}) == encode({"b": 2, "a": 1})
    assert encode([1, 2]) != encode([2, 1])
    assert encode(frozenset({"x", "y", "z"})) == encode(frozenset({"z", "y", "x"}))


class Text(str):
    pass


@pytest.mark.parametrize("value", [object(), {1, 2}, bytearray(b"x"), 1j, Path("x"), Text("x"), range(3), print, [{0}]])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot encode a "):
        encode(value)


def test_circular_values_are_refused() -> None:
    ring: list[object] = []
    ring.append(ring)
    with pytest.raises(ValueError, match="nested more than"):
        encode(ring)


def test_the_encoding_is_fixed() -> None:
    """Keys outlive versions: these bytes may change only with the cache's format."""
    value = {"b": [True, None, -1, 1.5], "a": ("x", b"\0", frozenset({2}))}
    assert encode(value) == b"m2:s1:at3:s1:xb1:\0f1:i1:\x02s1:bl4:TNi1:\xffd?\xf8\0\0\0\0\0\0"
    assert digest_value(value, "d") == blake3(b"compressbuild\0s1:d" + encode(value)).hexdigest()


def test_domains_separate() -> None:
    assert digest_value("x", "a") != digest_value("x", "b")
    assert is_digest(digest_value("x"))


def test_digests_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from compressbuild.digest import *; print(digest_value({'a': frozenset('xyzuvw'), 'b': {c: c for c in 'pq'}}))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 65


@pytest.mark.parametrize("size", [0, 1, 1024, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (8 << 20) - 1, (8 << 20) + 7])
def test_file_digest_is_blake3_of_the_bytes(tmp_path: Path, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (tmp_path / "f").write_bytes(data)
    assert file_digest(tmp_path / "f") == blake3(data).hexdigest()


def test_file_digest_refuses_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        file_digest(tmp_path / "fifo")
    with pytest.raises(IsADirectoryError):
        file_digest(tmp_path)
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "missing")


@given(st.binary(max_size=60), st.integers(min_value=0), st.integers(1, 255))
def test_a_sealed_file_knows_any_flipped_byte(body: bytes, where: int, change: int) -> None:
    sealed = bytearray(seal(b"magic-1", body))
    assert unseal(b"magic-1", bytes(sealed)) == body
    assert unseal(b"magic-2", bytes(sealed)) is None
    assert unseal(b"magic-1", bytes(sealed[:-1])) is None
    sealed[where % len(sealed)] ^= change
    assert unseal(b"magic-1", bytes(sealed)) is None


# -- the stat cache ----------------------------------------------------------------------------------------------------


class Project:
    """A root with a file, and a count of how often files were read."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = path / "project"
        self.root.mkdir()
        self.file = self.root / "code.py"
        self.file.write_bytes(b"one")
        self.hashed = 0
        real = digest_module._hash

        def counting(name: str, size: int) -> str:
            self.hashed += 1
            return real(name, size)

        monkeypatch.setattr(digest_module, "_hash", counting)

    def cache(self) -> StatCache:
        return StatCache(self.root / ".cbuild" / "stat", self.root)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


def age(path: Path, seconds: float = 10) -> None:
    """Make a file old. Its ctime cannot be set, so the clock granularity is what tests of age change."""
    st_ = path.stat()
    os.utime(path, ns=(st_.st_atime_ns, st_.st_mtime_ns - int(seconds * 1e9)))


@pytest.fixture
def fine_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files were older than the clock's granularity when they were hashed."""
    monkeypatch.setattr(digest_module, "CLOCK_GRANULARITY_NS", -(10**9))


def test_an_unchanged_file_is_read_once(project: Project, fine_clock: None) -> None:
    cache = project.cache()
    assert [cache.digest(project.file) for _ in range(3)] == [blake3(b"one").hexdigest()] * 3
    cache.save()
    assert project.cache().digest(project.file) == blake3(b"one").hexdigest()
    assert project.hashed == 1


def test_a_changed_file_is_seen(project: Project, fine_clock: None) -> None:
    cache = project.cache()
    cache.digest(project.file)
    project.file.write_bytes(b"two!")
    assert cache.digest(project.file) == blake3(b"two!").hexdigest()
    age(project.file)
    replacement = project.root / "new"
    replacement.write_bytes(b"six!")
    os.utime(replacement, ns=(0, project.file.stat().st_mtime_ns))
    replacement.replace(project.file)  # same size, same mtime: the inode tells
    assert cache.digest(project.file) == blake3(b"six!").hexdigest()


def test_an_entry_as_young_as_its_file_is_distrusted_until_hashed_again(project: Project) -> None:
    """What git calls racily clean: a second write within the tick leaves no trace in the stat."""
    cache = project.cache()
    before = cache.digest(project.file)
    stat_before = project.file.stat()
    project.file.write_bytes(b"ONE")
    os.utime(project.file, ns=(stat_before.st_atime_ns, stat_before.st_mtime_ns))
    entry = cache._entries["code.py"]
    same_stat = project.file.stat()
    # The worst case, made by hand: size, mtime, inode *and* ctime equal, content different.
    entry.stat = digest_module.FileStat.of(same_stat, same_stat.st_ctime_ns + 1_000_000)
    assert cache.digest(project.file) == blake3(b"ONE").hexdigest() != before
    assert project.hashed == 2


def test_a_matching_second_hash_saves_the_new_stat(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = project.cache()
    monkeypatch.setattr(digest_module.time, "time_ns", lambda: project.file.stat().st_ctime_ns + 1)
    cache.digest(project.file)
    cache.save()
    monkeypatch.setattr(digest_module.time, "time_ns", lambda: project.file.stat().st_ctime_ns + 10**9)
    again = project.cache()  # the entry is as young as the file: hash once more …
    again.digest(project.file)
    again.save()
    assert project.hashed == 2
    for _ in range(3):  # … and never after that
        project.cache().digest(project.file)
    assert project.hashed == 2


def test_columns_follow_the_content_not_the_stat(project: Project, fine_clock: None) -> None:
    cache, calls = project.cache(), []

    def compute(path: Path) -> dict[str, object]:
        calls.append(path.read_bytes())
        return {"text": path.read_text(), "list": (1, 2)}

    assert cache.memo(project.file, "syntax-1", compute) == {"text": "one", "list": [1, 2]}
    age(project.file)  # touched: one hash, no compute
    assert cache.memo(project.file, "syntax-1", compute)["text"] == "one"
    cache.save()
    assert project.cache().memo(project.file, "syntax-1", compute)["text"] == "one"
    assert calls == [b"one"]
    assert project.cache().memo(project.file, "other", compute)["text"] == "one"
    project.file.write_bytes(b"three")
    assert cache.memo(project.file, "syntax-1", compute)["text"] == "three"
    assert calls == [b"one", b"one", b"three"]


def test_a_memoised_value_cannot_be_changed_by_its_user(project: Project, fine_clock: None) -> None:
    cache = project.cache()
    cache.memo(project.file, "c", lambda _: {"a": 1})["a"] = 2
    assert cache.memo(project.file, "c", lambda _: {"a": 3}) == {"a": 1}


def test_a_file_written_while_it_is_computed_on_is_computed_on_again(project: Project, fine_clock: None) -> None:
    cache, writes = project.cache(), iter([b"later"])

    def compute(path: Path) -> str:
        text = path.read_text()
        for data in writes:
            path.write_bytes(data)
        return text

    assert cache.memo(project.file, "c", compute) == "later"
    assert cache.digest(project.file) == blake3(b"later").hexdigest()


def test_a_file_that_never_rests_is_an_error(project: Project) -> None:
    def compute(path: Path) -> int:
        with path.open("ab") as file:
            return file.write(b"x")

    with pytest.raises(OSError, match="keeps changing"):
        project.cache().memo(project.file, "c", compute)


def test_an_exception_is_not_remembered(project: Project) -> None:
    cache = project.cache()
    with pytest.raises(ZeroDivisionError):
        cache.memo(project.file, "c", lambda _: 1 // 0)
    assert cache.memo(project.file, "c", lambda _: 5) == 5


def test_the_project_can_move(project: Project, tmp_path: Path, fine_clock: None) -> None:
    cache = project.cache()
    cache.digest(project.file)
    outside = tmp_path / "outside"
    outside.write_bytes(b"far")
    cache.digest(outside)
    cache.save()
    assert str(project.root).encode() not in (project.root / ".cbuild" / "stat").read_bytes()
    moved = tmp_path / "elsewhere"
    project.root.rename(moved)
    cache = StatCache(moved / ".cbuild" / "stat", moved)
    assert cache.digest(moved / "code.py") == blake3(b"one").hexdigest()
    assert cache.digest(outside) == blake3(b"far").hexdigest()
    assert project.hashed == 2


def test_a_sibling_with_the_roots_name_as_prefix_is_outside(project: Project, tmp_path: Path) -> None:
    sibling = tmp_path / "project-2"
    sibling.write_bytes(b"s")
    cache = project.cache()
    cache.digest(sibling)
    assert list(cache._entries) == [str(sibling)]


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b[:50] + b"?" + b[51:], lambda b: b"", lambda b: b * 2])
def test_a_damaged_cache_is_an_empty_one(project: Project, fine_clock: None, damage: object) -> None:
    cache = project.cache()
    cache.digest(project.file)
    cache.save()
    path = project.root / ".cbuild" / "stat"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert project.cache().digest(project.file) == blake3(b"one").hexdigest()
    assert project.hashed == 2


def test_a_sealed_body_of_another_shape_is_an_empty_cache(project: Project) -> None:
    path = project.root / ".cbuild" / "stat"
    path.parent.mkdir()
    path.write_bytes(seal(StatCache._MAGIC, json.dumps({"a": 1}).encode()))
    assert project.cache()._entries == {}


def test_a_missing_file_is_forgotten_and_an_error(project: Project) -> None:
    cache = project.cache()
    cache.digest(project.file)
    project.file.unlink()
    with pytest.raises(FileNotFoundError):
        cache.digest(project.file)
    assert cache._entries == {}


def test_saving_writes_only_what_is_new(project: Project, fine_clock: None) -> None:
    cache = project.cache()
    cache.save()
    assert not (project.root / ".cbuild").exists()
    cache.digest(project.file)
    cache.save()
    inode = (project.root / ".cbuild" / "stat").stat().st_ino
    again = project.cache()
    again.digest(project.file)
    again.save()
    assert (project.root / ".cbuild" / "stat").stat().st_ino == inode
    assert os.listdir(project.root / ".cbuild") == ["stat"]
