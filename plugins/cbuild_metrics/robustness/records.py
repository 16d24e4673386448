"""What offers the metrics of robustness: corruptions, attacks, data of another kind, edge cases, slices."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Kind, Metric, Needs, Technique

from .params import (
    Attacked,
    Corrupt,
    Corruption,
    Edges,
    Fgsm,
    FgsmAccuracy,
    Outside,
    OutsideScores,
    Pgd,
    PgdAccuracy,
    PredictEdges,
    PredictSliced,
    Slices,
)

__all__ = ["kinds", "metrics", "techniques"]

_INSTALL = "pip install 'compressbuild[metrics]'"
_NUMPY = Needs(modules=("numpy",), install=_INSTALL)
_TORCH = ("torch", "safetensors", "numpy")


def kinds() -> Iterator[Kind]:
    yield Kind(
        name="examples",
        files=("examples.json", "labels.npy", "inputs/*.npy"),
        summary="inputs made to be predicted on, with the labels",
        validate="cbuild_metrics.answers.predictions:validate_examples",
    )


def techniques() -> Iterator[Technique]:
    for name, run, params, needs, tools in (
        (
            "metrics.predict-corrupted",
            "robustness.corrupt:predict_corrupted",
            Corrupt,
            Needs(modules=("numpy", "PIL"), install=_INSTALL),
            ("numpy", "pillow"),
        ),
        ("metrics.predict-examples", "robustness.adversarial:predict_examples", Attacked, _NUMPY, ("numpy",)),
        ("metrics.predict-outside", "robustness.outside:predict_outside", Outside, _NUMPY, ("numpy",)),
        ("metrics.predict-edges", "robustness.edges:predict_edges", PredictEdges, _NUMPY, ("numpy",)),
        ("metrics.predict-sliced", "robustness.slices:predict_sliced", PredictSliced, _NUMPY, ("numpy",)),
    ):
        yield Technique(
            name=name,
            run=f"cbuild_metrics.{run}",
            params=params,
            produces="predictions",
            tools=tools,
            needs=needs,
        )
    for name, run, params in (
        ("metrics.attack-fgsm", "fgsm_examples", Fgsm),
        ("metrics.attack-pgd", "pgd_examples", Pgd),
    ):
        yield Technique(
            name=name,
            run=f"cbuild_metrics.robustness.attack:{run}",
            params=params,
            consumes=("torch-model",),
            produces="examples",
            tools=_TORCH,
            preload=("torch",),
            needs=Needs(modules=("numpy", "torch"), install="pip install 'compressbuild[torch,metrics]'"),
        )


def metrics() -> Iterator[Metric]:
    yield Metric(
        name="corruption",
        summary="mean top-1 accuracy under noise, contrast, brightness, blur and JPEG, at severities",
        source="Hendrycks and Dietterich 2019",
        run="cbuild_metrics.robustness.corrupt:corruption",
        params=Corruption,
        of="predictions",
        via="metrics.predict-corrupted",
        role="quality",
        direction="higher",
        tools=("numpy",),
    )
    for name, params, summary, source in (
        ("fgsm", FgsmAccuracy, "top-1 accuracy under one step along the loss' gradient", "Goodfellow et al. 2015"),
        ("pgd", PgdAccuracy, "top-1 accuracy under projected gradient descent", "Madry et al. 2018"),
    ):
        yield Metric(
            name=name,
            summary=f"{summary}, transferred from a torch model",
            source=source,
            run=f"cbuild_metrics.robustness.adversarial:{name}",
            params=params,
            of="predictions",
            via="metrics.predict-examples",
            role="quality",
            examples=f"metrics.attack-{name}",
            direction="higher",
            tools=("numpy",),
        )
    yield Metric(
        name="ood",
        summary="area under the ROC of a score that tells the data from other data",
        source="Hendrycks and Gimpel 2017; energy: Liu et al. 2020",
        run="cbuild_metrics.robustness.outside:outside",
        params=OutsideScores,
        of="predictions",
        via="metrics.predict-outside",
        role="quality",
        direction="higher",
        tools=("numpy",),
    )
    yield Metric(
        name="edge-cases",
        summary="share of zero, saturated and non-finite inputs that are answered as the baseline does",
        run="cbuild_metrics.robustness.edges:edge_cases",
        params=Edges,
        of="predictions",
        via="metrics.predict-edges",
        role="quality",
        paired=True,
        direction="higher",
        tools=("numpy",),
    )
    yield Metric(
        name="slices",
        summary="top-1 accuracy, with that of each slice of the data that the user names",
        run="cbuild_metrics.robustness.slices:slices",
        params=Slices,
        of="predictions",
        via="metrics.predict-sliced",
        role="quality",
        direction="higher",
        per_class=True,
        tools=("numpy",),
    )
