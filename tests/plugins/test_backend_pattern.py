"""Plugins that offer a backend are built alike: who knows one finds the way in another."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["compressbuild"]
BACKENDS = {
    module.partition(".")[0]: manifest
    for module in sorted(ENTRY_POINTS.values())
    if hasattr(manifest := import_module(module), "compressbuild_backends")
}
# The bottom first; a module of the pattern imports only those before it. Other modules stand where they fit.
PATTERN = ("settings", "artifact", "runner", "compile", "manifest")
# OpenVINO is imported in one place, where its telemetry is off.
DOORS = ("cbuild_kit", "cbuild_llm.model", "cbuild_onnx.model", "cbuild_openvino.runtime", "cbuild_torch.model")


def imported(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, at any depth."""
    package = path.relative_to(ROOT / "plugins").with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            target = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{target}.{alias.name}" for alias in node.names)


def graph(plugin: str) -> dict[str, set[str]]:
    """Module → modules of the same plugin that it imports."""
    root = ROOT / "plugins"
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in sorted((root / plugin).rglob("*.py"))
        if path.name != "__init__.py"
    }
    return {
        module: {name for name in files for found in imported(path) if found == name or found.startswith(f"{name}.")}
        for module, path in files.items()
    }


def reached(module: str, edges: dict[str, set[str]]) -> set[str]:
    """Modules that a module imports, directly or not."""
    found: set[str] = set()
    queue = [module]
    while queue:
        for name in edges[queue.pop()] - found:
            found.add(name)
            queue.append(name)
    return found


@pytest.mark.parametrize("plugin", BACKENDS)
def test_the_modules_of_the_pattern_are_there(plugin: str) -> None:
    edges, records = graph(plugin), list(BACKENDS[plugin].compressbuild_backends())
    assert records
    assert {f"{plugin}.{name}" for name in PATTERN} <= edges.keys()
    assert (f"{plugin}.profile" in edges) == any(record.profile for record in records)


@pytest.mark.parametrize("plugin", BACKENDS)
def test_imports_point_down_and_in_no_circle(plugin: str) -> None:
    edges = graph(plugin)
    assert [module for module in edges if module in reached(module, edges)] == []
    for lower, upper in pairwise(PATTERN):
        above = {f"{plugin}.{name}" for name in PATTERN[PATTERN.index(upper) :]} | {f"{plugin}.profile"}
        assert reached(f"{plugin}.{lower}", edges) & above == set()
    assert f"{plugin}.profile" not in reached(f"{plugin}.compile", edges)


@pytest.mark.parametrize("plugin", BACKENDS)
def test_what_a_kind_holds_is_checked_by_the_artifact_module(plugin: str) -> None:
    for kind in BACKENDS[plugin].compressbuild_kinds():
        assert kind.validate.partition(":")[0] == f"{plugin}.artifact"


@pytest.mark.parametrize("plugin", BACKENDS)
def test_other_plugins_are_entered_by_their_doors(plugin: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "plugins" / plugin).rglob("*.py")
        for name in imported(path)
        if name.startswith("cbuild_") and not any(f"{name}.".startswith(f"{door}.") for door in (plugin, *DOORS))
    ]
    assert wrong == []
