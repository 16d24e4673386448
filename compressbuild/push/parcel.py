"""A published target, checked, made ready to be pushed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ..api import Destination, Parcel, ParcelFile
from ..build.provenance import sha256
from ..build.verification import Statement
from ..digest import file_digest
from ..errors import CbuildError, CompressfileError
from ..evaluate.evidence import Evidence
from ..graph import TargetPlan
from ..plan import Plan
from ..project import Project
from ..publish import SEAL
from ..signing import PublicKey
from . import card, fitness

__all__ = ["Pushable", "parcels", "refuse_modes"]


class Pushable(NamedTuple):
    """``plain``: it has only files without special modes, and no empty directory. ``unchecked``: why nobody could ask
    whether it is what the Compressfile asks for now; empty: it is."""

    parcel: Parcel
    plain: bool
    unchecked: str = ""


def parcels(project: Project, names: Iterable[str], key: PublicKey | None = None) -> list[Pushable]:
    """The targets, each one fit to be pushed: CbuildError names the first that is not. ``key``: must have signed."""
    names = list(names)
    said = {name: fitness.published(project, name, key) for name in names}
    plan, unchecked = _plan(project, names)
    return [_pushable(project, project.graph.targets[name], said[name], plan, unchecked) for name in names]


def _plan(project: Project, names: list[str]) -> tuple[Plan | None, str]:
    """None where the data or code that keys cover is not on this machine, and why."""
    graph = project.graph  # an error in the Compressfile itself is not caught
    assert graph is not None
    try:
        return project.plan(names), ""
    except CompressfileError as error:
        return None, error.diagnostics[0].message


def _pushable(project: Project, target: TargetPlan, said: Statement, plan: Plan | None, unchecked: str) -> Pushable:
    directory = project.publisher.path(target.name)
    evidence = Evidence.read(directory)
    if evidence is None:
        raise CbuildError(f"{target.name}: its metrics cannot be read", hint=f"run this first: cbuild {target.name}")
    fitness.check_gates(target, evidence)
    if plan is not None:
        fitness.check_current(project, target, said)
    files = [
        ParcelFile(
            name=subject.name,
            path=directory / subject.name,
            size=(directory / subject.name).stat().st_size,
            sha256=subject.digest["sha256"],
            blake3=subject.digest["blake3"],
        )
        for subject in said.subject
    ]
    seal = directory / SEAL
    files.append(
        ParcelFile(name=SEAL, path=seal, size=seal.stat().st_size, sha256=sha256(seal), blake3=file_digest(seal))
    )
    facts = card.Facts.of(project, target, said, evidence, files, plan)
    parcel = Parcel(
        target=target.name,
        kind=facts.kind,
        artifact=said.artifact or "",
        files=tuple(files),
        seal=SEAL,
        card=card.markdown(facts),
        metrics=_numbers(evidence),
        labels=facts.labels,
    )
    return Pushable(parcel, _is_plain(directory, files), unchecked)


def _numbers(evidence: Evidence) -> Mapping[str, float]:
    values = ((name, found.get("value")) for name, found in sorted(evidence.metrics.items()))
    return {name: value for name, value in values if isinstance(value, int | float) and not isinstance(value, bool)}


def _is_plain(directory: Path, files: Iterable[ParcelFile]) -> bool:
    folders = {path for path in directory.rglob("*") if path.is_dir()}
    filled = {parent for file in files for parent in file.path.parents}
    return folders <= filled and not any(file.path.stat().st_mode & 0o100 for file in files)


def refuse_modes(found: Pushable, record: Destination, address: str) -> None:
    """A destination that keeps no modes would change the artifact's digest."""
    if not found.plain and not record.modes:
        raise CbuildError(
            f"{found.parcel.target} holds an executable file or an empty directory, which {address} cannot keep",
            hint="push it to a directory",
        )
