"""Where published artifacts can be pushed, and what a plugin does for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from .needs import Needs
from .params import Params
from .record import RecordMeta
from .stack import Stack

__all__ = ["Content", "Destination", "Parcel", "ParcelFile", "Remote"]


class Destination(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """A kind of place that holds artifacts: ``scheme://…`` for each of ``schemes``.

    ``open``: ``f(address: str, options) -> Remote``, imported by ``cbuild push`` alone. ``file``: the scheme of a plain
    path; ``*``: of every address that no other destination takes. ``options``: a Params struct, the keys of an entry of
    ``publish`` beside ``to`` and ``targets``. ``shared``: an address holds several artifacts, each under its target's
    name; otherwise it holds one. ``whole``: a push uploads all files, not only those that changed. ``modes``: it keeps
    a file's mode and empty directories.
    """

    name: str
    open: str
    schemes: tuple[str, ...]
    options: type[Params] = Params
    shared: bool = False
    whole: bool = False
    modes: bool = False
    stack: Stack = Stack()
    needs: Needs = Needs()
    version: int = 1
    summary: str = ""


class ParcelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a published artifact. ``name``: its path in the artifact, with ``/``."""

    name: str
    path: Path
    size: int
    sha256: str
    blake3: str


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A published artifact, verified, with what is said of it.

    ``seal``: the file that says what the others are; a reader trusts nothing without it, so it is written last.
    ``artifact``: digest of the artifact's tree. ``metrics``: name → value. ``card``: a model card, in Markdown.
    ``labels``: short facts for a registry's search.
    """

    target: str
    kind: str
    artifact: str
    files: tuple[ParcelFile, ...]
    seal: str
    card: str
    metrics: Mapping[str, float] = {}
    labels: Mapping[str, str] = {}

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Content(Protocol):
    """What a place holds, without files that the place itself adds."""

    def names(self) -> Collection[str]: ...

    def open(self, name: str) -> BinaryIO:
        """Read a file's bytes as the place gives them. OSError if they cannot be had."""


class Remote(Protocol):
    """A place for one artifact.

    ``address``: the place, as people write it. Methods raise UserError for what the user can fix; any other exception
    is reported as the destination's failure. What they use of credentials comes from the environment.
    """

    address: str

    def current(self) -> Content | None:
        """What is published there now; None if nothing is.

        UserError if files lie there that no push put there.
        """

    def described(self, parcel: Parcel) -> bool:
        """Whether what the place says beside the files, such as a card, is what a push would write."""

    def publish(self, parcel: Parcel, keep: frozenset[str], check: Callable[[Content], None]) -> str:
        """Make the place hold exactly the parcel, and return where it is.

        Nobody may see a part of it, whenever this is interrupted. ``keep``: files that are there already, with the
        right bytes. ``check`` reads everything back; call it before the artifact is seen, if the place can do that.
        It raises if a byte differs.
        """

    def tidy(self) -> None:
        """Remove what an interrupted push left beside the place. Called where nothing has to be pushed."""
