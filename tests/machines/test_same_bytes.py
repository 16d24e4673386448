"""The example, and CIFAR in short form, give the same bytes through each executor as here: every deterministic node."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import raycluster
import slurmcluster
import sshd as ssh_server
from samebytes import CIFAR, CIFAR_DATA, DIGITS, made

EXAMPLES = {"digits": DIGITS, "cifar": CIFAR}
FEWEST = {"digits": 18, "cifar": 18}
"""Nodes that have to be compared at least: else the comparison has lost its subject."""


def data_of(example: str) -> Path | None:
    """What the project has as ``data``; skips where it is not to be had."""
    if example == "digits":
        return None
    found = [place for place in (CIFAR_DATA, CIFAR_DATA / "cifar10") if (place / "resnet20.safetensors").is_file()]
    if not found:
        pytest.skip("CIFAR-10 is not here: $CBUILD_DATA names its directory, see benchmarks/cifar/prepare.py")
    return found[0]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Node → digest of an example that was built on this machine, once."""
    known: dict[str, dict[str, str]] = {}

    def of(name: str) -> dict[str, str]:
        if name not in known:
            known[name] = made(EXAMPLES[name], tmp_path_factory.mktemp("here") / name, data=data_of(name))
        return known[name]

    return of


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if ssh_server.SSHD is None:
        pytest.skip("sshd is not installed: apt install openssh-server")
    with ssh_server.sshd(tmp_path_factory.mktemp("sshd")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBUILD_SSH", server.command)
        yield server.address


@pytest.fixture(scope="module")
def slurm() -> Iterator[str]:
    if slurmcluster.LACKS:
        pytest.skip(f"{', '.join(slurmcluster.LACKS)} not installed: apt install slurmctld slurmd slurm-client munge")
    place = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: a socket lies there
    try:
        with slurmcluster.slurm_cluster(place / "c") as found, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(found.conf))
            patch.setenv("XDG_CACHE_HOME", str(found.home))
            yield f"slurm://main?python={sys.executable}&directory={found.home}/agent"
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := raycluster.lacking():
        pytest.skip(why)
    with raycluster.cluster(tmp_path_factory.mktemp("ray")) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBUILD_RAY", found.command)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", found.token)
        yield found.address()


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("executor", ["ssh", "slurm", "ray"])
def test_the_same_bytes(
    executor: str,
    example: str,
    here: Callable[[str], dict[str, str]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    data, address = data_of(example), request.getfixturevalue(executor)
    there = made(EXAMPLES[example], tmp_path / "there", address, data)
    local = here(example)
    assert len(local) >= FEWEST[example]
    assert there == local
