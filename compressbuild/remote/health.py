"""Whether the object store answers: the first time that it does not, one warning is printed and nobody asks again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Lock

__all__ = ["Health", "warn"]

_SHOWN = 5
"""Refusals that are shown one by one, and keys: whoever writes there can make as many as they like."""


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Health:
    """``url``: as it is shown. ``say``: takes a warning."""

    def __init__(self, url: str, say: Callable[[str], None] = warn) -> None:
        self._url = url
        self._say = say
        self._lock = Lock()
        self.down: str | None = None
        self.refused = 0
        self._strangers: set[str] = set()

    def failed(self, reason: str) -> None:
        """The store did not answer as it should."""
        with self._lock:
            first, self.down = self.down is None, self.down or reason
        if first:
            self._say(f"the remote cache {self._url} cannot be used, so this goes on without it: {reason}")

    def untrusted(self, keyid: str) -> None:
        """A record is not used, because of the key that signed it. Said once for each key."""
        with self._lock:
            self.refused += 1
            first = keyid[:12] not in self._strangers and len(self._strangers) < _SHOWN
            self._strangers.add(keyid[:12])
        if first:
            self._say(
                f"the remote cache {self._url} has records signed by a key that is not trusted ({keyid[:12]}); "
                "what it signed is not used. If you trust its owner, list the public key under 'trust'"
            )

    def unsure(self, what: str) -> None:
        """Something here, beside the store, cannot be read; the work goes on without it."""
        self._say(f"the remote cache {self._url}: {what}. 'cbuild cache push' sends what is not there")

    def refuse(self, what: str, why: str) -> None:
        """Something that lies there is not used."""
        with self._lock:
            self.refused += 1
            number = self.refused
        if number <= _SHOWN:
            more = "; more are not shown" if number == _SHOWN else ""
            self._say(f"the remote cache {self._url}: {what} {why}; it is not used{more}")
