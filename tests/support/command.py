"""The installed ``cbuild``, run as a user runs it: a process of its own in a project's directory."""

from __future__ import annotations

import contextlib
import io
import os
import posix
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from compressbuild.execute.events import Event, NodeFinished, NodeStarted, TargetFinished, decode

SUPPORT = Path(__file__).parent
CBUILD = str(Path(sys.executable).with_name("cbuild"))
TOY_PATH = os.pathsep.join([str(SUPPORT), str(SUPPORT / "site")])
"""What PYTHONPATH needs for the toy plugin to count as installed."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended. ``out`` and ``err``: what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def events(self) -> list[Event]:
        """Of a ``--json`` run; a last line that a killed process left unfinished does not count."""
        return [decode(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def started(self) -> list[str]:
        """Nodes that were run, in order, as often as they were."""
        return [event.node for event in self.events if isinstance(event, NodeStarted)]

    @property
    def built(self) -> set[str]:
        return {e.node for e in self.events if isinstance(e, NodeFinished) and e.status == "built"}

    @property
    def cached(self) -> set[str]:
        return {e.node for e in self.events if isinstance(e, NodeFinished) and e.status == "cached"}

    @property
    def failures(self) -> list[NodeFinished]:
        return [e for e in self.events if isinstance(e, NodeFinished) and e.status == "failed"]

    @property
    def targets(self) -> dict[str, TargetFinished]:
        return {e.target: e for e in self.events if isinstance(e, TargetFinished)}


class Work:
    """A project in a directory. ``marker``: a directory in PATH, by which every process of its builds is known."""

    def __init__(self, root: Path, *, toy: bool = False) -> None:
        self.root = root
        self.toy = toy
        self.marker = f"/nowhere/{uuid.uuid4().hex}"
        root.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace ``old``, which must be there exactly once."""
        text = (self.root / name).read_text()
        assert text.count(old) == 1, f"{name} holds {text.count(old)} times {old!r}"
        self.write(name, text.replace(old, new))

    def environment(self, **more: str) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("CBUILD")}
        env["PATH"] = env.get("PATH", os.defpath) + os.pathsep + self.marker
        env["COLUMNS"] = "200"
        if self.toy:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [TOY_PATH, env.get("PYTHONPATH", "")]))
        return env | more

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """``cbuild args`` in a session and process group of its own."""
        return subprocess.Popen(
            [CBUILD, *args], cwd=self.root, env=self.environment(**env), start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 300, **env: str) -> Ran:
        """Run ``cbuild args`` to its end, which must be the exit status ``code`` (None: any)."""
        ran = finish(self.start(*args, **env), timeout)
        if code is not None:
            assert ran.code == code, f"cbuild {' '.join(args)}: exit {ran.code}\n{ran.text[-6000:]}"
        return ran

    def json(self, *args: str, code: int | None = 0, **env: str) -> Ran:
        return self(*args, "--json", code=code, **env)

    def copy(self, root: Path) -> Work:
        """``cp -a`` of the project with its cache."""
        subprocess.run(["cp", "-a", str(self.root), str(root)], check=True)
        return type(self)(root, toy=self.toy)

    def published(self) -> dict[str, bytes]:
        """Every published file but those that tell of measurements: path → bytes."""
        build = self.root / "build"
        return {
            path.relative_to(build).as_posix(): path.read_bytes()
            for path in sorted(build.rglob("*"))
            if path.is_file() and path.name not in ("metrics.json", "provenance.json")
        }

    def unpublish(self) -> None:
        shutil.rmtree(self.root / "build")

    def processes(self) -> list[int]:
        """Pids of what still runs for this project: engines, warm parents, workers and what those started."""
        return [pid for pid, environ in _environments() if self.marker.encode() in environ]

    def settle(self, seconds: float = 10) -> list[int]:
        """Wait until no process is left; those that are."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


class Inline(Work):
    """A project whose commands run in this process: many times faster, for what does not depend on a process."""

    @contextlib.contextmanager
    def world(self, *args: str, **env: str) -> Iterator[None]:
        """Directory, environment, search path and arguments as a process of its own would find them."""
        environment = self.environment(**env)
        path = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
        with (
            contextlib.chdir(self.root),
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.dict(posix.environ, {k.encode(): v.encode() for k, v in environment.items()}, clear=True),
            mock.patch.object(sys, "path", [*path, *sys.path]),
            mock.patch.object(sys, "argv", [CBUILD, *args]),
        ):
            yield

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 300, **env: str) -> Ran:
        from compressbuild.cli.main import main

        out, err = io.StringIO(), io.StringIO()
        with self.world(*args, **env), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            ran = Ran(main(list(args)), out.getvalue(), err.getvalue())
        if code is not None:
            assert ran.code == code, f"cbuild {' '.join(args)}: exit {ran.code}\n{ran.text[-6000:]}"
        return ran


class Warm(Inline):
    """A project whose commands share their warm parents, so that a model's libraries are imported once for all of them.
    Each node still has a worker of its own."""

    def __init__(self, root: Path, *, toy: bool = False) -> None:
        super().__init__(root, toy=toy)
        self._kept: dict[str, Any] = {}

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 300, **env: str) -> Ran:
        with mock.patch("compressbuild.build.run.LocalExecutor", self._executor):
            return super().__call__(*args, code=code, timeout=timeout, **env)

    def _executor(self, environ: Mapping[str, str], **settings: Any) -> Any:
        """Two commands share one only if their workers would find the same variables and packages."""
        from compressbuild.execute.local import LocalExecutor
        from compressbuild.execute.warm import worker_environment

        class Kept(LocalExecutor):
            def close(self) -> None:
                """The command is done with it; its warm parents stay."""
                assert not self._nodes, "a command has left nodes that run"

            def end(self) -> None:
                super().close()

        key = repr((sorted(worker_environment(environ).items()), settings))
        if key not in self._kept:
            self._kept[key] = Kept(environ, **settings)
        return self._kept[key]

    def close(self) -> None:
        """End the warm parents."""
        for executor in self._kept.values():
            executor.end()
        self._kept.clear()


def finish(process: subprocess.Popen[str], timeout: float = 300) -> Ran:
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Ran(process.returncode, out, err)


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state = file.read().rpartition(b")")[2].split()[0]
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environ = file.read()
            except OSError:  # it has gone, or is another user's
                continue
            if state != b"Z":
                yield int(entry), environ


def counted(labels: Iterable[str]) -> dict[str, int]:
    return dict(Counter(labels))
