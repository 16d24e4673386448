"""A plugin for golden keys: code in every form that its interpreters share, which must be one tree to all of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from compressbuild.api import ArtifactMetric, DatasetRef, FileRef, Kind, ModelRef, Params, Technique, hookimpl


class Mix(Params):
    """Parameters of every type that a Compressfile can write."""

    number: int = 0
    share: float = 0.1
    word: str = "é"
    flag: bool = False
    words: tuple[str, ...] = ()
    table: dict[str, int] = {}
    other: ModelRef | None = None
    data: DatasetRef | None = None
    extra: FileRef | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Pair:
    left: int
    right: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", [*self.right, self.left])


def traced(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


@traced
def mix(ctx, model, params, /, *rest, scale=1.0, **options):
    """Docstrings count.

    With
        an indented line.
    """
    text = f"{model!r:>{params.number + 10}} {params.share:.3f} {'ab'}{{}} {f'{params.word}'}"
    match Pair(params.number):
        case Pair(left=0, right=[0, *_]) | Pair(left=1):
            total = sum(value if (value := step) else -1 for step in range(3))
        case Pair() as other if other.left > 1_000_000_000_000_000_000_000:
            total = lambda x, *, y=0x10: x + y  # noqa: E731
        case _:
            total = [*rest, 1.5e-7, 2j, ..., None, b"\x00", r"\d", "\N{BULLET}", "\udcff"]
    try:
        async_names = {name: kind for name, kind in options.items() if name and not kind}
    except* ValueError:
        async_names = {}
    (ctx.out / "value").write_text(f"{text}{total}{async_names}{scale}")


async def never() -> None:
    async with traced(None) as one, one as two:
        async for three in two:
            yield three


def length(ctx, subject, params):
    return {"value": 1}


@hookimpl
def compressbuild_kinds():
    yield Kind(name="gold", files=("*",), suffixes=(".txt",))


@hookimpl
def compressbuild_techniques():
    yield Technique(name="gold.mix", params=Mix, run="gold:mix", consumes=("gold",), produces="gold", version=3)


@hookimpl
def compressbuild_metrics():
    yield ArtifactMetric(name="gold-length", run="gold:length", unit="B", direction="lower")
