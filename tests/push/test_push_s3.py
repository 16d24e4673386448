"""``cbuild push`` to a real S3 server process on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Work
from servers import free_port, served

from compressbuild.build.verification import verify

pytest.importorskip("moto")
s3fs = pytest.importorskip("s3fs")

SECRET = "canary-s3-91b7e2"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with served(command, port, tmp_path_factory.mktemp("s3")):
        env = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        files = s3fs.S3FileSystem(key="testing", secret=SECRET, endpoint_url=env["AWS_ENDPOINT_URL"])
        files.mkdir("models")
        yield env


@pytest.fixture
def bucket(environment: dict[str, str]) -> s3fs.S3FileSystem:
    """The server's bucket ``models``, emptied."""
    files = s3fs.S3FileSystem(
        key="testing", secret=SECRET, endpoint_url=environment["AWS_ENDPOINT_URL"],
        use_listings_cache=False, skip_instance_cache=True,
    )  # fmt: skip
    for each in files.find("models"):
        files.rm_file(each)
    return files


def test_push_replace_and_fetch(
    toys: Work, bucket: s3fs.S3FileSystem, environment: dict[str, str], tmp_path: Path
) -> None:
    push = ("push", "first", "s3://models/net")
    assert toys(*push, **environment).out.startswith("first: pushed to s3://models/net/first (3 of 3 files")
    assert "nothing uploaded" in toys(*push, **environment).out
    assert {each.split("/")[2] for each in bucket.find("models")} == {"first"}
    toys("first", "--set", "vars.salt=2")
    assert "first: pushed to" in toys(*push, "--set", "vars.salt=2", **environment).out
    bucket.get("models/net/first", str(tmp_path / "first"), recursive=True)
    assert not verify(tmp_path / "first", "first").mismatches
    assert (tmp_path / "first/value").read_bytes() == (toys.root / "build/first/value").read_bytes()


def test_refusals_show_no_credentials(toys: Work, bucket: s3fs.S3FileSystem, environment: dict[str, str]) -> None:
    err = toys("push", "first", "s3://no-such-bucket/net", code=1, **environment).err
    assert err.startswith("error: s3://no-such-bucket/net/first: ")
    assert not bucket.exists("no-such-bucket")
    nobody = {**environment, "AWS_MAX_ATTEMPTS": "1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    err += toys("push", "first", "s3://models/net", code=1, **nobody).err
    assert SECRET not in err
    for path in toys.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    assert all(SECRET.encode() not in bucket.cat_file(each) for each in bucket.find("models"))
