"""Toy projects on different paths, with caches of their own, that share a remote cache."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import free_port, served
from toyproject import CHAIN, Toy

obstore = pytest.importorskip("obstore")
pytest.importorskip("cryptography")

from keys import Pair  # noqa: E402  needs cryptography

Checkout = Callable[..., Toy]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return Pair.make(tmp_path, "ci").private


@pytest.fixture
def checkout(tmp_path: Path, key: Path) -> Checkout:
    """A project of its own path and cache. ``writes``: it signs with the key, else it trusts it; ``url``: the remote
    cache, by default a directory."""

    def make(name: str, *, writes: bool = False, url: str = "", text: str = CHAIN, source: str = "abc") -> Toy:
        toy = Toy(tmp_path / "deep" / name / "project", tmp_path / "caches" / name)
        toy.environ = {"CBUILD_REMOTE": url or f"file://{tmp_path}/shared"}
        if writes:
            toy.environ["CBUILD_SIGNING_KEY"] = str(key)
        else:
            toy.environ["CBUILD_REMOTE_TRUST"] = str(key.with_suffix(".pub"))
        toy.write("f.txt", source)
        toy.write("Compressfile", text)
        return toy

    return make


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server process with a bucket ``shared``."""
    pytest.importorskip("moto")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with served(command, port, tmp_path_factory.mktemp("s3")):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place on the server, with credentials in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-remote-5e1f")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import urllib.request

    request = urllib.request.Request(f"{s3}/shared", method="PUT")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request")
    urllib.request.urlopen(request).close()
    return f"s3://shared/{tmp_path.name}"
