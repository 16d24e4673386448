"""Of what lies in the remote cache, only what a trusted key vouches for is used, and bytes as their digests say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from keys import Pair
from toyproject import Toy

from compressbuild.digest import bytes_digest
from compressbuild.project import connected
from compressbuild.remote import record
from compressbuild.remote.health import Health
from compressbuild.signing import PublicKey, SigningKey
from compressbuild.store import Tree, TreeFile

Checkout = Callable[..., Toy]

BIG = "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {a: {from: f, steps: [toy.copy]}}\n"
FOLDER = "version: 1\nmodels: {f: {toy-folder: model}}\ntargets: {a: {from: f, steps: [toy.copy]}}\n"
LONG = "x" * 100_000


@pytest.fixture
def shared(checkout: Checkout, tmp_path: Path) -> Path:
    """A remote cache with an import, two copies and a small one."""
    checkout("writer", writes=True).build("all")
    return tmp_path / "shared"


def records(shared: Path) -> list[Path]:
    return sorted(shared.glob("v1/ac/*/*"))


def refused(
    checkout: Checkout, capfd: pytest.CaptureFixture[str], *words: str, nodes: int = 3, warnings: int | None = None
) -> None:
    """A reader runs everything itself, says why, and publishes the right bytes."""
    capfd.readouterr()
    toy = checkout("reader")
    report, ran = toy.build("all")
    err = capfd.readouterr().err
    assert (report.exit_code, len(ran)) == (0, nodes), err
    assert all(word in err for word in words), err
    assert warnings is None or err.count("warning: ") == warnings, err
    assert toy.value("b") == checkout("writer", writes=True).value("b")


def rewritten(path: Path, change: Callable[[record._Packed], record._Packed]) -> None:
    packed = record._decoded(path.read_bytes(), record._Packed)
    path.write_bytes(record._MAGIC + msgspec.msgpack.encode(change(packed)))


def label(path: Path) -> str:
    """Of the node that a record is of."""
    packed = record._decoded(path.read_bytes(), record._Packed)
    return str(msgspec.json.decode(packed.statement)["result"]["label"])


def test_sound_records_are_used(checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Else the tests below would show nothing."""
    refused(checkout, capfd, nodes=0)
    assert "warning" not in capfd.readouterr().err


def test_another_key_is_not_trusted(
    checkout: Checkout, shared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Pair.make(tmp_path, "ci")  # the reader's public key is a new one
    refused(checkout, capfd, "signed by a key that is not trusted", "is not used", "under 'trust'", warnings=1)


def test_many_keys_are_few_warnings() -> None:
    """Whoever can write there names as many keys as they like."""
    said: list[str] = []
    health = Health("s3://x", said.append)
    for number in range(1_000):
        health.untrusted(f"{number:064}"[::-1])
        health.untrusted(f"{number:064}"[::-1])
    assert (len(said), health.refused) == (5, 2_000)


@pytest.mark.parametrize("cut", [0, 1, 30, 200, -1])
def test_a_truncated_record(checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str], cut: int) -> None:
    for path in records(shared):
        path.write_bytes(path.read_bytes()[:cut])
    refused(checkout, capfd, "the record of action")


def test_a_record_replayed_under_another_key(
    checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (first,) = (path for path in records(shared) if label(path) == "f/source")  # which nobody takes from there
    for path in records(shared):
        if path != first:
            shutil.copyfile(first, path)
    refused(checkout, capfd, f"is that of another action ({first.name[:12]})", nodes=3)


def test_a_changed_output_or_key_breaks_the_signature(
    checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    forged = Tree((TreeFile("value", bytes_digest(b"evil"), 4),))

    def point_elsewhere(packed: record._Packed) -> record._Packed:
        statement = msgspec.json.decode(packed.statement)
        statement["result"]["output"] = forged.digest
        bundle = record.Bundle(forged.encode(), {bytes_digest(b"evil"): b"evil"})
        return msgspec.structs.replace(packed, statement=msgspec.json.encode(statement), bundle=bundle)

    for path in records(shared):
        rewritten(path, point_elsewhere)
    refused(checkout, capfd, "has a wrong signature")


def test_a_signature_of_another_kind_or_format_does_not_count(tmp_path: Path, shared: Path) -> None:
    """A statement of provenance by the same key is no record, nor is a record of another format."""
    key = SigningKey(tmp_path / "ci.pem")
    trust = {key.keyid: PublicKey.of(key)}
    path = records(shared)[0]
    result, _ = record.unpack(path.read_bytes(), path.name, trust)
    for number, prefix in ((record.FORMAT, b"DSSEv1 "), (record.FORMAT, b""), (2, record._SIGNED)):
        statement = msgspec.json.encode(record._Statement(number, result))
        packed = record._Packed(statement, key.sign(prefix + statement), None)
        with pytest.raises(record.Refused, match=r"wrong signature|has format 2"):
            record.unpack(record._MAGIC + msgspec.msgpack.encode(packed), path.name, trust)


def test_a_poisoned_small_output(checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The signature still holds: it is over the digest."""
    for path in records(shared):
        rewritten(
            path,
            lambda packed: msgspec.structs.replace(
                packed, bundle=record.Bundle(packed.bundle.tree, dict.fromkeys(packed.bundle.files, b"evil"))
            ),
        )
    # 'b' has the bytes of 'a', so it does not run either once 'a' has run.
    refused(checkout, capfd, "has other bytes than its digest says", nodes=2)
    store = checkout("reader").cache / "cas"
    assert not any(path.read_bytes() == b"evil" for path in store.rglob("*") if path.is_file())


def test_another_tree_in_a_signed_record(checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    forged = Tree((TreeFile("value", bytes_digest(b"evil"), 4),)).encode()
    bundle = record.Bundle(forged, {bytes_digest(b"evil"): b"evil"})
    for path in records(shared):
        rewritten(path, lambda packed: msgspec.structs.replace(packed, bundle=bundle))
    refused(checkout, capfd, "holds another output than it names")


@pytest.mark.parametrize("harm", ["changed", "longer", "shorter", "gone", "empty"])
def test_a_poisoned_large_file(
    checkout: Checkout, tmp_path: Path, capfd: pytest.CaptureFixture[str], harm: str
) -> None:
    """Source and copy have the same bytes, so one of them runs, and the other has a result then."""

    def machine(name: str, *, writes: bool = False) -> Toy:
        toy = checkout(name, writes=writes, text=FOLDER)
        toy.write("model/text", LONG)
        toy.write("model/notes/note", "n")
        return toy

    machine("writer", writes=True).build("all")
    (blob,) = (tmp_path / "shared/v1/cas").glob("*/*")
    blob.write_text({"changed": LONG[:-1] + "y", "longer": LONG + "x", "shorter": LONG[:-1]}.get(harm, ""))
    if harm == "gone":
        blob.unlink()
    reader = machine("reader")
    assert len(reader.build("all")[1]) == 1
    assert "is not used" in capfd.readouterr().err
    assert reader.value("a") == LONG
    assert len(machine("second writer", writes=True).build("all")[1]) == 1
    assert machine("third").build("all")[1] == []  # the writer has put it right
    for cache in ("reader", "third"):
        objects = [path for path in (tmp_path / "caches" / cache / "cas").rglob("*/*") if path.is_file()]
        assert objects
        assert all(bytes_digest(path.read_bytes()) == path.name for path in objects)


def test_a_huge_record_is_not_read(checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in records(shared):
        with path.open("r+b") as file:
            file.truncate(record.RECORD_LIMIT + 1)
    refused(checkout, capfd, f"it has {record.RECORD_LIMIT + 1} bytes")


def test_a_trusted_writer_replaces_what_nobody_can_use(
    checkout: Checkout, shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in records(shared):
        path.write_bytes(b"rubbish")
    assert len(checkout("second writer", writes=True).build("all")[1]) == 3
    refused(checkout, capfd, nodes=0)


def test_the_first_writer_wins(checkout: Checkout, tmp_path: Path) -> None:
    """Two machines that made different bytes under one key, without seeing one another."""
    text = BIG.replace("toy.copy", "{toy.copy: {fail: random}}")
    first = checkout("one", writes=True, text=text)
    first.build("all")
    aside = tmp_path / "aside"
    (tmp_path / "shared").rename(aside)
    second = checkout("two", writes=True, text=text)
    second.build("all")
    assert first.value("a") != second.value("a")
    shutil.rmtree(tmp_path / "shared")
    project = second.open()
    remote = connected(project)
    assert remote is not None
    results = [each.result for each in project.plan(["a"]).actions.values() if each.result is not None]
    assert remote.find([result.key for result in results]) == []  # so it is sure to be the first
    shutil.copytree(aside, tmp_path / "shared", dirs_exist_ok=True)
    remote.offer(results)
    assert remote.finish(lambda *_: None) == 0
    assert (remote.writer.sent, remote.writer.kept) == (0, 2)
    project.close()
    third = checkout("three", text=text)
    assert third.build("all")[1] == []
    assert third.value("a") == first.value("a")


def test_without_a_key_to_trust_there_is_an_error(checkout: Checkout) -> None:
    from compressbuild.errors import UsageError

    toy = checkout("one")
    del toy.environ["CBUILD_REMOTE_TRUST"]
    with pytest.raises(UsageError, match="has no key to trust"):
        toy.build("all")
