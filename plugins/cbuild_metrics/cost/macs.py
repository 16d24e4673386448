"""Multiply-accumulates (MACs) of one sample, counted from the shapes of a real run.

Only contractions count: convolutions, matrix products, recurrent layers, attention. Element-wise work, normalisation,
pooling and biases do not, as is usual. A quantised operator counts as the operator it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressbuild.api import Context

from ..answers.feeds import Example
from .params import Shapes

__all__ = ["macs", "result"]


def macs(ctx: Context, subject: Path, params: Shapes) -> dict[str, Any]:
    """``{"value": MACs a sample, "by_operator": {…}, "axes": {name: size}}``.

    ``uncounted``, if there: operators of the run that contract something in a way this does not know.
    """
    if ctx.kind("subject") == "torch-model":
        from .macs_torch import count
    else:
        from .macs_onnx import count
    return count(ctx, subject, params.axes)


def result(counted: Mapping[str, int], sample: Example) -> dict[str, Any]:
    """What the metric returns for operator → MACs of a run on ``sample``."""
    return {
        "value": sum(counted.values()) // sample.batch,
        "by_operator": {name: count // sample.batch for name, count in sorted(counted.items())},
        **({"axes": dict(sample.axes)} if sample.axes else {}),
    }
