"""Addresses of Ray clusters, without one: what is taken, and what a worker asks for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cbuild_ray.machine import open_machine, resources
from cbuild_ray.params import Ray
from cbuild_ray.relay import Refused, _check_size

from compressbuild.api import UserError
from compressbuild.machines.machines import Machines, workers
from compressbuild.registry import discover

GIB = 2**30
HEAD = {"Alive": True, "Resources": {"CPU": 8.0, "memory": 16.0 * GIB, "node:10.0.0.1": 1.0}}
GPU = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "accelerator_type:A100": 1.0, "memory": 64.0 * GIB}}
DEAD = {"Alive": False, "Resources": {"CPU": 128.0, "edge": 1.0}}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {"CPU": 1}),
        ({"cpus": 4, "memory": "8G"}, {"CPU": 4, "memory": 8 * GIB}),
        ({"memory": "8GiB"}, {"CPU": 1, "memory": 8 * GIB}),
        ({"memory": "8GB"}, {"CPU": 1, "memory": 8 * 10**9}),
        ({"memory": "1.5k"}, {"CPU": 1, "memory": 1536}),
        ({"memory": "4096"}, {"CPU": 1, "memory": 4096}),
        ({"gpus": 2, "accelerator": "A100"}, {"CPU": 1, "GPU": 2, "accelerator_type:A100": 0.001}),
        ({"custom": "edge:1,a:b:0.5"}, None),
        ({"custom": "edge:1,license:0.5"}, {"CPU": 1, "edge": 1.0, "license": 0.5}),
        ({"node": "10.0.0.1"}, {"CPU": 1, "node:10.0.0.1": 0.001}),
    ],
)
def test_what_a_worker_asks_for(options: dict[str, object], wanted: dict[str, float] | None) -> None:
    if wanted is None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(options, Ray)
    else:
        assert resources(msgspec.convert(options, Ray)) == wanted


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ray://head:10001?cpus=4&gpus=1&accelerator=A100&workers=8&wait=600", None),
        ("ray://head", None),
        ("ray://head?cpus=0", "Expected `int` >= 1"),
        ("ray://head?memory=lots", "matching regex"),
        ("ray://head?custom=edge", "matching regex"),
        ("ray://head?cpu=4", "unknown field `cpu`"),
    ],
)
def test_a_text(tmp_path: Path, address: str, says: str | None) -> None:
    wrong = Machines(discover(cache=None), tmp_path, "auto").problem(address)
    assert (wrong is None) if says is None else (wrong is not None and says in wrong[0])


@pytest.mark.parametrize("address", ["ray://", "ray://a b", "ray://head:port", "ray://head#2", "ray://user@head"])
def test_no_address(address: str) -> None:
    with pytest.raises(UserError, match="is no address of a Ray cluster"):
        open_machine(address, Ray())


def test_how_many_workers(tmp_path: Path) -> None:
    machines = Machines(discover(cache=None), tmp_path, "auto")
    assert [workers(machines.executor(a), a) for a in ("ray://head?workers=8", "ray://head", "user@edge")] == [8, 1, 1]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"CPU": 8}, None),
        ({"CPU": 4, "GPU": 1, "accelerator_type:A100": 0.001}, None),
        ({"CPU": 9}, "no node of the cluster has 9 CPUs: the largest has 8 CPUs"),
        ({"CPU": 8, "GPU": 1}, "no node of the cluster has 8 CPUs, 1 GPU together"),
        (
            {"CPU": 1, "memory": 80 * GIB},
            "no node of the cluster has 80.0 GiB of memory: the largest has 64.0 GiB of memory",
        ),
        ({"CPU": 1, "accelerator_type:H100": 0.001}, "no node of the cluster has the accelerator H100: none has any"),
        ({"CPU": 1, "node:10.0.0.2": 0.001}, "no node of the cluster has the address 10.0.0.2: none has any"),
        ({"CPU": 1, "edge": 1}, "no node of the cluster has 1 edge: none has any"),
    ],
)
def test_what_no_node_has(wanted: dict[str, float], says: str | None) -> None:
    """A dead node has nothing."""
    if says is None:
        return _check_size(wanted, [HEAD, GPU, DEAD])
    with pytest.raises(Refused) as raised:
        _check_size(wanted, [HEAD, GPU, DEAD])
    assert str(raised.value) == says
    assert raised.value.hint
    return None
