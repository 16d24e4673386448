"""The shape of the code: who may import whom, and how big things may grow."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "compressbuild").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["compressbuild"]
MANIFESTS = [ROOT / "plugins" / f"{module.replace('.', '/')}.py" for module in sorted(ENTRY_POINTS.values())]

# Top to bottom; a room imports rooms of the lines below its own.
LAYERS = """
    __main__
    cli
    build conformance
    report provenance
    evaluate
    execute
    project
    plan publish
    graph
    compressfile plugins platforms store code scaffold
    api
    digest
    errors suggest noop
"""
RANK = {room: rank for rank, line in enumerate(reversed(LAYERS.split("\n"))) for room in line.split()}

_LIBRARIES = """
    coremltools executorch jax nncf numpy onnx onnx_ir onnxruntime onnxscript onnxslim openvino pandas polygraphy
    safetensors scipy sklearn tensorflow tensorrt tensorrt_bindings tensorrt_rtx torch torch_pruning torchao
    torchvision transformers
"""
MODEL_LIBRARIES = frozenset(_LIBRARIES.split())
# Doors for a plugin's tests, not for its code.
FOR_TESTS = ("compressbuild.api.conformance", "compressbuild.api.testing")
# What starts slowly stays where it is needed.
ONLY_IN = {
    "networkx": {"graph"},
    "yaml": {"compressfile"},
    "click": {"cli"},
    "rich": {"cli", "report"},
    "fsspec": {"store"},
    "distributed": {"execute"},
    "pytest": {"conformance"},
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def module_name(path: Path) -> str:
    base = ROOT if path.is_relative_to(ROOT / "compressbuild") else ROOT / "plugins"
    parts = list(path.relative_to(base).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import in a file, at any depth, also for types alone."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{target}.{alias.name}") for alias in node.names)


def room(module: str) -> str:
    """``compressbuild.graph.node`` → ``graph``; the package itself, which has the version and the facade, → empty.
    ``compressbuild.api.conformance`` is for tests of plugins: it asks the engine, so it has a room of its own."""
    parts = module.split(".")
    if parts[1:3] == ["api", "conformance"]:
        return "conformance"
    return parts[1] if len(parts) > 1 and parts[1] in RANK else ""


def found(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def test_every_module_has_a_room() -> None:
    modules = {module_name(path).split(".")[1] for path in ENGINE if path.parent != ROOT / "compressbuild"}
    modules |= {path.stem for path in ENGINE if path.parent == ROOT / "compressbuild" and path.name != "__init__.py"}
    assert modules <= set(RANK), "give it a line in LAYERS"


def test_imports_point_down() -> None:
    wrong = []
    for path in ENGINE:
        here = room(module_name(path))
        for line, name in imports(path):
            there = room(name) if name.partition(".")[0] == "compressbuild" else ""
            if here and there and here != there and RANK[there] >= RANK[here]:
                wrong.append(found(path, line, f"{here} imports {there}"))
    assert wrong == []


def test_the_engine_imports_no_model_library() -> None:
    wrong = [
        found(path, line, name)
        for path in ENGINE
        for line, name in imports(path)
        if name.partition(".")[0] in MODEL_LIBRARIES or name.startswith("cbuild_")
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_slow_libraries_stay_in_their_room(library: str) -> None:
    wrong = [
        found(path, line, name)
        for path in ENGINE
        for line, name in imports(path)
        if name.partition(".")[0] == library and room(module_name(path)) not in ONLY_IN[library]
    ]
    assert wrong == []


def reach(start: Path, allowed: tuple[str, ...]) -> list[str]:
    """Imports that lead outside of the standard library and ``allowed``, from a file and the files of its own package
    that it imports at import time."""
    package = module_name(start).split(".")[0]
    files = {module_name(path): path for path in (*ENGINE, *PLUGINS)}
    queue, seen, wrong = [start], {start}, []
    while queue:
        path = queue.pop()
        for line, name in imports(path):
            top = name.partition(".")[0]
            own = files.get(name) or files.get(name.rpartition(".")[0])
            if (
                any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
                or top in sys.stdlib_module_names
            ):
                continue
            if top == package and package != "compressbuild" and own is not None:
                if own not in seen:
                    seen.add(own)
                    queue.append(own)
            else:
                wrong.append(found(path, line, name))
    return wrong


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifests_are_cheap(manifest: Path) -> None:
    assert reach(manifest, ("compressbuild.api",)) == []


def test_plugins_use_the_public_door_alone() -> None:
    wrong = [
        found(path, line, name)
        for path in PLUGINS
        for line, name in imports(path)
        if name.partition(".")[0] == "compressbuild"
        and (not name.startswith("compressbuild.api") or name.startswith(FOR_TESTS))
    ]
    assert wrong == []


def worker_side() -> list[Path]:
    folder = ROOT / "compressbuild" / "execute"
    return sorted({*folder.glob("worker*.py"), *folder.glob("zygote*.py")})


@pytest.mark.parametrize("path", worker_side(), ids=lambda path: path.stem)
def test_the_worker_imports_the_api_alone(path: Path) -> None:
    """A worker starts by a fork for each node: what it imports, each node pays, and each node could break."""
    files = {module_name(p): p for p in ENGINE}
    queue, seen, wrong = [path], {path}, []
    while queue:
        here = queue.pop()
        for line, name in imports(here):
            top = name.partition(".")[0]
            own = files.get(name) or files.get(name.rpartition(".")[0])
            if top in sys.stdlib_module_names or top == "msgspec" or room(name) in ("api", "errors"):
                continue
            if top == "compressbuild" and room(name) == "execute" and own is not None:
                if own not in seen:
                    seen.add(own)
                    queue.append(own)
            else:
                wrong.append(found(here, line, name))
    assert wrong == []


@pytest.mark.parametrize("path", [*ENGINE, *PLUGINS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_classes_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert len(methods) < 20, f"{node.name} has {len(methods)} methods"


def test_inheritance_is_shallow() -> None:
    """At most two steps from a class to its farthest ancestor in the project."""
    parents: dict[str, set[str]] = {}
    for path in (*ENGINE, *PLUGINS):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                names = {b.attr if isinstance(b, ast.Attribute) else getattr(b, "id", "") for b in node.bases}
                parents.setdefault(node.name, set()).update(names - {node.name})

    def depth(name: str, below: frozenset[str] = frozenset()) -> int:
        above = [p for p in parents.get(name, ()) if p in parents and p not in below]
        return max((1 + depth(parent, below | {name}) for parent in above), default=0)

    assert {name: depth(name) for name in parents if depth(name) > 2} == {}
    assert depth("CompressfileError") == 2  # the measure works


def test_the_measure_of_imports_works() -> None:
    """The tests above see imports of every form."""
    seen = {name for _, name in imports(ROOT / "compressbuild" / "plugins" / "discovery.py")}
    assert {
        "pluggy",
        "compressbuild.api.hooks",
        "compressbuild.suggest.did_you_mean",
        "importlib.util.find_spec",
    } <= seen
    assert room("compressbuild.graph.node.Node") == "graph"
    assert RANK["cli"] > RANK["report"] == RANK["provenance"] > RANK["plan"] > RANK["store"] > RANK["errors"]
