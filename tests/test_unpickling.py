"""No code runs from an artifact: the engine and the first-party plugins have no way to unpickle one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "compressbuild").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
MODULES = frozenset(["pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"])
CALLS = frozenset(["read_pickle", "load_pickle", "pickle_load", "unsafe_load", "full_load"])
# Module → where it may be imported: the state of the no-op is the user's own, and marshal makes plain values only.
ALLOWED = {"marshal": {"compressbuild/noop.py", "compressbuild/build/state/kept.py"}}


def unpickling(source: str, where: str = "x.py") -> list[str]:
    """Each place that can make objects of an untrusted file's choice."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            if top in MODULES and where not in ALLOWED.get(top, ()):
                found.append(f"{where}:{node.lineno}: imports {top}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in CALLS:
                found.append(f"{where}:{node.lineno}: calls {name}")
            if (owner, name) == ("torch", "load") and given.get("weights_only") != "True":
                found.append(f"{where}:{node.lineno}: torch.load without weights_only=True")
            if given.get("allow_pickle", "False") != "False" and name not in ("save", "savez"):
                found.append(f"{where}:{node.lineno}: allow_pickle")
            if (owner, name) == ("yaml", "load"):
                found.append(f"{where}:{node.lineno}: yaml.load")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_unpickling_path(path: Path) -> None:
    assert unpickling(path.read_text(), path.relative_to(ROOT).as_posix()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib",
        "import marshal",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "yaml.load(text)",
    ],
)
def test_each_way_is_seen(source: str) -> None:
    assert len(unpickling(source)) == 1


def test_safe_ways_are_not() -> None:
    assert (
        unpickling("torch.load(p, weights_only=True)\nnp.load(p, allow_pickle=False)\nnp.load(p)\njson.load(f)") == []
    )
