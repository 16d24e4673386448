"""Ed25519 keys in PEM files, as openssl writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Pair:
    private: Path
    public: Path

    @classmethod
    def make(cls, directory: Path, name: str, key: object = None, passphrase: bytes = b"") -> Pair:
        key = key or Ed25519PrivateKey.generate()
        pair = cls(directory / f"{name}.pem", directory / f"{name}.pub")
        directory.mkdir(parents=True, exist_ok=True)
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        pair.private.write_bytes(key.private_bytes(pem, form, encryption))
        pair.public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
        return pair
