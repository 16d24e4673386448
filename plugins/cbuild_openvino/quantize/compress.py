"""Weight compression by NNCF: 8- or 4-bit weights and a multiplication that restores them, in OpenVINO IR."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from compressbuild.api import Context, UserError

from ..artifact import Interface, write
from ..runtime import nncf
from .checking import compared
from .params import OpenVinoCompress
from .subject import Samples, by_nncf, ignored, open_float

__all__ = ["compress"]

_CAUSES = (
    "too few bits for some layers: 'mode: int8-asym', a smaller 'group-size:', 'scale-estimation: true' with 'data:', "
    "or 'exclude:' of the layers that suffer most"
)
_BITS = {"i8": 8, "u8": 8, "i4": 4, "u4": 4}


def compress(ctx: Context, artifact: Path, params: OpenVinoCompress) -> dict[str, Any]:
    """Compress; returns how many weights (not layers) have 4 and 8 bits now, and how many nodes were left alone."""
    four = params.mode.startswith("int4")
    if params.data is None and (params.scale_estimation or params.awq):
        raise UserError("'scale-estimation:' and 'awq:' need data", hint="name a dataset in 'data:'")
    if not four and (params.data or params.scale_estimation or params.awq or params.all_layers or params.ratio != 1):
        raise UserError(
            f"'mode: {params.mode}' rounds every weight of every layer: 'ratio', 'all-layers', 'data', "
            "'scale-estimation' and 'awq' are for 4 bits"
        )
    model = open_float(ctx, artifact)
    interface = Interface.of(model)
    before = _compressed(model)
    library = nncf()
    scope, excluded = ignored(model, params.exclude, params.exclude_types)
    options: dict[str, Any] = {}
    if four:
        advanced = library.AdvancedCompressionParameters(
            group_size_fallback_mode=library.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=16
        )
        options = {
            "ratio": params.ratio,
            "group_size": params.group_size or -1,
            "all_layers": params.all_layers,
            "awq": params.awq,
            "scale_estimation": params.scale_estimation,
            "advanced_parameters": advanced,
        }
    samples = None
    if params.data is not None:
        samples = Samples(ctx, model, params.data, limit=params.samples, batch_size=1)
        options |= {"dataset": library.Dataset(samples), "subset_size": len(samples)}
    mode = library.CompressWeightsMode(params.mode.replace("-", "_"))
    with by_nncf("compress the weights"):
        made = library.compress_weights(model, mode=mode, ignored_scope=scope, **options)
    now = _compressed(made) - before
    if not now:
        raise UserError("no weight could be compressed", hint="are they compressed already? See 'exclude:'")
    interface.note(made)
    write(made, ctx.out)
    facts = {"weights_8_bit": now[8], "weights_4_bit": now[4], "excluded": excluded}
    return {**facts, **compared(ctx, artifact, samples, what="openvino.compress", causes=_CAUSES)}


def _compressed(model: Any) -> Counter[int]:
    """How many numbers are stored in 4 and 8 bits, zero points left out."""
    found: Counter[int] = Counter()
    for node in model.get_ops():
        bits = _BITS.get(node.get_element_type().get_type_name()) if node.get_type_name() == "Constant" else None
        if bits and "zero_point" not in node.get_friendly_name():
            found[bits] += math.prod(node.get_output_shape(0))
    return found
