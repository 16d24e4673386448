"""Whether a published directory matches its provenance, whoever signed it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from ..digest import Digest
from ..evaluate.results import FILE
from ..publish import SEAL
from ..signing import PublicKey
from ..store import Tree, TreeFile
from .envelope import BadEnvelope, Envelope, open_regular
from .provenance import PREDICATE, STATEMENT

__all__ = ["Mismatch", "Statement", "Verdict", "stated", "verify"]

_CHUNK = 1 << 20


class Mismatch(msgspec.Struct, frozen=True):
    """Something that is not as the provenance says. ``what``: ``missing``, ``changed``, ``extra``, or more words."""

    path: str
    what: str

    def __str__(self) -> str:
        """On one line, whatever the name of the file holds."""
        return f"{self.path if self.path.isprintable() else ascii(self.path)} {self.what}"


class Verdict(msgspec.Struct, frozen=True):
    """``artifact``: digest of the tree that the statement is about. ``signed``: ids of the keys that it names."""

    mismatches: tuple[Mismatch, ...] = ()
    artifact: Digest | None = None
    signed: tuple[str, ...] = ()


class _Subject(msgspec.Struct):
    """``annotations``: of a file beside the artifact that came with its model, ``{"companion": true}``."""

    name: str
    digest: dict[str, str]
    annotations: dict[str, Any] = {}


class _Parameters(msgspec.Struct):
    target: str


class _Step(msgspec.Struct):
    """``annotations``: what its key covers, as JSON: to verify takes none of it."""

    digest: dict[str, str]
    name: str = ""
    annotations: msgspec.Raw = msgspec.Raw(b"{}")


class _Definition(msgspec.Struct):
    externalParameters: _Parameters
    resolvedDependencies: list[_Step]


class _Predicate(msgspec.Struct):
    buildDefinition: _Definition


class Statement(msgspec.Struct):
    kind: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicateType: str
    predicate: _Predicate

    @property
    def artifact(self) -> Digest | None:
        """The tree that the last step made."""
        steps = self.predicate.buildDefinition.resolvedDependencies
        return steps[-1].digest.get("blake3-tree") if steps else None


class _Hashed(msgspec.Struct, frozen=True):
    sha256: str
    blake3: Digest
    size: int
    executable: bool


def verify(directory: Path, target: str, *, key: PublicKey | None = None, artifact: Digest | None = None) -> Verdict:
    """Compare every file of a published directory with its provenance, which has to be about ``target``.

    ``key``: a signature by it is needed. ``artifact``: the digest that the artifact must have, against an older one.
    """
    if directory.is_symlink() or not directory.is_dir():
        return Verdict((Mismatch(str(directory), "is not a directory"),))
    try:
        envelope = Envelope.read(directory / SEAL)
        said = stated(envelope)
    except BadEnvelope as error:
        return Verdict((Mismatch(SEAL, str(error)),))
    signed = tuple(each.keyid for each in envelope.signatures)
    if key is not None and not envelope.vouched_by(key):
        why = "has a wrong signature by this key" if key.keyid in signed else "is not signed by this key"
        return Verdict((Mismatch(SEAL, why),), said.artifact, signed)
    found = []
    about = said.predicate.buildDefinition.externalParameters.target
    if about != target:
        found.append(Mismatch(SEAL, f"is about target {about!r}, not {target!r}"))
    if artifact is not None and said.artifact != artifact:
        found.append(Mismatch(SEAL, f"is about the artifact {said.artifact}, not {artifact}"))
    return Verdict((*found, *_compare(directory, said)), said.artifact, signed)


def stated(envelope: Envelope) -> Statement:
    """What an envelope says of a build. Raises BadEnvelope for anything else."""
    try:
        said = msgspec.json.decode(envelope.payload, type=Statement)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadEnvelope(f"holds no statement of a build ({error})") from error
    if (said.kind, said.predicateType) != (STATEMENT, PREDICATE):
        raise BadEnvelope(f"holds a statement of another type ({said.predicateType!r})")
    if len({subject.name for subject in said.subject}) != len(said.subject):
        raise BadEnvelope("names a file twice")
    return said


def _compare(directory: Path, said: Statement) -> list[Mismatch]:
    """Only names that the walk met are opened: what a statement names is never a path to follow."""
    expected = {subject.name: subject.digest for subject in said.subject}
    present, empty, found = _walk(directory)
    found += [Mismatch(name, "missing") for name in sorted(expected.keys() - present - {m.path for m in found})]
    found += [Mismatch(name, "extra") for name in sorted(present - expected.keys())]
    hashed = {}
    for name in sorted(present & expected.keys()):
        try:
            hashed[name] = _hash(directory / name)
        except OSError as error:
            found.append(Mismatch(name, f"cannot be read ({error.strerror})"))
            continue
        wanted = {"sha256": hashed[name].sha256, "blake3": hashed[name].blake3}
        if expected[name] != wanted:
            found.append(Mismatch(name, "changed"))
    if not found:
        beside = {FILE, *(subject.name for subject in said.subject if subject.annotations.get("companion") is True)}
        files = [TreeFile(n, h.blake3, h.size, h.executable) for n, h in sorted(hashed.items()) if n not in beside]
        if Tree(tuple(files), tuple(sorted(empty))).digest != said.artifact:
            found.append(Mismatch("artifact", "changed: a mode, or an empty directory"))
    return found


def _walk(directory: Path) -> tuple[set[str], list[str], list[Mismatch]]:
    """Names of regular files but the seal, of empty directories, and what else there is."""
    files, empty, others = set(), [], []
    pending = [""]
    while pending:
        above = pending.pop()
        try:
            with os.scandir(directory / above) as entries:
                inside = list(entries)
        except OSError as error:
            others.append(Mismatch(above.rstrip("/") or ".", f"cannot be read ({error.strerror})"))
            continue
        if above and not inside:
            empty.append(above[:-1])
        for entry in inside:
            name = above + entry.name
            if entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")
            elif entry.is_file(follow_symlinks=False):
                files.add(name)
            else:
                others.append(Mismatch(name, "is a symbolic link" if entry.is_symlink() else "is a special file"))
    return files - {SEAL}, empty, sorted(others, key=lambda each: each.path)


def _hash(path: Path) -> _Hashed:
    """Both digests in one reading, of one open file."""
    sha, blake = hashlib.sha256(), blake3()
    with open(open_regular(path), "rb") as file:
        size = 0
        while data := file.read(_CHUNK):
            sha.update(data)
            blake.update(data)
            size += len(data)
        mode = os.fstat(file.fileno()).st_mode
    return _Hashed(sha.hexdigest(), blake.hexdigest(), size, bool(mode & 0o100))
