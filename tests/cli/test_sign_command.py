"""``cbuild sign`` and ``cbuild verify --key``: what they print, and their exit status."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import Inline, Work
from keys import Pair

from compressbuild.build.verification import verify


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair.make(tmp_path / "keys", "mine")


def test_unsigned_verification_says_what_it_cannot_promise(built: Work):
    lines = built("verify").out.splitlines()
    assert lines[-2] == (
        "unsigned: this finds what changed since, not somebody who changed provenance.json too; "
        "sign with 'cbuild sign', then verify with --key"
    )


def test_sign_then_verify(toys: Work, pair: Pair):
    ran = toys("verify", "--key", str(pair.public), code=1)
    assert "second: provenance.json is not signed by this key" in ran.out.splitlines()
    assert len(toys("sign", "--key", str(pair.private)).out.splitlines()) == 4
    out = toys("verify", "--key", str(pair.public)).out
    assert out.endswith("4 checked, 0 bad\n")
    assert "unsigned" not in out
    assert "no signature was checked" in toys("verify").out
    assert "0 bad" in toys("all").out + toys("verify", "--key", str(pair.public)).out, "a build keeps the signatures"
    (toys.root / "build/second/value").write_text("other")
    assert "second: value changed" in toys("verify", "--key", str(pair.public), code=1).out


def test_the_variable_signs_what_is_published(toys: Work, pair: Pair):
    assert "nothing to do" in toys("all").out
    toys("all", CBUILD_SIGNING_KEY=str(pair.private))  # not the no-op of a build without a key
    toys("verify", "--key", str(pair.public))
    toys("sign", "first", CBUILD_SIGNING_KEY=str(pair.private))


def test_directories_need_no_compressfile(toys: Work, pair: Pair, tmp_path: Path):
    toys("sign", "--key", str(pair.private))
    receiver = Inline(tmp_path / "receiver")
    shutil.copytree(toys.root / "build", receiver.root / "build")
    assert receiver("verify", "build/", "--key", str(pair.public)).out.endswith("4 checked, 0 bad\n")
    (receiver.root / "build/stray").write_text("")
    assert "stray is not a directory" in receiver("verify", "build/", "--key", str(pair.public), code=1).out
    (receiver.root / "build/second").rename(receiver.root / "model")
    key = ["--key", str(pair.public)]
    renamed = receiver("verify", "./model", *key, code=1).out
    assert "model: provenance.json is about target 'second', not 'model'" in renamed
    out = receiver("verify", "./model", "--target", "second", *key).out
    digest = verify(receiver.root / "model", "second").artifact
    assert f"artifact {digest}" in out
    receiver("verify", "./model", "--target", "second", "--artifact", str(digest), *key)
    assert "is about the artifact" in receiver(
        "verify", "./model", "--target", "second", "--artifact", "0" * 64, *key, code=1
    ).out  # fmt: skip
    for empty in ("nowhere/", "empty/"):
        (receiver.root / "empty").mkdir(exist_ok=True)
        assert receiver("verify", empty, *key, code=1).out.endswith("1 bad\n")


def test_what_differs_is_not_signed(toys: Work, pair: Pair):
    (toys.root / "build/first/value").write_text("other")
    ran = toys("sign", "first", "second", "--key", str(pair.private), code=1)
    assert "not signed: first: value changed" in ran.err
    assert ran.out.startswith("second: signed by ")
    toys("verify", "second", "--key", str(pair.public))


def test_usage(toys: Work, pair: Pair):
    assert "no key to sign with" in toys("sign", code=2).err
    assert "is a private key" in toys("verify", "--key", str(pair.private), code=2).err
    assert "--artifact is about one artifact" in toys("verify", "--artifact", "0" * 64, code=2).err
    shutil.rmtree(toys.root / "build/first")
    assert "first: not published" in toys("sign", "first", "--key", str(pair.private), code=1).err
