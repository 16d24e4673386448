"""Targets as the checks of ``cbuild advise`` see them: a sound one, and what makes others of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from compressbuild.api.advice import Mark, Origin, Seen, Step
from compressbuild.api.part import Rows
from compressbuild.registry import discover

__all__ = ["INT8", "REGISTRY", "SOUND", "data", "step", "with_last", "with_params"]

REGISTRY = discover(cache=None)


def hyphened(params: dict[str, Any]) -> dict[str, Any]:
    """As nodes have them."""
    return {name.replace("_", "-"): value for name, value in params.items()}


def step(technique: str, line: int = 1, facts: dict[str, Any] | None = None, **params: Any) -> Step:
    return Step(
        node=line,
        technique=technique,
        traits=REGISTRY.techniques[technique].traits,
        mark=Mark("Compressfile", line, 9),
        params=hyphened(params),
        facts=facts or {},
    )


def data(name: str, source: str = "", rows: Rows | None = None) -> Origin:
    return Origin(name, source or f"m:{name}", rows or Rows())


INT8 = step(
    "quantize.static", 3, {"samples": 512, "quantized_share": 1.0},
    scheme="u8-affine", activations="auto", samples=512, data="calibration", reduce_range=False,
)  # fmt: skip
SOUND = Seen(
    target="int8",
    steps=(step("prune.channels", 1, ratio=0.5), step("finetune", 2, data="train"), INT8),
    platform="cpu",
    platform_mark=Mark("Compressfile", 9, 3),
    scheme="u8-affine",
    on_cpu=True,
    arch="x86_64",
    isa=("avx2", "avx512_vnni"),
    threads=2,
    quality="top1",
    value=0.97,
    best=("fp32", 0.975),
    allowed=0.01,
    speed="latency",
    ratios=(0.6, 0.58, 0.62),
    baseline="fp32",
    same_model=True,
    sizes=(30, 100),
    evaluation="test",
    datasets={name: data(name) for name in ("train", "calibration", "test")},
    training="train",
    recipe="data: train, epochs: 9",
    gated=frozenset({"top1"}),
    asked=frozenset({"top1", "latency"}),
    built=True,
)


def with_last(seen: Seen, last: Step) -> Seen:
    return replace(seen, steps=(*seen.steps[:-1], last))


def with_params(each: Step, **params: Any) -> Step:
    return replace(each, params={**each.params, **hyphened(params)})
