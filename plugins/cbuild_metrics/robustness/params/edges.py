"""Parameters of a model's answers to extreme inputs."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, DatasetRef, Meta, Params

from ...answers.fields import OutputName

__all__ = ["Case", "Edges", "PredictEdges"]

Case = Literal["zeros", "least", "greatest", "lowest", "highest", "nan", "infinite"]
_Cases = Annotated[
    tuple[Case, ...],
    Meta(
        min_length=1,
        description="inputs to try: `zeros`; `least` and `greatest` number of the data; `lowest` and `highest` of the "
        "type; `nan`; `infinite`",
    ),
]
_ALL_CASES = ("zeros", "least", "greatest", "lowest", "highest", "nan", "infinite")


class PredictEdges(Params):
    """Run a model on extreme inputs."""

    data: Annotated[
        DatasetRef,
        Meta(description="dataset that gives the shapes and the range of values; `evaluate: data` sets it"),
    ]
    cases: _Cases = _ALL_CASES


class Edges(Params):
    """The inputs tried, and what counts as the same answer."""

    cases: _Cases = _ALL_CASES
    tolerance: Annotated[
        Amount, Meta(description="largest difference allowed, as a share of the baseline's largest answer")
    ] = 0.25
    output: OutputName = None
