"""What a file of ``torch.export.save`` may hold before torch reads it: a graph and tensors, nothing that can run.

torch's reader unpickles what an archive marks as pickled, passes strings of it to ``eval`` (through sympy) and ``exec``
(guards), imports modules that it names, and loads compiled libraries that lie in it. None of that is needed for a graph
of known operators on tensors. So the archive is checked against what such a graph has, and copied without the rest;
torch sees the copy alone. The format: ``torch/export/pt2_archive`` and ``torch/_export/serde/schema.py``, version 8.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from compressbuild.api import UserError

__all__ = ["safe_copy"]

_AGAIN = "save it again with this torch: torch.export.save(torch.export.export(model, args), 'model.pt2')"
_PLAIN = "export a model that takes and returns tensors, in tuples, lists or dicts"
_OWN = "export a model of torch's own operators; what needs more can be a factory in your project"
_GRAPH = "models/model.json"
_HEAD = re.compile(r"archive_format|archive_version|byteorder|\.data/\w+|\.format_version|version")
_KEPT = re.compile(r"models/model\.json|data/(weights|constants)/[\w.-]+|data/sample_inputs/model\.pt")
_CONFIG = re.compile(r"data/(weights|constants)/model_\w+_config\.json")
_NAME = re.compile(r"[\w.-]+")
_MOST_TEXT = 1 << 28  # bytes of a graph: a large language model has some 20 MB

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchao|torchvision)\.\w+(\.\w+)?"
    r"|torch\.sym_\w+|torch\._sym_\w+|math\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|invert|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|lshift"
    r"|rshift|getitem)"
)
_READS_FILES = ("from_file",)  # the one family of operators that opens a path
_SYMBOL = re.compile(r"[a-z]{1,3}\d+")
_ASSUMPTIONS = ("integer", "positive", "nonnegative", "real", "finite", "evaluate", "precision")
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|StrictLessThan"
    r"|LessThan|StrictGreaterThan|GreaterThan|And|Or|Not|floor|ceiling|FloorDiv|ModularIndexing|Where|PythonMod"
    r"|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv"
    r"|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity"
)
_CONSTANTS = ("true", "false", "oo", "int_oo", "zoo", "nan")
_POWERS = ("Pow", "PowByNatural", "FloatPow", "LShift")
_LARGEST_POWER = 8
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def safe_copy(path: Path, shown: str, to: Path) -> Path:
    """Check ``path`` and write what a graph needs to ``to``. ``shown``: the file's name, for errors. UserError if it
    holds anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = dict(_members(archive, shown))
            texts = {name: _json(archive, info, shown) for name, info in members.items() if name.endswith(".json")}
            _check_all(texts, shown)
            _check_examples(archive, members, shown)
            _write(archive, members, texts, to)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"'{shown}' is not a file of torch.export.save, or is cut off: {error}", hint=_AGAIN) from error
    return to


def _members(archive: zipfile.ZipFile, shown: str) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Name below the archive's root → member, of those that are kept."""
    found, names = {}, set()
    if not any(name.partition("/")[2] == _GRAPH for name in archive.namelist()):
        raise UserError(f"'{shown}' holds no graph as torch {torch.__version__} saves it", hint=_AGAIN)
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise UserError(f"'{shown}' is compressed, which torch.export.save never does: {name}", hint=_AGAIN)
        if name in names:
            raise UserError(f"'{shown}' holds '{name}' twice", hint=_AGAIN)
        names.add(name)
        if _KEPT.fullmatch(name):
            found[name] = info
        elif name.startswith("data/aotinductor/"):
            raise UserError(f"'{shown}' holds compiled code: {name}", hint=_AGAIN)
        elif not _HEAD.fullmatch(name):
            raise UserError(f"'{shown}' holds '{name or info.filename}', which a graph does not need", hint=_AGAIN)
    yield from found.items()


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> dict[str, Any]:
    if info.file_size > _MOST_TEXT:
        raise UserError(f"'{shown}' has {info.file_size} bytes of text in {info.filename}, which no graph needs")
    try:
        found = json.loads(archive.read(info))
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{shown}': {info.filename} is not valid JSON: {error}", hint=_AGAIN) from error
    if not isinstance(found, dict):
        raise UserError(f"'{shown}': {info.filename} is not a mapping", hint=_AGAIN)
    return found


def _check_all(texts: Mapping[str, dict[str, Any]], shown: str) -> None:
    for name, text in texts.items():
        if _CONFIG.fullmatch(name):
            _check_payload(text, name, shown)
        elif name == _GRAPH:
            text["guards_code"] = []  # Python, for exec
            _strip(text)
            try:
                _check(text)
            except RecursionError:
                raise UserError(f"'{shown}': its graph is nested too deeply", hint=_AGAIN) from None
            except _RefusedError as error:
                raise UserError(f"'{shown}' {error}", hint=error.hint) from None
        else:
            raise UserError(f"'{shown}' holds '{name}', which a graph does not need", hint=_AGAIN)


def _check_payload(config: Mapping[str, Any], name: str, shown: str) -> None:
    """Tensors as their bytes, each in a file of the archive."""
    entries = config.get("config")
    if not isinstance(entries, dict):
        raise UserError(f"'{shown}': {name} lists no tensors", hint=_AGAIN)
    for tensor, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("use_pickle") is not False or not entry.get("tensor_meta"):
            raise UserError(f"'{shown}' holds '{tensor}' as a pickle, which is never read: it can run code", hint=_OWN)
        if not _NAME.fullmatch(str(entry.get("path_name"))):
            raise UserError(f"'{shown}': '{tensor}' is in a file of a bad name: {entry.get('path_name')!r}")


class _RefusedError(Exception):
    def __init__(self, said: str, hint: str) -> None:
        super().__init__(said)
        self.hint = hint


def _strip(graph: dict[str, Any]) -> None:
    """Of a node's metadata only the modules that it comes from are needed."""
    for node in (graph.get("graph_module") or {}).get("graph", {}).get("nodes", ()):
        kept = (node.get("metadata") or {}).get("nn_module_stack")
        node["metadata"] = {"nn_module_stack": kept} if isinstance(kept, str) else {}


def _check(value: Any) -> None:
    """Each field that torch's reader would look up, import or evaluate."""
    if isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if (check := _FIELDS.get(key)) is not None and item is not None:
                check(item)
            _check(item)


def _operator(value: Any) -> None:
    name = str(value)
    if isinstance(value, dict):
        return  # a field of a signature that is called 'target'
    if not _OPERATOR.fullmatch(name) or name.startswith("math.__") or any(f".{one}" in name for one in _READS_FILES):
        raise _RefusedError(f"calls '{name}', which is no operator of torch on tensors", _OWN)


def _expression(value: Any) -> None:
    """A size as sympy writes it: ``Mul(Integer(2), Symbol('s77', positive=True, integer=True))``."""
    text = str(value)
    try:
        sound = len(text) <= 4000 and _is_size(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        sound = False
    if not sound:
        raise _RefusedError(f"has a size that is no arithmetic of sizes: {text[:80]!r}", _AGAIN)


def _is_size(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value):
            if isinstance(value, str):
                return _SYMBOL.fullmatch(value) is not None or value.replace(".", "", 1).lstrip("-").isdecimal()
            return isinstance(value, bool | int | float) and abs(value) < 1 << 64
        case ast.Name(name):
            return name in _CONSTANTS or _SYMBOL.fullmatch(name) is not None
        case ast.UnaryOp(ast.USub() | ast.UAdd(), operand):
            return _is_size(operand)
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() | ast.Mod() | ast.Div(), right):
            return _is_size(left) and _is_size(right)
        case ast.Call(ast.Name(name), arguments, keywords):
            if not _FUNCTIONS.fullmatch(name) or (name in _POWERS and not _is_small(arguments)):
                return False
            assumed = all(word.arg in _ASSUMPTIONS and isinstance(word.value, ast.Constant) for word in keywords)
            return assumed and all(map(_is_size, arguments))
    return False


def _is_small(arguments: list[ast.expr]) -> bool:
    """Whether the exponent is a small number: a few characters could fill the memory."""
    exponent = arguments[-1] if len(arguments) == 2 else None
    if isinstance(exponent, ast.Call) and len(exponent.args) == 1:
        exponent = exponent.args[0]
    if isinstance(exponent, ast.UnaryOp):
        exponent = exponent.operand
    return isinstance(exponent, ast.Constant) and isinstance(exponent.value, int) and exponent.value <= _LARGEST_POWER


def _tree(value: Any) -> None:
    """How inputs or outputs are nested: [version, {type, context, children_spec}]."""
    try:
        parsed = json.loads(value)
        todo = [parsed[1]] if isinstance(parsed, list) else [parsed]
    except (ValueError, TypeError, IndexError, RecursionError):
        raise _RefusedError("says in no known way how its inputs and outputs are nested", _AGAIN) from None
    while todo:
        spec = todo.pop()
        if not isinstance(spec, dict):
            raise _RefusedError("says in no known way how its inputs and outputs are nested", _AGAIN)
        context = spec.get("context")
        text = context if isinstance(context, str) else json.dumps(context)
        if spec.get("type") not in _CONTAINERS or "__" in text:
            kind = spec.get("type") or "an object"
            raise _RefusedError(f"takes or returns a '{kind}', which would be imported", _PLAIN)
        todo += spec.get("children_spec") or []


def _object(value: Any) -> None:
    raise _RefusedError("holds an object of a class of its own, which is read as a pickle", _OWN)


_FIELDS: Mapping[str, Callable[[Any], None]] = {
    "target": _operator,
    "as_operator": _operator,
    "expr_str": _expression,
    "in_spec": _tree,
    "out_spec": _tree,
    "treespec": _tree,
    "as_custom_obj": _object,
    "custom_obj": _object,
}


def _check_examples(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], shown: str) -> None:
    """torch unpickles the example inputs without restriction if the restricted reader fails; here it must not fail."""
    info = members.get("data/sample_inputs/model.pt")
    if info is None:
        return
    data = io.BytesIO(archive.read(info))
    try:
        with zipfile.ZipFile(data) as inner:
            packed = [each.filename for each in inner.infolist() if each.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise UserError(f"'{shown}': its example inputs are compressed, which torch never does", hint=_AGAIN)
        data.seek(0)
        found = torch.load(data, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # torch.load has no error class of its own
        said = str(error).strip().splitlines()[0][:200]
        raise UserError(f"'{shown}': its example inputs cannot be read safely: {said}", hint=_PLAIN) from error
    if not isinstance(found, tuple | dict):
        raise UserError(f"'{shown}': its example inputs are a {type(found).__name__}", hint=_AGAIN)


def _write(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], texts: Mapping[str, dict[str, Any]], to: Path
) -> None:
    """In the layout of torch's own writer, which wants data at multiples of 64 bytes."""
    writer = torch._C.PyTorchFileWriter(str(to))
    for name, text in {"archive_format": "pt2", "archive_version": "0"}.items():
        writer.write_record(name, text.encode(), len(text))
    for name, info in members.items():
        data = json.dumps(texts[name]).encode() if name in texts else archive.read(info)
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()
