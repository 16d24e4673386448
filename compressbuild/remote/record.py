"""Signed records: what one machine tells the others of an action, and how they know that it is true.

An object below ``ac`` is a line with the format, and msgpack: the record, its signature, and the output itself if it is
small. The signature is over the format and the record, and the record names the action's key and the digest of its
output. So a record holds for no other action, and everything behind it is verified by its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from ..digest import Digest, bytes_digest, is_digest
from ..signing import PublicKey, Signature, SigningKey
from ..store import ActionResult

__all__ = [
    "RECORD_LIMIT",
    "SMALL",
    "Bundle",
    "Refused",
    "Untrusted",
    "blob_name",
    "mentioned",
    "pack",
    "record_name",
    "tree_name",
    "unpack",
]

_T = TypeVar("_T")

FORMAT = 1
_MAGIC = b"compressbuild-remote-%d\n" % FORMAT
_SIGNED = b"compressbuild remote record %d\n" % FORMAT
SMALL = 64 << 10
"""Bytes of a file that travels with its tree, and of an output that travels with its record."""
RECORD_LIMIT = 1 << 20
"""Bytes of the largest record that is read."""


class Refused(Exception):
    """A record or an object that is not used. The message says why, after its name."""


class Untrusted(Refused):
    """It may be sound, but a key that is not trusted signed it. ``keyid``: of that key."""

    def __init__(self, keyid: str) -> None:
        super().__init__(f"is signed by a key that is not trusted ({keyid[:12]})")
        self.keyid = keyid


class Bundle(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A tree with its small files, by digest."""

    tree: bytes
    files: dict[Digest, bytes]

    def encode(self) -> bytes:
        return _MAGIC + msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, tree: Digest) -> Bundle:
        """Raises Refused unless it is the bundle of this tree; the files are not verified."""
        found = _decoded(data, cls)
        if bytes_digest(found.tree) != tree:
            raise Refused("holds another tree than its name says")
        return found


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    result: ActionResult


class _Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``statement``: the signed bytes, JSON of a _Statement."""

    statement: bytes
    signature: Signature
    bundle: Bundle | None


def record_name(key: Digest) -> str:
    return f"v{FORMAT}/ac/{key[:2]}/{key}"


def tree_name(digest: Digest) -> str:
    return f"v{FORMAT}/trees/{digest[:2]}/{digest}"


def blob_name(digest: Digest) -> str:
    return f"v{FORMAT}/cas/{digest[:2]}/{digest}"


def pack(result: ActionResult, bundle: Bundle | None, key: SigningKey) -> bytes:
    """The object for a result, signed."""
    statement = msgspec.json.encode(_Statement(FORMAT, msgspec.structs.replace(result, evicted=False)))
    return _MAGIC + msgspec.msgpack.encode(_Packed(statement, key.sign(_SIGNED + statement), bundle))


def unpack(data: bytes, key: Digest, trust: Mapping[str, PublicKey]) -> tuple[ActionResult, Bundle | None]:
    """The result of the action ``key``, with its small output. ``trust``: public keys by their id.

    Raises Refused unless one of them signed it, for this action and this format. The files are not verified.
    """
    packed = _decoded(data, _Packed)
    signer = trust.get(packed.signature.keyid)
    if signer is None:
        raise Untrusted(packed.signature.keyid)
    if not signer.verifies(packed.signature, _SIGNED + packed.statement):
        raise Refused("has a wrong signature")
    try:
        statement = msgspec.json.decode(packed.statement, type=_Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"cannot be read ({error})") from error
    result = statement.result
    if statement.format != FORMAT:
        raise Refused(f"has format {statement.format}, not {FORMAT}")
    if result.key != key:
        raise Refused(f"is that of another action ({result.key[:12]})")
    if not is_digest(result.output):
        raise Refused("names no output")
    if packed.bundle is not None and bytes_digest(packed.bundle.tree) != result.output:
        raise Refused("holds another output than it names")
    return result, packed.bundle


def mentioned(data: bytes) -> tuple[Digest, Bundle | None] | None:
    """The output that a record names, whoever signed it, and its small output; None if it cannot be read."""
    try:
        packed = _decoded(data, _Packed)
        return msgspec.json.decode(packed.statement, type=_Statement).result.output, packed.bundle
    except (Refused, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decoded(data: bytes, kind: type[_T]) -> _T:
    if not data.startswith(_MAGIC):
        raise Refused("is not in a format that this version reads")
    try:
        return msgspec.msgpack.decode(memoryview(data)[len(_MAGIC) :], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("is damaged or cut short") from error
