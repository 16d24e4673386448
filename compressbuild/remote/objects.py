"""What the remote cache needs of an object store, and the one adapter: obstore, for any URL that it knows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from ..credentials import hidden
from ..errors import UsageError
from ..store import explained
from . import aws

__all__ = ["Got", "Listed", "ObjectStore", "Objects", "Tag", "TooLarge", "Unreachable"]

PART = 8 << 20
"""Bytes of a large object that one request carries."""
_TOGETHER = 4  # parts on their way at once
_LONGEST = 240  # characters of a library's message that are shown


class Unreachable(Exception):
    """The object store cannot be used. The message is one line without credentials."""


class TooLarge(Exception):
    """An object is larger than anything that cbuild puts there."""


class _Missing(Exception):
    """An object is not there."""


Tag = dict[str, str]
"""What tells a version of an object from others, by the library's names: Google's store compares ``version``, which is
its generation, and the others ``e_tag``."""


class Got(NamedTuple):
    """``tag``: of the version that was read; None if the store has no such thing."""

    data: bytes
    tag: Tag | None


class Listed(NamedTuple):
    """``size``: bytes; ``modified``: Unix time."""

    name: str
    size: int
    modified: float


class Objects(Protocol):
    """Named objects, each written whole or not at all. Every method may raise Unreachable."""

    def get(self, name: str, limit: int) -> Got | None:
        """An object of at most ``limit`` bytes. None if it is not there; TooLarge without reading it."""

    def download(self, name: str, size: int, path: Path) -> bool:
        """Write ``size`` bytes of an object to a new file; False if it is not there, or has another size. StoreError if
        the file cannot be written."""

    def size(self, name: str) -> int | None:
        """Bytes of an object; None if it is not there."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless it is there; whether this call wrote it."""

    def replace(self, name: str, data: bytes, tag: Tag | None) -> bool:
        """Write an object if it still has this tag; whether this call wrote it."""

    def upload(self, name: str, path: Path) -> None:
        """Write an object from a file, a large one in parts. What was there is replaced; but if others write it at the
        same time, any of them counts. Unreachable, if neither this call nor anybody else wrote it meanwhile."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects below a prefix."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""


class ObjectStore:
    """An object store at a URL: s3://bucket/prefix, gs://, az://, file:///directory, memory:///.

    Credentials come from the environment of the process, as the provider's own tools read them, and for S3 from the
    files of AWS's command line. obstore is imported with the first request. ``timeout``: seconds that a small request
    may take; a part of a large object has six times as long.
    """

    def __init__(self, url: str, environ: Mapping[str, str], timeout: float) -> None:
        self.url = url
        self._environ = {**os.environ, **environ}  # the library reads that of the process
        self._timeout = timeout
        self._opening = Lock()

    # -- opening -----------------------------------------------------------------------------------------------------

    @cached_property
    def _library(self) -> Any:
        try:
            import obstore
            import obstore.exceptions
            import obstore.store
        except ImportError as error:
            raise UsageError(
                f"the remote cache {self.url} needs the package 'obstore'", hint="pip install 'compressbuild[remote]'"
            ) from error
        return obstore

    @property
    def _missing(self) -> tuple[type[Exception], ...]:
        return (FileNotFoundError, self._library.exceptions.NotFoundError)

    def _opened(self, seconds: float, retries: int) -> Any:
        options: dict[str, Any] = {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(seconds, 5)),
        }
        if any(self._environ.get(name, "").startswith("http://") for name in _ENDPOINTS):
            options["allow_http"] = True
        retry = {"max_retries": retries, "retry_timeout": timedelta(seconds=seconds * retries)}
        make = self._library.store.from_url
        scheme = urlsplit(self.url).scheme
        if scheme == "memory":
            with _memory_lock:
                return _memory.setdefault(self.url, self._library.store.MemoryStore())
        if scheme == "file":
            return make(self.url, mkdir=True)
        config = self._profile if scheme in ("s3", "s3a") else {}
        if config.get("aws_endpoint_url", "").startswith("http://"):
            options["allow_http"] = True
        return make(self.url, config=config or None, client_options=options, retry_config=retry)

    @cached_property
    def _profile(self) -> dict[str, str]:
        try:
            found = aws.profile(self._environ)
        except aws.Unusable as error:
            raise Unreachable(str(error)) from error
        self._environ |= {name.upper(): value for name, value in found.items()}  # no message shows them
        return found

    @cached_property
    def _made(self) -> tuple[Any, Any]:
        with self._asking():
            return self._opened(self._timeout, 1), self._opened(6 * self._timeout, 3)

    def _handle(self, *, bulk: bool = False) -> Any:
        with self._opening:
            return self._made[bulk]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """The library's errors as Unreachable, but for those that are caught within."""
        library = self._library
        try:
            yield
        # obstore raises NotImplementedError for what a store does not offer.
        except (library.exceptions.BaseError, OSError, ValueError, NotImplementedError) as error:
            raise Unreachable(_said(error, library.exceptions, self._environ)) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of a Rust library: it derives from BaseException
                raise
            raise Unreachable(_said(error, library.exceptions, self._environ)) from error

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, name: str, limit: int) -> Got | None:
        with self._asking():
            try:
                found = self._library.get(self._handle(), name)
            except self._missing:
                return None
            if found.meta["size"] > limit:
                raise TooLarge(f"it has {found.meta['size']} bytes")
            return Got(bytes(found.bytes()), _tag(found.meta))

    def download(self, name: str, size: int, path: Path) -> bool:
        try:
            with explained("store what the remote cache has"), path.open("wb") as file:
                for part in self._parts(name, size):
                    file.write(part)
        except _Missing:
            return False
        return True

    def _parts(self, name: str, size: int) -> Iterator[bytes]:
        """The bytes of an object in order; _Missing if it is not there, or has another size."""
        with self._asking():
            handle = self._handle(bulk=True)
            try:
                if self._library.head(handle, name)["size"] != size:
                    raise _Missing
                starts = list(range(0, size, PART))
                for at in range(0, len(starts), _TOGETHER):
                    some = starts[at : at + _TOGETHER]
                    ends = [min(start + PART, size) for start in some]
                    yield from self._library.get_ranges(handle, name, starts=some, ends=ends)
            except self._missing as error:
                raise _Missing from error

    def size(self, name: str) -> int | None:
        with self._asking():
            meta = self._head(name)
            return None if meta is None else int(meta["size"])

    def _head(self, name: str) -> Mapping[str, Any] | None:
        try:
            return self._library.head(self._handle(), name)  # type: ignore[no-any-return]
        except self._missing:
            return None

    def list(self, prefix: str) -> Iterator[Listed]:
        with self._asking():
            for chunk in self._library.list(self._handle(bulk=True), prefix, chunk_size=1000):
                for each in chunk:
                    yield Listed(each["path"], each["size"], each["last_modified"].timestamp())

    # -- writing -----------------------------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> bool:
        return self._put(name, data, "create", lambda: self.size(name) is None)

    def replace(self, name: str, data: bytes, tag: Tag | None) -> bool:
        return self._put(name, data, tag if tag is not None else "overwrite", lambda: True)

    def _put(self, name: str, data: bytes, mode: Any, allowed: Callable[[], bool]) -> bool:
        """``allowed``: asked where the store has no conditional writes."""
        exceptions = self._library.exceptions
        with self._asking():
            handle = self._handle()
            try:
                self._library.put(handle, name, data, mode=mode, use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            except (exceptions.NotSupportedError, NotImplementedError):  # obstore's, for a store without such writes
                if not allowed():
                    return False
                self._library.put(handle, name, data, use_multipart=False)
        return True

    def upload(self, name: str, path: Path) -> None:
        with self._asking():
            before = self._head(name)
            try:
                self._library.put(self._handle(bulk=True), name, path, chunk_size=PART, max_concurrency=_TOGETHER)
            except self._library.exceptions.BaseError:
                # Of two that write it at once, Azure drops the parts of one, which then finds it whole. But what was
                # there before may be the very object that had to be replaced: it has the same size, and other bytes.
                now = self._head(name)
                if now is None or now["size"] != path.stat().st_size or _version(now) == _version(before):
                    raise

    def remove(self, names: Sequence[str]) -> None:
        with self._asking():
            for name in names:
                try:
                    self._library.delete(self._handle(), name)
                except self._missing:
                    continue


def _said(error: BaseException, exceptions: Any, environ: Mapping[str, str]) -> str:
    """``exceptions``: the library's module of them; ``environ``: where the credentials are that no message shows."""
    denied = isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError))
    text = hidden(str(error).partition("\n\nDebug source")[0], environ)
    text = _PERFORMED.sub(r"\1: ", text)
    if denied or " 401 " in text or " 403 " in text:
        text = f"access denied; check the credentials, and that they may list the bucket ({text})"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _tag(meta: Mapping[str, Any]) -> Tag | None:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None} or None


def _version(meta: Mapping[str, Any] | None) -> object:
    """What is not the same after anybody has written the object. Without tags, the time in seconds is all there is."""
    return meta and (_tag(meta) or meta["last_modified"])


_PERFORMED = re.compile(r"Error performing (\w+) \S+ in [^-]*- ")  # the object's address says nothing new
_ENDPOINTS = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
    *("AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL"),
)
_memory: dict[str, Any] = {}  # those of this process, by URL
_memory_lock = Lock()
