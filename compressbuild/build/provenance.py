"""Provenance of a published artifact: an in-toto Statement v1 with a SLSA Provenance v1 predicate.

https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1. Subjects carry SHA-256, which other tools check, and
BLAKE3, which the cache uses. Nothing in it depends on when or where the build ran: equal builds have equal
provenance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..digest import Digest, StatCache, bytes_digest
from ..plan import Action
from ..publish import SEAL
from ..store import ActionResult, Tree

__all__ = ["Mismatch", "made_of", "sha256", "statement", "verify"]


class Mismatch(msgspec.Struct, frozen=True):
    """A published file that is not what its provenance says. ``what``: ``missing``, ``changed``, ``extra``."""

    path: str
    what: str


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def statement(
    target: str,
    tree: Tree,
    directory: Path,
    extra: Iterable[str],
    steps: Iterable[tuple[Action, ActionResult]],
    stat: StatCache,
    environment: Mapping[str, str],
) -> bytes:
    """The statement about ``directory``, which holds the files of ``tree`` and the ``extra`` ones.

    ``steps``: the actions that led to the artifact, in order, with their results.
    """
    names = sorted([*(file.path for file in tree.files), *extra])
    subject = [{"name": name, "digest": _digests(directory / name, stat)} for name in names]
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://compressbuild.dev/compressfile/v1",
                "externalParameters": {"target": target},
                "internalParameters": {"environment": dict(environment)},
                "resolvedDependencies": [_step(action, result) for action, result in steps],
            },
            "runDetails": {
                "builder": {"id": "https://compressbuild.dev/cbuild", "version": {"compressbuild": __version__}}
            },
        },
    }
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n"


def made_of(target: str, steps: Iterable[tuple[Action, ActionResult]], environment: Mapping[str, str]) -> Digest:
    """Digest of all that a statement tells beside the published bytes: a key covers the rest of its action."""
    told = [[action.node.position, action.key, result.kind, result.output] for action, result in steps]
    return bytes_digest(msgspec.json.encode([__version__, target, told, environment], order="deterministic"))


def _digests(path: Path, stat: StatCache) -> dict[str, str]:
    return {"sha256": stat.memo(path, "sha256", sha256), "blake3": stat.digest(path)}


def _step(action: Action, result: ActionResult) -> dict[str, Any]:
    """An action as a resolved dependency: its output tree, and all that its key covers."""
    return {
        "name": action.node.position,
        "digest": {"blake3-tree": result.output},
        "annotations": {"key": action.key, "kind": result.kind, **(action.parts or {})},
    }


class _Subject(msgspec.Struct):
    name: str
    digest: dict[str, Digest]


class _Statement(msgspec.Struct):
    subject: list[_Subject]


def verify(directory: Path) -> list[Mismatch]:
    """Compare every file of a published directory with its provenance. Raises FileNotFoundError without one, and
    msgspec.DecodeError for one that is not a statement."""
    said = msgspec.json.decode((directory / SEAL).read_bytes(), type=_Statement)
    expected = {subject.name: subject.digest.get("sha256") for subject in said.subject}
    present = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if not p.is_dir()} - {SEAL}
    found = [Mismatch(name, "missing") for name in sorted(expected.keys() - present)]
    found += [Mismatch(name, "extra") for name in sorted(present - expected.keys())]
    found += [
        Mismatch(name, "changed")
        for name in sorted(present & expected.keys())
        if sha256(directory / name) != expected[name]
    ]
    return found
