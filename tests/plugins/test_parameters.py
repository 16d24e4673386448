"""Every parameter is described where it is declared, and an edit of parameters re-runs only what uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from shutil import copytree, ignore_patterns
from statistics import median
from typing import Annotated, Any, Literal

import pytest

from compressbuild.api import DatasetRef, Meta, Params, Positive
from compressbuild.closure import CodeIndex
from compressbuild.digest import Digest, file_digest
from compressbuild.graph.typed import type_name
from compressbuild.registry import Registry, discover
from compressbuild.registry.parameters import Parameter, parameters

PLUGINS = Path(__file__).parents[2] / "plugins"
GENERIC = {each.description for each in parameters(type("Bare", (Params,), {"__annotations__": {"data": DatasetRef}}))}


@cache
def registry() -> Registry:
    return discover(cache=None)


def uses() -> dict[str, set[str]]:
    """Function of a first-party plugin → the types of the parameters that it runs with."""
    known, found = registry(), dict[str, set[str]]()
    for technique in known.techniques.values():
        found.setdefault(technique.run, set()).add(type_name(technique.params))
    for metric in known.metrics.values():
        found.setdefault(metric.run, set()).add(type_name(metric.params))
    for backend in known.backends.values():
        for function in (backend.compile, backend.load):
            found.setdefault(function, set()).add(type_name(backend.settings))
    for kind in known.kinds.values():
        for function in filter(None, (kind.load, kind.init)):
            found.setdefault(function, set())
    return {name: types for name, types in found.items() if name.startswith("cbuild_")}


def structs() -> dict[str, type[Params]]:
    known = registry()
    kinds = [record.params for record in (*known.techniques.values(), *known.metrics.values())]
    kinds += [record.settings for record in known.backends.values()]
    return {type_name(kind): kind for kind in kinds if kind.__module__.startswith("cbuild_")}


# -- descriptions ----------------------------------------------------------------------------------------------------


def undescribed(known: tuple[Parameter, ...]) -> Iterator[str]:
    """What ``DatasetRef`` and the like say of every field of theirs is not a description of one."""
    for each in known:
        if not each.description or each.description in GENERIC:
            yield each.name
        yield from undescribed(each.fields)


def test_every_parameter_is_described() -> None:
    assert len(structs()) > 60
    missing = {name: list(undescribed(parameters(kind))) for name, kind in structs().items()}
    assert {name: fields for name, fields in missing.items() if fields} == {}


class Inner(Params):
    """Nested."""

    depth: int = 1


class Lacking(Params):
    """Of each sort one that is described and one that is not."""

    data: DatasetRef
    described: Annotated[DatasetRef | None, Meta(description="dataset to check on")] = None
    bare: Positive = 1
    outer: Annotated[Positive, Meta(description="how many")] = 1
    inner: Annotated[Inner, Meta(description="what is inside")] = Inner()


def test_a_parameter_without_a_description_is_found() -> None:
    assert list(undescribed(parameters(Lacking))) == ["data", "bare", "depth"]


class Every(Params):
    """A field of every form."""

    choice: Annotated[Literal["later", "first"], Meta(description="d")] = "first"
    share: Annotated[float | None, Meta(description="d")] = None
    limit: Annotated[Annotated[int, Meta(ge=0, le=5)] | None, Meta(description="d")] = 3
    names: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(description="d")] = (0.5, 8 / 255)
    pair: Annotated[tuple[int, int] | None, Meta(description="d")] = None
    globs: Annotated[tuple[str, ...], Meta(description="d")] = ("*", "b.c")
    map: Annotated[dict[str, Literal["b", "a"]], Meta(description="d")] = {}
    flag: Annotated[bool, Meta(description="d")] = False
    inner: Annotated[Inner, Meta(description="d")] = Inner()


def test_types_ranges_and_defaults_in_words() -> None:
    assert [(each.name, each.type, each.default) for each in parameters(Every)] == [
        ("choice", "later | first", "first"),
        ("share", "number", ""),
        ("limit", "integer ≥ 0 and ≤ 5 or null", "3"),
        ("names", "list of number > 0", "[0.5, 0.0313725]"),
        ("pair", "[integer, integer]", ""),
        ("globs", "list of text", '["*", b.c]'),
        ("map", "mapping: text → b | a", ""),
        ("flag", "true or false", "false"),
        ("inner", "{depth}", "as below"),
    ]
    assert parameters(Every)[0].choices == ("later", "first")


def test_required_parameters_come_first_and_inherited_ones_last() -> None:
    class Base(Params, kw_only=True):
        old: int = 1
        needed: str

    class Derived(Base, kw_only=True):
        new: int = 2

    assert [(each.name, each.default) for each in parameters(Derived)] == [("needed", None), ("new", "2"), ("old", "1")]


# -- what an edit re-runs ----------------------------------------------------------------------------------------------


class Parsed:
    """Syntax by file and bytes, so that an index of an edited tree parses one file."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bytes], Any] = {}

    def memo(self, path: Any, column: str, compute: Callable[[Path], Any], /) -> Any:
        key = str(path), Path(path).read_bytes()
        if key not in self._kept:
            self._kept[key] = compute(Path(path))
        return self._kept[key]

    def digest(self, path: Any, /) -> Digest:
        return file_digest(path)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("edited") / "plugins"
    copytree(PLUGINS, place, ignore=ignore_patterns("__pycache__"))
    return place


def digests(sources: Path, parsed: Parsed) -> dict[str, tuple[str, ...]]:
    """Of each function: those of its code and of its parameters' types, as its key has them."""
    index = CodeIndex([sources], parsed)
    return {
        function: tuple(index.closure(each).digest for each in (function, *sorted(types)) if each.startswith("cbuild_"))
        for function, types in uses().items()
    }


def changed(sources: Path, module: str, parsed: Parsed) -> set[str]:
    """Functions whose key one more line in this module changes."""
    file = sources / f"{module.replace('.', '/')}.py"
    before, text = digests(sources, parsed), file.read_text()
    assert all(all(each) for each in before.values())
    file.write_text(text + "\nEDITED = 1\n")
    try:
        after = digests(sources, parsed)
    finally:
        file.write_text(text)
    return {function for function, known in after.items() if known != before[function]}


def test_editing_parameters_re_runs_what_uses_them(sources: Path) -> None:
    """At most 14 functions, for most modules at most 6; each is a function that has to re-run at least."""
    parsed, used = Parsed(), uses()
    modules = {name.partition(":")[0] for name in structs()}
    found = {module: changed(sources, module, parsed) for module in sorted(modules)}
    for module, functions in found.items():
        own = {f for f, types in used.items() if any(name.partition(":")[0] == module for name in types)}
        assert own <= functions, module
    counts = {module: len(functions) for module, functions in found.items()}
    assert {module: count for module, count in counts.items() if count > 14} == {}
    assert median(counts.values()) <= 2
    assert sum(count <= 6 for count in counts.values()) >= 0.85 * len(counts), counts


def test_a_package_that_imports_all_its_parameters_is_found(sources: Path) -> None:
    """What the test above is against: a module that everything imports."""
    package = sources / "cbuild_torch/prune/params/__init__.py"
    parsed = Parsed()
    assert changed(sources, "cbuild_torch.prune.params.nm", parsed) == {"cbuild_torch.prune.nm:prune"}
    package.write_text("from . import channels, gradual, heads, layers, magnitude, movement, nm, recurrent\n")
    try:
        assert len(changed(sources, "cbuild_torch.prune.params.nm", parsed)) == 8
    finally:
        package.write_text("")
