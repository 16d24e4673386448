"""Data that a quantizer calibrates on: too little, all alike, or the very samples that judge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compressbuild.api.advice import EMPTY, Advice, Edit, Seen

__all__ = ["empty_calibration", "few_samples", "judged_on_its_own_data", "samples_alike"]

_FEWEST = 100  # docs/howto/calibrate.md: 100 to 500 samples are usual


def empty_calibration(seen: Seen) -> Iterator[Advice]:
    """A dataset without a sample, at which the build stopped."""
    failed = seen.failed
    step = next((step for step in seen.steps if failed is not None and step.node == failed.node), None)
    if failed is None or step is None or failed.about != EMPTY or not step.has("calibrates"):
        return
    data = step.params.get("data")
    other = _other(seen, data, seen.evaluation) if isinstance(data, str) else None
    what = f"{step.technique} has no samples to calibrate on: '{data}' is empty"
    yield Advice(
        what=what + (f"; calibrate on '{other}'" if other is not None else "; give it rows, or name another dataset"),
        evidence=(failed.error,),
        mark=step.mark,
        edit=Edit("set", step.mark, "data", other) if other is not None else None,
        explains_failure=True,
    )


def few_samples(seen: Seen) -> Iterator[Advice]:
    """Ranges of activations chosen from fewer samples than show what occurs."""
    for step in seen.steps:
        asked, used = step.params.get("samples"), step.facts.get("samples")
        if not step.has("calibrates") or not isinstance(asked, int):
            continue
        count = used if isinstance(used, int) else asked
        if count >= _FEWEST:
            continue
        limited = count < asked
        what = f"{step.technique} calibrates on {count} samples: use at least {_FEWEST}"
        what += f"; '{step.params.get('data')}' has no more" if limited else ""
        yield Advice(
            what=what,
            evidence=(f"samples {asked}" + (f", {used} used" if used is not None else ""),),
            mark=step.mark,
            edit=None if limited else Edit("set", step.mark, "samples", "512"),
        )


def samples_alike(seen: Seen) -> Iterator[Advice]:
    """Ranges chosen on one sample, repeated, or on one class: what the others need is not in them."""
    for step in seen.steps:
        found = step.facts.get("calibration")
        if not step.has("calibrates") or not isinstance(found, Mapping):
            continue
        data = step.params.get("data")
        if found.get("constant"):
            what = "all samples are equal: calibrate on real ones that differ"
            evidence = f"every sample of '{data}' that was used is the same"
        elif found.get("classes") == 1 and seen.classes:
            what = "all samples are of one class: calibrate on some of each; shuffle a dataset that is sorted"
            evidence = f"1 class among the samples of '{data}' that were used"
        else:
            continue
        evidence += f"; samples {step.facts['samples']}" if "samples" in step.facts else ""
        other = _other(seen, data, seen.evaluation) if isinstance(data, str) else None
        edit = Edit("set", step.mark, "data", other) if other is not None else None
        yield Advice(what=f"{step.technique}: {what}", evidence=(evidence,), mark=step.mark, edit=edit)


def judged_on_its_own_data(seen: Seen) -> Iterator[Advice]:
    """Calibrated on the dataset that it is evaluated on: what is measured is then too good."""
    judge = seen.evaluation
    if judge is None or judge not in seen.datasets:
        return
    for step in seen.steps:
        used = step.params.get("data")
        if not step.has("calibrates") or not isinstance(used, str) or used not in seen.datasets:
            continue
        if not seen.datasets[used].shares(seen.datasets[judge]):
            continue
        other = _other(seen, judge)
        yield Advice(
            what=f"{step.technique} calibrates on the rows that judge it, so what is measured is too good: use others",
            evidence=(f"data: {used}, evaluate.data: {judge}",),
            mark=step.mark,
            edit=Edit("set", step.mark, "data", other) if other is not None else None,
        )


def _other(seen: Seen, *others: str | None) -> str | None:
    """A dataset to calibrate on, of other rows than these: what the file trains on."""
    apart = [seen.datasets[name] for name in others if name is not None and name in seen.datasets]
    for name in ("calibration", f"{seen.evaluation}.calibration", seen.training):
        if name is not None and name in seen.datasets and not any(map(seen.datasets[name].shares, apart)):
            return name
    return None
