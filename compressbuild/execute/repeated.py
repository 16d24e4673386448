"""What a repeated run made, beside what the cache holds of the first."""

from __future__ import annotations

from pathlib import Path

from ..digest import file_digest
from ..store import ActionResult, Store

__all__ = ["differences"]


def differences(store: Store, result: ActionResult, out: Path) -> list[str]:
    """Names of the files that are not as they are in the cache."""
    cached = {file.path: file.digest for file in store.cas.read_tree(result.output).files}
    made = {p.relative_to(out).as_posix(): file_digest(p) for p in out.rglob("*") if p.is_file()}
    return sorted(name for name in {*cached, *made} if cached.get(name) != made.get(name))
