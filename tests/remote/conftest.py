"""Toy projects on different paths, with caches of their own, that share a remote cache."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import gcs as gcs_program
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


@pytest.fixture(scope="session")
def gcs(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server process that speaks as Google Cloud Storage does; its objects are in that of S3."""
    port = free_port()
    with served([sys.executable, gcs_program.__file__, str(port), s3], port, tmp_path_factory.mktemp("gcs")):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Azurite process, the emulator of Azure's makers, with a container ``shared``."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite is not installed: npm install --global azurite")
    port = free_port()
    command = [program, "--silent", "--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with served(command, port, tmp_path_factory.mktemp("azure")):
        _make_container(address := f"http://127.0.0.1:{port}/{_ACCOUNT}")
        yield address


_ACCOUNT = "devstoreaccount1"
_SECRET = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of Azurite, as its documentation has it."""


def _make_container(address: str) -> None:
    """Obstore makes none. The request is signed with the account's key
    (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key)."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items())]
    lines += [f"/{_ACCOUNT}/{_ACCOUNT}/shared", "restype:container"]
    made = hmac.new(base64.b64decode(_SECRET), "\n".join(lines).encode(), hashlib.sha256).digest()
    headers |= {"Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(made).decode()}", "Content-Type": ""}
    request = urllib.request.Request(f"{address}/shared?restype=container", b"", headers, method="PUT")
    urllib.request.urlopen(request).close()


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place on the server, with credentials in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-remote-5e1f")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    request = urllib.request.Request(f"{s3}/shared", method="PUT")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request")
    urllib.request.urlopen(request).close()
    return f"s3://shared/{tmp_path.name}"


@pytest.fixture(params=["s3", "gs", "az"])
def place(request: pytest.FixtureRequest, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place with each provider; or in a directory or in memory, for those who ask."""
    if request.param in ("file", "memory"):
        return f"{request.param}://{tmp_path}/remote"
    if request.param == "gs":
        monkeypatch.setenv("GOOGLE_BASE_URL", request.getfixturevalue("gcs"))
        account = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    elif request.param == "az":
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", request.getfixturevalue("azure"))
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", _ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", _SECRET)
    return f"{request.param}://shared/{tmp_path.name}"
