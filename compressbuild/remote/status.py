"""What `cbuild doctor` says of a remote cache."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UsageError
from .objects import ObjectStore, Unreachable
from .settings import Settings

__all__ = ["status"]


def status(settings: Settings, environ: Mapping[str, str]) -> str:
    """One line: the URL, whether it answers, whose results count, and whether this machine adds some. No secrets."""
    try:
        keys = len(settings.trust)
        signer = settings.signer
        ObjectStore(settings.url, environ, settings.timeout).size("v1/doctor")
    except (Unreachable, UsageError) as error:
        return f"{settings.url}: cannot be used: {error}"
    adds = f"adds results, signed by {signer.keyid[:12]}" if signer is not None else "read-only"
    return f"{settings.url}: reachable; {keys} trusted {'key' if keys == 1 else 'keys'}; {adds}"
