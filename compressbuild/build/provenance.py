"""Provenance of a published artifact: an in-toto Statement v1 with a SLSA Provenance v1 predicate.

https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1. Subjects carry SHA-256, which other tools check, and
BLAKE3, which the cache uses. Of when and where the build ran it holds only the sandbox that each step had: equal
builds in the same sandbox have equal provenance. :mod:`.envelope` wraps it, and :mod:`.verification` checks against it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..digest import Digest, StatCache, bytes_digest, file_digest
from ..plan import Action
from ..store import ActionResult, Tree

__all__ = ["PREDICATE", "STATEMENT", "made_of", "sha256", "statement"]

_CHUNK = 64 << 10  # bytes

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"


def sha256(path: str | os.PathLike[str]) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_CHUNK):
            hasher.update(data)
    return hasher.hexdigest()


def statement(
    target: str,
    tree: Tree,
    directory: Path,
    extra: Iterable[str],
    steps: Iterable[tuple[Action, ActionResult]],
    stat: StatCache | None,
    environment: Mapping[str, str],
    companions: Collection[str] = (),
) -> bytes:
    """The statement about ``directory``, which holds the files of ``tree``, the ``extra`` ones and the ``companions``.

    ``steps``: the actions that led to the artifact, in order, with their results. The last one made it. ``stat``:
    remembers the digests; None for files that will move, where remembering is in vain.
    """
    names = sorted([*(file.path for file in tree.files), *extra, *companions])
    subject: list[dict[str, Any]] = [{"name": name, "digest": _digests(f"{directory}/{name}", stat)} for name in names]
    for each in subject:
        if each["name"] in companions:
            each["annotations"] = {"companion": True}
    document = {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
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


def made_of(
    target: str, steps: Iterable[tuple[Action, ActionResult]], environment: Mapping[str, str], signer: str | None
) -> Digest:
    """Digest of all that a statement tells beside the published bytes: a key covers the rest of its action.

    ``signer``: the id of the key that signs it.
    """
    told = [[action.node.position, action.key, result.kind, result.output, result.sandbox] for action, result in steps]
    return bytes_digest(msgspec.json.encode([__version__, target, told, environment, signer], order="deterministic"))


def _digests(path: str, stat: StatCache | None) -> dict[str, str]:
    if stat is None:
        with open(path, "rb", buffering=0) as file:
            data = file.read(_CHUNK)
            if not file.read(1):  # a small file is read once
                return {"sha256": hashlib.sha256(data).hexdigest(), "blake3": bytes_digest(data)}
        return {"sha256": sha256(path), "blake3": file_digest(path)}
    return {"sha256": stat.memo(path, "sha256", sha256), "blake3": stat.digest(path)}


def _step(action: Action, result: ActionResult) -> dict[str, Any]:
    """An action as a resolved dependency: its output tree, and all that its key covers."""
    return {
        "name": action.node.position,
        "digest": {"blake3-tree": result.output},
        "annotations": {
            "key": action.key,
            "kind": result.kind,
            "sandbox": result.sandbox or "unknown",
            **(action.parts or {}),
        },
    }
