"""Finds what a node read, imported or wrote behind the back of its action key.

An audit hook notes each file of the project that Python code opens or changes; afterwards the notes, and the modules
that were imported, are compared with what the key covers. Only opens made by the interpreter raise audit events: a
library that opens a file in C, Rust or a subprocess is not seen.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from typing import Any

from ..api.context import UserError
from ..api.work import WorkRequest

__all__ = ["Guard"]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Audit events that make or change a file, and those that remove one → position of its path. ``os.mkdir`` is not among
# them: it is raised for directories that exist, and an empty directory is no input of anything.
_MAKES = {"os.rename": 1, "os.link": 1, "os.symlink": 1, "os.truncate": 0}
_REMOVES = {"os.rename": 0, "os.remove": 0, "os.rmdir": 0}
_CHANGES = {*_MAKES, *_REMOVES}

_SHOWN = 3  # paths named in one message


def _text(path: Any) -> str | None:
    """The path of an audit event, absolute; None if it is a descriptor."""
    if path.__class__ is not str:
        if isinstance(path, int) or path is None:
            return None
        path = os.fsdecode(path)
    text: str = path if path[:1] == "/" else os.path.join(os.getcwd(), path)
    return os.path.normpath(text) if "/." in text or "//" in text else text


def _below(directories: Iterable[str]) -> tuple[str, ...]:
    """Prefixes that the files below ``directories`` have, as written and with symbolic links resolved."""
    both = {form for each in directories if each for form in (os.path.abspath(each), os.path.realpath(each))}
    return tuple(sorted(each.rstrip("/") + "/" for each in both))


def _source(path: str) -> str | None:
    """The source of a compiled module; None for another file of a ``__pycache__``, which stands for no input."""
    directory, name = os.path.split(path)
    if os.path.basename(directory) != "__pycache__":
        return path
    return os.path.join(os.path.dirname(directory), name.split(".", 1)[0] + ".py") if name.endswith(".pyc") else None


def _is_metadata(path: str) -> bool:
    """Installed-distribution metadata: scanned by importlib.metadata on any look-up, and no input."""
    return ".egg-info/" in path or ".dist-info/" in path


class Guard:
    """Watches one node. Make it before the user's code is on ``sys.path``; then :meth:`watch`, run, :meth:`check`."""

    def __init__(self, request: WorkRequest) -> None:
        self._request = request
        self._root = os.path.abspath(request.root)
        self._code_roots = {os.path.abspath(each) for each in request.code_roots}
        self._watched = _below([request.root, *request.code_roots])
        self._inputs = _below(entry.path for entry in request.inputs.values())
        self._ignored = tuple(
            each
            for each in _below([*self._not_project(), request.out, request.scratch])
            if each not in self._watched and each.startswith(self._watched)
        )
        self._before = set(sys.modules)
        self._reads: set[str] = set()
        self._writes: set[str] = set()
        self._removals: set[str] = set()

    def _not_project(self) -> list[str]:
        """Directories that may lie below the root and yet hold nothing of the project: caches and what is installed."""
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        stdlib = sysconfig.get_path("stdlib")
        ignored = [os.path.join(self._root, each) for each in (".git", *self._request.ignore_dirs)]
        return [*ignored, sys.prefix, sys.base_prefix, stdlib, package, *(each for each in sys.path if each)]

    def watch(self) -> None:
        """Start noting. An audit hook cannot be removed: the process is expected to end with the node."""
        watched, ignored, inputs = self._watched, self._ignored, self._inputs
        reads, writes = self._reads, self._writes
        writable = (*watched, *inputs)

        def may_not_change(path: str) -> bool:
            return path.startswith(writable) and (not path.startswith(ignored) or path.startswith(inputs))

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event == "open":
                path = _text(args[0])
                if path is None:
                    return
                if args[2] & _WRITES:
                    if may_not_change(path):
                        writes.add(path)
                elif path.startswith(watched) and not path.startswith(ignored):
                    reads.add(path)
            elif event in _CHANGES:
                if event in _MAKES and (path := _text(args[_MAKES[event]])) and may_not_change(path):
                    writes.add(path)
                if event in _REMOVES and (path := _text(args[_REMOVES[event]])) and may_not_change(path):
                    self._note_removal(path)

        sys.addaudithook(hook)

    def _note_removal(self, path: str) -> None:
        if path in self._writes:
            self._writes.discard(path)  # a temporary file of the node's own
        elif os.path.lexists(path):
            self._removals.add(path)

    def check(self) -> None:
        """UserError naming the first files that the node touched and the action key does not cover."""
        self._check_changes()
        self._check_reads()

    def _check_changes(self) -> None:
        written = {path for path in self._writes if os.path.lexists(path)} | self._removals
        changed = sorted(path for path in written if "/__pycache__/" not in path)
        if into_input := [path for path in changed if path.startswith(self._inputs)]:
            raise UserError(
                f"{self._names(into_input)} changed, but belongs to an input of this node",
                hint="inputs are read-only and shared with other nodes: copy what you change to ctx.out or ctx.scratch",
            )
        if changed:
            verb = "written" if changed[0] in self._writes else "removed"
            raise UserError(
                f"{self._names(changed)} {verb}, but a node may not change the project",
                hint="write results to ctx.out and temporary files to ctx.scratch",
            )

    def _check_reads(self) -> None:
        modules = self._modules()
        covered = self._covered()
        installed = self._installed_packages()
        sources = {source for path in self._reads | modules if (source := _source(path))}
        missing = [path for path in sorted(sources) if self._is_undeclared(path, covered, installed)]
        if imported := [path for path in missing if path in modules]:
            raise UserError(
                f"{self._names(imported)} imported, but the action key does not cover it",
                hint="import it with a plain import statement at the top of a module that the key covers, "
                "or list it under `files:`",
            )
        if missing:
            raise UserError(
                f"{self._names(missing)} read, but the action key does not cover it",
                hint="list it under `files:` of the dataset or model that reads it, so that a change of it is seen",
            )

    def _modules(self) -> set[str]:
        """Files of the project that were imported while watching, source files for compiled ones."""
        found = set()
        for name, module in list(sys.modules.items()):
            # Through __dict__: a lazy module would import more when asked for an attribute.
            file = getattr(module, "__dict__", {}).get("__file__") if name not in self._before else None
            path = _text(file) if isinstance(file, str) else None
            if path and path.startswith(self._watched) and not path.startswith(self._ignored):
                found.add(_source(path) or path)
        return found

    def _covered(self) -> set[str]:
        request = self._request
        files = [*request.code_files, *request.read_files]
        files += [file for dataset in request.datasets.values() for file in dataset.files]
        absolute = {os.path.normpath(os.path.join(self._root, each)) for each in files}
        return absolute | {os.path.realpath(each) for each in absolute}

    def _installed_packages(self) -> tuple[str, ...]:
        """Packages of the plugins this node uses, unless found in the project: the key has the digest of their code."""
        request = self._request
        references = [request.run, request.params_type]
        references += [each for entry in request.inputs.values() for each in (entry.load, entry.settings_type)]
        found = []
        for top in {each.partition(":")[0].partition(".")[0] for each in references if each}:
            file = getattr(sys.modules.get(top), "__file__", None)
            if file and os.path.basename(file) == "__init__.py":
                package = os.path.dirname(os.path.abspath(file))
                if os.path.dirname(package) not in self._code_roots:
                    found.append(package)
        return _below(found)

    def _is_undeclared(self, path: str, covered: set[str], installed: tuple[str, ...]) -> bool:
        if path.startswith(installed) or _is_metadata(path) or not os.path.isfile(path):
            return False
        while path not in covered:  # a listed directory covers what is below it
            parent = os.path.dirname(path)
            if parent == path:
                return True
            path = parent
        return False

    def _names(self, paths: list[str]) -> str:
        """``a, b and 3 more were``."""
        prefixes = _below([self._root])
        shown = [next((path[len(each) :] for each in prefixes if path.startswith(each)), path) for path in paths]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        return ", ".join(shown[:_SHOWN]) + more + (" were" if len(shown) > 1 else " was")
