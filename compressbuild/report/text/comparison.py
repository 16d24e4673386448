"""A comparison as text."""

from __future__ import annotations

from collections.abc import Iterator

from ...evaluate.compare import Comparison, Quality
from ...words import number
from ..data.flipped import Shown
from .columns import columns

__all__ = ["comparison_lines"]

_SHOWN = 20  # samples that flipped
_WIDE = 160  # characters of a text


def comparison_lines(found: Comparison, samples: Shown | str | None = None) -> Iterator[str]:
    """The verdict first, then what it rests on. ``samples``: what the flipped ones are, or why that is not shown."""
    yield found.verdict
    if found.quality is not None:
        yield ""
        yield from _quality(found.quality, found)
        yield from _samples(samples, found)
    if found.speed is not None:
        at = found.speed
        interval = f" [{at.low:.3g}–{at.high:.3g}]" if at.low is not None and at.high is not None else ""
        yield ""
        yield f"{at.metric}: ×{at.ratio:.3g}{interval}, {at.how}: {at.verdict}"
    if found.rows:
        yield ""
        yield from _table(found)
    for what, why in found.missing.items():
        yield f"not compared: {what}: {why}"


def _quality(at: Quality, found: Comparison) -> Iterator[str]:
    yield (
        f"{at.metric}: {at.first:.4g} → {at.second:.4g} on {at.n} samples, difference {at.difference:+.4f} "
        f"[{at.low:+.4f}–{at.high:+.4f}]"
    )
    yield (
        f"  right only in {found.first}: {at.only_first}, only in {found.second}: {at.only_second}; "
        f"McNemar ({at.test}) p = {at.p:.3g}: {at.verdict}"
    )
    answers: dict[int | str, str] = {flip.sample: f" ({flip.first} → {flip.second})" for flip in found.flipped}
    for said, which in (("now wrong", at.lost), ("now right", at.won)):
        if which:
            more = f" and {len(which) - _SHOWN} more" if len(which) > _SHOWN else ""
            shown = ", ".join(f"{sample}{answers.get(sample, '')}" for sample in which[:_SHOWN])
            yield f"  {said}: {shown}{more}"


def _samples(samples: Shown | str | None, found: Comparison) -> Iterator[str]:
    if isinstance(samples, str):
        yield f"  samples: {samples}"
        return
    for sample, said in (samples or {}).items():
        if text := said.get("text"):
            line = "".join(
                c if c.isprintable() else " " for c in " / ".join(text.splitlines())
            )  # no codes to a terminal
            yield f"  {sample}: {line if len(line) <= _WIDE else line[: _WIDE - 1] + '…'}"
    if any("image" in said for said in (samples or {}).values()):
        yield "  the samples are pictures: '--format html' shows them"
    elif samples is not None and not any(samples.values()):
        yield "  the samples are neither pictures nor text, so there is nothing to show"


def _table(found: Comparison) -> Iterator[str]:
    rows = [("metric", found.first, found.second, "ratio", "")]
    for row in found.rows:
        values = ["–" if value is None else number(value, row.unit) for value in (row.first, row.second)]
        ratio = f"×{row.ratio:.3g}" if row.ratio is not None else ""
        if row.low is not None and row.high is not None:
            ratio += f" [{row.low:.3g}–{row.high:.3g}]"
        said = {True: "better", False: "worse", None: ""}[row.better]
        rows.append((row.metric, values[0], values[1], ratio, said))
    yield from columns(rows, right=(1, 2, 3))
