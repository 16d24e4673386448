"""An address becomes a place: its destination is found, asked for, and kept from showing credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..api import Destination, Params, Remote, UserError
from ..api.context import resolve as imported
from ..compressfile.nodes import Map
from ..compressfile.publishing import has_password
from ..compressfile.spec import PublishSpec
from ..credentials import hidden
from ..errors import CbuildError, CompressfileError, Diagnostic, UsageError
from ..graph.params import NO_PLATFORM, resolve
from ..platforms import check, lacking
from ..project import Project
from ..registry.destinations import destination_of

__all__ = ["Place", "guarded", "placed"]

_TARGET = "{target}"


class Place(msgspec.Struct, frozen=True):
    """Where one target goes. ``options``: of the destination, typed."""

    record: Destination
    address: str
    options: Params

    def open(self, environ: Mapping[str, str]) -> Remote:
        with guarded(self.address, environ):
            found: Remote = imported(self.record.open)(self.address, self.options)
            return found


def placed(project: Project, to: str, names: tuple[str, ...], entry: PublishSpec | None = None) -> dict[str, Place]:
    """Target → its place. ``entry``: of ``publish``, with options. UsageError if two would share one."""
    if has_password(to):
        raise UsageError(
            "the address holds a password, which others can see",
            hint="remove it; credentials come from the environment",
        )
    record = destination_of(project.registry, to)
    if entry is not None and "://" not in to:
        to = str(project.root / to)
    missing = [lack for needs in (record.stack.needs, record.needs) for lack in check(needs, project.facts)]
    if missing:
        hint = "; ".join(dict.fromkeys(lack.hint for lack in missing if lack.hint))
        raise CbuildError(f"{to}: destination '{record.name}' {lacking(missing)}", hint=hint or None)
    if _TARGET not in to and record.shared:
        to = f"{to.rstrip('/')}/{_TARGET}"
    if _TARGET not in to and len(names) > 1:
        raise UsageError(
            f"{to} holds one artifact, and {len(names)} targets were named: {', '.join(names[:5])}",
            hint=f"write {_TARGET} where the target's name belongs",
        )
    options = _options(project, record, entry)
    return {name: Place(record, to.replace(_TARGET, name), options) for name in names}


def _options(project: Project, record: Destination, entry: PublishSpec | None) -> Params:
    problems: list[Diagnostic] = []
    mark = entry.mark if entry is not None else None
    if mark is None:
        return _converted(record, {})
    assert entry is not None
    written: Map = entry.options
    found = resolve(
        record.options,
        written,
        owner=f"destination '{record.name}'",
        mark=mark,
        settle=NO_PLATFORM,
        problems=problems,
        types=project.types,
    )
    if found is None:
        raise CompressfileError(problems, dict(project.spec.texts))
    return _converted(record, found.values)


def _converted(record: Destination, values: Mapping[str, Any]) -> Params:
    try:
        return msgspec.convert(dict(values), record.options)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"destination '{record.name}' needs options: {error}", hint="declare it in 'publish' of the Compressfile"
        ) from error


@contextlib.contextmanager
def guarded(address: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Whatever a destination raises becomes one line without credentials."""
    try:
        yield
    except CbuildError:
        raise
    except UserError as error:
        hint = hidden(error.hint, environ) if error.hint else None
        raise CbuildError(f"{address}: {hidden(str(error), environ)}", hint=hint) from None
    except Exception as error:  # noqa: BLE001  plugin border: a destination runs its libraries
        said = hidden(f"{type(error).__name__}: {error}", environ)[:600].removesuffix(": ")
        hint = "see that the place exists and that its credentials are in the environment, then push again"
        raise CbuildError(f"{address}: {said}", hint=hint) from None
