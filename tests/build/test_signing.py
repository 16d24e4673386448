"""What a signature proves: nothing published can be changed, added, left out or exchanged without a trace."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from keys import Pair
from toyproject import CHAIN, Toy

from compressbuild.build.envelope import Envelope, sealed
from compressbuild.build.verification import Mismatch, verify
from compressbuild.errors import UsageError
from compressbuild.publish import SEAL
from compressbuild.signing import PublicKey, SigningKey


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair.make(tmp_path / "keys", "mine")


@pytest.fixture
def signed(toy: Toy, pair: Pair) -> Toy:
    """Built with a signing key in the environment."""
    toy.write("Compressfile", CHAIN)
    toy.environ = {"CBUILD_SIGNING_KEY": str(pair.private)}
    toy.build()
    return toy


def problems(directory: Path, pair: Pair, target: str = "b", **more: str) -> list[str]:
    return [str(each) for each in verify(directory, target, key=PublicKey(pair.public), **more).mismatches]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


EVERY = [pytest.param(None, marks=pytest.mark.slow, id="every"), pytest.param(120, id="sample")]
"""How many places of a file are tried; the sample prints its seed."""


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("CBUILD_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"CBUILD_SEED={chosen}")  # shown with a failure
    return chosen


def places(size: int, count: int | None, seed: int) -> list[int]:
    """Where to damage a file of ``size`` bytes: everywhere, or at its ends and at ``count`` random places."""
    if count is None or count >= size:
        return list(range(size))
    return sorted({0, size - 1, *random.Random(seed).sample(range(size), count)})


@pytest.mark.parametrize("count", EVERY)
def test_every_byte_of_every_published_file_counts(
    signed: Toy, pair: Pair, count: int | None, seed: int, record_property: Callable[[str, object], None]
):
    """Every byte: its lowest bit, and without a key the bit of its case (base64 and JSON have synonyms)."""
    key, directory = PublicKey(pair.public), signed.root / "build/a"
    tried = 0
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        assert data, "an empty file proves nothing here"
        for at in places(len(data), count, seed):
            for bit, by in ((0x01, key), (0x20, None)):
                path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
                tried += 1
                assert verify(directory, "a", key=by).mismatches, f"{path.name}: byte {at} ^ {bit:#x}"
        path.write_bytes(data)
    record_property("tried", tried)
    record_property("seed", "every case" if count is None else seed)
    assert {path.name for path in directory.iterdir()} == {"value", "metrics.json", SEAL}
    assert tried > (2000 if count is None else 2 * count)
    assert verify(directory, "a", key=key).mismatches == ()


@pytest.mark.parametrize("count", EVERY)
def test_every_truncation_and_every_appended_byte_counts(signed: Toy, pair: Pair, count: int | None, seed: int):
    key, directory = PublicKey(pair.public), signed.root / "build/a"
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        shorter = (data[:length] for length in places(len(data), count, seed))
        for other in (*shorter, *(data + c for c in (b" ", b"\n", b"\0", b"="))):
            path.write_bytes(other)
            assert verify(directory, "a", key=key).mismatches, f"{path.name}: {len(other)} of {len(data)} bytes"
        path.write_bytes(data)


TAMPERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda d: (d / "value").unlink(), "value missing"),
    "extra": (lambda d: (d / "more").write_text(""), "more extra"),
    "hidden": (lambda d: (d / ".more").write_text(""), ".more extra"),
    "extra deep": (lambda d: ((d / "x/y").mkdir(parents=True), (d / "x/y/z").write_text("")), "x/y/z extra"),
    "empty directory": (lambda d: (d / "x").mkdir(), "artifact changed: a mode, or an empty directory"),
    "executable": (lambda d: (d / "value").chmod(0o755), "artifact changed: a mode, or an empty directory"),
    "link to an equal file": (
        lambda d: ((d / "value").rename(d.parent / "v"), (d / "value").symlink_to("../v")),
        "value is a symbolic link",
    ),
    "link in place of the seal": (
        lambda d: ((d / SEAL).rename(d.parent / "s"), (d / SEAL).symlink_to("../s")),
        "provenance.json cannot be read (it is not a regular file)",
    ),
    "link to a directory": (lambda d: (d / "x").symlink_to("/etc"), "x is a symbolic link"),
    "fifo": (lambda d: ((d / "value").unlink(), os.mkfifo(d / "value")), "value is a special file"),
    "fifo in place of the seal": (
        lambda d: ((d / SEAL).unlink(), os.mkfifo(d / SEAL)),
        "provenance.json cannot be read (it is not a regular file)",
    ),
    "socket": (lambda d: bound(d / "s"), "s is a special file"),
    "directory in place of a file": (lambda d: ((d / "value").unlink(), (d / "value").mkdir()), "value missing"),
    "a name that is not UTF-8": (
        lambda d: (Path(os.fsdecode(os.fsencode(d) + b"/\xff"))).write_text(""),
        r"'\udcff' extra",
    ),
    "a name that draws on the terminal": (lambda d: (d / "\x1b[2J\n").write_text(""), r"'\x1b[2J\n' extra"),
    "unsigned": (
        lambda d: (d / SEAL).write_bytes(Envelope(Envelope.read(d / SEAL).payload).encode()),
        "provenance.json is not signed by this key",
    ),
}


def bound(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("tamper", TAMPERS)
def test_tampering(signed: Toy, pair: Pair, tamper: str):
    directory = signed.root / "build/b"
    assert problems(directory, pair) == []
    change, expected = TAMPERS[tamper]
    change(directory)
    assert problems(directory, pair) == [expected]


def test_a_linked_artifact_directory_is_refused(signed: Toy, pair: Pair):
    directory = signed.root / "build/b"
    directory.rename(signed.root / "moved")
    directory.symlink_to(signed.root / "moved")
    assert problems(directory, pair) == [f"{directory} is not a directory"]


def test_a_statement_of_another_target_is_refused(signed: Toy, pair: Pair):
    """Also where the whole artifact comes with it."""
    build = signed.root / "build"
    shutil.copy(build / "a" / SEAL, build / "b" / SEAL)
    assert "provenance.json is about target 'a', not 'b'" in problems(build / "b", pair)
    shutil.rmtree(build / "b")
    shutil.copytree(build / "a", build / "b")
    assert problems(build / "b", pair) == ["provenance.json is about target 'a', not 'b'"]


def test_an_older_statement_or_artifact_is_refused(signed: Toy, pair: Pair):
    directory = signed.root / "build/b"
    old = contents(directory)
    signed.write("f.txt", "another")
    signed.build()
    artifact = verify(directory, "b").artifact
    assert artifact
    assert problems(directory, pair, artifact=artifact) == []
    new = contents(directory)
    assert old["value"] != new["value"]
    (directory / SEAL).write_bytes(old[SEAL])
    assert problems(directory, pair) == ["value changed"]
    for name, data in old.items():
        (directory / name).write_bytes(data)
    assert problems(directory, pair) == []  # it was signed, in its time: only the digest tells it from the new one
    (found,) = problems(directory, pair, artifact=artifact)
    assert found.endswith(f", not {artifact}")


def test_a_signature_by_another_or_by_nobody(signed: Toy, pair: Pair, tmp_path: Path):
    directory = signed.root / "build/b"
    other = Pair.make(tmp_path / "keys", "other")
    assert problems(directory, other) == ["provenance.json is not signed by this key"]
    envelope = Envelope.read(directory / SEAL)
    forged = SigningKey(other.private).sign(envelope.authenticated)
    claimed = msgspec.structs.replace(forged, keyid=PublicKey(pair.public).keyid)
    for signature in (
        claimed,
        msgspec.structs.replace(claimed, sig=b""),
        msgspec.structs.replace(claimed, sig=bytes(64)),
    ):
        (directory / SEAL).write_bytes(msgspec.structs.replace(envelope, signatures=(signature,)).encode())
        assert problems(directory, pair) == ["provenance.json has a wrong signature by this key"]


def test_whoever_can_write_everything_is_found_out_by_the_key_alone(signed: Toy, pair: Pair):
    """A consistent forgery: the file, its digests and the checksum are changed together."""
    directory = signed.root / "build/b"
    forged = b"x" * len((directory / "metrics.json").read_bytes())
    envelope = Envelope.read(directory / SEAL)
    payload = envelope.payload
    import blake3

    for digest in (hashlib.sha256, blake3.blake3):
        before = digest((directory / "metrics.json").read_bytes()).hexdigest().encode()
        assert before in payload
        payload = payload.replace(before, digest(forged).hexdigest().encode())
    (directory / "metrics.json").write_bytes(forged)
    (directory / SEAL).write_bytes(msgspec.structs.replace(envelope, payload=payload).encode())
    assert verify(directory, "b").mismatches == ()  # what an unsigned verification cannot promise
    assert problems(directory, pair) == ["provenance.json has a wrong signature by this key"]


HOSTILE = {
    "deep": b"[" * 200_000,
    "deep payload": Envelope(b'{"predicate":' + b"[" * 200_000).encode(),
    "not UTF-8": b'{"payload":"\xff\xfe"}',
    "empty": b"",
    "binary": bytes(range(256)),
    "no statement": Envelope(b"{}").encode(),
    "null": Envelope(b"null").encode(),
    "another type": Envelope(b"{}", payloadType="text/plain").encode(),
    "another field": Envelope(b"{}").encode().replace(b'"payload"', b'"more": 1,\n  "payload"'),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_seal_is_refused(signed: Toy, what: str):
    directory = signed.root / "build/b"
    (directory / SEAL).write_bytes(HOSTILE[what])
    (found,) = verify(directory, "b").mismatches
    assert found.path == SEAL


def test_a_seal_without_end_is_not_read(signed: Toy):
    directory = signed.root / "build/b"
    with (directory / SEAL).open("r+b") as file:
        file.truncate(20 << 30)  # sparse
    assert verify(directory, "b").mismatches == (Mismatch(SEAL, "cannot be read (it is larger than 64 MiB)"),)


def test_names_in_a_statement_are_never_opened(signed: Toy, tmp_path: Path):
    """A FIFO would hang whoever opened it."""
    directory = signed.root / "build/b"
    os.mkfifo(signed.root / "build/trap")
    for name in ("../trap", str(signed.root / "build/trap"), "value/../../trap"):
        said = msgspec.json.decode(Envelope.read(directory / SEAL).payload)
        said["subject"].append({"name": name, "digest": {"sha256": "0" * 64}})
        (directory / SEAL).write_bytes(Envelope(msgspec.json.encode(said)).encode())
        assert Mismatch(name, "missing") in verify(directory, "b").mismatches


# -- signing on publication ------------------------------------------------------------------------------------------


def test_signing_twice_gives_equal_bytes_and_nothing_is_written(signed: Toy):
    directory = signed.root / "build/b"
    before = contents(directory), directory.stat().st_ino
    report, ran = signed.build()
    assert (ran, {each.status for each in report.targets}) == ([], {"up to date"})
    assert (contents(directory), directory.stat().st_ino) == before
    shutil.rmtree(directory)
    signed.build()
    assert contents(directory) == before[0]


def test_a_build_without_the_key_keeps_the_signature(signed: Toy, pair: Pair):
    signed.environ = {}
    report, _ = signed.build()
    assert {each.status for each in report.targets} == {"up to date"}
    assert problems(signed.root / "build/b", pair) == []


def test_what_was_published_unsigned_is_signed_by_the_next_build(toy: Toy, pair: Pair, tmp_path: Path):
    toy.write("Compressfile", CHAIN)
    toy.build()
    assert problems(toy.root / "build/b", pair) == ["provenance.json is not signed by this key"]
    toy.environ = {"CBUILD_SIGNING_KEY": str(pair.private)}
    assert toy.build()[1] == []
    assert problems(toy.root / "build/b", pair) == []
    toy.environ = {"CBUILD_SIGNING_KEY": str(Pair.make(tmp_path / "keys", "other").private)}
    toy.build()
    assert problems(toy.root / "build/b", Pair(tmp_path / "keys/other.pem", tmp_path / "keys/other.pub")) == []


def test_signatures_of_what_is_said_no_more_go(pair: Pair, tmp_path: Path):
    key, present = SigningKey(pair.private), tmp_path / SEAL
    present.write_bytes(sealed(b"old", present, key))
    assert Envelope.read(present).signatures
    assert Envelope.decode(sealed(b"new", present, None)).signatures == ()
    assert sealed(b"old", present, None) == present.read_bytes()


def test_signatures_are_over_the_encoding_of_dsse(pair: Pair):
    """The vector of the specification (dsse/protocol.md), and the library itself as the judge."""
    envelope = Envelope(b"hello world", payloadType="http://example.com/HelloWorld")
    assert envelope.authenticated == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    (signature,) = envelope.signed(SigningKey(pair.private)).signatures
    public = serialization.load_pem_public_key(pair.public.read_bytes())
    public.verify(signature.sig, envelope.authenticated)  # type: ignore[union-attr,call-arg]


def test_a_bad_key_ends_the_build_before_anything_runs(toy: Toy, pair: Pair, tmp_path: Path):
    toy.write("Compressfile", CHAIN)
    encrypted = Pair.make(tmp_path / "keys", "encrypted", passphrase=b"x").private
    curve = Pair.make(tmp_path / "keys", "curve", ec.generate_private_key(ec.SECP256R1())).private
    (tmp_path / "text").write_text("no key")
    for path, message in {
        tmp_path / "nowhere": "cannot read the key .*nowhere: No such file",
        tmp_path: "cannot read the key .*: Is a directory",
        tmp_path / "text": "holds no private key in PEM form",
        pair.public: "holds no private key in PEM form",
        encrypted: "has a passphrase",
        curve: "is not an ed25519 key",
    }.items():
        toy.environ = {"CBUILD_SIGNING_KEY": str(path)}
        with pytest.raises(UsageError, match=message) as raised:
            toy.build()
        assert raised.value.hint
        assert not (toy.root / "build").exists()


def test_a_private_key_is_not_for_verifying(pair: Pair):
    with pytest.raises(UsageError, match="is a private key"):
        PublicKey(pair.private)
