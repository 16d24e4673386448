"""Finds what a node read, imported or wrote behind the back of its action key.

What Python code does is noted (:mod:`.audit`). Afterwards the notes, and the modules that were imported, are compared
with what the key covers. What C, Rust or a subprocess would open, the kernel keeps away where it can (:mod:`.sight`).
An error that comes of it is explained by the file's name.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator

from ..api.context import UserError
from ..api.work import WorkRequest
from .audit import Notes, absolute
from .importing import libraries
from .protocol import Sandbox
from .sight import Confined, confine
from .veil import Veil

__all__ = ["Guard"]

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_NETWORK = (
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.EADDRNOTAVAIL),
    *(socket.EAI_AGAIN, socket.EAI_NONAME, socket.EAI_FAIL),
)
_SHOWN = 3  # paths named in one message
_TAIL = 4096  # bytes of a log in which a path is looked for
_PATH = re.compile(r"/[^\s'\":,;()<>]+")
_NO_FILE = re.compile(r"permission|denied|no such file|not found|not exist|(not|n't|unable to|failed to) open", re.I)


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


def _is_within(path: str, covered: set[str]) -> bool:
    """Whether it is covered, or a directory above it is."""
    while path not in covered:
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
    return True


def _reader(descriptor: int) -> Callable[[], str]:
    """Reads the end of the file that a descriptor writes to, also when nobody may open it any more."""
    try:
        log = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(log).st_mode):
            os.close(log)
            return str
    except OSError:
        return str
    return lambda: os.pread(log, _TAIL, max(0, os.fstat(log).st_size - _TAIL)).decode(errors="replace")


class Guard:
    """Watches one node. Make it before the user's code is on ``sys.path``; then :meth:`watch`, run, :meth:`check`."""

    def __init__(self, request: WorkRequest, sandbox: Sandbox) -> None:
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
        self._notes = Notes(self._watched, self._ignored, self._inputs)
        self._log = _reader(2)
        self._sandbox = sandbox
        self.confined = Confined()

    def _not_project(self) -> list[str]:
        """Directories that may lie below the root and yet hold nothing of the project: caches and what is installed."""
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        stdlib = sysconfig.get_path("stdlib")
        ignored = [os.path.join(self._root, each) for each in (".git", *self._request.ignore_dirs)]
        return [*ignored, sys.prefix, sys.base_prefix, stdlib, package, *(each for each in sys.path if each)]

    def watch(self) -> None:
        """Start noting, and have the kernel keep the rest away where it can. The process is expected to end with the
        node."""
        self.confined = confine(self._request, self._sandbox)
        self._notes.start()

    def check(self) -> None:
        """UserError naming the first files that the node touched and the action key does not cover."""
        self._notes.collect()
        self._notes.see_open()
        self._check_changes()
        self._check_reads()
        self._check_looks()

    def explain(self, error: BaseException) -> BaseException:
        """The error of a node; or, if it is about a file, what led to it: one that was kept from it, whatever a library
        made of that."""
        chain = list(_chain(error))
        texts = [*map(str, chain), *(str(getattr(each, "stderr", "")) for each in chain), self._log()]
        failed = any(isinstance(e, OSError | ModuleNotFoundError) or hasattr(e, "returncode") for e in chain)
        about_files = failed or _NO_FILE.search("\n".join(texts))
        if isinstance(error, UserError) or not about_files:
            return error
        refused = {os.path.abspath(str(e.filename)) for e in chain if isinstance(e, OSError) and e.errno in _REFUSED}
        fixed = {os.path.abspath(str(e.filename)) for e in chain if isinstance(e, OSError) and e.errno == errno.EROFS}
        noted = self._notes.writes | self._notes.removals | {path for path in fixed if self._notes.may_not_change(path)}
        if changed := sorted(refused & noted):
            return self._changed(changed)
        try:
            self.check()
        except UserError as found:
            return found
        if modules := {path for path in _sought(chain, sorted(self._code_roots)) if self.confined.hides(path)}:
            return self._imported(sorted(modules))
        paths = {path for path in _mentioned(chain, texts, self.confined.veil) if self.confined.hides(path)}
        inner = sorted(path for path in paths if not any(each.startswith(path + os.sep) for each in paths))
        return self._undeclared(inner, "read") if paths else self._shut_out(error, chain)

    def _shut_out(self, error: BaseException, chain: list[BaseException]) -> BaseException:
        """An error of what bubblewrap keeps away, whether it is there or not; otherwise the error itself."""
        if not self.confined.name.startswith("bubblewrap"):
            return error
        for each in chain:
            text = str(each).strip().partition("\n")[0]
            if isinstance(each, FileNotFoundError) and self._is_elsewhere(str(each.filename)):
                place = os.path.dirname(str(each.filename))
                return UserError(
                    f"{text}: if it is there, the sandbox hides it, for the action key does not cover it",
                    hint=f"list it under `files:` of the dataset or model that reads it, and its place: "
                    f"`outside: [{place}]`",
                )
            if isinstance(each, OSError) and each.errno in _NO_NETWORK:
                return UserError(
                    f"{type(each).__name__}: {text}: the sandbox has no network, for no action key covers it",
                    hint="fetch what the step needs before the build, and list the file under `files:`",
                )
        return error

    def _is_elsewhere(self, path: str) -> bool:
        own = _below([self._root, *self._code_roots, self._request.out, self._request.scratch])
        return os.path.isabs(path) and not path.startswith((*own, *self._inputs))

    def _check_changes(self) -> None:
        written = {path for path in self._notes.writes if os.path.lexists(path)} | self._notes.removals
        changed = sorted(path for path in written if "/__pycache__/" not in path)
        if changed:
            raise self._changed(changed)

    def _changed(self, paths: list[str]) -> UserError:
        if into_input := [path for path in paths if path.startswith(self._inputs)]:
            return UserError(
                f"{self._shown(into_input)} changed, but belongs to an input of this node",
                hint="inputs are read-only and shared with other nodes: copy what you change to ctx.out or ctx.scratch",
            )
        verb = "removed" if paths[0] in self._notes.removals else "written"
        return UserError(
            f"{self._shown(paths)} {verb}, but a node may not change the project",
            hint="write results to ctx.out and temporary files to ctx.scratch",
        )

    def _check_reads(self) -> None:
        modules = self._modules() | self._notes.imports
        covered = self._covered()
        installed = self._installed_packages()
        sources = {source for path in self._notes.reads | modules if (source := _source(path))}
        missing = [path for path in sorted(sources) if self._is_undeclared(path, covered, installed)]
        if imported := [path for path in missing if path in modules]:
            raise self._imported(imported)
        if missing:
            raise self._undeclared(missing, "read")

    def _check_looks(self) -> None:
        """Listings, and questions whether a file is there."""
        covered = self._covered()
        sight = self._request.sight
        lists = covered | set(sight.folders if sight is not None else ())
        if missing := [path for path in sorted(self._notes.lists) if not _is_within(path, lists)]:
            raise self._undeclared(missing, "listed")
        veil = self.confined.veil
        asked = (path for path in sorted(self._notes.looks) if not veil.is_folder(path) and not _is_metadata(path))
        compiled = (_source(path) or "" for path in asked)
        if missing := [path for path in compiled if path and not _is_within(path, covered)]:
            there = [path for path in missing if veil.is_there(path)]
            if there:
                raise self._undeclared(there, "looked for")
            raise UserError(
                f"{self._shown(missing)} looked for, and is not there, but the action key does not cover that",
                hint="whether a file is there must not decide what a node makes: pass the choice as an argument, "
                "or list a pattern that the file would match under `files:`",
            )

    def _imported(self, paths: list[str]) -> UserError:
        return UserError(
            f"{self._shown(paths)} imported, but the action key does not cover it",
            hint="import it with a plain import statement at the top of a module that the key covers, "
            "or list it under `files:`",
        )

    def _undeclared(self, paths: list[str], verb: str) -> UserError:
        """With the line to write."""
        shown = self._shown(paths)
        if paths[0].startswith(libraries()):
            return UserError(
                f"{shown} {verb}, but the action key covers only what a plugin's code names",
                hint='name it by a literal in the module beside it, as in Path(__file__).with_name("table.json"); '
                "or let the Compressfile name the file and list it under `files:`",
            )
        if paths[0] == self._root:
            return UserError(
                f"the project's directory was {verb}, but the action key does not cover all that is in it",
                hint="let the code look into the directory that it needs, and list that one under `files:`; in "
                "Python 3.12, Path.glob('a/*') lists every directory on its way, and Path('a').glob('*') does not",
            )
        inside = _below([self._root])
        outside = [os.path.dirname(path) for path in paths if not path.startswith(inside)]
        listed = ", ".join(self._relative(path) for path in paths[:_SHOWN])
        more = f"; its place is outside of the project: `outside: [{outside[0]}]`, too" if outside else ""
        return UserError(
            f"{shown} {verb}, but the action key does not cover it",
            hint=f"list it under `files:` of the dataset or model that reads it: `files: [{listed}]`{more}",
        )

    def _modules(self) -> set[str]:
        """Files of the project that were imported while watching, source files for compiled ones."""
        found = set()
        for name, module in list(sys.modules.items()):
            # Through __dict__: a lazy module would import more when asked for an attribute.
            file = getattr(module, "__dict__", {}).get("__file__") if name not in self._before else None
            path = absolute(file) if isinstance(file, str) else None
            if path and path.startswith(self._watched) and not path.startswith(self._ignored):
                found.add(_source(path) or path)
        return found

    def _covered(self) -> set[str]:
        request = self._request
        files = [*request.code_files, *request.read_files]
        files += [file for dataset in request.datasets.values() for file in dataset.files]
        sight = request.sight
        files += [*sight.files, *sight.trees] if sight is not None else ()
        absolute = {os.path.normpath(os.path.join(self._root, each)) for each in files}
        return absolute | {os.path.realpath(each) for each in absolute}

    def _installed_packages(self) -> tuple[str, ...]:
        """Packages of the plugins this node uses, unless found in the project: the key has the digest of their code."""
        request = self._request
        references = [request.run, request.params_type]
        references += [each for data in request.datasets.values() if data.params_type for each in (data.loader,)]
        references += request.factories
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
        if path.startswith(installed) or _is_metadata(path) or not self.confined.veil.is_file(path):
            return False
        return not _is_within(path, covered)

    def _shown(self, paths: list[str]) -> str:
        """``a, b and 3 more were``."""
        shown = [self._relative(path) for path in paths]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        return ", ".join(shown[:_SHOWN]) + more + (" were" if len(shown) > 1 else " was")

    def _relative(self, path: str) -> str:
        prefixes = _below([self._root])
        return next((path[len(each) :] or "." for each in prefixes if os.path.join(path, "").startswith(each)), path)


def _sought(chain: list[BaseException], roots: Iterable[str]) -> Iterator[str]:
    """Where the modules that could not be imported would be."""
    names = [each.name for each in chain if isinstance(each, ModuleNotFoundError) and each.name]
    for base in (os.path.join(root, *name.split(".")) for name in names for root in roots):
        yield from (f"{base}.py", os.path.join(base, "__init__.py"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _mentioned(chain: list[BaseException], texts: list[str], veil: Veil) -> Iterator[str]:
    """Paths in what was said, and in the variables of the code that the errors came through."""
    said = [*texts, *(str(each.filename) for each in chain if isinstance(each, OSError))]
    for text in said:
        yield from (os.path.normpath(path) for path in (text, *_PATH.findall(text)) if path.startswith("/"))
    for each in chain:
        for frame, _ in traceback.walk_tb(each.__traceback__):
            values = (v for v in frame.f_locals.values() if isinstance(v, str | os.PathLike))
            yield from (path for v in values if veil.is_file(path := os.path.abspath(v)))
