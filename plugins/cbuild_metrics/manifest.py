"""What is measured of a target: quality, agreement with a baseline, size, cost, speed, memory."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import AnswerMetric, ArtifactMetric, Check, Kind, Metric, RunMetric, Stack, Technique, hookimpl

from .answers.params import Predict
from .cost.params import Compressed, Shapes
from .quality.params.accuracy import Accuracy, Perplexity
from .quality.params.averaged import Averaged
from .quality.params.output import Output
from .quality.params.text import Text
from .quality.params.user import UserFunction
from .robustness import records as records_robustness
from .speed.params import Latency, Load, Memory, Roofline, Throughput

__all__ = [
    "Accuracy",
    "Averaged",
    "Compressed",
    "Latency",
    "Load",
    "Memory",
    "Output",
    "Predict",
    "Roofline",
    "Shapes",
    "Text",
    "Throughput",
    "UserFunction",
]

# Which quality and which costs decide what to ship, and come first in tables. The others have no say in that.
_PRIORITY = {
    "top1": 100,
    "f1": 90,
    "recall": 80,
    "precision": 70,
    "perplexity": 88,
    "bleu": 66,
    "chrf": 64,
    "user": 95,  # what a project measures by itself it cares for
    "top5": 60,
    "pearson": 50,
    "spearman": 40,
    "agreement": 30,
    "latency": 100,
    "size": 90,
    "macs": 80,
}
_NUMPY = Stack(modules=("numpy",), tools=("numpy",), install="pip install 'compressbuild[metrics]'")
_TEXT = _NUMPY.also(modules=("sacrebleu",), tools=("sacrebleu",), install="pip install 'compressbuild[text]'")


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="predictions",
        files=("predictions.json", "labels.npy", "outputs/*.npy"),
        summary="a model's outputs on a dataset, with the labels",
        validate="cbuild_kit.predictions:validate",
    )
    yield from records_robustness.kinds()


@hookimpl
def compressbuild_techniques() -> Iterator[Technique]:
    yield Technique(
        name="metrics.predict",
        run="cbuild_metrics.answers.predict:predict",
        params=Predict,
        produces="predictions",
        preview="cbuild_kit.previews:preview",
        stack=_NUMPY,
    )
    yield from records_robustness.techniques()


@hookimpl
def compressbuild_checks() -> Iterator[Check]:
    yield Check(
        name="not-quantized",
        run="cbuild_metrics.advice:not_quantized",
        summary="a quantization that left most of the weights in float",
        reference="docs/evidence.md#metrics; docs/howto/calibrate.md",
        priority=60,
    )
    yield Check(
        name="stored-twice",
        run="cbuild_metrics.advice:stored_twice",
        summary="weights that are in the file twice, such as those of an embedding and a head",
        reference="docs/evidence.md#metrics; Press & Wolf, Using the output embedding to improve language models, EACL "
        "2017, arXiv:1608.05859",
        priority=30,
    )
    yield Check(
        name="untested-edge-cases",
        run="cbuild_metrics.advice:untested_edge_cases",
        summary="a calibrated model to ship that no extreme input was tried on",
        reference="docs/evidence.md#metrics; Hendrycks & Dietterich, Benchmarking neural network robustness, ICLR 2019",
        priority=10,
    )


@hookimpl
def compressbuild_metrics() -> Iterator[Metric]:
    for k in (1, 5):
        yield AnswerMetric(
            name=f"top{k}",
            priority=_PRIORITY[f"top{k}"],
            summary=f"share of samples whose label is {'the' if k == 1 else 'among the five'} likeliest",
            run=f"cbuild_metrics.quality.accuracy:top{k}",
            params=Accuracy,
            via="metrics.predict",
            role="quality",
            direction="higher",
            per_class=k == 1,
            judges="classes" if k == 1 else "",
            stack=_NUMPY,
        )
    yield from _quality()
    yield from _agreement()
    yield from _cost()
    yield from _running()
    yield from records_robustness.metrics()


def _quality() -> Iterator[Metric]:
    for name, summary, source in (
        (
            "precision",
            "share of the samples answered with a class that belong to it",
            "as scikit-learn, zero_division=0",
        ),
        ("recall", "share of the samples of a class that are answered with it", "as scikit-learn, zero_division=0"),
        ("f1", "harmonic mean of precision and recall", "van Rijsbergen 1979; as scikit-learn, zero_division=0"),
    ):
        yield AnswerMetric(
            name=name,
            priority=_PRIORITY.get(name, 0),
            summary=summary,
            source=source,
            run=f"cbuild_metrics.quality.confusion:{name}",
            params=Averaged,
            via="metrics.predict",
            role="quality",
            direction="higher",
            stack=_NUMPY,
        )
    for name, unit, direction, summary, source in (
        ("mse", "", "lower", "mean squared error against the labels", ""),
        ("snr", "dB", "higher", "energy of the labels over that of the error", "10 log10 of the ratio"),
        ("pearson", "", "higher", "correlation of outputs and labels", "Pearson 1895"),
        ("spearman", "", "higher", "correlation of the ranks of outputs and labels", "Spearman 1904, mean ranks"),
    ):
        yield AnswerMetric(
            name=name,
            priority=_PRIORITY.get(name, 0),
            summary=summary,
            source=source,
            run=f"cbuild_metrics.quality.regression:{name}",
            params=Output,
            unit=unit,
            via="metrics.predict",
            role="quality",
            direction=direction,
            stack=_NUMPY,
        )
    yield AnswerMetric(
        name="perplexity",
        summary="exp of the mean negative log-likelihood of the labels under softmax(scores)",
        source="Jelinek et al. 1977",
        run="cbuild_metrics.quality.perplexity:perplexity",
        params=Perplexity,
        via="metrics.predict",
        role="quality",
        direction="lower",
        priority=_PRIORITY["perplexity"],
        stack=_NUMPY,
    )
    for name, summary, source in (
        ("bleu", "corpus BLEU of decoded text, 0 to 100", "Papineni et al. 2002; sacrebleu, Post 2018"),
        ("chrf", "corpus chrF2 of decoded text, 0 to 100", "Popović 2015; sacrebleu"),
    ):
        yield AnswerMetric(
            name=name,
            priority=_PRIORITY.get(name, 0),
            summary=summary,
            source=source,
            run=f"cbuild_metrics.quality.text:{name}",
            params=Text,
            via="metrics.predict",
            role="quality",
            direction="higher",
            stack=_TEXT,
        )
    yield AnswerMetric(
        name="user",
        summary="your own function of outputs and labels",
        run="cbuild_metrics.quality.user:user",
        params=UserFunction,
        via="metrics.predict",
        role="quality",
        priority=_PRIORITY["user"],
        stack=_NUMPY,
    )


def _agreement() -> Iterator[Metric]:
    for name, function, unit, direction, summary in (
        ("agreement", "agreement", "", "higher", "share of samples whose likeliest class is the baseline's"),
        ("cosine", "cosine", "", "higher", "mean cosine between output and baseline's output"),
        ("sqnr", "sqnr", "dB", "higher", "energy of the baseline's output over that of the difference"),
        ("max-abs", "max_abs", "", "lower", "largest difference from the baseline's output"),
    ):
        yield AnswerMetric(
            name=name,
            priority=_PRIORITY.get(name, 0),
            summary=summary,
            run=f"cbuild_metrics.quality.agreement:{function}",
            params=Output,
            unit=unit,
            via="metrics.predict",
            role="quality",
            paired=True,
            direction=direction,
            # The only one of these whose scale does not depend on the model.
            judges="outputs" if name == "cosine" else "",
            limit={"min": 0.98} if name == "cosine" else {},
            stack=_NUMPY,
        )


def _cost() -> Iterator[Metric]:
    yield ArtifactMetric(
        name="size",
        priority=_PRIORITY["size"],
        summary="bytes of all files of the artifact",
        run="cbuild_metrics.cost.size:size",
        unit="B",
        direction="lower",
        role="cost",
    )
    yield ArtifactMetric(
        name="compressed-size",
        summary="bytes of all files of the artifact, each compressed on its own",
        source="zlib level 9, bz2 or lzma of the standard library",
        run="cbuild_metrics.cost.size:compressed_size",
        params=Compressed,
        unit="B",
        direction="lower",
        role="cost",
    )
    yield ArtifactMetric(
        name="macs",
        priority=_PRIORITY["macs"],
        summary="multiply-accumulates of one sample",
        source="counted from the shapes of a real run: convolutions, matrix products, recurrences, attention",
        run="cbuild_metrics.cost.macs:macs",
        params=Shapes,
        of="model",
        census=True,
        direction="lower",
        role="cost",
        stack=_NUMPY,
    )
    yield ArtifactMetric(
        name="quantized-share",
        summary="share of the weights in fewer than 16 bits, and of the multiply-accumulates in integers",
        run="cbuild_metrics.cost.precision:quantized_share",
        params=Shapes,
        of="model",
        census=True,
        direction="higher",
        stack=_NUMPY,
    )
    yield ArtifactMetric(
        name="layers",
        summary="weight tensors; the report shows the size, zeros and spread of each",
        run="cbuild_metrics.cost.layers:layers",
        of="model",
        census=True,
        role="detail",
        unasked=True,
        stack=_NUMPY,
    )
    yield ArtifactMetric(
        name="parameters",
        summary="trained numbers",
        run="cbuild_metrics.cost.parameters:parameters",
        of="model",
        census=True,
        direction="lower",
        role="cost",
        stack=_NUMPY,
    )
    for name, summary in (
        ("nonzeros", "trained parameters that are not zero"),
        ("distinct", "largest number of distinct values in one trained tensor"),
    ):
        yield ArtifactMetric(
            name=name,
            summary=summary,
            run=f"cbuild_metrics.cost.parameters:{name}",
            of="model",
            census=True,
            direction="lower",
            role="cost",
            stack=_NUMPY,
        )


def _running() -> Iterator[Metric]:
    yield RunMetric(
        name="latency",
        priority=_PRIORITY["latency"],
        summary="time of a run, with its ratio to the baseline",
        source="interleaved blocks in several sessions, Student's interval over sessions (Kalibera and Jones 2013)",
        run="cbuild_metrics.speed.latency:latency",
        params=Latency,
        unit="ms",
        direction="lower",
        role="cost",
        stack=_NUMPY,
    )
    for name, function, params, unit, direction, summary in (
        ("throughput", "throughput", Throughput, "/s", "higher", "highest samples per second, over batch sizes"),
        (
            "load-time",
            "load_time",
            Load,
            "ms",
            "lower",
            "median time to load the model from its files until it can run",
        ),
        ("peak-memory", "peak_memory", Memory, "B", "lower", "rise of resident memory while loading and running"),
    ):
        yield RunMetric(
            name=name,
            summary=summary,
            run=f"cbuild_metrics.speed.running:{function}",
            params=params,
            unit=unit,
            direction=direction,
            role="cost",
            stack=_NUMPY,
        )
    yield RunMetric(
        name="roofline",
        summary="share of this machine's measured arithmetic or bandwidth, whichever limits the run, that it reaches",
        source="Williams, Waterman and Patterson 2009",
        run="cbuild_metrics.speed.roofline:roofline",
        params=Roofline,
        census=True,
        role="detail",
        stack=_NUMPY,
    )
