"""Models, datasets and platforms: one function a section entry. Their parameters stay nodes; plugins own those."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..api.part import Rows
from ..errors import Mark
from ..words import did_you_mean, suggest
from .checks import Checks
from .nodes import Broken, Map, Node, Scalar, describe
from .paths import Paths
from .spec import DatasetSpec, InputSpec, ModelSpec, PlatformSpec
from .split import parts

__all__ = [
    "DATASET_KEYS",
    "DTYPES",
    "INPUT_KEYS",
    "MODEL_KEYS",
    "PLATFORM_KEYS",
    "Sources",
    "dataset",
    "model",
    "platform",
]

MODEL_KEYS = ("factory", "args", "weights", "file", "kind", "inputs", "files")
DATASET_KEYS = ("loader", "args", "files")
PLATFORM_KEYS = ("backend", "like", "requires", "host")
SPLIT = "split"
INPUT_KEYS = ("shape", "dtype")
DTYPES = (
    "float32",
    "float16",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)

Sources = Callable[[str], Collection[str]]
"""Names of the sources that plugins offer for a ``model`` or ``dataset``. Asked only where a key may be one."""


def model(key: Scalar, node: Node, checks: Checks, paths: Paths, sources: Sources) -> ModelSpec | None:
    """``factory`` with ``weights``, ``args`` and ``inputs``; or ``file``; or a plugin's source."""
    what = f"model '{key.value}'"
    source, known = _source(node, MODEL_KEYS, ("factory", "file"), "model", what, checks, sources)
    if source is not None:
        assert isinstance(node, Map)
        marks = _marks({str(name.value): value for name, value in node.entries})
        return ModelSpec(str(key.value), key.mark, source=source, settings=node, marks=marks)
    found = checks.mapping(
        node, what, (*MODEL_KEYS, *known), "write {file: model.onnx}, or factory, weights and inputs"
    )
    if found is None or _misspelt(found, MODEL_KEYS, known):
        return None
    given = {str(name.value): value for name, value in found.entries}
    _check_source(key, found, given, checks)
    inputs = _inputs(given["inputs"], what, checks) if "inputs" in given else ()
    return ModelSpec(
        name=str(key.value),
        mark=key.mark,
        factory=checks.entry(given["factory"], "'factory'") if "factory" in given else None,
        args=checks.mapping(given["args"], "'args'") if "args" in given else None,
        weights=paths.one(given["weights"], "'weights'") if "weights" in given else None,
        file=paths.one(given["file"], "'file'") if "file" in given else None,
        kind=checks.text(given["kind"], "'kind'") if "kind" in given else None,
        inputs=inputs,
        files=paths.many(given["files"], "'files'") if "files" in given else (),
        marks=_marks(given),
    )


def _source(
    node: Node,
    keys: Collection[str],
    own: Collection[str],
    kind: str,
    what: str,
    checks: Checks,
    sources: Sources,
) -> tuple[str | None, Collection[str]]:
    """The source of plugins that an entry names, and those that it could name. None: it names none, or one of the
    engine's ``own``."""
    written = [str(name.value) for name, _ in node.entries] if isinstance(node, Map) else []
    if not isinstance(node, Map) or all(name in keys for name in written):
        return None, ()
    known = sources(kind)
    named = [name for name in written if name in known]
    beside = [name for name in written if name in own]
    if named and (beside or len(named) > 1):
        both = [*beside, *named][:2]
        checks.add(f"{what} has both a '{both[0]}' and a '{both[1]}'", node.key_mark(both[1]), "keep one of them")
    return named[0] if named and not beside else None, known


def _misspelt(found: Map, keys: Collection[str], known: Collection[str]) -> bool:
    """Whether a key, which was reported as unknown, is meant to be one of these sources."""
    words = [str(name.value) for name, _ in found.entries]
    return bool(known) and any(did_you_mean(w, known) is not None for w in words if w not in keys and w not in known)


def _check_source(key: Scalar, found: Map, given: Mapping[str, Node], checks: Checks) -> None:
    what = f"model '{key.value}'"
    if "factory" in given and "file" in given:
        checks.add(f"{what} has both a 'factory' and a 'file'", found.key_mark("file"), "keep the one it is made from")
        return
    if "factory" not in given and "file" not in given:
        hint = "e.g. factory: package.module:build, or file: model.onnx"
        checks.missing(found, "factory", MODEL_KEYS, f"{what} needs a 'factory' or a 'file'", key.mark, hint)
        return
    if "file" in given:
        for name in ("weights", "args"):
            if name in given:
                checks.add(f"'{name}' goes with a 'factory', and {what} is a 'file'", found.key_mark(name), "remove it")
    elif "inputs" not in given:
        hint = "e.g. inputs: {image: {shape: [batch, 3, 224, 224], dtype: float32}}"
        checks.missing(found, "inputs", MODEL_KEYS, f"{what} needs 'inputs'", key.mark, hint)


def _inputs(node: Node, what: str, checks: Checks) -> tuple[InputSpec, ...]:
    found = checks.mapping(node, f"'inputs' of {what}")
    if found is None:
        return ()
    if not found.entries:
        checks.add(f"'inputs' of {what} is empty", node.mark, "name each input, in the order the model takes them")
    inputs = (_input(key, value, checks) for key, value in found.entries)
    return tuple(one for one in inputs if one is not None)


def _input(key: Scalar, node: Node, checks: Checks) -> InputSpec | None:
    what = f"input '{key.value}'"
    hint = "write {shape: [batch, 1, 8, 8], dtype: float32}"
    if not isinstance(node, Map):
        checks.wrong(node, what, "a mapping", hint)
        return None
    checks.mapping(node, what, INPUT_KEYS)
    shape_node, dtype_node = node.get("shape"), node.get("dtype")
    if shape_node is None:
        checks.add(f"{what} has no 'shape'", key.mark, hint)
        return None
    sizes = tuple(_axis(item, what, checks) for item in checks.items(shape_node, f"'shape' of {what}"))
    dtype = (
        "float32"
        if dtype_node is None
        else checks.text(dtype_node, f"'dtype' of {what}", "a numpy dtype", "e.g. float32")
    )
    if dtype is not None and dtype not in DTYPES:
        mark = dtype_node.mark if dtype_node is not None else key.mark
        checks.add(f"unknown dtype '{dtype}'", mark, lambda: suggest(dtype, DTYPES))
    return InputSpec(str(key.value), tuple(size for size in sizes if size is not None), dtype or "float32")


def _axis(node: Node, what: str, checks: Checks) -> int | str | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str) and value.isidentifier():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if not isinstance(node, Broken):
        checks.add(
            f"an axis of {what} must be a size above 0 or the name of a dynamic axis, not {describe(node)}",
            node.mark,
            "e.g. [batch, 3, 224, 224]",
        )
    return None


def dataset(
    key: Scalar, node: Node, checks: Checks, paths: Paths, sources: Sources
) -> tuple[tuple[Scalar, DatasetSpec], ...]:
    """The dataset of an entry; of one with a ``split`` its parts, as ``NAME.PART``, and what is left as ``NAME``."""
    what = f"dataset '{key.value}'"
    source, known = _source(node, DATASET_KEYS, ("loader",), "dataset", what, checks, sources)
    if source is None:
        loaded = _loaded(key, node, what, checks, paths, known)
        return ((key, loaded),) if loaded is not None else ()
    assert isinstance(node, Map)
    settings = Map(tuple(entry for entry in node.entries if entry[0].value != SPLIT), node.mark)
    marks = _marks({str(name.value): value for name, value in node.entries})
    split = node.get(SPLIT)
    found = parts(split, key, checks) if split is not None else ((key, Rows()),)
    return tuple(
        (name, DatasetSpec(str(name.value), name.mark, source=source, settings=settings, rows=rows, marks=marks))
        for name, rows in found
    )


def _loaded(
    key: Scalar, node: Node, what: str, checks: Checks, paths: Paths, known: Collection[str]
) -> DatasetSpec | None:
    """``loader`` with ``args`` and the ``files`` it reads."""
    if isinstance(node, Map) and node.get(SPLIT) is not None and node.get("loader") is not None:
        hint = "a loader gives its parts itself: pass which one with 'args:'"
        checks.add(f"'split' goes with a source of rows, and {what} has a 'loader'", node.key_mark(SPLIT), hint)
        return None
    keys = (*DATASET_KEYS, SPLIT, *known)
    found = checks.mapping(node, what, keys, "write {loader: package.data:test}, or {npz: data.npz, labels: y}")
    if found is None or _misspelt(found, DATASET_KEYS, known):
        return None
    given = {str(name.value): value for name, value in found.entries}
    if "loader" not in given:
        hint = "e.g. loader: package.data:test, or npz: data.npz; 'cbuild help' lists the sources"
        checks.missing(found, "loader", DATASET_KEYS, f"{what} needs a 'loader'", key.mark, hint)
        return None
    return DatasetSpec(
        name=str(key.value),
        mark=key.mark,
        loader=checks.entry(given["loader"], "'loader'") or "",
        args=checks.mapping(given["args"], "'args'") if "args" in given else None,
        files=paths.many(given["files"], "'files'") if "files" in given else (),
        marks=_marks(given),
    )


def platform(key: Scalar, node: Node, checks: Checks) -> PlatformSpec | None:
    """``backend`` or ``like``, ``requires`` and ``host``; every other key is a setting of the backend."""
    what = f"platform '{key.value}'"
    found = checks.mapping(node, what, hint="write {backend: onnxruntime}")
    if found is None:
        return None
    given = {str(name.value): value for name, value in found.entries}
    if "backend" not in given and "like" not in given:
        hint = "e.g. backend: onnxruntime, or like: rtx-ada ('cbuild platforms' lists them)"
        checks.add(f"{what} needs a 'backend'", key.mark, hint)
        return None
    if "backend" in given and "like" in given:
        hint = "remove 'backend': the platform that it is like has one"
        checks.add(f"{what} has both a 'backend' and a 'like'", found.key_mark("backend"), hint)
        return None
    settings = tuple(entry for entry in found.entries if entry[0].value not in PLATFORM_KEYS)
    return PlatformSpec(
        name=str(key.value),
        mark=key.mark,
        backend=(checks.text(given["backend"], "'backend'") or "") if "backend" in given else "",
        settings=Map(settings, found.mark),
        requires=checks.mapping(given["requires"], "'requires'", hint="write {FACT: VALUE}")
        if "requires" in given
        else None,
        like=checks.text(given["like"], "'like'") if "like" in given else None,
        marks=_marks(given),
        host=(checks.text(given["host"], "'host'", "an address", "e.g. host: user@edge") or "")
        if "host" in given
        else "",
    )


def _marks(given: Mapping[str, Node]) -> dict[str, Mark]:
    return {name: node.mark for name, node in given.items()}
