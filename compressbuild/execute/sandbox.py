"""Which sandbox the workers of a build have: what was asked for, and what this machine offers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..compressfile import Spec
from ..compressfile.names import SANDBOXES
from ..errors import Incompatible, Mark, UsageError
from ..words import suggest
from . import landlock
from .protocol import Sandbox

__all__ = ["VARIABLE", "automatic", "lack", "sandboxes", "wish"]

VARIABLE = "CBUILD_SANDBOX"
"""Of the environment; it has the last word over the Compressfile."""


def sandboxes(
    spec: Spec, environ: Mapping[str, str], cache: Path, state: Path, pythons: Iterable[str] = (), *, strict: bool
) -> tuple[Sandbox, Sandbox]:
    """Of a build's workers, and of those that are isolated. ``strict``: there may be some of these. ``pythons``:
    interpreters of environments. Incompatible where this machine has not what was asked for by its name."""
    asked = wish(environ, spec.sandbox)
    kind = _choose(asked, spec.sandbox_mark if asked == spec.sandbox else None)
    isolated = "bubblewrap" if strict and asked == "auto" and lack("bubblewrap") is None else kind
    found = {name: Sandbox(name) for name in ("landlock", "none")}
    if "bubblewrap" in (kind, isolated):
        checkpoints = state / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        named = (spec.root / each for each in (*spec.outside, *spec.python_path))
        places = list(map(os.path.abspath, (spec.root, *named)))
        found["bubblewrap"] = _bubblewrap(
            readable=[*places, *(path for each in pythons for path in _python(each))],
            writable=(os.path.abspath(cache / "tmp"), str(checkpoints)),
            places=(*places, os.path.abspath(cache)),
        )
    return found[kind], found[isolated]


def wish(environ: Mapping[str, str], declared: str) -> str:
    """What the environment asks for, or else the Compressfile. UsageError for a word that is none."""
    asked = environ.get(VARIABLE) or declared
    if asked not in SANDBOXES:
        raise UsageError(
            f"{VARIABLE} must be {', '.join(SANDBOXES[:-1])} or {SANDBOXES[-1]}, not '{asked}'",
            hint=suggest(asked, SANDBOXES, otherwise="") or None,
        )
    return asked


def lack(kind: str) -> str | None:
    """Why this machine cannot have a sandbox; None if it can."""
    if kind == "bubblewrap":
        from .bubblewrap import lack

        return lack()
    if kind == "landlock" and landlock.version() == 0:
        return "this kernel has no Landlock"
    return None


def automatic() -> str:
    """What ``auto`` is here. Landlock costs nothing and leaves the network."""
    return next(kind for kind in ("landlock", "bubblewrap", "none") if lack(kind) is None)


def _choose(asked: str, mark: Mark | None = None) -> str:
    """The kind of sandbox for a wish; Incompatible where this machine has not what was asked for by its name."""
    if asked == "auto":
        return automatic()
    if (why := lack(asked)) is None:
        return asked
    install = "install it (apt install bubblewrap). " if asked == "bubblewrap" and "not installed" in why else ""
    hint = f"{install}'cbuild doctor' shows what this machine has; 'sandbox: auto' takes the best of it"
    raise Incompatible(f"the sandbox '{asked}' cannot be had here: {why}", hint=hint, mark=mark)


def _links(path: str) -> Iterator[str]:
    """A path, and each that it leads to in turn: a virtual environment's python is often a link to a link."""
    yield path
    while os.path.islink(path):
        path = os.path.join(os.path.dirname(path), os.readlink(path))
        yield path


def _python(path: str) -> Iterator[str]:
    """What the interpreter of an environment needs: the environment, and where the links of its python lead."""
    links = list(_links(path))
    yield from (os.path.dirname(os.path.dirname(path)), *links, os.path.dirname(os.path.dirname(links[-1])))


def _bubblewrap(*, readable: Iterable[str], writable: Iterable[str], places: Iterable[str]) -> Sandbox:
    """``places``: of the project and the cache. The interpreter and what is on its path is readable, too."""
    engine = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = [each for each in sys.path if each and os.path.exists(each)]
    links = list(_links(sys.executable))
    home = os.path.dirname(os.path.dirname(links[-1]))
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix, home, *links, engine)
    return Sandbox(
        "bubblewrap",
        readable=tuple(dict.fromkeys((*python, *code, *readable))),
        writable=tuple(writable),
        places=tuple(places),
    )
