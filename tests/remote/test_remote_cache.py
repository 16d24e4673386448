"""Two checkouts share a remote cache: the second builds nothing, takes no more than it needs, and survives its loss."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import free_port
from toyproject import Toy

from compressbuild.project import connected
from compressbuild.remote import objects
from compressbuild.remote.sweep import sweep

Checkout = Callable[..., Toy]

BIG = "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {a: {from: f, steps: [toy.copy, {toy.copy: {note: n}}]}}\n"


def published(toy: Toy) -> dict[str, bytes]:
    root = toy.root / "build"
    files = (p for p in root.rglob("*") if p.is_file() and p.name != "provenance.json")  # that of one has a signature
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def names(place: Path) -> list[str]:
    return sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())


def test_the_second_checkout_builds_nothing(checkout: Checkout, place: str) -> None:
    first = checkout("one", writes=True, url=place)
    assert len(first.build("all")[1]) == 3
    second = checkout("two", url=place)
    report, ran = second.build("all")
    assert (report.exit_code, ran, report.counts) == (0, [], {"cached": 5})
    assert published(second) == published(first) != {}


def test_a_large_output_arrives_in_parts(
    checkout: Checkout, place: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both copies have the same bytes, which are sent and taken once."""
    text = "".join(f"{n:07d}\n" for n in range(2_200_000))  # two parts, and a rest
    assert 2 * objects.PART < len(text) < 3 * objects.PART
    first = checkout("one", writes=True, url=place, text=BIG, source=text)
    sent: list[str] = []
    plain = objects.ObjectStore.upload
    monkeypatch.setattr(
        objects.ObjectStore, "upload", lambda store, name, path: (sent.append(name), plain(store, name, path))
    )
    first.build("all")
    assert len(sent) == 1
    second = checkout("two", url=place, text=BIG, source=text)
    assert second.build("all")[1] == []
    assert second.value("a") == text
    assert "warning" not in capfd.readouterr().err


def test_several_that_send_one_large_file(place: str, tmp_path: Path) -> None:
    """As machines do that made the same bytes: every one of them ends well, and the bytes are whole."""
    content = os.urandom(objects.PART + 1000)
    (tmp_path / "large").write_bytes(content)
    stores = [objects.ObjectStore(place, os.environ, 20) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda store: store.upload("v1/cas/large", tmp_path / "large"), stores))
    assert stores[0].download("v1/cas/large", len(content), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_what_nobody_can_use_is_replaced(checkout: Checkout, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    """By the condition that the provider offers."""
    checkout("one", writes=True, url=place).build("all")
    store = objects.ObjectStore(place, os.environ, 10)
    names = [each.name for each in store.list("v1/ac")]
    assert len(names) == 4
    for name in names:
        got = store.get(name, 1 << 20)
        assert got is not None
        assert store.replace(name, b"rubbish", got.tag)
        assert not store.replace(name, b"late", got.tag), "it has changed since"
    assert len(checkout("two", writes=True, url=place).build("all")[1]) == 3
    assert "4 results sent" not in capfd.readouterr().err
    assert checkout("three", url=place).build("all")[1] == []
    assert "cannot be used" not in capfd.readouterr().err


def test_what_is_dropped_there_is_built(checkout: Checkout, place: str) -> None:
    checkout("one", writes=True, url=place, text=BIG, source="x" * 100_000).build("all")
    store = objects.ObjectStore(place, os.environ, 10)
    assert sweep(store, max_age=0).size_after == 0
    assert list(store.list("")) == []
    store.remove(["v1/ac/00/none"])
    assert len(checkout("two", url=place, text=BIG, source="x" * 100_000).build("all")[1]) == 2


def test_bytes_come_only_when_they_are_needed(checkout: Checkout, tmp_path: Path) -> None:
    text = "x" * 100_000
    checkout("one", writes=True, text=BIG, source=text).build("all")
    assert len(names(tmp_path / "shared")) == 4  # three records, and one file; both copies have the same bytes
    shared = tmp_path / "shared/v1/cas"
    (hidden := tmp_path / "hidden").parent.mkdir(exist_ok=True)
    shared.rename(hidden)
    second = checkout("two", text=BIG, source=text)
    plan = second.open()
    connected(plan)
    assert plan.plan(["a"]).count("cached") == 3
    plan.close()
    assert not list((second.cache / "cas").rglob("*?/*"))  # a plan needs records alone
    hidden.rename(shared)
    assert second.build("all")[1] == []
    assert second.value("a") == text


def test_a_node_that_runs_fetches_its_input(checkout: Checkout) -> None:
    text = "x" * 100_000
    checkout("one", writes=True, text=BIG, source=text).build("all")
    second = checkout("two", text=BIG.replace("note: n", "note: other"), source=text)
    assert second.build("all")[1] == ["a/toy.copy#2"]


def test_what_gc_removed_here_comes_back(checkout: Checkout) -> None:
    from compressbuild.store.gc import collect

    toy = checkout("one", writes=True)
    toy.build("all")
    project = toy.open()
    collect(project.store, max_size=0)
    project.close()
    toy.build("all")
    assert toy.build("all", check=False)[1] == []


def test_a_machine_without_a_key_adds_nothing(checkout: Checkout, tmp_path: Path) -> None:
    toy = checkout("reader")
    assert len(toy.build("all")[1]) == 3
    assert names(tmp_path / "shared") == []
    signer = checkout("told", writes=True)
    signer.environ["CBUILD_REMOTE_READ_ONLY"] = "1"
    signer.build("all")
    assert names(tmp_path / "shared") == []


def test_a_build_with_nothing_to_look_up_imports_no_client(checkout: Checkout) -> None:
    toy = checkout("one", writes=True)
    toy.build("all")
    project = toy.open()
    remote = connected(project)
    assert remote is not None
    assert project.plan(["a", "b"]).count("cached") == 5
    assert "_library" not in vars(remote.objects)
    project.close()


def test_offline_is_one_warning_and_a_local_build(
    checkout: Checkout, bucket: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], s3: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    toy = checkout("one", writes=True, url=bucket)
    report, ran = toy.build("all")
    assert (report.exit_code, len(ran)) == (0, 3)
    err = capfd.readouterr().err
    assert err.count("cannot be used") == 1
    assert "4 results are not in the remote cache" in err
    assert "canary" not in err
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    toy.write("f.txt", "abcd")
    toy.build("all")  # sends what is left, too
    second = checkout("two", url=bucket)
    assert second.build("all")[1] == []


def test_a_slow_server_is_given_up(
    checkout: Checkout, bucket: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.socket() as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        text = f"cache: {{remote: '{bucket}', timeout: 300ms}}\n"
        toy = checkout("one", writes=True, url=bucket)
        toy.write("Compressfile", (toy.root / "Compressfile").read_text() + text)
        began = time.monotonic()
        assert len(toy.build("all")[1]) == 3
        assert time.monotonic() - began < 30
    assert capfd.readouterr().err.count("cannot be used") == 1


def test_wrong_credentials_and_server_errors_are_one_warning(
    checkout: Checkout, bucket: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from servers import served

    for status, said in ((403, "access denied"), (500, "500"), (503, "503")):
        port = free_port()
        code = (
            "import http.server as h\n"
            "class A(h.BaseHTTPRequestHandler):\n"
            f"  def do_GET(s): s.rfile.read(int(s.headers.get('content-length') or 0)); s.send_error({status})\n"
            "  do_PUT = do_HEAD = do_POST = do_GET\n"
            f"h.ThreadingHTTPServer(('127.0.0.1', {port}), A).serve_forever()\n"
        )
        with served([sys.executable, "-c", code], port, tmp_path / str(status)):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            assert len(checkout(f"at{status}", writes=True, url=bucket).build("all")[1]) == 3
        err = capfd.readouterr().err
        assert err.count("cannot be used") == 1
        assert said in err
        assert "canary" not in err


def damage(toy: Toy) -> None:
    """Flip a bit of what a step has made, in the cache."""
    made = (toy.root / "build" / "a" / "value").read_bytes()
    (path,) = (path for path in toy.cache.glob("cas/*/*") if path.read_bytes() == made)
    path.chmod(0o644)
    path.write_bytes(bytes([made[0] ^ 1]) + made[1:])


def test_what_is_damaged_here_is_fetched(checkout: Checkout) -> None:
    toy = checkout("one", writes=True)
    assert len(toy.build("all")[1]) == 3
    before = {name: toy.value(name) for name in ("a", "b")}
    damage(toy)
    report, ran = toy.build("all")
    assert (report.exit_code, ran) == (0, [])
    assert {name: toy.value(name) for name in ("a", "b")} == before


def test_what_is_damaged_here_and_not_there_is_built(checkout: Checkout, tmp_path: Path) -> None:
    toy = checkout("one", writes=True)
    assert len(toy.build("all")[1]) == 3
    before = {name: toy.value(name) for name in ("a", "b")}
    shutil.rmtree(tmp_path / "shared")
    damage(toy)
    report, ran = toy.build("all")
    assert report.exit_code == 0
    assert ran
    assert {name: toy.value(name) for name in ("a", "b")} == before


def test_a_full_disk_here_is_no_fault_of_the_store(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What cannot be written is built, and the store is asked for the rest."""
    text = os.urandom(200_000).hex()
    checkout("one", writes=True, text=BIG, source=text).build("all")
    plain = objects.ObjectStore.download
    monkeypatch.setattr(
        objects.ObjectStore, "download", lambda store, name, size, path: plain(store, name, size, Path("/dev/full"))
    )
    second = checkout("two", text=BIG, source=text)
    assert second.build("all")[0].exit_code == 0
    assert second.value("a") == text
    said = capfd.readouterr().err
    assert "cannot be stored: cannot store what the remote cache has: No space left on device" in said
    assert "free some space" in said
    assert "cannot be used" not in said
