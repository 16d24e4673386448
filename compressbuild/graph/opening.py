"""Sources that plugins offer: what the keys of an entry say, and how a dataset is opened with them."""

from __future__ import annotations

from ..api import Source
from ..compressfile.paths import leaves_root, normal
from ..compressfile.spec import DatasetSpec, ModelSpec, Spec
from ..errors import Diagnostic, Mark
from .draft import Draft, environment_of
from .node import DataWith
from .params import NO_PLATFORM, Resolved, resolve
from .typed import type_name

__all__ = ["open_datasets", "settled"]


def open_datasets(draft: Draft) -> None:
    """Settle how every dataset of a plugin's source is opened; a problem is recorded for each that is wrong."""
    for name, spec in draft.spec.datasets.items():
        if spec.source is None:
            continue
        record = draft.registry.sources.get(spec.source)
        if record is None:
            draft.unknown("source", spec.source, spec.marks.get(spec.source, spec.mark))
            continue
        found = settled(draft, record, spec, f"dataset '{name}'")
        if found is None:
            continue
        draft.opened[name] = DataWith(
            record.run,
            f"source {record.name}",
            record.version,
            found.values,
            type_name(record.params),
            spec.rows,
            tuple((ref.value, ref.mark or spec.mark) for ref in found.of("file")),
            record.stack.tools,
            record.stack.preload,
            draft.missing(record.stack.needs, record.needs, found.needs),
            environment_of(record.stack),
        )


def settled(draft: Draft, record: Source, spec: ModelSpec | DatasetSpec, owner: str) -> Resolved | None:
    """The typed keys of an entry; None once a problem was recorded."""
    assert spec.settings is not None
    mark = spec.marks.get(record.name, spec.mark)
    found = resolve(
        record.params,
        spec.settings,
        owner=f"{owner} (source '{record.name}')",
        mark=mark,
        settle=NO_PLATFORM,
        problems=draft.problems,
        types=draft.types,
    )
    for ref in found.of("file") if found is not None else ():
        _check_inside(draft, draft.spec, ref.name, ref.value, ref.mark or mark)
    return found


def _check_inside(draft: Draft, spec: Spec, parameter: str, value: str, mark: Mark) -> None:
    """A path leads to the project, or to one of the places that the file lists under ``outside``."""
    path = normal(value)
    if leaves_root(path) and not any(path == place or path.startswith(f"{place}/") for place in spec.outside):
        above = path.rpartition("/")[0] or path
        draft.problems.append(
            Diagnostic(
                f"'{parameter}' leads outside the project: '{value}'",
                mark,
                f"move it into the project, or list its place: 'outside: [{above}]'",
            )
        )
