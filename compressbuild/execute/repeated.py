"""What a repeated run made, beside what is known of an earlier one."""

from __future__ import annotations

import stat
from pathlib import Path

from ..digest import Digest, file_digest
from ..errors import StoreError
from ..store import Store, Tree, TreeFile
from ..store.tree import scan

__all__ = ["differences"]


def differences(store: Store, key: Digest, out: Path) -> list[str]:
    """Names of the files that are not as the action made them before; none if it is not known to have run."""
    known = store.lookup(key, touch=False)
    if known is None:
        return []
    found, empty = scan(str(out))
    made: dict[str, TreeFile] = {}
    for each in found:
        executable = bool(each.stat.st_mode & stat.S_IXUSR)
        made[each.path] = TreeFile(each.path, file_digest(out / each.path), each.stat.st_size, executable)
    if Tree(tuple(made.values()), tuple(empty)).digest == known.result.output:
        return []
    try:
        before = {file.path: file for file in store.cas.read_tree(known.result.output).files}
    except StoreError:  # the bytes are gone, and with them the names
        return sorted(made) or ["everything"]
    return sorted(name for name in {*before, *made} if before.get(name) != made.get(name)) or ["empty directories"]
