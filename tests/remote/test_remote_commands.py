"""The commands on a remote cache, killed builds, a server that goes away, and machines that race."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from command import Work
from servers import free_port, served
from toyproject import CHAIN, Toy

from compressbuild.remote import record
from compressbuild.remote.objects import ObjectStore, Tag
from compressbuild.remote.sweep import sweep

Checkout = Callable[..., Toy]


@pytest.fixture
def machine(tmp_path: Path, key: Path) -> Callable[..., tuple[Work, dict[str, str]]]:
    """A project for the command line, and the environment in which it reads and writes the remote cache."""

    def make(name: str, *, writes: bool = True, text: str = CHAIN, source: str = "abc") -> tuple[Work, dict[str, str]]:
        work = Work(tmp_path / name, toy=True)
        work.write("f.txt", source)
        work.write("ci.pub", key.with_suffix(".pub").read_bytes())
        work.write("Compressfile", f"{text}cache: {{remote: 'file://{tmp_path}/shared', trust: [ci.pub]}}\n")
        return work, {"CBUILD_SIGNING_KEY": str(key)} if writes else {}

    return make


def records(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "shared").glob("v1/ac/*/*"))


def test_push_pull_and_work_without_the_place(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    work, env = machine("one")
    work("all", CBUILD_REMOTE="")
    assert not (tmp_path / "shared").exists()
    assert work("cache", "push", **env).out.startswith("4 results sent")
    assert work("cache", "push", **env).out.startswith("0 results sent (0 B), 4 were there")
    assert "read-only here" in work("cache", "push", code=2).err
    other, env = machine("two", writes=False)
    assert "5 cached" in other("-n", "all").out
    assert "cached   b/toy.copy" in other("why", "b").out
    pulled = other("cache", "pull").out
    assert pulled.startswith("3 outputs fetched")
    assert pulled.endswith("; nothing is missing\n")
    (tmp_path / "shared").rename(tmp_path / "gone")
    assert not other("all", "--json").built
    assert other.published() == work.published()
    assert "there is no remote cache" in other("cache", "pull", code=2, CBUILD_REMOTE="").err


def test_push_replaces_what_somebody_changed(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    """Small files lie in the record, and its signature covers their digests: changed ones are found, and sent again."""
    work, env = machine("one")
    work("all", **env)
    changed = 0
    for path in records(tmp_path):
        packed = record._decoded(path.read_bytes(), record._Packed)
        if packed.bundle is not None and packed.bundle.files:
            bundle = record.Bundle(packed.bundle.tree, dict.fromkeys(packed.bundle.files, b"evil"))
            data = msgspec.msgpack.encode(msgspec.structs.replace(packed, bundle=bundle))
            path.write_bytes(record._MAGIC + data)
            changed += 1
    assert changed == 3, "all but the import's"
    assert work("cache", "push", **env).out.startswith("3 results sent")
    other, env = machine("two", writes=False)
    ran = other("all")
    assert "warning" not in ran.text
    assert other.published() == work.published()


def test_a_killed_build_is_sent_by_the_next_one(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    """A client without a network is killed while it waits; what it could not send is noted."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        work, env = machine("one")
        hung = {
            **env, "CBUILD_REMOTE": "s3://shared/x", "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "canary-remote", "AWS_REGION": "us-east-1",
        }  # fmt: skip
        # The look-up is given up after its time; the build goes on and notes what it makes.
        work.edit("Compressfile", "trust: [ci.pub]", "trust: [ci.pub], timeout: 200ms")
        process = work.start("all", **hung)
        unsent = work.root / ".cbuild/unsent"
        deadline = time.monotonic() + 60
        while not (unsent.is_dir() and len(list(unsent.iterdir())) >= 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    noted = len(list(unsent.iterdir()))
    assert noted >= 2
    work("all", **env)
    assert not list(unsent.iterdir())
    assert len(records(tmp_path)) >= noted
    other, _ = machine("two", writes=False)
    other("all")
    assert other.published() == work.published()


def test_sigkill_during_an_upload_leaves_nothing_that_counts(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    text = "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {a: {from: f, steps: [toy.copy]}}\n"
    source = "x" * 60_000_000
    work, env = machine("one", text=text, source=source)
    work("all", CBUILD_REMOTE="")
    process = work.start("cache", "push", **env)
    deadline = time.monotonic() + 60
    while not any((tmp_path / "shared").rglob("cas/*/*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    other, _ = machine("two", writes=False, text=text, source=source)
    built = other.json("all").built  # whatever was there: it is whole, or not used
    assert built <= {"a/toy.copy", "f/source"}
    assert (other.root / "build/a/value").read_text() == source
    work("cache", "push", **env)
    third, _ = machine("three", writes=False, text=text, source=source)
    assert not third.json("all").built


def test_a_server_that_goes_away_during_a_build(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It answers every question, then takes nothing."""
    port = free_port()
    code = (
        "import http.server as h, os\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "  def do_GET(s): s.send_error(404)\n"
        "  def do_PUT(s): os._exit(1)\n"
        "  do_HEAD = do_GET\n"
        f"h.ThreadingHTTPServer(('127.0.0.1', {port}), A).serve_forever()\n"
    )
    for name, value in (("ENDPOINT_URL", f"http://127.0.0.1:{port}"), ("ACCESS_KEY_ID", "x"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-remote")
    with served([sys.executable, "-c", code], port, tmp_path / "server"):
        report, ran = checkout("one", writes=True, url="s3://shared/x").build("all")
    assert (report.exit_code, len(ran)) == (0, 3)
    err = capfd.readouterr().err
    assert err.count("cannot be used") == 1
    assert "4 results are not in the remote cache" in err


@pytest.mark.parametrize("place", ["file", "memory", "s3", "gs", "az"], indirect=True)
def test_of_sixteen_racers_one_wins(place: str) -> None:
    stores = [ObjectStore(place, os.environ, 10) for _ in range(16)]
    other = Tag(e_tag='"other"', version="7")
    with ThreadPoolExecutor(16) as pool:
        for number in range(5):
            name = f"v1/ac/ab/{number}"
            won = list(pool.map(lambda i, name=name: stores[i].create(name, b"%d" % i), range(16)))
            assert won.count(True) == 1
            got = stores[0].get(name, 100)
            assert got is not None
            assert got.data == b"%d" % won.index(True)
            assert not stores[0].replace(name, b"late", other) or place.startswith(
                "file:"
            )  # it knows no such condition


def test_gc_drops_by_age_and_size_and_what_nothing_needs(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    work, env = machine("one", source="x" * 100_000)
    work.edit("Compressfile", "{toy.mix: {salt: 1}}", "toy.copy")
    work("all", **env)
    shared = tmp_path / "shared"
    blobs = list(shared.glob("v1/cas/*/*"))
    assert blobs
    stray = shared / "v1/cas/00/0000"
    stray.parent.mkdir(parents=True)
    stray.write_text("stray")
    unreadable = shared / "v1/ac/00/0000"
    unreadable.parent.mkdir(parents=True)
    unreadable.write_text("rubbish")
    number = len(records(tmp_path)) - 1
    assert "0 objects, 0 old records, 1 unreadable" in work("cache", "gc", "--remote", "-n", **env).out
    assert unreadable.exists()
    work("cache", "gc", "--remote", **env)
    assert not unreadable.exists()
    assert stray.exists()  # somebody may be about to write its record
    assert all(path.exists() for path in blobs)
    os.utime(stray, (1, 1))
    store = ObjectStore(f"file://{shared}", os.environ, 10)
    assert sweep(store).objects == 1
    assert sweep(store, max_size=1 << 30).dropped == 0
    dropped = sweep(store, max_size=5_000)
    assert 0 < dropped.dropped <= number  # the large one may have been the last that was sent
    assert dropped.size_after <= 5_000
    assert not any(path.exists() for path in blobs)
    assert sweep(store, max_age=0).size_after == 0
    assert "read-only here" in work("cache", "gc", "--remote", code=2).err


def test_ctrl_c_while_results_are_sent_says_what_is_left(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    port = free_port()
    code = (
        "import http.server as h, time\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "  def do_GET(s): s.send_error(404)\n"
        "  def do_PUT(s): time.sleep(60)\n"
        "  do_HEAD = do_GET\n"
        f"h.ThreadingHTTPServer(('127.0.0.1', {port}), A).serve_forever()\n"
    )
    work, env = machine("one")
    env |= {
        "CBUILD_REMOTE": "s3://shared/x", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "canary-remote", "AWS_REGION": "us-east-1",
    }  # fmt: skip
    with served([sys.executable, "-c", code], port, tmp_path / "server"):
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("cbuild")), "all", "--json"], cwd=work.root,
            env=work.environment(**env), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if '"sending"' in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "results are not in the remote cache" in err
    assert "Traceback" not in err


def test_doctor_says_what_is_configured_and_reachable(
    machine: Callable[..., tuple[Work, dict[str, str]]], tmp_path: Path
) -> None:
    work, env = machine("one")
    assert f"file://{tmp_path}/shared: reachable; 1 trusted key; read-only" in work("doctor", "-v").out
    assert "1 trusted key; adds results, signed by " in work("doctor", "-v", **env).out
    nowhere = {"CBUILD_REMOTE": "s3://shared/x", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    secret = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "canary-remote"}
    out = work("doctor", "-v", **nowhere, **secret).out
    assert "s3://shared/x: cannot be used: " in out
    assert "canary" not in out
    work.write("ci.pub", "no key")
    assert "cannot be used: ci.pub holds no public key" in work("doctor", "-v").out.replace(f"{work.root}/", "")
    assert not (work.root / "cache").exists()
