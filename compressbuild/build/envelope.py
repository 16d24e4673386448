"""``provenance.json``: a DSSE envelope around an in-toto statement, with its signatures.

https://github.com/secure-systems-lab/dsse. Beside the fields of DSSE stands ``checksum``, over all the others. Equal
content has exactly one form, so a changed byte shows wherever it is, even without a key.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from pathlib import Path

import msgspec

from ..signing import PublicKey, Signature, SigningKey

__all__ = ["BadEnvelope", "Envelope", "open_regular", "sealed"]

TYPE = "application/vnd.in-toto+json"
_LIMIT = 64 << 20
"""Bytes of the largest envelope that is read: a real one has some kilobytes."""


class BadEnvelope(ValueError):
    """A file that is no envelope, or not as it was written. The message goes after ``provenance.json``."""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``payload``: the statement's bytes, which JSON holds as base64."""

    payload: bytes
    payloadType: str = TYPE
    signatures: tuple[Signature, ...] = ()
    checksum: str = ""

    def encode(self) -> bytes:
        body = msgspec.structs.replace(self, checksum="")
        checksum = "sha256:" + hashlib.sha256(msgspec.json.encode(body)).hexdigest()
        return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(body, checksum=checksum))) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Raises BadEnvelope unless ``data`` is exactly what ``encode`` writes."""
        try:
            envelope = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadEnvelope(f"cannot be read ({error})") from error
        if envelope.encode() != data:
            raise BadEnvelope("changed")
        if envelope.payloadType != TYPE:
            raise BadEnvelope(f"holds no in-toto statement, but {envelope.payloadType!r}")
        return envelope

    @classmethod
    def read(cls, path: Path) -> Envelope:
        """Raises BadEnvelope for what cannot be read: no file, a link, a FIFO, or other content."""
        return cls.decode(_data(path))

    def signed(self, key: SigningKey) -> Envelope:
        """With a signature by ``key`` in place of an earlier one by it."""
        others = tuple(each for each in self.signatures if each.keyid != key.keyid)
        return msgspec.structs.replace(self, signatures=(*others, key.sign(self.authenticated)))

    def vouched_by(self, key: PublicKey) -> bool:
        """Whether a signature by ``key`` is there and right."""
        return any(key.verifies(each, self.authenticated) for each in self.signatures)

    @property
    def authenticated(self) -> bytes:
        """What a signature is over: DSSE's pre-authentication encoding of type and payload."""
        kind = self.payloadType.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)


def sealed(payload: bytes, present: Path, key: SigningKey | None) -> bytes:
    """The envelope for a statement. If the one at ``present`` says the same, its signatures stay."""
    envelope = Envelope(payload)
    with contextlib.suppress(BadEnvelope):  # none, or damaged: written again
        data = _data(present)
        if key is None and data == (plain := envelope.encode()):
            return plain  # as is most often, it has no signatures
        there = Envelope.decode(data)
        envelope = there if there.payload == payload else envelope
    return (envelope.signed(key) if key else envelope).encode()


def _data(path: Path) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise BadEnvelope(f"cannot be read ({error.strerror})") from error
    if len(data) > _LIMIT:
        raise BadEnvelope(f"cannot be read (it is larger than {_LIMIT >> 20} MiB)")
    return data


def open_regular(path: Path) -> int:
    """A descriptor to read a regular file. OSError for anything else; it neither follows a link nor waits."""
    if not stat.S_ISREG(os.lstat(path).st_mode):  # before it is opened: opening some devices does something
        raise OSError(errno.EINVAL, "it is not a regular file")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was replaced meanwhile
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor
