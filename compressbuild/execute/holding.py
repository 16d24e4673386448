"""The locks that a node holds while it runs."""

from __future__ import annotations

from ..digest import Digest
from ..store import Lock, Store

__all__ = ["acquire", "release"]


def acquire(store: Store, key: Digest, *, exclusive: bool, host: str = "") -> tuple[Lock, ...] | None:
    """The action's lock, and a share in (or the whole of) the machine; None while another process has them. Another
    machine, ``host``, is locked by the agent there, against the builds of others, too."""
    action = store.locks.try_acquire(key)
    if action is None or host:
        return None if action is None else (action,)
    machine = store.measuring.try_exclusive() if exclusive else store.measuring.try_shared()
    if machine is None:
        action.release()
        return None
    return action, machine


def release(locks: tuple[Lock, ...]) -> None:
    for lock in reversed(locks):
        lock.release()
