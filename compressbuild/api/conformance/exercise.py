"""Worker side of what runners and kinds owe: loads an artifact, runs it, feeds it wrongly, damages it.

Each function returns what is wrong as ``{"problems": {topic: sentence}}``. Arrays are handled by their own methods:
the engine imports no numpy.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..census import Census, Macs, Weight
from ..context import Context, resolve
from ..runner import ModelInput, Runner

__all__ = ["census", "copy", "damage", "runner"]

_DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "with its first bytes flipped": lambda data: bytes(byte ^ 0xFF for byte in data[:16]) + data[16:],
}


def runner(ctx: Context, artifact: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """``params``: ``feeds``, the ``module:function`` that makes arrays for a Runner's inputs; ``repeatable``."""
    loaded = ctx.runner("subject")
    problems = _topic("inputs", _inputs(loaded)) | _topic("describe", _described(loaded))
    if "inputs" not in problems:
        feeds = resolve(params["feeds"])(loaded.inputs)
        problems |= _topic("answers", _answers(loaded, feeds, params["repeatable"]))
        problems |= _topic("feeds", _wrong_feeds(loaded, feeds))
    return {"problems": problems}


def _topic(topic: str, sentences: Iterator[str]) -> dict[str, str]:
    """The first of the sentences, if there is one."""
    found = next(sentences, None)
    return {} if found is None else {topic: found}


def _inputs(loaded: Any) -> Iterator[str]:
    inputs = getattr(loaded, "inputs", None)
    if not isinstance(inputs, tuple) or not inputs or not all(isinstance(item, ModelInput) for item in inputs):
        yield "'inputs' of its Runner must be a tuple of compressbuild.api.ModelInput: name, shape and dtype of each"
        return
    for item in inputs:
        if not isinstance(item.dtype, str) or not all(isinstance(axis, int | str) for axis in item.shape):
            yield f"{item!r} of its Runner must have a shape of ints and axis names, and the name of a dtype"
        elif any(isinstance(axis, int) and axis < 1 for axis in item.shape):
            yield f"input '{item.name}' of its Runner has the shape {tuple(item.shape)}: a dynamic axis needs a name"
    names = [item.name for item in inputs]
    if len(set(names)) < len(names):
        yield f"two inputs of its Runner have one name: {', '.join(names)}"


def _described(loaded: Any) -> Iterator[str]:
    describe = getattr(loaded, "describe", None)
    found = describe() if callable(describe) else None
    if not isinstance(found, dict) or not found:
        yield "its Runner must have describe() -> dict, saying what really runs: {'provider': …, 'threads': 1}"
    elif wrong := [key for key, value in found.items() if not _is_plain(value)]:
        yield f"describe() of its Runner must hold JSON values; '{wrong[0]}' is a {type(found[wrong[0]]).__name__}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _answers(loaded: Runner, feeds: dict[str, Any], repeatable: bool) -> Iterator[str]:
    before = {name: array.tobytes() for name, array in feeds.items()}
    first = loaded(dict(feeds))
    if not isinstance(first, dict) or not first:
        yield "its Runner must return a dict: output name → array"
        return
    odd = next((name for name, array in first.items() if not hasattr(array, "dtype")), None)
    if odd is not None:
        yield f"output '{odd}' of its Runner is a {type(first[odd]).__name__}, not a numpy array"
        return
    kept = {name: array.tobytes() for name, array in first.items()}
    if {name: array.tobytes() for name, array in feeds.items()} != before:
        yield "its Runner changes the arrays that it is fed"
    again = loaded(dict(feeds))
    if repeatable and {name: array.tobytes() for name, array in again.items()} != kept:
        yield "its Runner gives other values for the same arrays the second time"
    loaded({name: array * 0 if array.dtype.kind in "fc" else array for name, array in feeds.items()})
    if {name: array.tobytes() for name, array in first.items()} != kept:
        yield "its Runner overwrites what it returned at the next call: return copies"


def _wrong_feeds(loaded: Runner, feeds: dict[str, Any]) -> Iterator[str]:
    for what, wrong in _spoilt(loaded, feeds):
        print(f"conformance: fed {what}", flush=True)
        try:
            loaded(wrong)
        except Exception as error:  # noqa: BLE001  that it raises is what is asked for
            print(f"refused: {type(error).__name__}: {error}")
        else:
            yield f"its Runner takes {what}: raise UserError for arrays that do not fit"
            return


def _spoilt(loaded: Runner, feeds: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in loaded.inputs:
        name, array = item.name, feeds[item.name]
        yield f"no array for input '{name}'", {key: value for key, value in feeds.items() if key != name}
        other = "float64" if array.dtype.name != "float64" else "float32"
        yield f"{other} for input '{name}' of {array.dtype.name}", {**feeds, name: array.astype(other)}
        yield f"an array of one more axis for input '{name}'", {**feeds, name: array[None]}
        for axis, size in enumerate(item.shape):
            if isinstance(size, int) and size > 1:
                cut = (slice(None),) * axis + (slice(0, size - 1),)
                yield (
                    f"{size - 1} for axis {axis} of input '{name}', which is {size}",
                    {**feeds, name: array[cut].copy()},
                )


def census(ctx: Context, artifact: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """Calls all that a census has, as the metrics that count do."""
    found: Any = ctx.census("subject")
    if not isinstance(found, Census):
        return {"problems": {"census": f"its census is a {type(found).__name__}, not a compressbuild.api.Census"}}
    return {"problems": _topic("weights", _weights(found)) | _topic("counts", _counts(found))}


def _weights(found: Census) -> Iterator[str]:
    weights: list[Any] = list(found.weights())
    for weight in weights:
        if not isinstance(weight, Weight):
            yield f"weights() of its census yields a {type(weight).__name__}, not a compressbuild.api.Weight"
        elif not hasattr(weight.array, "dtype"):
            yield f"weight '{weight.name}' of its census has a {type(weight.array).__name__}, not a numpy array"
    names = [weight.name for weight in weights]
    if len(set(names)) < len(names):
        yield f"two weights of its census have one name: {', '.join(names)}"


def _counts(found: Census) -> Iterator[str]:
    macs: Any = found.macs({})
    if not isinstance(macs, Macs):
        yield f"macs(axes) of its census gives a {type(macs).__name__}: build it with Macs.of_run"
    elif type(macs.value) is not int or macs.value < 0:
        yield f"macs(axes) of its census counts {macs.value!r}, not an int from 0 on"
    for batch in (1, 2):
        traffic: Any = found.traffic({}, batch)
        if type(traffic) is not int or traffic < 0:
            yield f"traffic(axes, {batch}) of its census gives {traffic!r}, not an int of bytes"


def damage(ctx: Context, artifact: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """``params``: ``validate``, a kind's, or None; ``loads``: whether it can be loaded here; ``exempt``: patterns of
    files whose content nothing depends on; ``raw``: of those in which a flip cannot be seen. A damaged file must be
    noticed by one of the two."""
    problems: dict[str, str] = {}
    names = sorted(str(path.relative_to(artifact)) for path in artifact.rglob("*") if path.is_file())
    for name in names:
        if any(Path(name).match(pattern) for pattern in params["exempt"]):
            continue
        raw = any(Path(name).match(pattern) for pattern in params["raw"])
        for how, change in list(_DAMAGES.items())[: 2 if raw else None]:
            copy = ctx.scratch / "damaged"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(artifact, copy)
            data = (copy / name).read_bytes()
            os.chmod(copy / name, 0o644)
            (copy / name).write_bytes(change(data))
            print(f"conformance: {name} {how}", flush=True)
            if change(data) != data and not _noticed(ctx, copy, params):
                problems.setdefault("damage", f"neither its kind's 'validate' nor 'load' notices '{name}' {how}")
    return {"problems": problems}


def _noticed(ctx: Context, copy: Path, params: Mapping[str, Any]) -> bool:
    if params["validate"] is not None:
        try:
            resolve(params["validate"])(copy)
        except ValueError as error:
            print(f"validate: {error}")
            return True
    if params["loads"]:
        entry = ctx._request.inputs["subject"]
        try:
            resolve(entry.load or "")(ctx, copy, ctx.settings("subject"))
        except Exception as error:  # noqa: BLE001  any error at loading keeps a damaged artifact from being used
            print(f"load: {type(error).__name__}: {error}")
            return True
    return False


def copy(ctx: Context, artifact: Path, params: Mapping[str, Any]) -> None:
    """Copies the artifact, so that the kind's ``validate`` sees it as a node's output."""
    shutil.copytree(artifact, ctx.out, dirs_exist_ok=True)
