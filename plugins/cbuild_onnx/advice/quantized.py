"""Int8 that this machine does not pay back, or that saturates: of every technique that quantizes, whoever offers it."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api.advice import Advice, Edit, Seen, Step

__all__ = ["int8_not_faster", "saturation", "slow_convolutions", "weights_slower"]

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_WHOLE = 0.9  # of the weights' bytes: less is worth a word
_HALF = 0.5  # below it the processor is not the cause: it has hardly anything to do in integers
_DEAR = 1.5  # times as slow, which is worth a word even where only the size is gated
_NEAR = 0.5  # of a roof: a run that is farther from it waits for something else
_CONVOLUTIONS = "convolutions become slower when they are quantized while running; leave them out, or calibrate"
Cause = tuple[str, tuple[str, ...], Edit | None]


def saturation(seen: Seen) -> Iterator[Advice]:
    """Full 8-bit weights against unsigned activations where the processor adds their products in 16 bits."""
    if not seen.saturates:
        return
    for step in seen.steps:
        params = step.params
        unsigned = params.get("scheme", "u8-affine") == "u8-affine" and params.get("weights", "int8") == "int8"
        if params.get("reduce-range") is not False or not unsigned or params.get("activations") in ("int8", "int16"):
            continue
        yield Advice(
            what=f"{step.technique} multiplies u8 × s8 with 8-bit weights, and the processor of '{seen.platform}' "
            "saturates the sums: use 7 bits",
            evidence=("reduce-range false", "x86-64 without VNNI adds two products in 16 bits: 2 × 255 × 127 > 32767"),
            mark=step.mark,
            edit=Edit("set", step.mark, "reduce-range", "true"),
        )


def int8_not_faster(seen: Seen) -> Iterator[Advice]:
    """Int8 that is no faster than its float baseline, with the first cause that explains it."""
    step = next((step for step in reversed(seen.steps) if step.has("int8")), None)
    if step is None or not seen.not_faster or "int8" in seen.baseline_traits:
        return
    what, evidence, edit = _cause(seen, step)
    yield Advice(
        what=f"int8 is not faster here: {what}",
        evidence=(seen.timed(), *seen.smaller(), *evidence),
        mark=step.mark,
        edit=edit,
    )


def _cause(seen: Seen, step: Step) -> Cause:
    """What to do, the numbers for it, and the change."""
    params = step.params
    if params.get("scheme") == "s8-symmetric" and seen.scheme == "u8-affine":
        what = f"the runtime of '{seen.platform}' fuses u8-affine, and the step says s8-symmetric; leave it at auto"
        return what, ("scheme s8-symmetric, the platform's is u8-affine",), Edit("set", step.mark, "scheme", "auto")
    if str(params.get("activations")) in ("uint16", "int16"):
        what = "activations of 16 bits are no faster than float on CPUs; leave them at auto"
        return what, (f"activations {params['activations']}",), Edit("set", step.mark, "activations", "auto")
    if _convolves_in_every_run(step):
        return _CONVOLUTIONS, *_without_convolutions(step)
    float_left = _left_in_float(step)
    share = step.facts.get("quantized_share")
    if isinstance(share, int | float) and share < _HALF:
        return "most of the model stayed in float; quantize it too, or exclude less", float_left, None
    if seen.on_cpu and seen.arch == "x86_64" and seen.isa and not _VNNI & set(seen.isa):
        what = "this processor has no VNNI, so an int8 product takes several instructions; ship float here, or measure "
        what += "on the hardware that it is for"
        return what, (f"cpu.isa has none of {', '.join(sorted(_VNNI))}", *float_left), None
    if float_left:
        return "part of the model stayed in float; quantize it too, or exclude less", float_left, None
    bound = memory_bound(seen)
    if bound:
        return "the time goes to moving bytes, not to arithmetic; make the model or its batch smaller", bound, None
    what = f"the time is not in what was quantized; see where it goes: cbuild profile {seen.target}"
    found = ", ".join(sorted(_VNNI & set(seen.isa)))
    return what, ((f"cpu.isa has {found}",) if seen.on_cpu and found else ()), None


def slow_convolutions(seen: Seen) -> Iterator[Advice]:
    """Convolutions quantized in every run, before they are measured; then :func:`int8_not_faster` speaks of them."""
    step = next((step for step in seen.steps if _convolves_in_every_run(step)), None)
    if step is None or not seen.on_cpu or (seen.same_model and seen.ratios is not None):
        return
    evidence, edit = _without_convolutions(step)
    yield Advice(what=f"{step.technique}: {_CONVOLUTIONS}", evidence=evidence, mark=step.mark, edit=edit)


def _convolves_in_every_run(step: Step) -> bool:
    return step.has("dynamic") and "Conv" in step.params.get("op-types", ())


def _without_convolutions(step: Step) -> tuple[tuple[str, ...], Edit | None]:
    named = step.params["op-types"]
    kept = [name for name in named if name != "Conv"]
    edit = Edit("set", step.mark, "op-types", f"[{', '.join(kept)}]") if kept else None
    return (f"op-types {', '.join(named)}",), edit


def _left_in_float(step: Step) -> tuple[str, ...]:
    found = []
    if isinstance(share := step.facts.get("quantized_share"), int | float) and share < _WHOLE:
        found.append(f"{share:.0%} of the weights' bytes are quantized")
    if isinstance(kept := step.facts.get("kept_float"), list | dict) and kept:
        found.append(f"{len(kept)} layers kept in float")
    return tuple(found)


def weights_slower(seen: Seen) -> Iterator[Advice]:
    """Weights stored as integers and turned into floats in every run, which takes longer than it saves."""
    step = next((step for step in reversed(seen.steps) if step.has("weights-only")), None)
    if step is None or not seen.slower or seen.baseline_traits & {"int8", "weights-only"}:
        return
    if any(each.has("int8") for each in seen.steps):
        return
    assert seen.ratios is not None
    for_size = "size" in seen.gated and seen.speed not in seen.gated
    if for_size and seen.ratios[0] < _DEAR:
        return  # it is for its size, and that is what the gates ask
    yield Advice(
        what=f"{step.technique} quantizes the weights alone, and each run turns them into floats again: quantize the "
        "activations too, or ship it only where size counts",
        evidence=(seen.timed(), *seen.smaller()),
        mark=step.mark,
    )


def memory_bound(seen: Seen) -> tuple[str, ...]:
    """What the roofline says, if it was measured and bytes limit the run."""
    found = seen.metrics.get("roofline", {})
    reached = found.get("value")
    if found.get("bound") != "memory" or not isinstance(reached, int | float) or reached < _NEAR:
        return ()
    return (f"roofline: {reached:.0%} of the bandwidth is reached",)
