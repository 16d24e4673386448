"""The shape of the code: who may import whom, and how big things may grow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import rooms
from rooms import ENGINE, PLUGINS, RANK, ROOT, arrows_between, circles, imports, module_name, room, tree

ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["compressbuild"]
MANIFESTS = [ROOT / "plugins" / f"{module.replace('.', '/')}.py" for module in sorted(ENTRY_POINTS.values())]

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
    "cryptography": {"signing"},
    "obstore": {"remote"},
    "distributed": {"execute"},
    "optuna": {"tune"},
    "mcp": {"agents", "cli"},
    "anyio": {"agents"},
    "pydantic": {"agents"},
    "pytest": {"conformance"},
}


def found(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(rooms.ROOT)}:{line}: {what}"


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


def test_no_import_circle() -> None:
    files = {module_name(path): path for path in (*ENGINE, *PLUGINS)}
    assert circles(arrows_between(files)) == []


def test_the_search_for_circles_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees an import for types alone and one in a function, and a circle of two below one of three."""
    monkeypatch.setattr(rooms, "ROOT", tmp_path)
    sources = {
        "a": "from .b import x\n",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import package.c\n",
        "c": "def f():\n    from . import a, d\n",
        "d": "from .e import *\nfrom .elsewhere import y\n",
        "e": "class C:\n    def g(self):\n        from package import d\n",
        "f": "from . import a, d, f\n",
    }
    files = {f"package.{name}": tmp_path / "plugins" / "package" / f"{name}.py" for name in sources}
    (tmp_path / "plugins" / "package").mkdir(parents=True)
    for module, path in files.items():
        path.write_text(sources[module.removeprefix("package.")])
    assert circles(arrows_between(files)) == [["package.a", "package.b", "package.c"], ["package.d", "package.e"]]


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


def doors(path: Path) -> list[str]:
    """What a file of a plugin imports of other plugins that is neither ``cbuild_kit`` nor in their ``model``."""
    package = module_name(path).partition(".")[0]
    wrong = []
    for line, name in imports(path):
        top, _, rest = name.partition(".")
        if (
            top.startswith("cbuild_")
            and top not in (package, "cbuild_kit")
            and rest.partition(".")[0] != "model"
            and not name.startswith("cbuild_openvino.runtime.")
        ):
            wrong.append(found(path, line, name))
    return wrong


def test_plugins_import_of_each_other_the_kit_and_models_alone() -> None:
    assert [line for path in PLUGINS for line in doors(path)] == []
    kit = [path for path in PLUGINS if module_name(path).partition(".")[0] == "cbuild_kit"]
    used = {name.partition(".")[0] for path in kit for _, name in imports(path)}
    assert {name for name in used if name.startswith("cbuild_")} <= {"cbuild_kit"}, "the kit is below all plugins"


def test_a_side_door_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plugins" / "cbuild_new" / "work.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import cbuild_torch.train.optimise\nfrom cbuild_onnx.quantize import static\n"
        "from cbuild_onnx.model import files\nimport cbuild_kit.parity\nfrom .other import work\n"
        "def f():\n    from cbuild_torch import prune\n"
    )
    monkeypatch.setattr(rooms, "ROOT", tmp_path)
    assert doors(path) == [
        "plugins/cbuild_new/work.py:1: cbuild_torch.train.optimise",
        "plugins/cbuild_new/work.py:2: cbuild_onnx.quantize.static",
        "plugins/cbuild_new/work.py:7: cbuild_torch.prune",
    ]


def test_a_third_party_needs_the_api_alone() -> None:
    """The plugin of the documentation, its tests, and those that the engine is tested with; and the public door to
    models."""
    page = (ROOT / "docs" / "plugins.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert sum("def test_" in block for block in blocks) >= 1
    sources = [*blocks, *((ROOT / "tests" / "support" / name).read_text() for name in ("toy.py", "tally.py"))]
    used = {
        name
        for source in sources
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    ours = {name for name in used if name.startswith(("compressbuild", "cbuild_")) and "cbuild_reference" not in name}
    assert ours == {
        "compressbuild.api",
        "compressbuild.api.conformance",
        "compressbuild.api.testing",
        "cbuild_kit",
        "cbuild_kit.interface",
        "cbuild_onnx.model.public",
        "cbuild_torch.model.public",
    }


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
            if top in sys.stdlib_module_names or top == "msgspec" or room(name) in ("api", "errors", "noop"):
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
    seen = {name for _, name in imports(ROOT / "compressbuild" / "registry" / "asking.py")}
    assert {
        "pluggy",
        "compressbuild.api.hooks",
        "compressbuild.words.suggest",
        "importlib.util.find_spec",
    } <= seen
    assert room("compressbuild.graph.node.Node") == "graph"
    assert RANK["cli"] > RANK["report"] > RANK["build"] > RANK["plan"] == RANK["publish"]
    assert RANK["publish"] > RANK["store"] > RANK["errors"]


def test_no_two_test_files_share_a_name() -> None:
    """The tests' directories are no packages, so pytest imports a file by its name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
