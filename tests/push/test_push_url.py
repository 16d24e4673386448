"""``cbuild push`` to a store that fsspec knows: the seal comes last, and nothing is uploaded twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from command import Work

from compressbuild.build.verification import verify

fsspec = pytest.importorskip("fsspec")
memory = pytest.importorskip("fsspec.implementations.memory")

CANARY = "canary-7f3a9c51"


class Stopped(BaseException):
    """A kill."""


class Flaky(memory.MemoryFileSystem):
    """A store that lives in this process. ``left``: changes until it stops; ``spoils``: names it damages on the way."""

    protocol = "flaky"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    left = 10**9
    failure: BaseException = Stopped()
    spoils = ""
    sent: list[str] = []

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky://"))

    @classmethod
    def _step(cls) -> None:
        cls.left -= 1
        if cls.left < 0:
            raise cls.failure

    def put_file(self, lpath, rpath, **kwargs):
        self._step()
        self.sent.append(rpath.rpartition("/")[2])
        super().put_file(lpath, rpath, **kwargs)

    def cp_file(self, path1, path2, **kwargs):
        self._step()
        super().cp_file(path1, path2, **kwargs)
        if self.spoils and path2.endswith(self.spoils):
            data = self.cat_file(path2)
            self.pipe_file(path2, data[:-1] + bytes([data[-1] ^ 1]))

    def rm_file(self, path):
        self._step()
        super()._rm(path)

    def rm(self, path, recursive=False, maxdepth=None):
        self._step()
        super().rm(path, recursive=recursive, maxdepth=maxdepth)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    for name, value in {
        "store": {},
        "pseudo_dirs": [""],
        "left": 10**9,
        "failure": Stopped(),
        "spoils": "",
        "sent": [],
    }.items():
        monkeypatch.setattr(Flaky, name, value)
    return Flaky


def fetched(store: type[Flaky], tmp_path: Path, name: str = "first") -> Path | None:
    """What a reader gets: nothing without a seal."""
    files = {
        key.removeprefix(f"/models/{name}/"): value for key, value in store.store.items() if f"/models/{name}/" in key
    }
    if "provenance.json" not in files:
        return None
    place = tmp_path / "fetched" / str(len(list((tmp_path / "fetched").glob("*")))) / name
    for path, value in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(value.getvalue())
    return place


PUSH = ("push", "first", "flaky://models")


def test_push_then_push_again(toys: Work, flaky: type[Flaky], tmp_path: Path) -> None:
    assert toys(*PUSH).out.startswith("first: pushed to flaky://models/first (3 of 3 files")
    place = fetched(flaky, tmp_path)
    assert place is not None
    assert not verify(place, "first").mismatches
    assert all(key.startswith("/models/first/") for key in flaky.store), "nothing is left beside it"
    flaky.left = 0
    assert "nothing uploaded" in toys(*PUSH).out


def test_only_what_changed_is_uploaded(toys: Work, flaky: type[Flaky], tmp_path: Path) -> None:
    toys(*PUSH)
    flaky.sent.clear()
    toys("all", "--set", "evaluate.metrics=[length, wait]")  # the artifact stays
    assert "(2 of 3 files" in toys(*PUSH, "--set", "evaluate.metrics=[length, wait]").out
    assert sorted(flaky.sent) == ["metrics.json", "provenance.json"]
    place = fetched(flaky, tmp_path)
    assert place is not None
    assert not verify(place, "first").mismatches


def test_a_damaged_file_is_replaced(toys: Work, flaky: type[Flaky], tmp_path: Path) -> None:
    toys(*PUSH)
    flaky.store["/models/first/value"].write(b"other")
    assert "first: pushed" in toys(*PUSH).out
    place = fetched(flaky, tmp_path)
    assert place is not None
    assert not verify(place, "first").mismatches


def test_bytes_that_come_back_changed_are_not_sealed(toys: Work, flaky: type[Flaky], tmp_path: Path) -> None:
    flaky.spoils = "value"
    assert "value came back with other bytes" in toys(*PUSH, code=1).err
    assert fetched(flaky, tmp_path) is None
    flaky.spoils = ""
    toys(*PUSH)
    assert fetched(flaky, tmp_path) is not None


def test_foreign_files_are_not_overwritten(toys: Work, flaky: type[Flaky]) -> None:
    Flaky().pipe_file("/models/first/value", b"mine")
    assert "no push put there" in toys(*PUSH, code=1).err
    assert Flaky().cat_file("/models/first/value") == b"mine"


@pytest.mark.parametrize("replacing", [False, True])
def test_a_kill_at_any_moment_leaves_a_whole_artifact_or_none(
    toys: Work, flaky: type[Flaky], tmp_path: Path, replacing: bool
) -> None:
    toys(*PUSH)
    old = dict(flaky.store)
    old_seal = old["/models/first/provenance.json"].getvalue()
    toys("first", "--set", "vars.salt=2")
    push = (*PUSH, "--set", "vars.salt=2")
    new_seal = (toys.root / "build/first/provenance.json").read_bytes()
    seen, at = set(), 0
    while True:
        flaky.store.clear()
        for name, value in old.items() if replacing else ():
            Flaky().pipe_file(name, value.getvalue())
        flaky.left = at
        try:
            toys(*push)
        except Stopped:
            pass
        over, flaky.left = flaky.left >= 0, 10**9
        place = fetched(flaky, tmp_path)
        if place is not None:
            assert not verify(place, "first").mismatches
        seal = (place / "provenance.json").read_bytes() if place else b""
        seen.add({old_seal: "old", new_seal: "new", b"": "none"}[seal])
        toys(*push)
        healed = fetched(flaky, tmp_path)
        assert healed is not None
        assert not verify(healed, "first").mismatches
        assert all(key.startswith("/models/first/") for key in flaky.store)
        if over:
            break
        at += 1
    assert at > 6
    assert seen == ({"old", "none", "new"} if replacing else {"none", "new"})


@pytest.mark.parametrize(
    "said",
    [
        f"denied for key {CANARY}",
        f"403 on https://bucket/first?X-Amz-Signature={CANARY[:4]}ffff&token=1",
        f"got header Authorization: Bearer {CANARY[2:]}zz",
        "https://me:canarypass@store/first failed",
    ],
)
def test_a_failure_shows_no_credentials(toys: Work, flaky: type[Flaky], said: str) -> None:
    flaky.left, flaky.failure = 0, PermissionError(said)
    ran = toys(*PUSH, "--set", "vars.salt=1", code=1, AWS_SECRET_ACCESS_KEY=CANARY)
    assert ran.err.startswith("error: flaky://models/first: PermissionError: ")
    assert not re.search(r"canary|ffff|zz", ran.text), ran.text
    assert "credentials are in the environment" in ran.err


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("s3://me:secretword@bucket/models", "the address holds a password"),
        ("nosuch://bucket/models", "fsspec knows no nosuch:// addresses"),
        ("memory://models/x", "keeps nothing"),
    ],
)
def test_addresses_that_cannot_be(toys: Work, to: str, said: str) -> None:
    err = toys("push", "first", to, code=None).err
    assert said in err
    assert "secretword" not in err


def test_a_password_in_the_file_is_an_error(toys: Work) -> None:
    toys.edit("Compressfile", '"out/models"', '"s3://me:secretword@bucket/models"')
    err = toys("list", code=2).err
    assert "'to' of 'publish' entry 'here' holds a password" in err
