"""Writes the files of a new plugin: a package, its contract test, a README and a CI file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from ..errors import UsageError

__all__ = ["KINDS", "files", "write"]

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*([.-][a-z0-9]+)*")
_TORCH = ('"compressbuild"', '"torch"')
_ONNX = ('"compressbuild"', '"numpy"', '"onnx"')

# kind → what it is called, the module that does the work, its dependencies, and how a Compressfile uses it
KINDS: Mapping[str, tuple[str, str, tuple[str, ...], str]] = {
    "technique": ("the technique", "work", _TORCH, "targets:\n  small: {from: net, steps: [$name: {factor: 0.5}]}"),
    "onnx-technique": (
        "the technique",
        "work",
        _ONNX,
        "targets:\n  small: {from: net, steps: [export.onnx, $name: {threshold: 0.02}]}",
    ),
    "backend": (
        "the backend",
        "runtime",
        _ONNX,
        "platforms:\n  mine: {backend: $name}\ntargets:\n  mine: {from: net, steps: [export.onnx], platform: mine}",
    ),
    "answer-metric": (
        "the metric",
        "work",
        ('"compressbuild"', '"numpy"'),
        "evaluate: {data: test, metrics: [$name]}\ntargets:\n  small: {from: net, gates: {$name: {min: 0.9}}}",
    ),
    "metric": ("the metric", "work", _ONNX, "evaluate: {metrics: [$name]}"),
    "check": (
        "the check of `cbuild advise`",
        "advice",
        ('"compressbuild"',),
        "targets:\n  small: {from: net, steps: [prune.magnitude: {sparsity: 0.95}]}   # cbuild advise small",
    ),
    "kind": ("the kind of artifact", "table", ('"compressbuild"', '"numpy"'), "models:\n  net: {file: net.table}"),
}


def files(name: str, kind: str) -> dict[str, str]:
    """Path → text of every file. UsageError for a name that no record may have."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be the name of a plugin", hint="lower-case words joined by '.' or '-': prune.rows"
        )
    what, module, dependencies, usage = KINDS[kind]
    word = name.replace(".", "-")
    values = {
        "name": name,
        "plugin": word,
        "distribution": f"cbuild-{word}",
        "package": f"cbuild_{word.replace('-', '_')}",
        "title": "".join(part.capitalize() for part in word.split("-")),
        "what": what,
        "module": module,
        "dependencies": ", ".join(dependencies),
        "usage": Template(usage).substitute(name=name),
    }
    package = values["package"]
    found = {f"{package}/__init__.py": ""}
    for source in sorted([*(_TEMPLATES / "common").iterdir(), *(_TEMPLATES / kind).iterdir()]):
        text = source.read_text(encoding="utf-8")
        found[_place(source.name.removesuffix(".txt"), package, module)] = Template(text).substitute(values)
    return found


def _place(file: str, package: str, module: str) -> str:
    """Where a template goes."""
    if file == "ci.yml":
        return ".github/workflows/test.yml"
    if file in ("manifest.py", "params.py", "settings.py", f"{module}.py"):
        return f"{package}/{file}"
    return f"tests/{file}" if file.endswith(".py") else file


def write(name: str, kind: str, directory: Path) -> list[str]:
    """Write the plugin into ``directory``, which is new or empty; the files that were written."""
    made = files(name, kind)
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise UsageError(f"'{directory}' already exists and is not empty", hint="name another place: --into DIR")
    for path, text in made.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return sorted(made)
