"""Models that nobody builds: a factory of the user's, a file, or a plugin's source."""

from __future__ import annotations

from ..api import Stack
from ..compressfile.nodes import plain
from ..compressfile.spec import ModelSpec
from ..errors import Diagnostic
from .draft import Draft, environment_of
from .node import Node
from .opening import settled
from .typed import type_name

__all__ = ["companions", "source"]

_SAFE = ".safetensors"
"""Weights in a format that holds tensors and nothing else."""


def source(draft: Draft, model: ModelSpec) -> int | None:
    if model.source is not None:
        return _read(draft, model, model.source)
    if model.factory is not None:
        return _factory(draft, model)
    kind = model.kind or next(
        (k.name for k in draft.registry.kinds.values() if any((model.file or "").endswith(s) for s in k.suffixes)),
        None,
    )
    if kind is None:
        known = sorted(s for k in draft.registry.kinds.values() for s in k.suffixes)
        draft.problems.append(
            Diagnostic(
                f"cannot tell the kind of '{model.file}'",
                model.marks.get("file", model.mark),
                f"say 'kind:', or use a known suffix ({', '.join(known)})",
            )
        )
        return None
    files = (str(model.file), *model.files)
    return draft.intern(
        Node(
            0,
            f"{model.name}/source",
            "import",
            f"source.{kind}",
            1,
            "",
            kind,
            model.mark,
            params={"file": model.file},
            key_params={"file": model.file},
            files=files,
        )
    )


def companions(draft: Draft, model: ModelSpec) -> int | None:
    """The node that gathers what is published beside all that is made of a model; None: there is nothing."""
    record = draft.registry.sources.get(model.source) if model.source is not None else None
    if record is None or record.companions is None:
        return None
    return _read(draft, model, record.name, companions=True)


def _read(draft: Draft, model: ModelSpec, name: str, *, companions: bool = False) -> int | None:
    record = draft.registry.sources.get(name)
    if record is None:
        draft.unknown("source", name, model.marks.get(name, model.mark))
        return None
    found = settled(draft, record, model, f"model '{model.name}'")
    if found is None:
        return None
    assert record.produces is not None
    kind = draft.kind("companions" if companions else record.produces)
    run = record.companions if companions else record.run
    stack = Stack() if companions else record.stack  # to copy files takes none of it
    return draft.intern(
        Node(
            0,
            f"{model.name}/{'companions' if companions else 'source'}",
            "source",
            f"{'companions' if companions else 'source'}.{record.name}",
            record.version,
            run or "",
            kind.name,
            model.marks.get(record.name, model.mark),
            params=found.values,
            params_type=type_name(record.params),
            key_params=found.key(),
            models=() if companions else (model.name,),
            files=found.named("file"),
            tools=stack.tools,
            preload=stack.preload,
            options=draft.options(),
            isolate=record.isolate and not companions,
            missing=draft.missing(stack.needs, record.needs, found.needs),
            environment=environment_of(stack),
        )
    )


def _factory(draft: Draft, model: ModelSpec) -> int | None:
    name = model.kind or next((k.name for k in draft.registry.kinds.values() if k.init), None)
    kind = draft.registry.kinds.get(name) if name else None
    if kind is None or kind.init is None:
        message = f"no installed plugin makes a model from a factory{f' of kind {name!r}' if name else ''}"
        draft.problems.append(
            Diagnostic(
                message,
                model.marks.get("factory", model.mark),
                "install compressbuild[torch], or see 'cbuild plugins'",
            )
        )
        return None
    params = {
        "factory": model.factory,
        "args": plain(model.args) if model.args is not None else {},
        "weights": model.weights,
        "inputs": [[i.name, list(i.shape), i.dtype] for i in model.inputs],
    }
    return draft.intern(
        Node(
            0,
            f"{model.name}/source",
            "source",
            f"source.{kind.name}",
            kind.version,
            kind.init,
            kind.name,
            model.mark,
            params=params,
            key_params=params,
            models=(model.name,),
            files=(model.weights,) if model.weights else (),
            tools=kind.stack.tools,
            preload=kind.stack.preload,
            options=draft.options(),
            isolate=not str(model.weights or _SAFE).endswith(_SAFE),
            missing=draft.missing(kind.stack.needs, kind.needs),
            environment=environment_of(kind.stack),
        )
    )
