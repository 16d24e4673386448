"""What a step on another machine costs over one here: the same trivial node, alternately, through sshd on loopback.

``python benchmarks/other_machine.py`` prints medians of wall time and of CPU seconds of this process and its children.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from sshd import sshd

from compressbuild.api import WorkInput, WorkRequest
from compressbuild.execute.away import Away
from compressbuild.execute.executor import Executor, Finished
from compressbuild.execute.local import LocalExecutor
from compressbuild.machines.machines import Machines
from compressbuild.registry import discover

_TIMES = 40


def _node(executor: Executor, place: Path, token: int, size: int) -> float:
    """Seconds from start to result, of a node that copies ``size`` new bytes."""
    base = place / str(token)
    (base / "in").mkdir(parents=True)
    (base / "out").mkdir()
    (base / "project").mkdir()
    (base / "in" / "data").write_bytes(os.urandom(size))
    request = WorkRequest(
        label="copy",
        run="compressbuild.agent.trial:copied",
        params={},
        inputs={"subject": WorkInput(path=str(base / "in"), kind="files")},
        out=str(base / "out"),
        scratch=str(base / "scratch"),
        root=str(base / "project"),
    )
    began = time.perf_counter()
    executor.start(token, request, preload=(), log=base / "log", timeout=None, memory=None)
    while True:
        for each in executor.wait(60):
            if isinstance(each, Finished):
                assert each.cause == "ok", each.detail
                return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sshd(Path(folder) / "ssh") as server:
        os.environ["CBUILD_SSH"] = server.command
        place = Path(folder)
        for what in ("first session", "later session"):
            machines = Machines(discover(cache=None), place / what, "auto")
            began = time.perf_counter()
            machines.session(server.address)
            print(f"{what}: {time.perf_counter() - began:.2f} s to connect, ship the code and start the agent")
            machines.close()
        machines = Machines(discover(cache=None), place / "state", "auto")
        here, away = LocalExecutor(), Away("there", lambda: machines.session(server.address))
        token = 0
        for size in (0, 1 << 20, 64 << 20):
            seconds: dict[str, list[float]] = {"here": [], "there": []}
            for _ in range(_TIMES if size < 1 << 24 else 6):
                for name, executor in (("here", here), ("there", away)):
                    token += 1
                    seconds[name].append(_node(executor, place, token, size))
            own, other = (statistics.median(seconds[name]) * 1000 for name in ("here", "there"))
            print(
                f"{size >> 20:3} MiB in and out: {own:6.1f} ms here, {other:6.1f} ms there, {other - own:6.1f} ms more"
            )
        away.close()
        here.close()
        machines.close()


if __name__ == "__main__":
    main()
