"""Ed25519 keys: who vouches for a statement. Needs the package ``cryptography`` (the extra ``sign``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .digest import read_named
from .errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["VARIABLE", "PublicKey", "Signature", "SigningKey", "from_environment"]

VARIABLE = "CBUILD_SIGNING_KEY"
_MAKE = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"
_PUBLIC = "openssl pkey -in key.pem -pubout -out key.pub"


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``keyid``: SHA-256 of the public key (its DER form). ``sig``: 64 bytes, which JSON holds as base64."""

    keyid: str
    sig: bytes


class PublicKey:
    """The public half of an ed25519 key, from a PEM file."""

    def __init__(self, path: Path) -> None:
        data = _read(path)
        if b"PRIVATE KEY" in data:
            raise UsageError(f"{path} is a private key", hint=f"to verify, give its public half: {_PUBLIC}")
        _, serialization = _cryptography()
        self._set(_loaded(path, "public", lambda: serialization.load_pem_public_key(data)))

    def _set(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.keyid = _keyid(key)

    @classmethod
    def of(cls, key: SigningKey) -> PublicKey:
        """The public half of a private key."""
        made = cls.__new__(cls)
        made._set(key.public)
        return made

    def verifies(self, signature: Signature, message: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        if signature.keyid != self.keyid:
            return False
        try:
            self._key.verify(signature.sig, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private ed25519 key, from a PEM file without a passphrase."""

    def __init__(self, path: Path) -> None:
        data = _read(path)
        if b"ENCRYPTED" in data:
            raise UsageError(
                f"the signing key {path} has a passphrase, which cbuild cannot ask for during a build",
                hint=f"decrypt it to a file that only you can read: openssl pkey -in {path} -out key.pem",
            )
        _, serialization = _cryptography()
        self._key = _loaded(path, "private", lambda: serialization.load_pem_private_key(data, password=None))
        self.path = path
        self.public: Ed25519PublicKey = self._key.public_key()
        self.keyid = _keyid(self.public)

    def sign(self, message: bytes) -> Signature:
        return Signature(self.keyid, self._key.sign(message))


def from_environment(environ: Mapping[str, str]) -> SigningKey | None:
    """The key that $CBUILD_SIGNING_KEY names; None if it is unset or empty."""
    path = environ.get(VARIABLE)
    return SigningKey(Path(path)) if path else None


def _read(path: Path) -> bytes:
    try:
        return read_named(path)
    except OSError as error:
        raise UsageError(f"cannot read the key {path}: {error.strerror}", hint=_MAKE) from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError(
            "signatures need the package 'cryptography'", hint="pip install 'compressbuild[sign]'"
        ) from error
    return ed25519, serialization


def _loaded(path: Path, half: str, load: Any) -> Any:
    ed25519, _ = _cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm

    hint = _MAKE if half == "private" else f"write it from the private key with: {_PUBLIC}"
    try:
        key = load()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no {half} key in PEM form", hint=hint) from error
    if not isinstance(key, ed25519.Ed25519PublicKey if half == "public" else ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path} is not an ed25519 key", hint=hint)
    return key


def _keyid(key: Ed25519PublicKey) -> str:
    _, serialization = _cryptography()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()
