"""What a key covers on disk, as it was when the key was made, to be compared with what is there now."""

from __future__ import annotations

import os

import msgspec

from ..api.work import WorkSight
from ..closure import CodeClosure
from ..digest import Seen
from .listing import Listing, Listings

__all__ = ["Cover"]


class Cover(msgspec.Struct, frozen=True):
    """All files behind one node's key. Nodes share the listings and closures of one look at the project. ``checks``:
    code that looks at the output and changes nothing."""

    root: str
    look: Listings
    listings: tuple[Listing, ...]
    closures: tuple[CodeClosure, ...]
    code: dict[str, Seen]
    checks: tuple[CodeClosure, ...] = ()

    def changed(self) -> str | None:
        """Something that changed since, relative to the project if it lies there; None if nothing has."""
        for listing in self.listings:
            if (path := self.look.changed(listing)) is not None:
                return path
        for path in {path for closure in self.closures for path in closure.paths}:
            if (seen := self.code.get(path)) is None or seen.changed(path):
                return self._shown(path)
        absent = {path for closure in self.closures for path in closure.absent}
        return min((self._shown(path) for path in absent if os.path.lexists(path)), default=None)

    def sight(self) -> WorkSight:
        """All that the worker may read beside its inputs."""
        files = {path for closure in (*self.closures, *self.checks) for path in closure.paths}
        trees: set[str] = set()
        folders: set[str] = set()
        for listing in self.listings:
            of = self.look.sight(listing)
            files.update(of[0])
            trees.update(of[1])
            folders.update(of[2])
        return WorkSight(files=tuple(sorted(files)), trees=tuple(sorted(trees)), folders=tuple(sorted(folders)))

    def _shown(self, path: str) -> str:
        return path.removeprefix(os.path.join(self.root, ""))
