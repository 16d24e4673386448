"""One artifact to one place: compared with what is there, uploaded, read back. Never half, never unseen damage."""

from __future__ import annotations

import msgspec

from ..api import Content, Parcel, Remote, UserError
from ..build.envelope import BadEnvelope, Envelope
from ..build.verification import Statement, stated
from .content import compare, read, same

__all__ = ["Difference", "Pushed", "difference", "push"]

_SEAL = 64 << 20  # bytes of the largest seal that is read


class Difference(msgspec.Struct, frozen=True):
    """``keep``: files that are at the place already. ``nothing``: all of them are, and no others."""

    keep: frozenset[str]
    nothing: bool


class Pushed(msgspec.Struct, frozen=True):
    """``where``: the place, as precisely as it can be named. ``files``, ``size``: of what was uploaded."""

    target: str
    status: str  # pushed | up to date | would push
    where: str
    files: int
    size: int


def difference(parcel: Parcel, remote: Remote) -> Difference:
    """What a push would have to change. UserError if another target, or somebody's file, is there."""
    there = remote.current()
    if there is None:
        return Difference(frozenset(), False)
    seal = read(there, parcel.seal, _SEAL)
    before = _stated(seal)
    if before is not None:
        target = before.predicate.buildDefinition.externalParameters.target
        if target != parcel.target:
            raise UserError(
                f"target '{target}' is there, not '{parcel.target}'",
                hint="push to another place, or remove what is there",
            )
    said = {subject.name: subject.digest for subject in before.subject} if before is not None else {}
    names = {file.name for file in parcel.files}
    strange = set(there.names()) - (said.keys() if said else names) - {parcel.seal}
    if strange:
        raise UserError(f"{min(strange)} is there, which no push put there", hint="move it, or push to another place")
    alike = [f for f in parcel.files if said.get(f.name) == {"sha256": f.sha256, "blake3": f.blake3}]
    if seal == next(file.path for file in parcel.files if file.name == parcel.seal).read_bytes():
        alike.append(next(file for file in parcel.files if file.name == parcel.seal))
    keep = same(there, alike)
    return Difference(keep, keep == names == set(there.names()) and remote.described(parcel))


def push(parcel: Parcel, remote: Remote, *, whole: bool = False, dry_run: bool = False) -> Pushed:
    """Make ``remote`` hold the parcel. ``whole``: it takes all files, unless each of them is there."""
    found = difference(parcel, remote)
    if found.nothing:
        if not dry_run:
            remote.tidy()
        return Pushed(parcel.target, "up to date", remote.address, 0, 0)
    keep = found.keep if not whole or len(found.keep) == len(parcel.files) else frozenset()
    sent = [file for file in parcel.files if file.name not in keep]
    size = sum(file.size for file in sent)
    if dry_run:
        return Pushed(parcel.target, "would push", remote.address, len(sent), size)
    checked = []

    def check(content: Content) -> None:
        compare(content, parcel)
        checked.append(True)

    where = remote.publish(parcel, keep, check)
    there = remote.current() if checked else None
    if there is None or read(there, parcel.seal, _SEAL) != _bytes(parcel):
        raise UserError("what was pushed is not what is seen there", hint="somebody else may push to it; push again")
    return Pushed(parcel.target, "pushed", where, len(sent), size)


def _bytes(parcel: Parcel) -> bytes:
    return next(file for file in parcel.files if file.name == parcel.seal).path.read_bytes()


def _stated(seal: bytes) -> Statement | None:
    """None for what is damaged: a push replaces it."""
    try:
        return stated(Envelope.decode(seal))
    except BadEnvelope:
        return None
