"""What a user may call a model: a factory, a file, a directory; as the entry of ``models`` that reads it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UsageError
from ..registry import Registry

__all__ = ["FACTORY", "Given", "candidate", "given", "inside_of", "parse_input"]

FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_INPUT = re.compile(r"(?P<name>[A-Za-z_][\w.]*)=(?P<shape>[\w,]+)(:(?P<dtype>\w+))?")
_HF = "huggingface"
_CONFIG = "config.json"
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class Given(msgspec.Struct, frozen=True):
    """``word``: as the user wrote it. ``name``: for the Compressfile. ``entry``: of ``models``. ``kind``: of the
    artifact that it makes. ``config``: of a Hugging Face directory."""

    word: str
    name: str
    entry: dict[str, Any]
    kind: str
    config: dict[str, Any] = {}

    @property
    def factory(self) -> bool:
        return "factory" in self.entry


def given(word: str, registry: Registry, root: Path) -> Given:
    """UsageError, with what can be given, if the word is no model."""
    path = Path(word)
    if not path.exists():
        if FACTORY.fullmatch(word):
            name = _named(word.rpartition(":")[0].rpartition(".")[2])
            return Given(word, name, {"factory": word}, _of_factories(registry))
        raise UsageError(
            f"there is no '{word}'",
            hint="give a model file, a Hugging Face directory, or the factory of a torch model as module:function",
        )
    inside = inside_of(word, root)
    if path.is_dir():
        return _directory(word, path, inside, registry)
    kinds = [kind for kind in registry.kinds.values() if path.suffix and path.suffix in kind.suffixes]
    if not kinds:
        known = sorted({suffix for kind in registry.kinds.values() for suffix in kind.suffixes})
        hint = f"model files end in {', '.join(known)}; weights alone need a factory: cbuild init module:function"
        raise UsageError(f"'{word}' is not a model file that a plugin can read", hint=hint)
    beside = [each for each in (path.with_name(path.name + ".data"), path.with_name(path.stem + ".data"))
              if each.is_file()]  # fmt: skip
    files = {"files": [f"{os.path.dirname(inside)}/{each.name}".lstrip("/") for each in beside]} if beside else {}
    return Given(word, _named(path.stem), {"file": inside, **files}, kinds[0].name)


def _of_factories(registry: Registry) -> str:
    """The kind that a model factory is read as."""
    found = next((kind.name for kind in registry.kinds.values() if kind.init), None)
    if found is None:
        raise UsageError("no installed plugin reads a model factory", hint="'cbuild plugins' lists what is installed")
    return found


def inside_of(word: str, root: Path) -> str:
    """A path of the command line, as the Compressfile in ``root`` writes it."""
    inside = os.path.relpath(os.path.abspath(word), os.path.abspath(root)).replace(os.sep, "/")
    if inside == ".." or inside.startswith("../"):
        raise UsageError(
            f"'{word}' lies outside '{root}', the directory of the Compressfile",
            hint="write the Compressfile in a directory above it (-f DIR/Compressfile), or copy it here",
        )
    return inside


def _directory(word: str, path: Path, inside: str, registry: Registry) -> Given:
    if not (path / _CONFIG).is_file():
        raise UsageError(
            f"the directory '{word}' has no {_CONFIG}",
            hint="give a directory that save_pretrained wrote, or a model file in it",
        )
    source = registry.source(_HF)
    try:
        config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"'{word}/{_CONFIG}' cannot be read: {error}", hint="copy the directory again") from error
    if not isinstance(config, dict):
        raise UsageError(f"'{word}/{_CONFIG}' is not a mapping", hint="save the model again with save_pretrained")
    name = path.resolve().name if inside == "." else path.name
    return Given(word, _named(name), {_HF: inside}, source.produces or _of_factories(registry), config)


def _named(text: str) -> str:
    """A name for the Compressfile. The targets' own names are kept free."""
    name = _NAME.sub("-", text).strip("-_") or "net"
    return "net" if name in ("model", "models", "init") else f"{name}-net" if len(name) < 2 else name


def candidate(root: Path, registry: Registry) -> str:
    """The only model in a directory. UsageError if there is none, or several."""
    suffixes = {suffix for kind in registry.kinds.values() for suffix in kind.suffixes}
    files = [path for path in sorted(root.iterdir()) if path.is_file() and path.suffix in suffixes]
    folders = [path for path in sorted(root.iterdir()) if (path / _CONFIG).is_file() and not path.name.startswith(".")]
    found = [path.name for path in (*files, *folders)]
    how = "cbuild init model.onnx, cbuild init DIRECTORY, or cbuild init module:function for a torch model"
    if not found:
        raise UsageError("no model is named, and there is none in this directory", hint=f"name it: {how}")
    if len(found) > 1:
        raise UsageError(
            f"there are several models here: {', '.join(found)}", hint=f"name one: cbuild init {root / found[0]}"
        )
    return str(root / found[0])


def parse_input(text: str) -> tuple[str, dict[str, Any]]:
    """``image=batch,3,224,224[:float32]`` → name and entry of ``inputs``."""
    found = _INPUT.fullmatch(text.replace(" ", ""))
    if not found:
        raise UsageError(
            f"'{text}' does not describe an input",
            hint="write a name, the sizes and perhaps a type: image=batch,3,224,224 or tokens=batch,128:int64",
        )
    shape = [int(part) if part.isdigit() else part for part in found["shape"].split(",")]
    if "" in shape:
        raise UsageError(f"'{text}' leaves a size out", hint="write every size: image=batch,3,224,224")
    return found["name"], {"shape": shape, **({"dtype": found["dtype"]} if found["dtype"] else {})}
