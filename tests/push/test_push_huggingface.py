"""``cbuild push`` to the Hugging Face Hub: a stub of its HTTP API, spoken to by ``huggingface_hub`` itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from command import Work
from hub_stub import Hub, hub

from compressbuild.build.verification import verify

pytest.importorskip("huggingface_hub")

TOKEN = "hf_canary5d1e77"


@pytest.fixture
def served() -> Iterator[Hub]:
    with hub() as found:
        found.token = TOKEN
        yield found


@pytest.fixture
def env(served: Hub, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stub speaks LFS; the constant is read at import
    return {"HF_ENDPOINT": served.url, "HF_TOKEN": TOKEN}


PUSH = ("push", "first", "hf://me/net")


def fetched(files: dict[str, bytes], place: Path) -> Path:
    """What a download leaves, without what the Hub adds."""
    for name, data in files.items():
        if name not in ("README.md", ".gitattributes"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    return place


def test_push_then_push_again(toys: Work, served: Hub, env: dict[str, str], tmp_path: Path) -> None:
    out = toys(*PUSH, **env).out
    sha = served.repos["me/net"]["main"]
    assert out.startswith(f"first: pushed to {served.url}/me/net/tree/{sha} (3 of 3 files")
    assert not verify(fetched(served.files("me/net"), tmp_path / "first"), "first").mismatches
    assert list(served.repos["me/net"]) == ["main"], "the branch it was tried on is gone"
    assert sum(line.startswith("PUT /lfs/") for line in served.log) == 1, "the large file was sent once"
    commits = len(served.commits)
    assert "first: already at hf://me/net" in toys(*PUSH, **env).out
    assert len(served.commits) == commits


def test_the_card_is_made_of_the_evidence(toys: Work, served: Hub, env: dict[str, str]) -> None:
    toys.edit(
        "Compressfile",
        '  here: {to: "out/models", targets: ["*"]}',
        "  hub: {to: 'hf://me/net-{target}', license: mit, pipeline-tag: image-classification, base-model: me/big}",
    )
    toys("push", **env)
    card = served.files("me/net-second")["README.md"].decode()
    _, front, body = card.split("---\n", 2)
    said = yaml.safe_load(front)
    assert (said["license"], said["base_model"], said["tags"]) == ("mit", "me/big", ["compressbuild"])
    assert "| length | 1 B |" in body
    assert "| length: max 9 | 1 | pass |" in body
    assert 'directory = snapshot_download("me/net-second")' in body
    seal = served.files("me/net-second")["provenance.json"]
    assert verify(toys.root / "build/second", "second").artifact in card
    assert seal == (toys.root / "build/second/provenance.json").read_bytes()


def test_a_card_follows_its_options_and_a_written_one_stays(toys: Work, served: Hub, env: dict[str, str]) -> None:
    entry = '  here: {to: "out/models", targets: ["*"]}'
    toys.edit("Compressfile", entry, "  hub: {to: 'hf://me/net', targets: [first]}")
    toys("push", **env)
    toys.edit("Compressfile", "targets: [first]", "targets: [first], license: mit")
    assert "(0 of 3 files" in toys("push", **env).out
    assert b"license: mit" in served.files("me/net")["README.md"]
    served.commit("me/net", "main", {**served.files("me/net"), "README.md": b"# mine", "LICENSE": b"mine"})
    assert "nothing uploaded" in toys("push", **env).out
    toys("first", "--set", "vars.salt=2")
    toys("push", "--set", "vars.salt=2", **env)
    assert served.files("me/net")["README.md"] == b"# mine"
    assert served.files("me/net")["LICENSE"] == b"mine"


def test_a_new_build_replaces_the_old_one(toys: Work, served: Hub, env: dict[str, str], tmp_path: Path) -> None:
    toys(*PUSH, **env)
    toys("first", "--set", "vars.salt=2")
    toys(*PUSH, "--set", "vars.salt=2", **env)
    assert not verify(fetched(served.files("me/net"), tmp_path / "first"), "first").mismatches
    assert served.files("me/net")["value"] == (toys.root / "build/first/value").read_bytes()


def test_a_branch(toys: Work, served: Hub, env: dict[str, str]) -> None:
    toys("push", "first", "hf://me/net@int8", **env)
    assert "value" in served.files("me/net", "int8")
    assert "value" not in served.files("me/net", "main")


@pytest.mark.parametrize(
    ("replacing", "stride"),
    [(True, 4), pytest.param(False, 1, marks=pytest.mark.slow), pytest.param(True, 1, marks=pytest.mark.slow)],
)
def test_a_failure_at_any_request_shows_the_old_or_the_new(
    toys: Work, served: Hub, env: dict[str, str], replacing: bool, stride: int
) -> None:
    if replacing:
        toys(*PUSH, **env)
    before = dict(served.files("me/net"))
    toys("first", "--set", "vars.salt=2")
    push = (*PUSH, "--set", "vars.salt=2")
    repos, commits, blobs = served.repos, served.commits, served.blobs
    at = 0
    while True:
        served.repos = {repo: dict(branches) for repo, branches in repos.items()}
        served.commits, served.blobs, served.left = dict(commits), dict(blobs), at
        ran = toys(*push, code=None, **env)
        over, served.left = served.left >= 0, 10**9
        assert not re.search("canary", ran.text), ran.text
        seen = served.files("me/net")
        if ran.code:
            named = {name: data for name, data in seen.items() if name != ".gitattributes"}
            whole = seen.get("value") == (toys.root / "build/first/value").read_bytes()  # only the branch was left
            assert whole or named == {name: data for name, data in before.items() if name != ".gitattributes"}
        toys(*push, **env)
        assert served.files("me/net")["value"] == (toys.root / "build/first/value").read_bytes()
        assert list(served.repos["me/net"]) == ["main"]
        if over:
            break
        at += stride
    assert at > 5


def test_damage_is_found_before_anybody_sees_it(toys: Work, served: Hub, env: dict[str, str]) -> None:
    served.damages = "value"
    assert "value came back with other bytes" in toys(*PUSH, code=1, **env).err
    assert "value" not in served.files("me/net")
    served.damages = ""
    toys(*PUSH, **env)


def test_somebody_else_pushes_meanwhile(toys: Work, served: Hub, env: dict[str, str]) -> None:
    served.busy = "cbuild-push"
    assert "somebody else pushed meanwhile" in toys(*PUSH, code=1, **env).err
    assert served.files("me/net").keys() == {".gitattributes", "other"}


def test_files_of_others_are_not_overwritten(toys: Work, served: Hub, env: dict[str, str]) -> None:
    served.repos["me/net"] = {}
    served.commit("me/net", "main", {"value": b"mine", "notes.txt": b"mine"})
    assert "value is there, which no push put there" in toys(*PUSH, code=1, **env).err
    assert served.files("me/net")["value"] == b"mine"


@pytest.mark.parametrize("token", ["", "hf_wrong-canary-token"])
def test_no_or_a_wrong_token(toys: Work, served: Hub, env: dict[str, str], token: str) -> None:
    ran = toys(*PUSH, code=1, **(env | {"HF_TOKEN": token}))
    assert "hf://me/net: " in ran.err
    assert "canary" not in ran.text
    assert served.repos == {}


def test_two_targets_need_two_repositories(toys: Work, env: dict[str, str]) -> None:
    err = toys("push", "first", "second", "hf://me/net", code=2, **env).err
    assert "holds one artifact" in err
    assert "{target}" in err


def test_options_are_checked_with_the_file(toys: Work) -> None:
    toys.edit("Compressfile", '"out/models", targets: ["*"]', "'hf://me/net', licence: mit")
    err = toys("list", code=2).err
    assert "destination 'huggingface' has no parameter 'licence'" in err
    assert "did you mean 'license'?" in err
