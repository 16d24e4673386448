"""What offers the metrics of robustness: corruptions, attacks, data of another kind, edge cases, slices."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import AnswerMetric, Kind, Stack, Technique

from .params.attacks import Attacked, Fgsm, FgsmAccuracy, Pgd, PgdAccuracy
from .params.corruption import Corrupt, Corruption
from .params.edges import Edges, PredictEdges
from .params.outside import Outside, OutsideScores
from .params.slices import PredictSliced, Slices

__all__ = ["kinds", "metrics", "techniques"]

_INSTALL = "pip install 'compressbuild[metrics]'"
_NUMPY = Stack(modules=("numpy",), tools=("numpy",), install=_INSTALL)
_PICTURES = _NUMPY.also(modules=("PIL",), tools=("pillow",))
_TORCH = _NUMPY.also(
    modules=("torch",),
    tools=("torch", "safetensors"),
    preload=("torch",),
    install="pip install 'compressbuild[torch,metrics]'",
)


def kinds() -> Iterator[Kind]:
    yield Kind(
        name="examples",
        files=("examples.json", "labels.npy", "inputs/*.npy"),
        summary="inputs made to be predicted on, with the labels",
        validate="cbuild_kit.predictions:validate_examples",
    )


def techniques() -> Iterator[Technique]:
    for name, run, params, stack in (
        (
            "metrics.predict-corrupted",
            "robustness.corrupt:predict_corrupted",
            Corrupt,
            _PICTURES,
        ),
        ("metrics.predict-examples", "robustness.adversarial:predict_examples", Attacked, _NUMPY),
        ("metrics.predict-outside", "robustness.outside:predict_outside", Outside, _NUMPY),
        ("metrics.predict-edges", "robustness.edges:predict_edges", PredictEdges, _NUMPY),
        ("metrics.predict-sliced", "robustness.slices:predict_sliced", PredictSliced, _NUMPY),
    ):
        yield Technique(
            name=name,
            run=f"cbuild_metrics.{run}",
            params=params,
            produces="predictions",
            stack=stack,
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
            stack=_TORCH,
        )


def metrics() -> Iterator[AnswerMetric]:
    yield AnswerMetric(
        name="corruption",
        summary="mean top-1 accuracy under noise, contrast, brightness, blur and JPEG, at severities",
        source="Hendrycks and Dietterich 2019",
        run="cbuild_metrics.robustness.corrupt:corruption",
        params=Corruption,
        via="metrics.predict-corrupted",
        role="quality",
        direction="higher",
        stack=_NUMPY,
    )
    for name, params, summary, source in (
        ("fgsm", FgsmAccuracy, "top-1 accuracy under one step along the loss' gradient", "Goodfellow et al. 2015"),
        ("pgd", PgdAccuracy, "top-1 accuracy under projected gradient descent", "Madry et al. 2018"),
    ):
        yield AnswerMetric(
            name=name,
            summary=f"{summary}, transferred from a torch model",
            source=source,
            run=f"cbuild_metrics.robustness.adversarial:{name}",
            params=params,
            via="metrics.predict-examples",
            role="quality",
            examples=f"metrics.attack-{name}",
            direction="higher",
            stack=_NUMPY,
        )
    yield AnswerMetric(
        name="ood",
        summary="area under the ROC of a score that tells the data from other data",
        source="Hendrycks and Gimpel 2017; energy: Liu et al. 2020",
        run="cbuild_metrics.robustness.outside:outside",
        params=OutsideScores,
        via="metrics.predict-outside",
        role="quality",
        direction="higher",
        stack=_NUMPY,
    )
    yield AnswerMetric(
        name="edge-cases",
        summary="share of zero, saturated and non-finite inputs that are answered as the baseline does",
        run="cbuild_metrics.robustness.edges:edge_cases",
        params=Edges,
        via="metrics.predict-edges",
        role="quality",
        paired=True,
        direction="higher",
        stack=_NUMPY,
    )
    yield AnswerMetric(
        name="slices",
        summary="top-1 accuracy, with that of each slice of the data that the user names",
        run="cbuild_metrics.robustness.slices:slices",
        params=Slices,
        via="metrics.predict-sliced",
        role="quality",
        direction="higher",
        per_class=True,
        stack=_NUMPY,
    )
