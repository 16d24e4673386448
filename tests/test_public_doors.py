"""What a third party may import stays: a minor version adds names and optional parameters, and takes nothing away."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import cbuild_kit
import pytest

from compressbuild.api import VERSION

GOLDEN = Path(__file__).parent / "golden" / "public.json"
DOORS = (
    "compressbuild.api",
    "compressbuild.api.advice",
    "compressbuild.api.conformance",
    "compressbuild.api.testing",
    "compressbuild.notebook",
    "cbuild_kit",
    "cbuild_kit.interface",
    "cbuild_kit.parity",
    "cbuild_kit.predictions",
    "cbuild_kit.previews",
    "cbuild_kit.profiled",
    "cbuild_kit.scores",
    "cbuild_onnx.model.public",
    "cbuild_torch.model.public",
)
Names = dict[str, list[str] | None]


def parameters(found: Any) -> list[str] | None:
    """Names of a function's or a constructor's parameters; None for a value. ``*`` marks one that is named in a
    call, ``=`` one that has a default."""
    if not callable(found):
        return None
    try:
        every = inspect.signature(found).parameters.values()
    except ValueError:  # a type without a signature
        return None
    return [
        "*" * (each.kind is each.KEYWORD_ONLY) + each.name + "=" * (each.default is not each.empty) for each in every
    ]


def offered(door: str) -> Names:
    module = importlib.import_module(door)
    return {name: parameters(getattr(module, name)) for name in sorted(module.__all__)}


def broken(before: Names, now: Names) -> list[str]:
    """What a plugin that was written for ``before`` would miss."""
    problems = [f"{name} is gone" for name in before if name not in now]
    for name in before.keys() & now.keys():
        old, new = before[name] or [], now[name] or []
        known = [each.rstrip("=") for each in new]
        problems += [f"{name}({each}) is gone" for each in old if each.rstrip("=") not in known]
        kept = [each.rstrip("=") for each in old if each.rstrip("=") in known and not each.startswith("*")]
        problems += [f"{name} has its parameters in another order"] * (known[: len(kept)] != kept)
        problems += [f"{name}({each}) wants a value" for each in new if each not in old and not each.endswith("=")]
    return sorted(problems)


@pytest.mark.parametrize("door", DOORS)
def test_a_minor_version_takes_nothing_away(door: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert (golden["api"], golden["kit"]) == (VERSION, cbuild_kit.VERSION), "write golden/public.json for the version"
    assert not broken(golden["doors"][door], offered(door))


def test_what_breaks_a_plugin_is_seen() -> None:
    before: Names = {"fit": ["data", "inputs"], "batches": ["data", "size="], "VERSION": None}
    assert not broken(before, {**before, "more": [], "fit": ["data", "inputs", "strict="]})
    assert broken(before, {**before, "fit": ["data"]}) == ["fit(inputs) is gone"]
    assert broken(before, {**before, "batches": ["data", "size"]}) == ["batches(size) wants a value"]
    turned = broken(before, {**before, "fit": ["inputs", "data"]})
    assert turned == ["fit has its parameters in another order"]
    assert broken(before, {"fit": ["data", "inputs"]}) == ["VERSION is gone", "batches is gone"]


if __name__ == "__main__":
    doors = {door: offered(door) for door in DOORS}
    content = {"api": VERSION, "kit": cbuild_kit.VERSION, "doors": doors}
    GOLDEN.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
