"""``Compressfile.lock``: the software that targets were last accepted with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ..digest import Digest, read_regular
from ..errors import CbuildError
from ..graph import Node
from .keys import Keyer

__all__ = ["Lock"]

_VERSION = 1


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``tools``: distribution (and Python) → version. ``plugins``: function or type of a plugin → digest of its code.

    A tool that is not installed has no version, and is not written. The project's own code and data are not in it:
    version control pins those.
    """

    version: int
    tools: dict[str, str | None]
    plugins: dict[str, Digest]

    @classmethod
    def of(cls, nodes: Iterable[Node], keyer: Keyer) -> Lock:
        """What ``nodes`` would run with now."""
        tools: dict[str, str | None] = {}
        plugins: dict[str, Digest] = {}
        for node in nodes:
            if node.environment is None:  # the others have locks of their own
                tools |= keyer.tools(node)
            plugins |= keyer.plugin_code(node)
        return cls(_VERSION, dict(sorted(tools.items())), dict(sorted(plugins.items())))

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Raises CbuildError for a file that is no lock."""
        try:
            found = msgspec.json.decode(read_regular(path), type=cls)
        except OSError as error:
            raise CbuildError(f"{path.name} cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CbuildError(
                f"{path.name} is not a lock ({error})",
                hint="take it from version control again, or write a new one with 'cbuild lock'",
            ) from error
        if found.version != _VERSION:
            raise CbuildError(
                f"{path.name} has version {found.version}, and this compressbuild reads version {_VERSION}",
                hint="use the version of compressbuild that wrote it, or write a new one with 'cbuild lock'",
            )
        return found

    def encoded(self) -> bytes:
        tools = {name: version for name, version in self.tools.items() if version is not None}
        return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(self, tools=tools)), indent=2) + b"\n"

    def differences(self, now: Lock) -> Iterator[str]:
        """What of ``now`` is not as it is locked, one line each. What ``now`` does not need is not compared."""
        for name, version in now.tools.items():
            locked = self.tools.get(name)
            if version == locked:
                continue
            if version is None:
                yield f"{name} {locked} is locked, but not installed"
            elif locked is None:
                yield f"{name} {version} is not locked"
            else:
                yield f"{name} is {version}, locked is {locked}"
        changed: dict[str, list[str]] = {}
        for reference, digest in now.plugins.items():
            if self.plugins.get(reference) != digest:
                changed.setdefault(re.split("[.:]", reference)[0], []).append(reference)
        for package, references in changed.items():
            more = f" and {len(references) - 1} more" if len(references) > 1 else ""
            yield f"the code of {package} is not the locked one ({references[0]}{more})"
