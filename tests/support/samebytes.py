"""Real projects in short form, built here and on another machine: a deterministic node gives the same bytes on both."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compressbuild.build.run import build_targets
from compressbuild.execute.events import NodeFinished, NodeWorking
from compressbuild.project import Project

__all__ = ["CIFAR", "CIFAR_DATA", "DIGITS", "Example", "made"]

ROOT = Path(__file__).parents[2]
CIFAR_DATA = Path(os.environ.get("CBUILD_DATA") or "/nowhere")
"""Where the data of ``benchmarks/cifar`` lies."""


@dataclass(frozen=True)
class Example:
    """``files``: what to copy from ``place``; ``targets``: what is built of it; ``edits``: of its Compressfile, from
    pattern to text. Gates are judged, and may fail: after so little training a model is no good."""

    place: Path
    compressfile: str
    files: tuple[str, ...]
    targets: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    edits: Mapping[str, str] | None = None

    def at(self, root: Path, address: str) -> Path:
        """A copy in which all steps run on a machine; here if ``address`` is empty."""
        root.mkdir(parents=True)
        for name in self.files:
            if (self.place / name).is_dir():
                shutil.copytree(self.place / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(self.place / name, root / name)
        text = (self.place / self.compressfile).read_text()
        for pattern, new in (self.edits or {}).items():
            text, count = re.subn(pattern, new, text)
            assert count, f"nothing matches {pattern!r}"
        host = f'host: "{address}"\n' if address else ""
        (root / "Compressfile").write_text(text.replace("version: 1\n", f"version: 1\n{host}", 1))
        return root


DIGITS = Example(
    ROOT, "Compressfile.example", ("examples",), ("slim", "cpu-int8"), ("vars.epochs=1",)
)  # fmt: skip
CIFAR = Example(
    ROOT / "benchmarks/cifar",
    "Compressfile",
    ("data.py", "model.py", "robustness.py"),
    ("fp32", "int8-static", "channels-30"),
    ("vars.epochs=1",),
    {
        r'train: \{loader: "data:train",': 'train: {loader: "data:train", args: {samples: 500},',
        r"args: \{samples: 512\}": "args: {samples: 100}",
        r'test: \{loader: "data:test", files: \[data/test.npz\]': (
            'test: {loader: "data:train", args: {samples: 500}, files: [data/train.npz]'
        ),
        r"    - latency(.|\n)*?  baseline:": "    - size\n    - macs\n  baseline:",
    },
)


def made(example: Example, root: Path, address: str = "", data: Path | None = None) -> dict[str, str]:
    """Node → digest of what it made, of all nodes that were run and are deterministic. ``data``: a directory that the
    project has as ``data``."""
    place = example.at(root, address)
    if data is not None:
        shutil.copytree(data, place / "data")
    seen: list[object] = []
    project = Project(place / "Compressfile", example.overrides, cache=root / "cache", environ=dict(os.environ))
    try:
        build_targets(project, example.targets, observers=[seen.append], keep_going=True)
        failed = [event for event in seen if isinstance(event, NodeFinished) and event.status == "failed"]
        assert not failed, failed
        worked = {event.node for event in seen if isinstance(event, NodeWorking)}
        assert worked
        actions = project.plan(example.targets).actions.values()
        ran = [action for action in actions if action.node.position in worked]
        assert all(action.node.host == address for action in ran if not action.node.position.endswith("/source"))
        return {
            action.node.position: action.result.output
            for action in ran
            if action.result is not None and not action.node.nondeterministic
        }
    finally:
        project.close()
