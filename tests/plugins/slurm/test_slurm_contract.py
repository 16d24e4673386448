"""slurm keeps the contract of executors, against a real cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from slurmcluster import Cluster

from compressbuild.api.conformance import ExecutorContract


class TestSlurm(ExecutorContract):
    executor = "slurm"
    unreachable = "slurm://nowhere"
    _home: Path

    @pytest.fixture(autouse=True)
    def _reach(self, cluster: Cluster, home: Path) -> None:
        type(self)._home = home

    def address(self) -> str:
        return f"slurm://main?node=n1&python={sys.executable}&directory={self._home}/agent"
