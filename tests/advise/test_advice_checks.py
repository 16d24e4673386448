"""Each check of ``cbuild advise``: the planted fault is named, and a sound target is not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from seen_targets import INT8, REGISTRY, SOUND, data, step, with_last, with_params

from compressbuild.advise import advise as asked
from compressbuild.api.advice import Advice, Edit, Mark, Measured, Seen
from compressbuild.api.part import Rows


def advise(targets: Iterable[Seen]) -> tuple[Advice, ...]:
    found, failed = asked(targets, REGISTRY.checks, REGISTRY.owner)
    assert not failed
    return found


def only(seen: Seen) -> Advice:
    (found,) = advise([seen])
    return found


def test_a_sound_target_is_left_alone() -> None:
    assert advise([SOUND]) == ()
    assert advise([Seen(target="unbuilt")]) == ()


def test_int8_that_is_not_faster_without_vnni() -> None:
    found = only(replace(SOUND, isa=("avx2",), ratios=(1.02, 1.0, 1.04)))
    assert found.check == "int8-not-faster"
    assert "no VNNI" in found.what
    assert found.evidence[:2] == ("latency ×1.02 [1.00–1.04] of fp32", "size ×0.30 of fp32")
    assert found.mark.line == 3
    assert found.edit is None


@pytest.mark.parametrize("isa", [("avx2", "avx_vnni"), ("amx_int8",)])
def test_a_processor_with_integer_dot_products_is_not_blamed(isa: tuple[str, ...]) -> None:
    found = only(replace(SOUND, isa=isa, ratios=(1.02, 1.0, 1.04)))
    assert "VNNI" not in found.what
    assert "cbuild profile int8" in found.what


def test_a_runtime_for_other_hardware_does_not_ask_the_processor() -> None:
    assert "VNNI" not in only(replace(SOUND, on_cpu=False, isa=("avx2",), ratios=(1.0, 1.0, 1.1))).what


def test_int8_in_a_scheme_that_the_runtime_does_not_fuse() -> None:
    slow = replace(SOUND, ratios=(2.3, 2.2, 2.4))
    found = only(with_last(slow, with_params(INT8, scheme="s8-symmetric")))
    assert found.edit is not None
    assert (found.edit.kind, found.edit.key, found.edit.text) == ("set", "scheme", "auto")
    assert advise([with_last(SOUND, with_params(INT8, scheme="s8-symmetric"))]) == (), "it is faster all the same"


def test_int8_with_wide_activations_and_layers_left_in_float() -> None:
    slow = replace(SOUND, ratios=(1.0, 0.99, 1.01))
    wide = only(with_last(slow, with_params(INT8, activations="uint16")))
    assert wide.edit is not None
    assert (wide.edit.key, wide.edit.text) == ("activations", "auto")
    partly = only(with_last(slow, replace(INT8, facts={"samples": 512, "quantized_share": 0.71})))
    assert partly.evidence[-1] == "71% of the weights' bytes are quantized"
    assert "stayed in float" in partly.what


def test_an_interval_of_a_busy_machine_shows_nothing() -> None:
    assert advise([replace(SOUND, isa=("avx2",), ratios=(0.77, 0.56, 1.07))]) == (), "as on MiniLM, beside other work"
    assert only(replace(SOUND, isa=("avx2",), ratios=(0.98, 0.93, 1.03))).check == "int8-not-faster"


def test_int8_of_next_to_nothing_does_not_blame_the_processor() -> None:
    idle = with_last(replace(SOUND, isa=("avx2",), ratios=(1.0, 0.99, 1.01)), replace(INT8, facts={"samples": 512}))
    assert "no VNNI" in only(idle).what
    said = advise([with_last(idle, replace(INT8, facts={"samples": 512, "quantized_share": 0.1}))])
    assert {each.check for each in said} == {"not-quantized", "int8-not-faster"}
    assert not [each for each in said if "VNNI" in each.what]


def test_convolutions_left_in_float_by_a_step_that_chooses_ranges_in_every_run() -> None:
    """To add them to its operators is what 'int8-not-faster' would undo."""
    rows = [{"name": "w", "op": "Conv", "shape": [64, 64, 3, 3], "n": 36864, "dtype": "float32", "bytes": 147456}]
    every_run = step("quantize.dynamic", 3, {"quantized_share": 0.02}, op_types=("MatMul", "Gemm"))
    left = replace(with_last(SOUND, every_run), details={"layers": {"layers": rows}})
    found = only(left)
    assert "convolutions need ranges from a calibration" in found.what
    assert found.edit == Edit("replace", every_run.mark, text="quantize.static: {data: calibration}")
    judged = {name: data(name, "m:test") for name in ("calibration", "test")}
    assert only(replace(left, datasets=judged, training=None)).edit is None, "no other rows"
    static = replace(left, steps=(replace(INT8, facts={"samples": 512, "quantized_share": 0.02}),))
    assert "quantize more operators" in only(static).what
    lstm = [{**rows[0], "op": "LSTM", "n": 99999}, *rows]
    assert "quantize more operators" in only(replace(left, details={"layers": {"layers": lstm}})).what


def test_convolutions_quantized_while_running() -> None:
    slow = with_last(replace(SOUND, ratios=(3.0, 2.9, 3.1)), step("quantize.dynamic", 3, op_types=("MatMul", "Conv")))
    found = only(slow)
    assert found.edit is not None
    assert (found.edit.key, found.edit.text) == ("op-types", "[MatMul]")


def test_int8_beside_int8_says_nothing_of_int8() -> None:
    assert advise([replace(SOUND, ratios=(1.0, 0.99, 1.01), baseline_traits=frozenset({"int8"}))]) == ()


def test_a_baseline_that_is_another_model_says_nothing_of_int8() -> None:
    assert advise([replace(SOUND, ratios=(1.0, 0.99, 1.01), same_model=False)]) == ()


def test_zeros_that_dense_kernels_multiply() -> None:
    zeros = replace(
        SOUND, steps=(step("prune.magnitude", 4, sparsity=0.75), step("finetune", 5)), ratios=(1.0, 0.99, 1.0)
    )
    found = only(zeros)
    assert found.check == "zeros-not-faster"
    assert found.edit is not None
    assert (found.edit.text, found.edit.then) == ("prune.channels: {ratio: 0.50}", "")
    alone = only(replace(zeros, steps=zeros.steps[:1]))
    assert alone.edit is not None
    assert alone.edit.then == "finetune: {data: train, epochs: 9}", "channels that go are missed at once"
    assert only(replace(zeros, steps=zeros.steps[:1], recipe="")).edit is None
    assert advise([replace(zeros, ratios=(0.7, 0.68, 0.72))]) == ()
    assert advise([replace(zeros, steps=(*zeros.steps, step("prune.channels", 5)))]) == ()
    assert advise([replace(zeros, gated=frozenset({"compressed-size"}))]) == ()
    assert len(advise([replace(zeros, gated=frozenset({"compressed-size", "latency"}))])) == 1


def test_too_much_at_once() -> None:
    cut = replace(SOUND, steps=(step("prune.magnitude", 4, sparsity=0.9),), value=0.71)
    found = only(cut)
    assert found.check == "too-much-at-once"
    assert found.evidence == ("top1 0.71, 0.975 in fp32: 0.265 lost, 0.01 may be lost",)
    assert found.edit is not None
    assert (found.edit.kind, found.edit.text) == ("replace", "prune.gradual: {data: train, epochs: 9, sparsity: 0.9}")
    channels = only(replace(cut, steps=(step("prune.channels", 4, ratio=0.5),)))
    assert channels.edit is not None
    assert (channels.edit.kind, channels.edit.text) == ("after", "finetune: {data: train, epochs: 9}")
    assert only(replace(cut, recipe="")).edit is None


def test_what_recovers_or_loses_little_is_not_too_much() -> None:
    cut = replace(SOUND, steps=(step("prune.magnitude", 4, sparsity=0.9),), value=0.71)
    assert advise([replace(cut, value=0.97)]) == ()
    assert advise([replace(cut, allowed=None)]) == (), "a gate is met"
    assert advise([replace(cut, allowed=0.3)]) == ()
    assert advise([replace(cut, steps=(*cut.steps, step("distill")))]) == ()
    assert advise([replace(cut, steps=(step("prune.magnitude", sparsity=0.1),))]) == ()


def test_a_metric_where_less_is_better() -> None:
    worse = replace(SOUND, steps=(step("prune.magnitude", sparsity=0.9),), quality="loss", lower_is_better=True)
    assert only(replace(worse, value=2.0, best=("fp32", 1.0))).check == "too-much-at-once"
    assert advise([replace(worse, value=1.0, best=("fp32", 2.0))]) == ()


def test_the_step_that_lost_the_accuracy() -> None:
    own = tuple(each.node for each in SOUND.steps)
    siblings = (
        Measured("small", own[:2], 0.97),
        Measured("small-elsewhere", own[:2], 0.90),
        Measured("other", (77,), 0.2),
        Measured("whole", (), 0.975),
    )
    found = only(replace(SOUND, value=0.80, siblings=siblings))
    assert found.check == "which-step"
    assert found.what.startswith("quantize.static lost most of the accuracy, between small and int8")
    assert found.mark.line == 3
    assert found.evidence == ("top1 0.975 in whole", "top1 0.97 in small", "top1 0.8 in int8")
    earlier = only(replace(SOUND, value=0.80, siblings=(replace_value(siblings[0], 0.81), siblings[3])))
    assert earlier.what.startswith("prune.channels and finetune lost")
    assert advise([replace(SOUND, siblings=siblings)]) == ()
    cut = replace(SOUND, value=0.80, siblings=siblings, steps=(*SOUND.steps[:2], step("prune.layers", 3, ratio=0.5)))
    assert only(cut).check == "too-much-at-once", "that step is named once"
    exported = replace(SOUND, value=0.80, siblings=siblings, steps=(*SOUND.steps[:2], step("export.onnx", 3)))
    assert advise([exported]) == (), "exporting is no step to start at"
    assert advise([replace(SOUND, value=0.80)]) == (), "nothing is measured on the way"


def replace_value(each: Measured, value: float) -> Measured:
    return Measured(each.target, each.nodes, value)


def test_products_that_saturate() -> None:
    found = only(replace(SOUND, saturates=True))
    assert found.check == "saturation"
    assert found.edit is not None
    assert (found.edit.key, found.edit.text) == ("reduce-range", "true")
    assert advise([with_last(replace(SOUND, saturates=True), with_params(INT8, reduce_range=True))]) == ()
    exact = step("quantize.dynamic", 3, weights="uint8", reduce_range=False)
    assert advise([with_last(replace(SOUND, saturates=True), exact)]) == ()
    assert advise([with_last(replace(SOUND, saturates=True), with_params(INT8, scheme="s8-symmetric"))]) == ()


def test_few_samples() -> None:
    found = only(with_last(SOUND, replace(with_params(INT8, samples=8), facts={"samples": 8})))
    assert found.check == "few-samples"
    assert found.edit is not None
    assert found.edit.key == "samples"
    poor = only(with_last(SOUND, replace(INT8, facts={"samples": 40})))
    assert "'calibration' has no more" in poor.what
    assert poor.edit is None
    assert advise([with_last(SOUND, replace(with_params(INT8, samples=100), facts={"samples": 100}))]) == ()


def test_calibrated_on_what_judges_it() -> None:
    found = only(with_last(SOUND, with_params(INT8, data="test")))
    assert found.check == "judged-on-its-own-data"
    assert found.edit is not None
    assert found.edit.text == "calibration"
    twin = {**SOUND.datasets, "calibration": data("calibration", "m:test")}
    again = only(replace(SOUND, datasets=twin))
    assert again.edit is not None
    assert again.edit.text == "train"
    parts = {"calibration": Rows(sizes=(0.2,), part=0), "test": Rows(sizes=(0.2,))}
    split = {name: data(name, "m:all", rows) for name, rows in parts.items()}
    assert advise([replace(SOUND, datasets={**SOUND.datasets, **split})]) == ()
    whole = {**split, "test": data("test", "m:all")}
    assert only(replace(SOUND, datasets={**SOUND.datasets, **whole})).check == "judged-on-its-own-data"


def test_a_step_that_changed_nothing() -> None:
    idle = replace(step("optimize.onnx", 5), output="ab" * 32, before="ab" * 32)
    found = only(replace(SOUND, steps=(idle, *SOUND.steps)))
    assert found.check == "changed-nothing"
    assert found.edit is not None
    assert found.edit.kind == "remove"
    assert advise([replace(SOUND, steps=(replace(idle, output="cd" * 32), *SOUND.steps))]) == ()


@pytest.mark.parametrize(("quota", "text"), [(1.5, "1"), (0.5, "1"), (2.0, None), (None, None)])
def test_more_threads_than_a_container_has(quota: float | None, text: str | None) -> None:
    seen = replace(SOUND, quota=quota)
    if text is None:
        assert advise([seen]) == ()
        return
    found = only(seen)
    assert found.check == "more-threads-than-cpus"
    assert found.mark.line == 9
    assert found.edit is not None
    assert found.edit.text == text


def test_one_thread_is_the_least() -> None:
    assert advise([replace(SOUND, quota=0.5, threads=1)]) == ()


def test_what_was_not_quantized() -> None:
    little = with_last(SOUND, replace(INT8, facts={"samples": 512, "quantized_share": 0.31}))
    assert only(little).evidence == ("31% of the weights are quantized",)
    row = {"name": "words", "op": "Gather", "shape": [300, 64], "n": 19200}
    measured = {"quantized-share": {"value": 0.2, "macs": 0.9, "float": [row]}}
    found = only(replace(SOUND, metrics=measured))
    assert found.check == "not-quantized"
    assert "the largest left in float: words (Gather 300×64)" in found.what
    assert found.evidence[1] == "90% of the multiply-accumulates are in integers"
    assert advise([replace(little, metrics={"quantized-share": {"value": 0.97, "macs": 1.0, "float": []}})]) == ()
    assert advise([replace(SOUND, steps=SOUND.steps[:2], metrics=measured)]) == (), "nothing was to be quantized"
    rows = [{**row, "dtype": dtype, "bytes": size, "name": f"{dtype}{size}"} for dtype, size in
            (("float32", 8), ("int8", 99), ("float16", 50))]  # fmt: skip
    assert (
        "float: float1650 (Gather 300×64), float328 (Gather 300×64)"
        in only(replace(little, details={"layers": {"layers": rows}})).what
    )
    for gate in ("size", "quantized-share"):
        gated = replace(little, gated=frozenset({gate}))
        assert advise([gated]) == (), "the file says how small it must be, and it is"
        assert only(replace(gated, missed=frozenset({gate}))).check == "not-quantized"


def test_weights_that_are_turned_into_floats_in_every_run() -> None:
    slow = with_last(replace(SOUND, ratios=(2.17, 2.1, 2.2)), step("quantize.weights", 3, bits=8))
    found = only(slow)
    assert found.check == "weights-slower"
    assert found.evidence == ("latency ×2.17 [2.10–2.20] of fp32", "size ×0.30 of fp32")
    assert advise([replace(slow, ratios=(1.0, 0.97, 1.04))]) == (), "it may be as fast"
    assert advise([replace(slow, same_model=False)]) == ()
    assert advise([replace(slow, ratios=(1.2, 1.1, 1.3), gated=frozenset({"size"}))]) == (), "it is for its size"
    assert only(replace(slow, gated=frozenset({"size"}))).check == "weights-slower", "twice as slow is worth a word"
    assert only(replace(slow, ratios=(1.2, 1.1, 1.3), gated=frozenset({"size", "latency"}))).target == "int8"


def test_int8_that_waits_for_memory() -> None:
    bound = {"roofline": {"value": 0.8, "bound": "memory"}}
    found = only(replace(SOUND, ratios=(1.02, 1.0, 1.04), metrics=bound))
    assert "moving bytes" in found.what
    assert found.evidence[-1] == "roofline: 80% of the bandwidth is reached"


def test_two_targets_with_the_same_line_are_advised_once() -> None:
    poor = with_last(SOUND, with_params(INT8, data="test"))
    assert [each.target for each in advise([poor, replace(poor, target="again")])] == ["int8"]


def test_zeros_in_a_pattern_for_dense_kernels() -> None:
    zeros = replace(SOUND, steps=(step("prune.nm", 4), step("finetune", 5)), backend="onnxruntime", ratios=None)
    found = only(zeros)
    assert found.check == "pattern-without-kernels"
    assert found.evidence == ("backend onnxruntime, dense kernels only",)
    assert found.mark.line == 4
    slow = replace(zeros, ratios=(1.0, 0.99, 1.01))
    assert only(slow).check == "pattern-without-kernels", "one check speaks of it"
    assert advise([replace(zeros, sparse=True)]) == ()
    assert only(replace(slow, sparse=True)).check == "zeros-not-faster", "it has kernels, and they do not help"
    assert advise([replace(zeros, backend=None)]) == (), "it is not compiled"
    assert advise([replace(zeros, gated=frozenset({"nonzeros"}))]) == (), "it is for the archive"
    assert REGISTRY.backends["tensorrt"].sparse
    assert not REGISTRY.backends["onnxruntime"].sparse


def test_convolutions_are_not_quantized_while_running() -> None:
    unmeasured = replace(with_last(SOUND, step("quantize.dynamic", 3, op_types=("MatMul", "Conv"))), ratios=None)
    found = only(unmeasured)
    assert found.check == "slow-convolutions"
    assert found.edit is not None
    assert (found.edit.key, found.edit.text) == ("op-types", "[MatMul]")
    only_conv = only(with_last(unmeasured, step("quantize.dynamic", 3, op_types=("Conv",))))
    assert only_conv.edit is None, "nothing would be left to quantize"
    assert advise([replace(unmeasured, ratios=(0.6, 0.58, 0.62))]) == (), "it is faster here"
    assert advise([replace(unmeasured, on_cpu=False)]) == ()
    assert advise([with_last(unmeasured, step("quantize.dynamic", 3, op_types=("MatMul",)))]) == ()
    assert advise([with_last(unmeasured, step("quantize.static", 3, op_types=("Conv",)))]) == ()


def test_samples_that_do_not_differ() -> None:
    def calibrated(**found: object) -> Seen:
        return with_last(SOUND, replace(INT8, facts={"samples": 512, "calibration": found}))

    assert advise([calibrated(constant=False, classes=10), calibrated(constant=False)]) == ()
    found = only(calibrated(constant=True, classes=10))
    assert found.check == "samples-alike"
    assert found.evidence == ("every sample of 'calibration' that was used is the same; samples 512",)
    assert "of one class" in only(calibrated(constant=False, classes=1)).what
    assert advise([replace(calibrated(constant=False, classes=1), classes=False)]) == (), "labels are placeholders"
    assert found.edit is not None
    assert (found.edit.key, found.edit.text) == ("data", "train")
    only_judged = {name: data(name) for name in ("calibration", "test")}
    assert only(replace(calibrated(constant=True), datasets=only_judged, training=None)).edit is None
    same_rows = {**SOUND.datasets, "train": data("train", "m:calibration")}
    assert only(replace(calibrated(constant=True), datasets=same_rows)).edit is None, "those are the ones in use"


def unlike(**changes: object) -> Seen:
    """A target with a step that its baseline lacks, and nothing to show for it; and what differs all the same."""
    idle = replace(step("optimize.onnx", 5), output="cd" * 32, before="ab" * 32)
    seen = replace(
        SOUND,
        steps=(step("export.onnx", 4), idle),
        baseline_nodes=frozenset({4}),
        ratios=(1.0, 0.98, 1.02),
        sizes=(1001, 1000),
        metrics={"top1": {"value": 0.97}, "macs": {"value": 100}, "latency": {"value": 3.0, "ratio_low": 0.98}},
        baseline_metrics={"top1": {"value": 0.97}, "macs": {"value": 100}, "latency": {"value": 2.9}},
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def test_a_step_that_made_no_difference() -> None:
    found = only(unlike())
    assert found.check == "no-difference"
    assert found.evidence == (
        "size 1,001 bytes, 1,000 of fp32",
        "latency ×1.00 [0.98–1.02] of fp32",
        "equal in both: top1, macs",
    )
    assert found.mark.line == 5
    assert found.edit is not None
    assert found.edit.kind == "remove"


def test_a_step_that_another_check_speaks_of_is_not_removed_for_making_no_difference() -> None:
    idle = replace(INT8, node=5, output="cd" * 32, before="ab" * 32, facts={"samples": 512, "quantized_share": 0.0})
    seen = replace(unlike(), steps=(step("export.onnx", 4), idle))
    assert {each.check for each in advise([seen])} == {"not-quantized", "int8-not-faster"}


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": (900, 1000)},
        {"sizes": None},
        {"ratios": (0.9, 0.88, 0.92)},
        {"metrics": {"top1": {"value": 0.9701}, "macs": {"value": 100}}},
        {"metrics": {"top1": {"value": 0.97}, "macs": {"value": 90}}},
        {"metrics": {"macs": {"value": 100}}},
        {"same_model": False},
        {"baseline_nodes": frozenset({4, 5})},
        {"steps": (replace(step("finetune", 5), output="cd" * 32, before="ab" * 32),)},
        {"steps": (replace(step("optimize.onnx", 5), before="ab" * 32),)},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_what_differs_in_a_number_is_left_alone(changes: dict[str, object]) -> None:
    assert advise([unlike(**changes)]) == ()


def twice(size: int = 57600, **layers: object) -> Seen:
    def row(name: str, operator: str, shape: list[int], size: int = 57600) -> dict[str, object]:
        return {"name": name, "op": operator, "shape": shape, "bytes": size}

    rows = [
        row("words", "Gather", [300, 48]),
        row("head", "MatMul", [48, 300], size),
        row("middle", "MatMul", [48, 300]),
    ]
    return replace(SOUND, details={"layers": {"layers": rows, **layers}}, mark=Mark("Compressfile", 12, 3))


def test_weights_that_are_stored_twice() -> None:
    found = only(twice(repeated=[["words", "head"]]))
    assert found.check == "stored-twice"
    assert found.evidence == (
        "words (Gather 300×48) = head (MatMul 48×300)",
        "57,600 of 172,800 bytes of weights are copies",
    )
    assert found.mark.line == 12
    assert advise([twice()]) == ()
    assert advise([twice(size=100, repeated=[["words", "head"]])]) == (), "less than 1 % is not worth a word"


def test_extreme_inputs_that_nobody_tried() -> None:
    bare = replace(SOUND, thorough=True, last_metric=Mark("Compressfile", 7, 40))
    found = only(bare)
    assert (found.check, found.mark.line) == ("untested-edge-cases", 7)
    assert found.edit == Edit("after", bare.last_metric, text="edge-cases")
    assert found.evidence == ("measured: latency, top1",)
    assert only(replace(bare, last_metric=None)).edit is None
    for silent in (
        {"gated": frozenset()},
        {"platform": None},
        {"built": False},
        {"steps": SOUND.steps[:2]},
        {"asked": frozenset({"edge-cases"})},
        {"thorough": False},
    ):
        assert advise([replace(bare, **silent)]) == (), silent
