"""The lock of an environment: the form that ``uv pip compile --generate-hashes`` and pip-tools write.

Each line pins one distribution to one version, with the digests of its files. So the same lock gives the same files,
whichever index they come from. https://pip.pypa.io/en/stable/topics/secure-installs/#hash-checking-mode
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import msgspec

from ..digest import Digest, digest_value, read_regular
from ..errors import CompressfileError, Diagnostic, Mark

__all__ = ["LockFile", "Pin", "read_lock"]

WORKER = "msgspec"
"""What each worker imports beside the standard library."""
_COMPILE = "uv pip compile --generate-hashes requirements.in -o"
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==\s*([\w.!+-]+)\s*(?:;\s*((?:(?!--).)+))?")
_HASH = re.compile(r"\s--hash=(\S+)")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_COMMENT = re.compile(r"(^|\s)#.*")


class Pin(msgspec.Struct, frozen=True):
    """One distribution of a lock. ``name``: normalised; ``marker``: where it is installed, empty for everywhere."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


class LockFile(msgspec.Struct, frozen=True):
    """``path``: absolute; ``text``: as read. ``digest``: of what it pins; comments and order do not count."""

    path: str
    text: str
    pins: tuple[Pin, ...]
    digest: Digest

    @property
    def versions(self) -> dict[str, str]:
        """Distribution → version; each version that it may have, where the platform decides."""
        found: dict[str, list[str]] = {}
        for pin in self.pins:
            found.setdefault(pin.name, []).append(pin.version)
        return {name: " or ".join(dict.fromkeys(versions)) for name, versions in sorted(found.items())}

    def applying(self, python: str) -> tuple[Pin, ...]:
        """Those that are installed on this machine with ``python``, a version like ``3.12``.
        CompressfileError for a marker that is none."""
        return tuple(pin for pin in self.pins if self._applies(pin, python))

    def fits(self, python: str) -> bool:
        """Whether it is for this machine and ``python``: it has what each worker imports. A lock that was made for
        other platforms has markers that leave everything out."""
        return any(pin.name == WORKER and self._applies(pin, python) for pin in self.pins)

    def _applies(self, pin: Pin, python: str) -> bool:
        if not pin.marker:
            return True
        import platform  # here, with the next: most plans have no environment

        from packaging.markers import InvalidMarker, Marker

        here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
        try:
            return Marker(pin.marker).evaluate({"python_version": python, "python_full_version": f"{python}.0", **here})
        except InvalidMarker as error:
            what = f"{self.path}: '{pin.marker[:60]}' of {pin.name} is no environment marker"
            hint = f"'{_COMPILE} FILE' writes markers as the Python packaging guide has them"
            raise CompressfileError([Diagnostic(what, None, hint)]) from error


def read_lock(path: str, shown: str, named: Mark | None = None) -> LockFile:
    """Read a lock. ``shown``: its name in messages; ``named``: where the Compressfile names it. Raises
    CompressfileError with everything that is wrong with it."""
    try:
        text = read_regular(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CompressfileError(
            [Diagnostic(f"the lock {shown} cannot be read: {why}", named, f"write it with '{_COMPILE} {shown}'")]
        ) from error
    pins: list[Pin] = []
    problems: list[Diagnostic] = []
    for number, line in _logical(text):
        found = _pin(line)
        if isinstance(found, Pin):
            pins.append(found)
        else:
            problems.append(Diagnostic(found[0], Mark(shown, number, 1, len(line.split()[0])), found[1]))
    if not problems and all(pin.name != WORKER for pin in pins):
        hint = f"add '{WORKER}' to what the lock is made from, and lock again: '{_COMPILE} {shown}'"
        problems.append(
            Diagnostic(f"the lock does not pin {WORKER}, which each worker imports", Mark(shown, 1, 1), hint)
        )
    if problems:
        raise CompressfileError(problems, {shown: text})
    said = sorted([pin.name, pin.version, pin.marker, *sorted(pin.hashes)] for pin in pins)
    return LockFile(path, text, tuple(pins), digest_value({"lock": said}))


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, those that end in a backslash joined, each with the number of its first."""
    parts: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not parts:
            first = number
        stripped = _COMMENT.sub("", line).rstrip()
        parts.append(stripped.removesuffix("\\"))
        if not stripped.endswith("\\"):
            if whole := " ".join(parts).strip():
                yield first, whole
            parts = []
    if whole := " ".join(parts).strip():
        yield first, whole


def _pin(line: str) -> Pin | tuple[str, str]:
    """What a line pins, or what is wrong with it and a hint."""
    hashes = tuple(_HASH.findall(line))
    bare = _HASH.sub("", line).strip()
    found = _PIN.fullmatch(bare)
    if found is None:
        return (
            f"'{bare[:60]}' does not pin a distribution to one version",
            f"a lock has lines NAME==VERSION --hash=sha256:…, and no options: '{_COMPILE} FILE' writes them",
        )
    name = re.sub(r"[-_.]+", "-", found[1]).lower()
    marker = " ".join((found[3] or "").split())
    if not hashes or not all(map(_SHA256.fullmatch, hashes)):
        return (
            f"'{name}=={found[2]}' has no sha256 of its files",
            f"lock with hashes, so that nobody can put other files in their place: '{_COMPILE} FILE'",
        )
    return Pin(name, found[2], marker, hashes)
