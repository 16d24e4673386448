from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurmcluster
from slurmcluster import LACKS, Cluster, slurm_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One for all tests. Each leaves it idle."""
    if LACKS:
        pytest.skip(f"{', '.join(LACKS)} not installed: apt install slurmctld slurmd slurm-client munge")
    place = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: a socket lies there
    try:
        with slurm_cluster(place / "c") as found, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(found.conf))
            patch.setenv("XDG_CACHE_HOME", str(found.home))  # which jobs are sent: all that runs there can be found
            patch.setenv("PYTHONPATH", os.path.dirname(slurmcluster.__file__))
            yield found
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def home(cluster: Cluster) -> Path:
    return cluster.home
