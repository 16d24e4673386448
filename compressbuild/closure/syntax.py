"""One source file: the digest of its syntax tree, what it imports, and the names it defines.

The digest is of the tree without positions, so comments, blank lines and formatting do not change it. Docstrings do
(code can read them), and so does the Python version where it parses into another tree.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..digest import bytes_digest

__all__ = ["Import", "Syntax", "SyntaxProblem", "column", "parse"]

_FORMAT = 3
_FILE = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*")  # a name beside the module, or below its directory
_JOINS = frozenset({"joinpath", "with_name"})
_IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})  # follow from the rest, or mean nothing
_ADDED_FIELDS = frozenset({"type_params"})  # by Python 3.12
_UNKNOWABLE = frozenset({"exec", "globals"})  # with these a module can define any name
_CLOSE = object()


class Import(msgspec.Struct, frozen=True, array_like=True):
    """``from {'.' * level}module import names``; ``import module`` has level 0 and no names; a star is a name."""

    level: int
    module: str
    names: tuple[str, ...] = ()


class SyntaxProblem(msgspec.Struct, frozen=True, array_like=True):
    message: str
    line: int
    column: int


class Syntax(msgspec.Struct, frozen=True, array_like=True):
    """``names``: defined at the module's top level; ``open``: it may define others too. ``exported``: ``__all__``.
    ``texts``: literals that may name a file beside it, or a directory."""

    digest: str
    imports: tuple[Import, ...] = ()
    names: tuple[str, ...] = ()
    open: bool = False
    exported: tuple[str, ...] = ()
    problem: SyntaxProblem | None = None
    texts: tuple[str, ...] = ()


def column() -> str:
    """What to remember a file's Syntax under: its format, and the Python version, whose grammar it depends on."""
    import sys

    return f"syntax-{_FORMAT}-{sys.version_info[0]}.{sys.version_info[1]}"


def parse(path: Path) -> dict[str, Any] | list[Any]:
    """The Syntax of a file, as plain values. OSError if it cannot be read."""
    source = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's string escapes; Python will say so when it runs them
            tree = ast.parse(source)
        found = _read(tree)
    except SyntaxError as error:
        problem = SyntaxProblem(error.msg, error.lineno or 1, error.offset or 1)
        found = Syntax(bytes_digest(source), problem=problem)
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; too deep for the parser
        found = Syntax(bytes_digest(source), problem=SyntaxProblem(str(error) or "nested too deeply", 1, 1))
    plain: dict[str, Any] | list[Any] = msgspec.to_builtins(found)
    return plain


def _read(tree: ast.Module) -> Syntax:
    reader = _Reader()
    reader.read(tree)
    return Syntax(
        tree_digest(tree),
        tuple(dict.fromkeys(reader.imports)),
        tuple(sorted(reader.names)),
        reader.open,
        tuple(reader.exported),
        texts=tuple(sorted(reader.texts)),
    )


def tree_digest(tree: ast.AST) -> str:
    """The digest of a tree without positions. Iterative, for expressions nested deeper than Python's stack."""
    out: list[str] = []
    stack: list[Any] = [tree]
    while stack:
        item = stack.pop()
        if item is _CLOSE:
            out.append(")")
        elif isinstance(item, ast.AST):
            out.append(f"({type(item).__name__}")
            stack.append(_CLOSE)
            stack += reversed([*_fields(item)])
        elif isinstance(item, list):
            out.append("([")
            stack.append(_CLOSE)
            stack += reversed(item)
        else:  # hex: Python refuses to print very long integers in decimal
            out.append(hex(item) if type(item) is int else repr(item))
    return bytes_digest("\n".join(out).encode())


def _fields(item: ast.AST) -> Iterator[Any]:
    """The values that mean something. The same code gives the same ones in Python 3.11 to 3.13."""
    for name in item._fields:
        value = getattr(item, name, None)
        if name in _IGNORED_FIELDS or (name in _ADDED_FIELDS and not value):
            continue
        if isinstance(item, ast.JoinedStr):  # Python 3.12 adds empty texts
            value = [part for part in value or () if getattr(part, "value", None) != ""]
        yield value


class _Reader:
    """Collects imports at any depth, and names of the module's own scope."""

    def __init__(self) -> None:
        self.imports: list[Import] = []
        self.names: set[str] = set()
        self.exported: list[str] = []
        self.texts: set[str] = set()
        self.open = False

    def read(self, tree: ast.Module) -> None:
        stack: list[tuple[ast.AST, bool]] = [(tree, True)]
        while stack:
            node, top = stack.pop()
            if isinstance(node, ast.If) and (type_checking := _type_checking(node.test)) is not None:
                runs = node.orelse if type_checking else node.body  # the other branch never does
                stack += [(child, top) for child in reversed(runs)]
                continue
            self._note(node, top)
            inside = top and not isinstance(node, _SCOPES)
            stack += [(child, inside) for child in reversed(list(ast.iter_child_nodes(node)))]

    def _note(self, node: ast.AST, top: bool) -> None:
        match node:
            case ast.Import(names=aliases):
                self.imports += [Import(0, alias.name) for alias in aliases]
                self._define(top, *(alias.asname or alias.name.partition(".")[0] for alias in aliases))
            case ast.ImportFrom(level=level, module=module, names=aliases):
                self.imports.append(Import(level, module or "", tuple(alias.name for alias in aliases)))
                self._define(top, *(alias.asname or alias.name for alias in aliases))
                self.open |= any(alias.name == "*" for alias in aliases)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._define(top, name)
                self.open |= top and name == "__getattr__"
            case ast.Name(id=name, ctx=ast.Store()):
                self._define(top, name)
            case ast.Name(id=name) if name in _UNKNOWABLE:
                self.open = True
            case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):  # a module that replaces itself
                self.open = True
            case ast.Global(names=names):
                self.names.update(names)
            case ast.Call():
                self._call(node)
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str(text))):
                self._name(text)
            case ast.Constant(value=str(text)) if "." in text:
                self._name(text)
        if top and isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            self._export(node)

    def _define(self, top: bool, *names: str) -> None:
        if top:
            self.names.update(names)

    def _name(self, text: str) -> None:
        if _FILE.fullmatch(text):
            self.texts.add(text)

    def _call(self, call: ast.Call) -> None:
        """``importlib.import_module("a.b")``, ``import_module(".b", __package__)``, ``__import__("a.b")``."""
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
        if called in _JOINS:
            for each in call.args:
                self._name(each.value if isinstance(each, ast.Constant) and isinstance(each.value, str) else "")
        if called not in ("import_module", "__import__") or not call.args:
            return
        name = call.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.strip("."):
            module = name.value.lstrip(".")
            level = len(name.value) - len(module)
            anchor = call.args[1] if level and len(call.args) > 1 else None
            if level == 1 and isinstance(anchor, ast.Constant) and isinstance(anchor.value, str):
                module, level = f"{anchor.value}.{module}", 0
            self.imports.append(Import(level, module))

    def _export(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            values = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else []
            self.exported += [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]


_SCOPES = (
    ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp
) | ast.GeneratorExp


def _type_checking(test: ast.expr) -> bool | None:
    """True for ``TYPE_CHECKING``, False for ``not TYPE_CHECKING``, None for any other test."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _type_checking(test.operand)
        return None if inner is None else not inner
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return True if name == "TYPE_CHECKING" else None
