"""Draws the structure again from the imports: ``python tools/rooms.py`` (``--arrows``: each arrow, too).

A row for the engine and for each plugin: modules, rooms, arrows between rooms, circles of modules and of rooms, and
arrows that point up. Counted are all imports: at the top of a module, in a function, and for types alone.
``tests/test_imports.py`` reads imports with the same functions, and allows no circle and no arrow up.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "compressbuild").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))

# Top to bottom; a room imports rooms of the lines below its own.
LAYERS = """
    __main__
    cli
    push notebook tune agents conformance
    starter
    report advise
    build
    evaluate agent
    execute revision
    project
    plan publish remote
    graph
    machines environment
    compressfile registry platforms store closure scaffold
    api signing
    digest
    errors words noop interrupts credentials
    place callable whole globbing
"""
RANK = {room: rank for rank, line in enumerate(reversed(LAYERS.split("\n"))) for room in line.split()}


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


def circles(arrows: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Every set of modules that reach one another (Tarjan's strongly connected components of more than one)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for other in arrows.get(module, ()):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            at = path.index(module)
            found.append(sorted(path[at:]))
            del path[at:]

    for module in arrows:
        if module not in number:
            visit(module)
    return sorted(circle for circle in found if len(circle) > 1)


def arrows_between(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Module → the modules that it imports: at its top, in a function, or for types alone."""
    found = {}
    for module, path in files.items():
        names = {name if name in files else name.rpartition(".")[0] for _, name in imports(path)}
        found[module] = (names & files.keys()) - {module}
    return found


# -- the picture -----------------------------------------------------------------------------------------------------

Arrows = Mapping[str, Collection[str]]


def family(module: str) -> str:
    """The room of a module of a plugin: its folder, or the module itself where it lies at the top."""
    return module.split(".")[1] if "." in module else ""


def between_rooms(arrows: Arrows, place: Callable[[str], str]) -> dict[str, set[str]]:
    """The arrows between rooms: what any module of one imports of another. ``place``: module → its room."""
    found: dict[str, set[str]] = {}
    for module, others in arrows.items():
        here = place(module)
        if here:
            found.setdefault(here, set()).update({place(other) for other in others} - {here, ""})
    return found


def upward(rooms: Arrows) -> list[str]:
    """Arrows between rooms of the engine that do not point down."""
    return [f"{a} → {b}" for a, others in rooms.items() for b in sorted(others) if RANK[b] >= RANK[a]]


def row(name: str, paths: Iterable[Path], place: Callable[[str], str], *, ranked: bool) -> tuple[list[object], Arrows]:
    """The counts of a tree, and its arrows between rooms. Without ranks, every room of a
    circle has an arrow up."""
    files = {module_name(path): path for path in paths if path.read_bytes().strip()}  # an empty __init__ is no module
    arrows = arrows_between(files)
    rooms = between_rooms(arrows, place)
    loops = circles(rooms)
    up = len(upward(rooms)) if ranked else sum(len(loop) for loop in loops)
    count = sum(len(others) for others in rooms.values())
    inner = sum(len(others) for others in arrows.values())
    return [name, len(files), inner, len(rooms), count, len(circles(arrows)), len(loops), up], rooms


def main(arguments: list[str]) -> int:
    rows = [row("compressbuild", ENGINE, room, ranked=True)]
    for plugin in sorted({module_name(path).partition(".")[0] for path in PLUGINS}):
        paths = [path for path in PLUGINS if module_name(path).partition(".")[0] == plugin]
        rows.append(row(plugin, paths, family, ranked=False))
    print("| tree | modules | their arrows | rooms | arrows | circles of modules | circles of rooms | arrows up |")
    print("|---|---|---|---|---|---|---|---|")
    for cells, _ in rows:
        print(f"| {' | '.join(map(str, cells))} |")
    if "--arrows" in arguments:
        for cells, rooms in rows:
            print(f"\n{cells[0]}")
            for here, others in sorted(rooms.items()):
                print(f"  {here} → {', '.join(sorted(others)) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
