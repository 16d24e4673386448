"""Any store that fsspec knows. It may have no rename, so the seal is written last, when everything was read back.

An upload goes beside its place first. Until it is complete, what was published before stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, BinaryIO

from compressbuild.api import Content, Params, Parcel, UserError

_MARK = ".cbuild-push"
_SEAL = "provenance.json"
_FLAT = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "ossfs", "obs", "cos", "b2", "oci"))


def open_place(address: str, options: Params) -> Url:
    import fsspec

    scheme = address.partition("://")[0]
    if scheme in ("memory", "data", "reference"):
        raise UserError(f"{scheme}:// keeps nothing after this command", hint="push to a directory or a store")
    try:
        files, path = fsspec.core.url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise UserError(f"{scheme}:// needs another package: {error}", hint=_pip(scheme)) from error
    except ValueError as error:
        raise UserError(
            f"fsspec knows no {scheme}:// addresses ({error})", hint="write s3://, gs://, az:// …"
        ) from error
    path = path.rstrip("/")
    if "/" not in path.strip("/"):
        raise UserError("the address has no path below its bucket or host", hint=f"write {address.rstrip('/')}/models")
    return Url(address.rstrip("/"), files, path)


def _pip(scheme: str) -> str:
    packages = {"s3": "compressbuild[push-s3]", "s3a": "compressbuild[push-s3]", "gs": "gcsfs", "gcs": "gcsfs"}
    packages |= {"az": "adlfs", "abfs": "adlfs", "sftp": "paramiko", "ssh": "paramiko"}
    name = packages.get(scheme)
    return f"pip install '{name}'" if name else "install the package that it names"


class Prefix:
    """What lies below a path, without the path's own marker."""

    def __init__(self, files: Any, path: str) -> None:
        self._files = files
        self._path = path

    def names(self) -> Collection[str]:
        self._files.invalidate_cache()
        try:
            found = self._files.find(self._path)
        except FileNotFoundError:
            return set()
        return {each[len(self._path) + 1 :] for each in found if each.startswith(f"{self._path}/")} - {""}

    def open(self, name: str) -> BinaryIO:
        stream: BinaryIO = self._files.open(f"{self._path}/{name}", "rb", cache_type="readahead")
        return stream


class Url:
    def __init__(self, address: str, files: Any, path: str) -> None:
        self.address = address
        self._files = files
        self._path = path
        above, _, name = path.rpartition("/")
        self._staged = f"{above}/.{name}{_MARK}"

    def current(self) -> Content | None:
        content = Prefix(self._files, self._path)
        names = content.names()
        if _SEAL in names:
            return content
        if names and not Prefix(self._files, self._staged).names():
            raise UserError("files are there that no push put there", hint="remove them, or push to another place")
        return None  # nothing, or what a push left that was interrupted

    def described(self, parcel: Parcel) -> bool:
        return True

    def publish(self, parcel: Parcel, keep: frozenset[str], check: Callable[[Content], None]) -> str:
        sent = [file for file in parcel.files if file.name not in keep or file.name == parcel.seal]
        self.tidy()
        for file in sent:
            self._upload(str(file.path), f"{self._staged}/{file.name}", file.size)
        self._withdraw({file.name for file in parcel.files})
        # From here to the end a reader sees nothing. What is left if this is interrupted has a mark beside it.
        for file in sent:
            if file.name != parcel.seal:
                self._copy(f"{self._staged}/{file.name}", f"{self._path}/{file.name}")
        check(_Unsealed(self._files, self._path, self._staged, parcel.seal))
        self._copy(f"{self._staged}/{parcel.seal}", f"{self._path}/{parcel.seal}")
        self._remove(self._staged)
        return self.address

    def tidy(self) -> None:
        self._remove(self._staged)

    def _withdraw(self, wanted: Collection[str]) -> None:
        """The seal goes first, then files that the new artifact does not have."""
        names = set(Prefix(self._files, self._path).names())
        if _SEAL in names:
            self._files.rm_file(f"{self._path}/{_SEAL}")
        for name in sorted(names - set(wanted) - {_SEAL}):
            self._files.rm_file(f"{self._path}/{name}")

    def _upload(self, source: str, place: str, size: int) -> None:
        self._folder(place)
        self._files.put_file(source, place)
        self._files.invalidate_cache()
        there = self._files.info(place)["size"]
        if there != size:
            raise UserError(f"{place} has {there} bytes after the upload, not {size}", hint="push again")

    def _folder(self, place: str) -> None:
        """A store of objects has no folders, and would make a bucket instead."""
        if not _FLAT.intersection(
            [self._files.protocol] if isinstance(self._files.protocol, str) else self._files.protocol
        ):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)

    def _copy(self, source: str, place: str) -> None:
        """In the store itself, if it can."""
        self._folder(place)
        self._files.cp_file(source, place)

    def _remove(self, prefix: str) -> None:
        self._files.invalidate_cache()
        if self._files.exists(prefix):
            self._files.rm(prefix, recursive=True)
            self._files.invalidate_cache()


class _Unsealed(Prefix):
    """The place before its seal is there: the seal is read from where it waits."""

    def __init__(self, files: Any, path: str, staged: str, seal: str) -> None:
        super().__init__(files, path)
        self._waiting = Prefix(files, staged)
        self._seal = seal

    def names(self) -> Collection[str]:
        return {*super().names(), self._seal}

    def open(self, name: str) -> BinaryIO:
        return self._waiting.open(name) if name == self._seal else super().open(name)
