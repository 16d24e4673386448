"""What plugin functions' closures hold, and which change with each module: run by itself, in a clean interpreter.

    python -I -S plugin_keys.py '{"path": [first entries of sys.path], "root": directory of the cbuild_* packages}'

Prints JSON: ``digests`` and ``versions`` (of what else is imported) by reference, ``changed`` (references) by file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

asked = json.loads(sys.argv[1])
sys.path[:0] = asked["path"]

from compressbuild.closure import CodeIndex  # noqa: E402  of the tree that is asked about
from compressbuild.digest import file_digest  # noqa: E402
from compressbuild.graph.typed import type_name  # noqa: E402
from compressbuild.registry import Registry, discover  # noqa: E402

EVERYBODY = 12


class ByContent:
    """Parses each content once, wherever it lies."""

    def __init__(self) -> None:
        self._parsed: dict[bytes, Any] = {}

    def digest(self, path: str) -> str:
        return file_digest(path)

    def memo(self, path: str, column: str, compute: Callable[[Path], Any]) -> Any:
        content = Path(path).read_bytes()
        if content not in self._parsed:
            self._parsed[content] = compute(Path(path))
        return self._parsed[content]


def references(registry: Registry) -> Iterator[str]:
    """Every function that a record names, and every type of parameters."""
    for records in (registry.techniques, registry.backends, registry.kinds, registry.metrics):
        for record in records.values():
            for field in ("run", "compile", "load", "init", "validate", "profile"):
                if getattr(record, field, None) is not None:
                    yield getattr(record, field)
            for field in ("params", "settings"):
                kind = getattr(record, field, None)
                if kind is not None and not kind.__module__.startswith("compressbuild."):
                    yield type_name(kind)


def main() -> None:
    registry = discover()
    assert not registry.problems, registry.problems
    named = sorted(set(references(registry)))
    memo = ByContent()

    def closures(wanted: Iterable[str]) -> dict[str, Any]:
        index = CodeIndex((), memo, siblings=registry.siblings)
        return {reference: index.plugin(reference) for reference in wanted}

    before = closures(named)
    assert not any(closure.missing for closure in before.values())
    root = Path(asked["root"])
    changed = {}
    for number, path in enumerate(sorted(root.glob("cbuild_*/**/*.py"))):
        # Who read the file; each so many files everybody is asked, and nobody else may have changed.
        readers = [reference for reference in named if str(path) in before[reference].paths]
        text = path.read_text()
        path.write_text(f"{text}\n_EDITED = True\n")
        after = closures(readers if number % EVERYBODY else named)
        path.write_text(text)
        changed[path.relative_to(root).as_posix()] = [r for r in after if after[r].digest != before[r].digest]
        assert set(changed[path.relative_to(root).as_posix()]) <= set(readers)
    print(
        json.dumps(
            {
                "digests": {reference: closure.digest for reference, closure in before.items()},
                "versions": {r: registry.module_versions(closure.external) for r, closure in before.items()},
                "changed": changed,
            }
        )
    )


main()
