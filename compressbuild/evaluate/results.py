"""Metric results in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..digest import Digest, bytes_digest
from ..errors import StoreError
from ..store import Store

__all__ = ["FILE", "published_metrics", "read_metrics"]

FILE = "metrics.json"


def published_metrics(directory: Path) -> dict[str, Any]:
    """The ``metrics.json`` of a published target; empty if there is none, or what is there is not JSON."""
    try:
        found = msgspec.json.decode((directory / FILE).read_bytes())
    except (OSError, msgspec.DecodeError):  # 'cbuild verify' says what is damaged
        return {}
    return found if isinstance(found, dict) else {}


def read_metrics(store: Store, output: Digest) -> dict[str, Any]:
    """What a metric function returned. StoreError if its artifact is not what the digest says."""
    file = next((f for f in store.cas.read_tree(output).files if f.path == FILE), None)
    if file is None:
        raise StoreError(f"artifact {output[:12]} holds no {FILE}")
    data = Path(store.dir.object(file.digest)).read_bytes()
    if bytes_digest(data) != file.digest:
        raise StoreError(f"object {file.digest[:12]} is corrupt", hint="build again: it will be made anew")
    found: dict[str, Any] = msgspec.json.decode(data)
    return found
