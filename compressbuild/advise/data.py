"""Data that a quantizer calibrates on: too little, or the very samples that judge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..api.part import Rows
from ..compressfile.nodes import plain
from ..compressfile.spec import DatasetSpec
from .view import Advice, Edit, Seen

__all__ = ["few_samples", "judged_on_its_own_data"]

_FEWEST = 100  # docs/howto/calibrate.md: 100 to 500 samples are usual
_CALIBRATES = ("quantize.static", "quantize.mixed", "openvino.quantize")
_REFERENCE = "docs/howto/calibrate.md"


def few_samples(seen: Seen) -> Iterator[Advice]:
    """Ranges of activations chosen from fewer samples than show what occurs."""
    for step in seen.steps:
        asked, used = step.params.get("samples"), step.facts.get("samples")
        if step.technique not in _CALIBRATES or not isinstance(asked, int):
            continue
        count = used if isinstance(used, int) else asked
        if count >= _FEWEST:
            continue
        limited = count < asked
        what = f"{step.technique} calibrates on {count} samples: use at least {_FEWEST}"
        what += f"; '{step.params.get('data')}' has no more" if limited else ""
        yield Advice(
            check="few-samples",
            target=seen.target,
            what=what,
            evidence=(f"samples {asked}" + (f", {used} used" if used is not None else ""),),
            mark=step.mark,
            reference=f"{_REFERENCE}; Nagel et al., A white paper on neural network quantization, 2021, "
            "arXiv:2106.08295",
            edit=None if limited else Edit("set", step.mark, "samples", "512"),
        )


def judged_on_its_own_data(seen: Seen) -> Iterator[Advice]:
    """Calibrated on the dataset that it is evaluated on: what is measured is then too good."""
    judge = seen.evaluation
    if judge is None or judge not in seen.datasets:
        return
    for step in seen.steps:
        used = step.params.get("data")
        if step.technique not in _CALIBRATES or not isinstance(used, str) or used not in seen.datasets:
            continue
        if not _same(seen.datasets[used], seen.datasets[judge]):
            continue
        other = _other(seen.datasets, judge, seen.training)
        yield Advice(
            check="judged-on-its-own-data",
            target=seen.target,
            what=f"{step.technique} calibrates on the rows that judge it, so what is measured is too good: use others",
            evidence=(f"data: {used}, evaluate.data: {judge}",),
            mark=step.mark,
            reference=_REFERENCE,
            edit=Edit("set", step.mark, "data", other) if other is not None else None,
        )


def _other(datasets: Mapping[str, DatasetSpec], judge: str, training: str | None) -> str | None:
    """A dataset to calibrate on in its place: what the file trains on."""
    for name in ("calibration", f"{judge}.calibration", training):
        if name is not None and name in datasets and not _same(datasets[name], datasets[judge]):
            return name
    return None


def _same(one: DatasetSpec, two: DatasetSpec) -> bool:
    """Whether both have the same rows of one source, or one has all of them."""
    if one.name == two.name:
        return True
    return _identity(one) == _identity(two) and (one.rows == two.rows or Rows() in (one.rows, two.rows))


def _identity(spec: DatasetSpec) -> tuple[object, ...]:
    settings = {k: v for k, v in plain(spec.settings).items() if k != "split"} if spec.settings is not None else None
    return spec.loader, plain(spec.args) if spec.args is not None else None, spec.files, spec.source, settings
