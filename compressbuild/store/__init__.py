"""The store: content-addressed artifacts and the results of actions, in one directory (docs/store.md)."""

from __future__ import annotations

from compressbuild.store.ac import ENGINE, ActionResult
from compressbuild.store.cas import CAS, CorruptObject, Problem
from compressbuild.store.fs import FileSystem, SyncQueue, explained
from compressbuild.store.locks import ActionLocks, Lock, SharedExclusive
from compressbuild.store.store import Damaged, Evicted, Hit, Store
from compressbuild.store.tree import BadOutput, Tree, TreeFile, unsound

__all__ = [
    "CAS",
    "ENGINE",
    "ActionLocks",
    "ActionResult",
    "BadOutput",
    "CorruptObject",
    "Damaged",
    "Evicted",
    "FileSystem",
    "Hit",
    "Lock",
    "Problem",
    "SharedExclusive",
    "Store",
    "SyncQueue",
    "Tree",
    "TreeFile",
    "explained",
    "unsound",
]
