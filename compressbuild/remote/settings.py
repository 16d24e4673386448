"""What a project and its environment say of the remote cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from .. import signing
from ..compressfile.publishing import has_password
from ..compressfile.spec import Spec
from ..errors import UsageError
from ..signing import PublicKey, SigningKey

__all__ = ["READ_ONLY", "TRUST", "URL", "Settings"]

URL = "CBUILD_REMOTE"
TRUST = "CBUILD_REMOTE_TRUST"
READ_ONLY = "CBUILD_REMOTE_READ_ONLY"


class Settings:
    """``url``: where; ``timeout``: seconds for a small request. Keys are read when they are first asked for."""

    def __init__(
        self, url: str, trust: tuple[Path, ...], key: Path | None, timeout: float, *, read_only: bool = False
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.read_only = read_only or key is None
        self._trust = trust
        self._key = key

    @classmethod
    def of(cls, spec: Spec, environ: Mapping[str, str]) -> Settings | None:
        """None if there is no remote cache. $CBUILD_REMOTE has the last word over the Compressfile; empty, it turns the
        remote cache off. UsageError if there is no key to trust, for then nothing could be read."""
        url = environ.get(URL, spec.remote.url)
        if not url:
            return None
        if has_password(url):
            raise UsageError(
                f"${URL} holds a password", hint="remove it; credentials come from the environment of the provider"
            )
        trust = [spec.root / path for path in spec.remote.trust]
        trust += [Path(path) for path in environ.get(TRUST, "").split(os.pathsep) if path]
        key = environ.get(signing.VARIABLE)
        if not trust and not key:
            raise UsageError(
                f"the remote cache {url} has no key to trust, so nothing of it can be used",
                hint=f"list public keys: 'cache: {{remote: …, trust: [ci.pub]}}' or ${TRUST}; or sign with "
                f"${signing.VARIABLE}",
                mark=spec.remote.mark if URL not in environ else None,
            )
        read_only = spec.remote.read_only or environ.get(READ_ONLY, "") not in ("", "0")
        return cls(url, tuple(trust), Path(key) if key else None, spec.remote.timeout, read_only=read_only)

    @cached_property
    def _signer(self) -> SigningKey | None:
        return SigningKey(self._key) if self._key is not None else None

    @property
    def signer(self) -> SigningKey | None:
        """The key that signs what this machine adds; None if it only reads."""
        return None if self.read_only else self._signer

    @cached_property
    def trust(self) -> Mapping[str, PublicKey]:
        """The public keys whose records count, by id: those listed, and the one of this machine's own key."""
        keys = [PublicKey(path) for path in self._trust]
        if self._signer is not None:
            keys.append(PublicKey.of(self._signer))
        return {key.keyid: key for key in keys}
