"""Which layer lost the accuracy, by the error that each has of its own."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping
from typing import Any

from compressbuild.api.advice import Advice, Edit, Seen, Step

__all__ = ["which_layer"]

_METRICS = ("layer-error", "openvino-layer-error")
_HALF = 0.5  # of all that the layers lose
_MOST = 3  # layers that are kept in float by hand; more are found by a search
_SHOWN = 3
_HIDDEN = 0.01  # of a layer's signal: less has lost nothing
_SEARCH = "quantize.mixed measures each, and keeps in float those that cost too much"


def which_layer(seen: Seen) -> Iterator[Advice]:
    """The layers that have half of the error that all have of their own, if more accuracy is lost than may be."""
    measured = (kept[name] for kept in (seen.metrics, seen.details) for name in _METRICS if name in kept)
    rows: dict[str, Any] = next((found["per_layer"] for found in measured if found.get("per_layer")), {})
    step = next((step for step in reversed(seen.steps) if step.has("int8", "weights-only")), None)
    if step is None or not seen.too_much or not rows:
        return
    worst = sorted(rows.items(), key=lambda item: -item[1]["lost"])
    if worst[0][1]["lost"] < _HIDDEN:
        return
    evidence = tuple(_described(name, row) for name, row in worst[:_SHOWN])
    blamed = _blamed([row for _, row in worst])
    if not blamed:
        what = f"no layer of {step.technique} stands out, many lose a little: {_SEARCH}"
        yield Advice(what=what, evidence=evidence, mark=step.mark)
        return
    names = " and ".join(f"'{row['node']}'" for row in blamed)
    what = f"{step.technique} loses most of the accuracy in {names}: "
    edit = None
    if all(row["rounding"] >= _HALF * row["lost"] for row in blamed):
        what += "8 bits do not hold the range of its output; cut off outliers ('method: percentile'), or keep it and "
        what += "the layers that read it in float"
        if step.params.get("method") == "minmax":
            edit = Edit("set", step.mark, "method", "percentile")
    else:
        what += "keep it in float" if len(blamed) == 1 else "keep them in float"
        edit = _kept(step, [row["node"] for row in blamed])
    yield Advice(what=what, evidence=evidence, mark=step.mark, edit=edit, explains_loss=True)


def _blamed(worst: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The fewest layers that have half of the error; none if that are too many, or if one of them has no name."""
    found: list[Mapping[str, Any]] = []
    share = 0.0
    for row in worst[:_MOST]:
        found.append(row)
        share += row["share"]
        if share >= _HALF:
            return found if all(each["node"] for each in found) else []
    return []


def _kept(step: Step, names: list[str]) -> Edit | None:
    excluded = step.params.get("exclude")
    if not isinstance(excluded, list | tuple):
        return None
    globs = dict.fromkeys([*excluded, *(glob.escape(name) for name in names)])
    return Edit("set", step.mark, "exclude", json.dumps([*globs], ensure_ascii=False))


def _described(name: str, row: Mapping[str, Any]) -> str:
    layer = row["node"] or name
    said = f"{layer} ({row['op']}): {row['lost']:.0%} of its channels' signal lost, {row['share']:.0%} of what all lose"
    return f"{said}; {row['own']:.1f} dB of its own, {row['sqnr']:.1f} dB in all"
