"""All the code that a function runs on: its module, the packages around it, and what they import, transitively."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..digest import Digest, Seen, digest_value, file_digest
from ..errors import Diagnostic, Mark
from ..words import did_you_mean
from .data import data_files
from .kept import Closures, Plain
from .modules import Module, Space, relative
from .syntax import Import, Syntax, SyntaxProblem, column, parse

__all__ = ["CodeClosure", "CodeIndex", "Memo", "code_digest_of_plugin"]


_OWNER = "look at who owns it, and at its mode"


class Memo(Protocol):
    """What is used of :class:`compressbuild.digest.StatCache`."""

    def memo(self, path: str | os.PathLike[str], column: str, compute: Callable[[Path], Any], /) -> Any: ...

    def digest(self, path: str | os.PathLike[str], /) -> Digest: ...


class CodeClosure(msgspec.Struct, frozen=True):
    """``digest``: empty if anything is ``missing``. ``files``: the project's files, relative to ``base``, sorted.

    ``paths``: all files, absolute, also those of editable installs outside the project, and the data that a plugin's
    modules name. ``absent``: files, absolute, that would become part of it if they were made. ``external``: top-level
    modules of installed distributions that it imports, whose code counts by their version.
    """

    reference: str
    digest: str
    files: tuple[str, ...]
    missing: tuple[Diagnostic, ...] = ()
    paths: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    external: tuple[str, ...] = ()


class _Collected(msgspec.Struct, frozen=True):
    modules: tuple[Module, ...]
    problems: tuple[Diagnostic, ...]
    absent: tuple[str, ...]
    external: tuple[str, ...]


class CodeIndex:
    """Closures of ``module:attribute`` references, by syntax tree, importing nothing.

    ``roots``: directories that user code is imported from, first to last (``python_path``). ``base``: what ``files``
    are relative to, the project; the first root if not given. ``siblings``: top-level package → all packages
    that its distribution ships, since one version covers them together. ``memo``: a file that remembers closures of
    plugins, and what stands for the installed distributions. An index is a snapshot of the sources: each file is read
    at most once, and not at all if ``stat_cache`` knows it.

    Followed are absolute and relative imports, submodules imported by ``from``, imports inside functions, star
    imports, literal ``import_module`` calls, and the ``__init__.py`` of every package on the way. Not followed:
    ``if TYPE_CHECKING`` blocks, which never run, and computed names, which the worker refuses to load.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        stat_cache: Memo | None = None,
        base: Path | None = None,
        siblings: Callable[[str], Iterable[str]] = lambda top: (),
        memo: tuple[Path, str] | None = None,
    ) -> None:
        self._arguments = (roots, stat_cache, base, siblings, memo)
        self._kept = Closures(*(memo or (None, "")))
        self._space = Space(map(str, roots))
        self.seen: dict[str, Seen] = {}  # every file that was read, as it was
        self._memo = stat_cache
        self._base = os.path.abspath(base if base is not None else (roots[0] if roots else "."))
        self._syntax: dict[str, Syntax] = {}
        self._closures: dict[str, CodeClosure] = {}
        self._plugins: dict[str, CodeClosure] = {}
        self._siblings = siblings
        self._plugin_spaces: dict[frozenset[str], Space] = {}
        self._plugin_base = Space(())  # of its own, so that a new file of the project disturbs no plugin's closure
        self._wanted: dict[tuple[Space, str], tuple[str, ...]] = {}

    def renewed(self) -> CodeIndex:
        """A snapshot of the sources as they are now."""
        return CodeIndex(*self._arguments)

    def closure(self, reference: str) -> CodeClosure:
        """The closure of a function of the project, or of an installed package (``torchvision.models:resnet18``)."""
        found = self._closures.get(reference)
        if found is None:
            module = reference.partition(":")[0]
            top = module.partition(".")[0]
            if self._space.find(top) is None and self._space.installed(top):
                # A library is what its version says; of its code only the named module is read.
                found = self._close(reference, Space((), own=(top,), like=self._space), self._base, follow=False)
            else:
                found = self._close(reference, self._space, self._base)
            self._closures[reference] = found
        return found

    def plugin(self, reference: str) -> CodeClosure:
        """The closure of an installed function: modules of every package of its own distribution, and of others in
        source trees. ``files`` are relative to the directory that holds the package. Its distribution's version is
        not part of it."""
        found = self._plugins.get(reference)
        if found is None:
            known = self._known.get(reference)
            if known is not None:
                digest, files, paths, absent, external = known
                found = CodeClosure(reference, digest, files, (), paths, absent, external)
            else:
                space = self._plugin_space(reference.partition(":")[0].partition(".")[0])
                found = self._close(reference, space, None, data=True)
            self._plugins[reference] = found
        return found

    @cached_property
    def _known(self) -> Mapping[str, Plain]:
        return self._kept.load(self._memo.digest if self._memo is not None else file_digest, self.seen)

    def save(self) -> OSError | None:
        """Remember the closures of plugins that were asked for; what prevented it."""
        sound = {
            name: (found.digest, found.files, found.paths, found.absent, found.external)
            for name, found in self._plugins.items()
            if not found.missing
        }
        return self._kept.save(sound, self._plugin_base.listed, self.seen)

    def _plugin_space(self, top: str) -> Space:
        own = frozenset((top, *self._siblings(top)))
        if own not in self._plugin_spaces:
            self._plugin_spaces[own] = Space((), own=own, like=self._plugin_base)
        return self._plugin_spaces[own]

    # -- one closure -------------------------------------------------------------------------------------------------

    def _close(
        self, reference: str, space: Space, base: str | None, *, follow: bool = True, data: bool = False
    ) -> CodeClosure:
        """``base``: None for the root of the module itself. ``data``: files that its modules name count, too."""
        name, colon, attribute = reference.partition(":")
        if not colon or not all(part.isidentifier() for part in (*name.split("."), *attribute.split("."))):
            return _failed(reference, f"'{reference}' is not 'module:function'", "for example digits.model:build")
        module = space.find(name)
        if module is None:
            return self._no_module(reference, name, space)
        roots = space.roots if base is not None else (module.root,)
        base = module.root if base is None else base
        collected = self._collect(space, name, base, follow=follow)
        files = [m for m in collected.modules if m.file is not None]
        paths = {m.file for m in files if m.file is not None}
        counted = [[m.path, self._syntax_of(m).digest] for m in files]
        problems = collected.problems or self._attribute_missing(reference, module, attribute.partition(".")[0], base)
        if data:
            named = {path: m.root for m in files for path in data_files(m.file or "", self._syntax_of(m).texts)}
            problems = problems or self._unreadable(named)
            counted += [[relative(path, root), self._digest(path)] for path, root in named.items() if not problems]
            paths.update(named)
        return CodeClosure(
            reference,
            "" if problems else digest_value(sorted(counted), "code"),
            tuple(sorted({relative(m.file, base) for m in files if m.file is not None and m.root in roots})),
            problems,
            tuple(sorted(paths)),
            collected.absent,
            collected.external,
        )

    def _collect(self, space: Space, start: str, base: str, *, follow: bool) -> _Collected:
        """Walk the imports from ``start``."""
        modules: dict[str, Module] = {}
        absent: set[str] = set()
        external: set[str] = set()
        problems: list[Diagnostic] = []
        queue = [start]
        seen: set[str] = set()
        while queue:
            name = queue.pop()
            if name in seen:
                continue
            seen.add(name)
            parent = name.rpartition(".")[0]
            if parent:
                queue.append(parent)
            module = space.find(name)
            if not parent and (module is None or not follow) and space.installed(name):
                external.add(name)
            absent.update(space.absent(name))
            if module is None:
                continue
            modules[name] = module
            syntax = self._syntax_of(module)
            if syntax.problem is not None and module.file is not None:
                mark = Mark(relative(module.file, base), syntax.problem.line, syntax.problem.column)
                problems.append(Diagnostic(f"Python cannot read this file: {syntax.problem.message}", mark))
            queue += self._imports(space, module, syntax) if follow else ()
        return _Collected(tuple(modules.values()), tuple(problems), tuple(sorted(absent)), tuple(sorted(external)))

    def _imports(self, space: Space, module: Module, syntax: Syntax) -> tuple[str, ...]:
        """The modules that a module may load, each once."""
        known = self._wanted.get((space, module.name))
        if known is None:
            found = (name for line in syntax.imports for name in self._imported(space, module, line))
            known = self._wanted[space, module.name] = tuple(dict.fromkeys(found))
        return known

    def _imported(self, space: Space, module: Module, line: Import) -> list[str]:
        """The modules that one import statement may load."""
        target = line.module
        if line.level:
            parts = module.package.split(".") if module.package else []
            if line.level > len(parts):  # beyond the top: Python raises
                return []
            target = ".".join([*parts[: len(parts) - line.level + 1], *filter(None, [line.module])])
        wanted = [target]
        package = space.find(target)
        if package is None or not package.places:
            return wanted
        syntax = self._syntax_of(package)
        names = (*line.names, *(syntax.exported if "*" in line.names else ()))
        for name in names:
            # A name that the package defines is that, unless there is a submodule of this name too.
            defined = name in syntax.names or syntax.open
            if name != "*" and (not defined or space.find(f"{target}.{name}") is not None):
                wanted.append(f"{target}.{name}")
        return wanted

    # -- files -------------------------------------------------------------------------------------------------------

    def _syntax_of(self, module: Module) -> Syntax:
        """Of an extension module or bytecode: the digest of its bytes. Of a namespace package: nothing."""
        file = module.file
        if file is None:
            return Syntax("", open=True)
        if file not in self._syntax:
            try:
                self._syntax[file] = self._read(file)
            except OSError as error:
                problem = SyntaxProblem(error.strerror or str(error), 1, 1)
                self._syntax[file] = Syntax("", open=True, problem=problem)
        return self._syntax[file]

    @staticmethod
    def _unreadable(paths: Iterable[str]) -> tuple[Diagnostic, ...]:
        closed = [path for path in paths if not os.access(path, os.R_OK)]
        return tuple(Diagnostic(f"the plugin's data file {path} cannot be read", None, _OWNER) for path in closed)

    def _digest(self, file: str) -> Digest:
        self.seen[file] = Seen.of(file, self._memo.digest if self._memo is not None else file_digest)
        return self.seen[file].digest

    def _read(self, file: str) -> Syntax:
        self._digest(file)
        if not file.endswith(".py"):
            return Syntax(file_digest(file), open=True)
        plain = self._memo.memo(file, column(), parse) if self._memo is not None else parse(Path(file))
        return msgspec.convert(plain, Syntax)

    # -- what is wrong with a reference ------------------------------------------------------------------------------

    def _no_module(self, reference: str, name: str, space: Space) -> CodeClosure:
        parts = name.split(".")
        known = next(i for i in range(len(parts) - 1, -1, -1) if i == 0 or space.find(".".join(parts[:i])) is not None)
        parent = ".".join(parts[:known])
        above = space.find(parent) if parent else None
        if above is not None and not above.places:
            return _failed(reference, f"'{reference}': '{parent}' is a module, not a package")
        guess = did_you_mean(parts[known], space.beside(parent))
        path = "/".join(parts[: known + 1]) + ("" if known + 1 < len(parts) else ".py")
        hint = f"did you mean '{'.'.join([*parts[:known], guess, *parts[known + 1 :]])}'?" if guess else None
        return _failed(reference, f"'{reference}': no module '{path}'", hint)

    def _attribute_missing(self, reference: str, module: Module, name: str, base: str) -> tuple[Diagnostic, ...]:
        if module.file is None:
            return (Diagnostic(f"'{reference}': '{module.name}' is a directory of modules, not a module"),)
        syntax = self._syntax_of(module)
        if syntax.open or name in syntax.names:
            return ()
        guess = did_you_mean(name, syntax.names)
        hint = f"did you mean '{module.name}:{guess}'?" if guess else None
        return (Diagnostic(f"'{reference}': '{relative(module.file, base)}' defines no '{name}'", hint=hint),)


def code_digest_of_plugin(reference: str, stat_cache: Memo | None = None) -> CodeClosure:
    """The closure of one plugin function. For many, keep a CodeIndex and ask its ``plugin``."""
    return CodeIndex((), stat_cache).plugin(reference)


def _failed(reference: str, message: str, hint: str | None = None) -> CodeClosure:
    return CodeClosure(reference, "", (), (Diagnostic(message, hint=hint),))
