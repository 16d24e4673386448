"""The quota of a control group, in both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressbuild.platforms import quota
from compressbuild.platforms.facts import Host

OWN = "../../../proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "0 100000\n"}, None),
        ({"cpu.max": "rubbish\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu.max": "400000 100000\n", "job.scope/cpu.max": "150000 100000\n", OWN: "0::/job.scope/step\n"}, 1.5),
        ({"cpu.max": "100000 100000\n", "job.scope/cpu.max": "150000 100000\n", OWN: "0::/job.scope\n"}, 1.0),
        ({"cpu.max": "100000 100000\n", OWN: "0::/../../elsewhere\n"}, 1.0),
        (
            {
                "cpu/job/cpu.cfs_quota_us": "250000\n",
                "cpu/job/cpu.cfs_period_us": "100000\n",
                OWN: "4:cpuacct,cpu:/job\n2:memory:/other\n",
            },
            2.5,
        ),
    ],
)
def test_quota(files: dict[str, str], cpus: float | None, tmp_path: Path) -> None:
    _write(tmp_path, files)
    assert quota(tmp_path) == cpus


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "8000\n", "job/memory.max": "5000\n", OWN: "0::/job\n"}, 5000),
        ({"memory.max": "max\n", "job/memory.max": "max\n", OWN: "0::/job\n"}, 1 << 20),
        ({"memory/a/b/memory.limit_in_bytes": "7000\n", OWN: "9:memory:/a/b\n"}, 7000),
    ],
)
def test_memory(files: dict[str, str], limit: int, tmp_path: Path) -> None:
    _write(tmp_path, files)
    (tmp_path / "proc/meminfo").parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1024 kB\n")
    assert Host(tmp_path).fact("memory") == limit


def test_processors_and_time(tmp_path: Path) -> None:
    """Half a processor's time still runs one thread; much time does not make more processors."""
    counts = []
    for text in ("50000 100000", "100000000 100000"):
        _write(tmp_path, {"cpu.max": text})
        counts.append(Host(tmp_path).fact("cpu.count"))
    assert counts == [1, len(os.sched_getaffinity(0))]


def _write(place: Path, files: dict[str, str]) -> None:
    (place / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = Path(os.path.normpath(place / "sys/fs/cgroup" / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("said", "cpus", "memory"),
    [("1", 1, 1), ("9" * 18, None, None), ("", None, None), ("0", None, None), ("x", None, None)],
)
def test_what_a_scheduler_says(said: str, cpus: int | None, memory: int | None) -> None:
    """It can say less than there is, and nothing else."""
    plain = Host(environ={})
    given = Host(environ={"CBUILD_CPUS": said, "CBUILD_MEMORY": said})
    assert given.fact("cpu.count") == (cpus or plain.fact("cpu.count"))
    assert given.fact("memory") == (memory or plain.fact("memory"))
