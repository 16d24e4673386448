"""Weight compression by NNCF: 8- or 4-bit weights and a multiplication that restores them, in OpenVINO IR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressbuild.api import Context, UserError

from ..artifact import interface, note, write
from ..runtime import nncf
from .checking import compared, made_up, stored
from .params import OpenVinoCompress
from .subject import Samples, by_nncf, ignored, open_float

__all__ = ["compress"]

_CAUSES = (
    "too few bits for some layers: a smaller 'group-size:' or 'ratio:', 'scale-estimation:' or 'awq:' with 'data:', "
    "'mode: int8-asym', or 'exclude:' of the layers that suffer most"
)


def compress(ctx: Context, artifact: Path, params: OpenVinoCompress) -> dict[str, Any]:
    """Compress; returns how many weights (not layers) have 4 and 8 bits now, how many nodes were left alone, and the
    noise."""
    four = params.mode.startswith("int4")
    if params.data is None and (params.scale_estimation or params.awq):
        raise UserError("'scale-estimation:' and 'awq:' need data", hint="name a dataset in 'data:'")
    if not four and (params.data or params.scale_estimation or params.awq or params.all_layers or params.ratio != 1):
        raise UserError(
            f"'mode: {params.mode}' rounds every weight of every layer: 'ratio', 'all-layers', 'data', "
            "'scale-estimation' and 'awq' are for 4 bits"
        )
    model = open_float(ctx, artifact)
    declared = interface(model)
    before = stored(model)
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
    if params.data is not None:
        samples = Samples(ctx, model, params.data, limit=params.samples, batch_size=1)
        options |= {"dataset": library.Dataset(samples), "subset_size": len(samples)}
    mode = library.CompressWeightsMode(params.mode.replace("-", "_"))
    with by_nncf("compress the weights"):
        made = library.compress_weights(model, mode=mode, ignored_scope=scope, **options)
    now = stored(made) - before
    if not now:
        raise UserError(
            "no weight could be compressed", hint="they may be compressed already, or 'exclude:' names them all"
        )
    source = open_float(ctx, artifact)  # NNCF changed the other one
    causes = _CAUSES if params.data is not None else f"the inputs are made up, real ones need 'data:'; then: {_CAUSES}"
    note(made, {item.name: item.shape for item in declared.inputs}, declared.outputs)
    write(made, ctx.out)
    given = samples if params.data is not None else made_up(ctx, source)
    facts = compared(ctx, artifact, source, given, what="openvino.compress", causes=causes)
    return {"weights_8_bit": now[8], "weights_4_bit": now[4], "excluded": excluded, **facts}
