"""The located nodes of a sound text, remembered: a Compressfile that was read before is not parsed again.

What is remembered is known by the digest of the text, and by the stat of the code and the library that parsed it.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ..digest import CLOCK_GRANULARITY_NS, bytes_digest, load_sealed, save_sealed
from ..errors import Mark
from ..noop import ABSENT, signature
from .nodes import Map, Node, Scalar, Seq
from .problems import Problems

__all__ = ["read"]

_MAGIC = b"compressbuild-parsed-1"
_STARTED = time.time_ns()
_CODE = ("nodes.py", "parsed.py", "reader.py", "scalars.py")


class _Parsed(msgspec.Struct, frozen=True, array_like=True):
    """``digest``: of the text. ``parser``: who parsed it. ``root``: the nodes as plain values."""

    digest: str
    parser: list[Any]
    root: list[Any]


def read(text: str, file: str, problems: Problems, memo: Path | None = None) -> Node | None:
    """As :func:`.reader.read`. ``memo``: a file in which to remember the nodes; None: none."""
    if memo is None:
        from .reader import read as parse

        return parse(text, file, problems)
    digest, parser = bytes_digest(text.encode("utf-8", "surrogatepass")), _parser()
    known = load_sealed(memo, _MAGIC, _Parsed)
    if known is not None and (known.digest, known.parser) == (digest, parser):
        return _node(known.root, file)
    from .reader import read as parse

    before = len(problems)
    root = parse(text, file, problems)
    if root is not None and len(problems) == before and _settled(parser) and memo.parent.is_dir():
        save_sealed(memo, _MAGIC, _Parsed(digest, parser, _plain(root)))
    return root


def _parser() -> list[Any]:
    """Python, and the signature of every file whose change could change what a text means."""
    yaml = find_spec("yaml")
    files = [*(str(Path(__file__).with_name(name)) for name in _CODE), (yaml.origin if yaml else None) or ""]
    return [sys.version, *([path, *signature(path)] for path in files)]


def _settled(parser: list[Any]) -> bool:
    """Whether every file is there, and older than this process: then it is what was imported."""
    return all(seen[1] != ABSENT and max(seen[1], seen[4]) < _STARTED - CLOCK_GRANULARITY_NS for seen in parser[1:])


def _plain(node: Node) -> list[Any]:
    """Kind, line, column, length, content. MessagePack has no type for a node."""
    place = [node.mark.line, node.mark.column, node.mark.length]
    if isinstance(node, Map):
        return [2, *place, [[_plain(key), _plain(value)] for key, value in node.entries]]
    if isinstance(node, Seq):
        return [1, *place, [_plain(item) for item in node.items]]
    return [0, *place, node.value, node.quoted]


def _node(plain: list[Any], file: str) -> Node:
    mark = Mark(file, plain[1], plain[2], plain[3])
    if plain[0] == 0:
        return Scalar(plain[4], mark, plain[5])
    if plain[0] == 1:
        return Seq(tuple(_node(item, file) for item in plain[4]), mark)
    return Map(tuple((_scalar(key, file), _node(value, file)) for key, value in plain[4]), mark)


def _scalar(plain: list[Any], file: str) -> Scalar:
    return Scalar(plain[4], Mark(file, plain[1], plain[2], plain[3]), plain[5])
