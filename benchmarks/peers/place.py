"""Where one tool builds: its project, what its actions note down, and a home of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .layered import LEAF, SOURCE, Node

ACTIONS = Path(__file__).with_name("actions")


@dataclass(frozen=True)
class Place:
    """``notes``: where actions write what no build system keeps track of."""

    root: Path
    notes: Path

    def clear(self) -> None:
        for path in (self.root, self.notes):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        (self.project / "out").mkdir(parents=True)
        (self.root / "home").mkdir()
        shutil.copytree(ACTIONS, self.actions, ignore=shutil.ignore_patterns("__pycache__"))
        (self.actions / "peers_notes.py").write_text(f"NOTES = {str(self.notes)!r}\n")
        self.log.touch()
        (self.project / SOURCE).write_text("120\n")
        (self.project / LEAF).write_text("1\n")

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def actions(self) -> Path:
        return self.root / "actions"

    @property
    def log(self) -> Path:
        return self.notes / "log"

    @property
    def held(self) -> Path:
        """Comes into being when an action stops half-way."""
        return self.notes / "held"

    def hold(self, node: Node) -> Path:
        """While this file exists, the node's action stops half-way."""
        return self.notes / f"hold-{node.name}"

    def drain(self) -> Counter[str]:
        """How often each node's action ended since the last call."""
        ran = Counter(self.log.read_text().split())
        self.log.write_text("")
        return ran

    def environment(self) -> dict[str, str]:
        """Nothing of the user's settings, and none of their files."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return kept | {"HOME": str(self.root / "home"), "PYTHONPATH": str(self.actions)}


@contextmanager
def places(scratch: Path | None) -> Iterator[tuple[Path, Path]]:
    """Folders for roots and for notes. Under Landlock a step of ours may write only to its output and below ``/dev``,
    so the notes are in ``/dev/shm`` where there is one."""
    memory = Path("/dev/shm")
    shared = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="peers-", dir=scratch) as roots:
        with tempfile.TemporaryDirectory(prefix="peers-", dir=shared) as notes:
            yield Path(roots), Path(notes)
