"""Multiply-accumulates (MACs) of one sample, as the kind of the model counts them.

Only contractions count: convolutions, matrix products, recurrent layers, attention. Element-wise work, normalisation,
pooling and biases do not, as is usual. A quantised operator counts as the operator it stands for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context

from .params import Shapes

__all__ = ["macs"]


def macs(ctx: Context, subject: Path, params: Shapes) -> dict[str, Any]:
    """``{"value": MACs a sample, "by_operator": {…}, "axes": {name: size}}``.

    ``uncounted``, if there: operators of the run that contract something in a way that is not known.
    """
    found = ctx.census("subject").macs(params.axes)
    if found.uncounted:
        ctx.log.warning("not counted: %s", ", ".join(found.uncounted))
    return {
        "value": found.value,
        "by_operator": found.by_operator,
        **({"axes": found.axes} if found.axes else {}),
        **({"uncounted": list(found.uncounted)} if found.uncounted else {}),
    }
