"""A toy project that is built for real on another machine, and what tests of that ask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import toy as toy_plugin
from toyproject import Toy

from compressbuild.build.outcome import BuildReport
from compressbuild.build.run import build_targets
from compressbuild.execute.events import MachineStatus, NodeFinished, NodeWorking

__all__ = ["Elsewhere", "on_work", "signalled", "started"]

ROOT = Path(__file__).parents[2]
_TEXT = """\
version: 1
{host}
models: {{f: {{file: f.txt}}}}
evaluate: {{metrics: [{metrics}]}}
targets:
  a: {{from: f, steps: [{{toy.mix: {{salt: 1}}}}]}}
  b: {{from: a, steps: [{{toy.copy: {options}}}]}}
"""
_SCRIPT = """\
import os, sys
sys.path[:0] = {paths!r}
from pathlib import Path
from toyproject import Toy
from compressbuild import interrupts
from compressbuild.build.run import build_targets
from compressbuild.errors import Interrupted
from compressbuild.execute.events import MachineStatus, NodeWorking
interrupts.catch()
toy = Toy(Path({root!r}))
toy.environ = dict(os.environ)
def tell(event):
    if isinstance(event, NodeWorking):
        print(event.node, flush=True)
    elif isinstance(event, MachineStatus):
        print(event.status, event.detail, flush=True)
project = toy.open()
try:
    build_targets(project, ["b"], observers=[tell])
except (Interrupted, KeyboardInterrupt):
    project.close()
    sys.exit(130)
"""


class Elsewhere(Toy):
    """``address``: of the machine; empty for this one. ``seen``: events of the last build."""

    def __init__(self, root: Path, address: str) -> None:
        super().__init__(root)
        self.address = address
        paths = (str(Path(toy_plugin.__file__).parent), os.environ.get("PYTHONPATH", ""))  # Ray may be on it
        self.environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.write("f.txt", "hello")
        self.text()

    def text(self, options: str = "{note: n}", metrics: str = "length") -> None:
        host = f'host: "{self.address}"' if self.address else ""
        self.write("Compressfile", _TEXT.format(host=host, options=options, metrics=metrics))

    def make(self, *words: str, also: Callable[[object], None] = lambda event: None, **options: bool) -> BuildReport:
        self.seen: list[object] = []
        project = self.open()
        try:
            return build_targets(project, words or ("all",), observers=[self.seen.append, also], **options)
        finally:
            project.close()

    @property
    def ran(self) -> list[str]:
        """Nodes of the last build that ran to an end."""
        return [e.node for e in self.seen if isinstance(e, NodeFinished) and e.status not in ("cached", "skipped")]

    def begun(self, node: str) -> int:
        """How often its process started in the last build."""
        return sum(isinstance(e, NodeWorking) and e.node == node for e in self.seen)

    @property
    def waits(self) -> list[str]:
        return [e.detail for e in self.seen if isinstance(e, MachineStatus)]

    def failure(self) -> NodeFinished:
        return next(e for e in self.seen if isinstance(e, NodeFinished) and e.status == "failed")

    def command(self) -> subprocess.Popen[str]:
        """A build of ``b`` in a process of its own, in a session of its own as below a terminal. It prints a line for
        each node that begins to work, and for what a machine waits for."""
        paths = [str(ROOT), str(ROOT / "plugins"), str(Path(toy_plugin.__file__).parent)]
        return subprocess.Popen(
            [sys.executable, "-c", _SCRIPT.format(paths=paths, root=str(self.root))],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environ,
            start_new_session=True,
        )


def on_work(node: str, do: Callable[[], None]) -> Callable[[object], None]:
    """Does something once, when a node's process has run for a moment."""
    done: list[threading.Timer] = []

    def observe(event: object) -> None:
        if isinstance(event, NodeWorking) and event.node == node and not done:
            done.append(threading.Timer(0.3, do))
            done[0].start()

    return observe


def started(process: subprocess.Popen[str], line: str) -> None:
    """Until a command has printed a line that begins so."""
    assert process.stdout is not None
    while not (said := process.stdout.readline()).startswith(line):
        assert said, f"it ended with {process.wait()}"


def signalled(process: subprocess.Popen[str], number: int) -> int:
    """Its exit status after a signal, as a terminal gives it, or as a shell's kill if it is no SIGINT."""
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return process.wait(60)
