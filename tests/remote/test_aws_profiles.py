"""Credentials from the files of AWS's command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toyproject import Toy

from compressbuild.remote.aws import Unusable, profile

Checkout = Callable[..., Toy]
KEYS = """
[default]
aws_access_key_id = A
aws_secret_access_key = S

[ci]
aws_access_key_id=B
aws_secret_access_key=T
aws_session_token=U
"""
CONFIG = """
[default]
region = eu-west-1
[profile ci]
region = us-east-1
endpoint_url = http://localhost:1
s3 =
    max_concurrent_requests = 20
[profile people]
sso_session = corp
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
"""
DEFAULT = {"aws_access_key_id": "A", "aws_secret_access_key": "S", "aws_region": "eu-west-1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(KEYS)
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    return tmp_path


def test_the_default_profile(home: Path) -> None:
    assert profile({"HOME": str(home)}) == DEFAULT


def test_a_named_profile(home: Path) -> None:
    assert profile({"HOME": str(home), "AWS_PROFILE": "ci"}) == {
        "aws_access_key_id": "B",
        "aws_secret_access_key": "T",
        "aws_session_token": "U",
        "aws_region": "us-east-1",
        "aws_endpoint_url": "http://localhost:1",
    }


def test_the_environment_comes_first(home: Path) -> None:
    given = {"HOME": str(home), "AWS_ACCESS_KEY_ID": "X", "AWS_SECRET_ACCESS_KEY": "Y"}
    assert profile({**given, "AWS_PROFILE": "ci", "AWS_ENDPOINT_URL": "http://x"}) == {"aws_region": "us-east-1"}
    assert profile({**given, "AWS_DEFAULT_REGION": "a"}) == {}
    assert profile({"HOME": str(home), "AWS_ACCESS_KEY_ID": "X"}) == DEFAULT  # half a key is none


def test_files_elsewhere_and_none_at_all(home: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = C\naws_secret_access_key = D\n")
    environ = {"HOME": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys")}
    assert profile(environ) == {"aws_access_key_id": "C", "aws_secret_access_key": "D"}
    assert profile({"HOME": "/nowhere"}) == profile({}) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "neither .*credentials nor .*config has such a profile"),
        ("people", "by 'sso_session', which is not supported here; run: eval .*--profile people --format env"),
        ("role", "by 'role_arn'"),
    ],
)
def test_a_profile_that_cannot_be_used(home: Path, name: str, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        profile({"HOME": str(home), "AWS_PROFILE": name})


@pytest.mark.parametrize(
    ("text", "said"), [(b"a = 1\n", "credentials:1 is not in"), (b"[default]\na = \xff\n", "cannot be read: ")]
)
def test_a_file_that_cannot_be_read(home: Path, text: bytes, said: str) -> None:
    (home / ".aws" / "credentials").write_bytes(text)
    with pytest.raises(Unusable, match=said):
        profile({"HOME": str(home)})


def test_a_build_takes_them(
    checkout: Checkout, bucket: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server takes any key, but asks for one; a wrong address would not answer."""
    import os

    address = os.environ["AWS_ENDPOINT_URL"]
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    config = (home / ".aws" / "config").read_text().replace("http://localhost:1", address)
    (home / ".aws" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_PROFILE", "ci")
    assert len(checkout("one", writes=True, url=bucket).build("all")[1]) == 3
    assert checkout("two", url=bucket).build("all")[1] == []
    monkeypatch.setenv("AWS_PROFILE", "people")
    capfd.readouterr()
    assert len(checkout("three", url=bucket).build("all")[1]) == 3
    assert capfd.readouterr().err.count("gets its keys by 'sso_session'") == 1
