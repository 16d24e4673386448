"""Smaller, and yet not faster: int8 that this machine does not pay back, and zeros that dense kernels multiply."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .accuracy import RECOVER
from .view import Advice, Edit, Seen, Step

__all__ = ["int8_not_faster", "zeros_not_faster"]

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_INT8 = ("quantize.static", "quantize.dynamic", "quantize.mixed", "quantize.qat", "openvino.quantize")
_STATIC = "docs/techniques/quantize.static.md"
_UNSTRUCTURED = ("prune.magnitude", "prune.gradual", "prune.movement", "prune.nm")
_STRUCTURED = ("prune.channels", "prune.heads", "prune.layers", "prune.recurrent", "factorize.lowrank")


def int8_not_faster(seen: Seen) -> Iterator[Advice]:
    """Int8 that is no faster than its float baseline, with the first cause that explains it."""
    step = next((step for step in reversed(seen.steps) if step.technique in _INT8), None)
    if step is None or not seen.not_faster or any(name in _INT8 for name in seen.baseline_steps):
        return
    what, evidence, edit = _cause(seen, step)
    yield Advice(
        check="int8-not-faster",
        target=seen.target,
        what=f"int8 is not faster here: {what}",
        evidence=(seen.timed(), *_smaller(seen), *evidence),
        mark=step.mark,
        reference=f"{_STATIC}; Jacob et al., CVPR 2018",
        edit=edit,
    )


def _smaller(seen: Seen) -> tuple[str, ...]:
    if seen.sizes is None or not seen.sizes[1]:
        return ()
    return (f"size ×{seen.sizes[0] / seen.sizes[1]:.2f} of {seen.baseline}",)


def _cause(seen: Seen, step: Step) -> tuple[str, tuple[str, ...], Edit | None]:
    """What to do, the numbers for it, and the change."""
    params = step.params
    if params.get("scheme") == "s8-symmetric" and seen.scheme == "u8-affine":
        what = f"the runtime of '{seen.platform}' fuses u8-affine, and the step says s8-symmetric; leave it at auto"
        return what, ("scheme s8-symmetric, the platform's is u8-affine",), Edit("set", step.mark, "scheme", "auto")
    if str(params.get("activations")) in ("uint16", "int16"):
        what = "activations of 16 bits are no faster than float on CPUs; leave them at auto"
        return what, (f"activations {params['activations']}",), Edit("set", step.mark, "activations", "auto")
    if step.technique == "quantize.dynamic" and "Conv" in params.get("op-types", ()):
        what = "convolutions become slower when they are quantized while running; leave them out, or calibrate"
        kept = [name for name in params["op-types"] if name != "Conv"]
        edit = Edit("set", step.mark, "op-types", f"[{', '.join(kept)}]") if kept else None
        return what, (f"op-types {', '.join(params['op-types'])}",), edit
    float_left = _left_in_float(step)
    if seen.on_cpu and seen.arch == "x86_64" and seen.isa and not _VNNI & set(seen.isa):
        what = "this processor has no VNNI, so an int8 product takes several instructions; ship float here, or measure "
        what += "on the hardware that it is for"
        return what, (f"cpu.isa has none of {', '.join(sorted(_VNNI))}", *float_left), None
    if float_left:
        return "part of the model stayed in float; quantize it too, or exclude less", float_left, None
    what = f"the time is not in what was quantized; see where it goes: cbuild profile {seen.target}"
    found = ", ".join(sorted(_VNNI & set(seen.isa)))
    return what, ((f"cpu.isa has {found}",) if seen.on_cpu and found else ()), None


def _left_in_float(step: Step) -> tuple[str, ...]:
    found = []
    if isinstance(share := step.facts.get("quantized_share"), int | float) and share < 0.9:
        found.append(f"{share:.0%} of the weights' bytes are quantized")
    if isinstance(kept := step.facts.get("kept_float"), list | dict) and kept:
        found.append(f"{len(kept)} layers kept in float")
    return tuple(found)


def zeros_not_faster(seen: Seen) -> Iterator[Advice]:
    """Zeros scattered over dense weights: they save bytes of an archive, and no time."""
    step = next((step for step in seen.steps if step.technique in _UNSTRUCTURED), None)
    if step is None or not seen.not_faster or any(each.technique in _STRUCTURED for each in seen.steps):
        return
    if any(name in _UNSTRUCTURED for name in seen.baseline_steps) or any(s.technique in _INT8 for s in seen.steps):
        return
    if seen.gated & {"compressed-size", "nonzeros"} and seen.speed not in seen.gated:
        return  # the zeros are for the archive, and that is what the gates ask
    sparsity = step.params.get("sparsity")
    edit, evidence = None, [seen.timed()]
    if isinstance(sparsity, int | float):
        evidence.append(f"{step.technique} sparsity {sparsity:g}")
        # As many weights go: a layer loses inputs and outputs, so what is left is the square.
        recovers = any(later.technique in RECOVER for later in seen.steps if later.node > step.node)
        if step.technique == "prune.magnitude" and 0 < sparsity < 1 and (recovers or seen.recipe):
            ratio = 1 - math.sqrt(1 - sparsity)
            then = "" if recovers else f"finetune: {{{seen.recipe}}}"
            edit = Edit("replace", step.mark, text=f"prune.channels: {{ratio: {ratio:.2f}}}", then=then)
    yield Advice(
        check="zeros-not-faster",
        target=seen.target,
        what="smaller only when packed: dense kernels multiply zeros too; remove whole channels, and train after it",
        evidence=tuple(evidence),
        mark=step.mark,
        reference="docs/techniques/prune.channels.md; Li et al., Pruning filters for efficient ConvNets, ICLR 2017",
        edit=edit,
    )
