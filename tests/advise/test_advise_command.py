"""``cbuild advise`` on real builds: planted faults are named and fixed, and sound builds get no advice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from command import Inline
from quick import Quick

TOY = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a:
    from: f
    steps:
      - toy.mix: {salt: 1}   # a comment that stays
      - toy.copy: {note: n}
  b: {from: a, steps: [{toy.mix: {salt: 3}}]}
"""


@pytest.fixture
def work(tmp_path: Path) -> Quick:
    made = Quick(tmp_path / "p", toy=True)
    made.write("f.txt", "abc")
    made.write("Compressfile", TOY)
    return made


def test_without_results_the_parameters_are_read(work: Quick) -> None:
    assert work("advise").out.splitlines() == [
        "nothing to advise on 2 targets",
        "without results, so only their parameters were read: a, b",
    ]


def test_a_step_that_changed_nothing_is_named_and_removed(work: Quick) -> None:
    work("all")
    ran = work("advise")
    assert "Compressfile:9: a: toy.copy changed nothing" in ran.out
    assert "-      - toy.copy: {note: n}" in ran.out
    assert ran.out.endswith("1 item of advice on 2 targets; '--apply' makes 1 change\n")
    assert (work.root / "Compressfile").read_text() == TOY, "it only says so"
    assert work("advise", "--apply").out.endswith("1 item of advice on 2 targets; 1 change made\n")
    assert (work.root / "Compressfile").read_text() == TOY.replace("      - toy.copy: {note: n}\n", "")
    work("all")
    assert work("advise").out == "nothing to advise on 2 targets\n"


def test_what_is_saved_meanwhile_is_not_overwritten(work: Quick) -> None:
    from compressbuild.advise import patched

    saved = TOY + "# mine\n"

    def slow(*words: Any) -> Any:
        found = patched(*words)
        work.write("Compressfile", saved)
        return found

    work("all")
    with mock.patch("compressbuild.advise.patched", slow):
        assert "was changed while this command ran" in work("advise", "--apply", code=2).err
    assert (work.root / "Compressfile").read_text() == saved


def test_the_patch_is_one_that_patch_would_apply(work: Quick) -> None:
    work("all")
    (row,) = json.loads(work("advise", "a", "--json").out)["advice"]
    assert row["patch"].startswith("--- a/Compressfile\n+++ b/Compressfile\n@@ ")
    assert (row["check"], row["target"], row["where"]) == ("changed-nothing", "a", "Compressfile:9:9")
    assert row["applied"] is False
    assert row["evidence"]
    assert row["reference"]


def test_what_a_change_would_break_is_not_offered(work: Quick) -> None:
    """Without its only step the list would be empty."""
    work.edit("Compressfile", "      - toy.mix: {salt: 1}   # a comment that stays\n", "")
    work("all")
    ran = work("advise", "--apply")
    assert "toy.copy changed nothing" in ran.out
    assert ran.out.endswith("0 changes made\n")


def test_bad_usage(work: Quick) -> None:
    assert "did you mean" in work("advise", "aa", code=2).err
    assert "leave one of them out" in work("advise", "--apply", "--set", "targets.a.steps=[]", code=2).err


ONNX = """\
version: 1
models: {net: {file: model.onnx}}
datasets:
  data: {npz: data.npz, labels: label, split: {calibration: 0.5}}
platforms:
  cpu: {backend: onnxruntime, threads: 1}   # one core
evaluate: {data: data, metrics: [top1, size], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  int8:
    from: net
    steps:
      - quantize.static: {data: data.calibration}   # its ranges
    platform: cpu
    gates: {top1: {max-drop: 0.05, against: fp32}}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Inline:
    import numpy as np
    from ridge import digits as samples
    from ridge import write_onnx

    made = Inline(tmp_path_factory.mktemp("digits") / "p")
    images, labels = samples()
    write_onnx(made.root / "model.onnx", images, labels)
    np.savez(made.root / "data.npz", image=images, label=labels)
    made.write("Compressfile", ONNX)
    made("all")
    return made


def test_a_sound_build_is_left_alone(digits: Inline) -> None:
    digits.write("Compressfile", ONNX)
    assert digits("advise").out == "nothing to advise on 2 targets\n"


def test_extreme_inputs_that_nobody_tried_are_named_and_apply_tries_them(digits: Inline) -> None:
    digits.write("Compressfile", ONNX)
    (row,) = json.loads(digits("advise", "--measure", "--apply", "--json").out)["advice"]
    assert (row["check"], row["where"], row["applied"]) == ("untested-edge-cases", "Compressfile:7:40", True)
    assert row["evidence"] == ["measured: size, top1"]
    assert (digits.root / "Compressfile").read_text() == ONNX.replace("[top1, size]", "[top1, size, edge-cases]")
    assert digits("advise", "--measure").out == "nothing to advise on 2 targets\n"
    digits.write("Compressfile", ONNX)


def test_poor_calibration_is_named_and_mended(digits: Inline) -> None:
    """Both faults stand in one step, and both changes are made."""
    digits.write("Compressfile", ONNX.replace("{data: data.calibration}", "{data: data, samples: 4}"))
    digits("int8", code=None)
    ran = digits("advise", "int8")
    assert "[few-samples]" in ran.out
    assert "evidence: samples 4, 4 used" in ran.out
    assert "[judged-on-its-own-data]" in ran.out
    digits("advise", "int8", "--apply")
    text = (digits.root / "Compressfile").read_text()
    assert "{data: data.calibration, samples: 512}   # its ranges" in text
    assert digits("advise", "int8").out.startswith("nothing to advise on 1 target\n")
    digits.write("Compressfile", ONNX)


ALIKE = """\
version: 1
models: {net: {file: model.onnx}}
datasets:
  data: {npz: data.npz, labels: label}
  blank: {npz: blank.npz, labels: label}
  zeros: {npz: zeros.npz, labels: label}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {data: data, metrics: [top1, size], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  blank:
    from: net
    steps: [quantize.static: {data: blank}]
    platform: cpu
  one-class:
    from: net
    steps: [quantize.static: {data: zeros}]
    platform: cpu
  idle:
    from: net
    steps: [optimize.onnx]
    platform: cpu
"""


def with_samples_alike(digits: Inline, place: Path) -> tuple[Inline, int]:
    """A copy with two more datasets: one image 200 times, and the images of one class; how many those are."""
    import numpy as np

    work = digits.copy(place)
    with np.load(digits.root / "data.npz") as given:
        images, labels = given["image"], given["label"]
    np.savez(work.root / "blank.npz", image=np.repeat(images[:1], 200, 0), label=labels[:200])
    np.savez(work.root / "zeros.npz", image=images[labels == 0], label=labels[labels == 0])
    return work, int((labels == 0).sum())


def test_samples_that_are_alike_and_a_step_without_a_difference(digits: Inline, tmp_path: Path) -> None:
    work, count = with_samples_alike(digits, tmp_path / "copy")
    work.write("Compressfile", ALIKE)
    work("all")
    said = {row["target"]: row for row in json.loads(work("advise", "--json").out)["advice"]}
    assert {target: row["check"] for target, row in said.items()} == {
        "blank": "samples-alike",
        "one-class": "samples-alike",
        "idle": "no-difference",
    }
    assert said["blank"]["evidence"] == ["every sample of 'blank' that was used is the same; samples 200"]
    assert said["one-class"]["evidence"] == [f"1 class among the samples of 'zeros' that were used; samples {count}"]
    assert json.loads(work("advise", "idle", "--apply", "--json").out)["advice"][0]["applied"]
    assert (work.root / "Compressfile").read_text() == ALIKE.replace("[optimize.onnx]", "[]")
    work("idle")
    assert work("advise", "idle").out == "nothing to advise on 1 target\n"


POOR_SAMPLES = """\
version: 1
models: {net: {file: model.onnx}}
datasets:
  data: {npz: data.npz, labels: label, split: {calibration: 0.5}}
  blank: {npz: blank.npz, labels: label}
  zeros: {npz: zeros.npz, labels: label}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {data: data, metrics: [top1, size], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  blank: {from: net, steps: [quantize.static: {data: blank}], platform: cpu}   # one sample
  one-class: {from: net, steps: [quantize.static: {data: zeros}], platform: cpu}
"""


def test_samples_that_are_alike_are_replaced_by_others(digits: Inline, tmp_path: Path) -> None:
    work, _ = with_samples_alike(digits, tmp_path / "copy")
    work.write("Compressfile", POOR_SAMPLES)
    work("all")
    rows = json.loads(work("advise", "--apply", "--json").out)["advice"]
    assert [(row["check"], row["where"], row["applied"]) for row in rows] == [
        ("samples-alike", "Compressfile:11:30", True),
        ("samples-alike", "Compressfile:12:34", True),
    ]
    changed = POOR_SAMPLES.replace("{data: blank}", "{data: data.calibration}").replace(
        "{data: zeros}", "{data: data.calibration}"
    )
    assert (work.root / "Compressfile").read_text() == changed
    work("all")
    assert work("advise").out == "nothing to advise on 3 targets\n"


UNSUITED = """\
version: 1
models: {net: {factory: nets:cnn, inputs: {x: {shape: [batch, 1, 8, 8]}}}}
platforms: {cpu: {backend: onnxruntime, threads: 1}, rtx: {like: rtx-ada}}
targets:
  pattern: {from: net, steps: [prune.nm, export.onnx], platform: cpu}
  dynamic: {from: net, steps: [export.onnx, quantize.dynamic: {op-types: [MatMul, Conv]}], platform: cpu}
  engine: {from: net, steps: [prune.nm, export.onnx], platform: rtx}   # it has kernels for the pattern
"""


def test_what_does_not_suit_is_said_before_it_is_built(tmp_path: Path) -> None:
    work = Inline(tmp_path / "p")
    work.write("nets.py", "def cnn():\n    raise AssertionError('nothing is built')\n")
    work.write("Compressfile", UNSUITED)
    rows = json.loads(work("advise", "--json").out)["advice"]
    assert [(row["check"], row["where"]) for row in rows] == [
        ("pattern-without-kernels", "Compressfile:5:32"),
        ("slow-convolutions", "Compressfile:6:45"),
    ]
    assert "has no kernels that skip them" in rows[0]["what"]
    work("advise", "--apply")
    assert "quantize.dynamic: {op-types: [MatMul]}]" in (work.root / "Compressfile").read_text()
    assert "1 item of advice on 3 targets\n" in work("advise").out


TIED = """\
version: 1
models: {two: {file: copied/model.onnx}, one: {file: shared/model.onnx}}
evaluate: {metrics: [parameters]}
targets:
  copied: {from: two}
  shared: {from: one}
"""


def test_a_head_that_is_stored_beside_its_embedding_is_named(tmp_path: Path) -> None:
    from tied_models import tied

    work = Inline(tmp_path / "p")
    tied(work.root / "copied", "copy")
    tied(work.root / "shared", "gemm")
    work.write("Compressfile", TIED)
    work("all")
    (row,) = json.loads(work("advise", "--json").out)["advice"]
    assert (row["check"], row["target"], row["where"]) == ("stored-twice", "copied", "Compressfile:5:3")
    assert row["evidence"][0] == "embedding (Gather 300×48) = turned (MatMul 48×300)"
    assert "1 change made" in work("advise", "--apply").out
    assert "  copied: {from: two, steps: [optimize.onnx]}\n" in (work.root / "Compressfile").read_text()
    before = (work.root / "build/copied/model.onnx").stat().st_size
    work("all")
    assert (work.root / "build/copied/model.onnx").stat().st_size < before - 0.9 * 300 * 48 * 4
    assert work("advise").out == "nothing to advise on 2 targets\n"


EMBEDDINGS = """\
version: 1
models: {net: {file: model.onnx}}
evaluate: {metrics: [quantized-share]}
targets:
  weights: {from: net, steps: [quantize.weights: {bits: 8}]}
  dynamic:
    from: net
    steps:
      - quantize.dynamic: {weights: uint8}   # no data
  small: {from: net, steps: [quantize.weights: {bits: 8}], gates: {size: {max: 1MB}}, evaluate: {metrics: [size]}}
"""


def warned(work: Inline, target: str) -> str:
    """What the last build warns of."""
    published = json.loads((work.root / "build" / target / "metrics.json").read_text())
    return "; ".join(warning["message"] for warning in published["warnings"])


def test_embeddings_left_in_float_are_named_and_apply_quantizes_them(tmp_path: Path) -> None:
    from lookup_models import encoder

    work = Inline(tmp_path / "p")
    (encoder(tmp_path / "made") / "model.onnx").rename(work.root / "model.onnx")
    work.write("Compressfile", EMBEDDINGS)
    before = work.json("all").targets
    assert before["weights"].metrics["quantized-share"] < 0.1
    assert "the largest in float is 'words'" in warned(work, "dynamic")
    said = {row["target"]: row for row in json.loads(work("advise", "--apply", "--json").out)["advice"]}
    assert {target: row["check"] for target, row in said.items()} == dict.fromkeys(
        ("weights", "dynamic"), "not-quantized"
    )
    assert [said[name]["where"] for name in ("weights", "dynamic")] == ["Compressfile:5:32", "Compressfile:9:9"]
    assert all("words (Gather 400×40)" in row["what"] and row["applied"] for row in said.values())
    text = (work.root / "Compressfile").read_text()
    assert "weights: {from: net, steps: [quantize.weights: {bits: 8, op-types: [MatMul, Gemm, Gather]}]}" in text
    assert "  # no data\n      - quantize.weights: {bits: 8, op-types: [Gather]}\n" in text
    after = work.json("all").targets
    assert all(after[name].metrics["quantized-share"] > 0.95 for name in said)
    assert warned(work, "dynamic") == "", "the step behind it quantizes them"
    assert work("advise").out == "nothing to advise on 3 targets\n"


WEIGHTS = """\
version: 1
models: {net: {file: cnn.onnx}}
evaluate: {metrics: [quantized-share]}
targets:
  most: {from: net, steps: [quantize.weights: {bits: 8, op-types: [Conv, Gemm]}]}
  some: {from: net, steps: [quantize.weights: {bits: 8, op-types: [Gemm]}]}
"""


def test_what_was_left_in_float_is_named(tmp_path: Path) -> None:
    import onnx
    import onnx_models

    work = Inline(tmp_path / "p")
    onnx.save(onnx_models.cnn(), work.root / "cnn.onnx")
    work.write("Compressfile", WEIGHTS)
    made = work.json("all").targets
    assert made["most"].metrics["quantized-share"] == 1
    (row,) = json.loads(work("advise", "--json").out)["advice"]
    assert (row["check"], row["target"]) == ("not-quantized", "some")
    assert row["evidence"][0] == f"{made['some'].metrics['quantized-share']:.0%} of the weights are quantized"
    assert "block0.conv1.w (Conv 16×16×3×3)" in row["what"]
    assert "1 change made" in work("advise", "--apply").out
    assert "some: {from: net, steps: [quantize.weights: {bits: 8, op-types: [Gemm, Conv]}]}" in (
        (work.root / "Compressfile").read_text()
    )
    assert work.json("all").targets["some"].metrics["quantized-share"] == 1
    assert work("advise").out == "nothing to advise on 2 targets\n"


def test_changes_that_do_not_go_together_or_do_not_resolve(digits: Inline) -> None:
    from compressbuild.advise import patched
    from compressbuild.api.advice import Advice, Edit
    from compressbuild.project import Project

    def advice(edit: Edit) -> Advice:
        return Advice(check="c", target="int8", what="w", evidence=(), mark=edit.mark, reference="r", edit=edit)

    digits.write("Compressfile", ONNX)
    with digits.world():
        project = Project(digits.root / "Compressfile")
        mark = project.spec.targets["int8"].steps[0].mark
        edits = [
            Edit("set", mark, "nonsense", "1"),
            Edit("set", mark, "samples", "300"),
            Edit("set", mark, "samples", "400"),
            Edit("replace", mark, text="optimize.onnx"),
            Edit("set", mark, "method", "entropy"),
        ]
        found = patched(project, map(advice, edits))
        project.close()
    assert found.made == (False, True, False, False, True)
    assert [bool(diff) for diff in found.diffs] == [False, True, True, True, True], "an unknown parameter is no change"
    assert found.text == ONNX.replace("data.calibration}", "data.calibration, samples: 300, method: entropy}")


def test_the_threads_of_a_small_container(digits: Inline, tmp_path: Path) -> None:
    from compressbuild.advise import advise, gather, patched
    from compressbuild.project import Project

    digits.write("Compressfile", ONNX.replace("threads: 1", "threads: 4"))
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("200000 100000\n")
    with digits.world():
        project = Project(digits.root / "Compressfile")
        (found,) = advise(gather(project, ["fp32", "int8"], root=tmp_path), project.registry.checks).advice
        assert found.evidence == ("threads 4, cgroup quota 2 CPUs",)
        text = patched(project, [found]).text
        project.close()
    assert text is not None
    assert "cpu: {backend: onnxruntime, threads: 2}   # one core" in text
    with mock.patch("compressbuild.advise.gather.quota", return_value=2.0):
        (row,) = json.loads(digits("advise", "--apply", "--json").out)["advice"]
        assert (row["check"], row["where"], row["applied"]) == ("more-threads-than-cpus", "Compressfile:6:3", True)
        assert (digits.root / "Compressfile").read_text() == text
        assert digits("advise").out.startswith("nothing to advise on 2 targets\n")
    digits.write("Compressfile", ONNX)


@pytest.mark.parametrize(("isa", "said"), [(["avx2"], ["saturation"]), (["avx2", "avx512_vnni"], [])])
def test_full_range_weights_saturate_without_vnni(digits: Inline, isa: list[str], said: list[str]) -> None:
    from compressbuild.advise import advise, gather, patched
    from compressbuild.platforms import Facts
    from compressbuild.project import Project

    full = ONNX.replace("{data: data.calibration}", "{data: data.calibration, reduce-range: false}")
    digits.write("Compressfile", full)
    with digits.world():
        project = Project(digits.root / "Compressfile")
        project.facts = Facts.fixed({"cpu.arch": "x86_64", "cpu.isa": isa, "os": "Linux", "cpu.count": 2})
        found = advise(gather(project, ["int8"]), project.registry.checks).advice
        text = patched(project, found).text
        project.close()
    assert [each.check for each in found] == said
    if said:
        assert text == full.replace("reduce-range: false", "reduce-range: true")
    digits.write("Compressfile", ONNX)


def test_saturation_is_named_for_the_processor_that_the_platform_asks_for(digits: Inline) -> None:
    text = ONNX.replace("threads: 1}", "threads: 1, requires: {cpu.isa: avx2}}")
    full = text.replace("{data: data.calibration}", "{data: data.calibration, reduce-range: false}")
    digits.write("Compressfile", full)
    (row,) = json.loads(digits("advise", "--json").out)["advice"]
    assert (row["check"], row["target"], row["where"]) == ("saturation", "int8", "Compressfile:13:9")
    assert "1 change made" in digits("advise", "--apply").out
    assert (digits.root / "Compressfile").read_text() == full.replace("reduce-range: false", "reduce-range: true")
    assert digits("advise").out.startswith("nothing to advise on 2 targets\n")
    digits.write("Compressfile", full.replace("cpu.isa: avx2", "cpu.isa: [avx512_vnni, avx_vnni]"))
    assert digits("advise").out.startswith("nothing to advise on 2 targets\n")
    digits.write("Compressfile", ONNX)


STEPS = """\
version: 1
models: {net: {file: model.onnx}}
datasets: {data: {npz: data.npz, labels: label}, blank: {npz: blank.npz, labels: label}}
platforms: {cpu: {backend: onnxruntime, threads: 1}}
evaluate: {data: data, metrics: [top1, size], baseline: fp32}
targets:
  fp32: {from: net, platform: cpu}
  worse:
    from: net
    steps:
      - optimize.onnx
      - quantize.static: {data: blank}
    platform: cpu
"""


def test_each_step_is_measured_when_it_is_asked_for(digits: Inline, tmp_path: Path) -> None:
    """The second step lost it all, and no target stands between."""
    import numpy as np

    from compressbuild.advise import gather
    from compressbuild.advise.between import between_steps
    from compressbuild.advise.own import which_step
    from compressbuild.project import Project

    work = digits.copy(tmp_path / "copy")
    with np.load(digits.root / "data.npz") as given:
        np.savez(work.root / "blank.npz", image=np.zeros_like(given["image"][:200]), label=given["label"][:200])
    work.write("Compressfile", STEPS)
    work("all")

    def known() -> Any:
        with work.world():
            project = Project(work.root / "Compressfile")
            ((seen,), failed) = between_steps(project, gather(project, ["worse"]), build=False)
            project.close()
        assert not failed
        return seen

    before = known()
    assert before.too_much
    assert [each.target for each in before.siblings] == ["fp32"]
    built = work("list").out
    work("advise", "--measure", code=None)  # the optimiser renames activations, so the layers cannot be compared
    assert work("list").out == built, "nothing is published"
    seen = known()
    points = {each.target: each for each in seen.siblings}
    top1 = json.loads((work.root / "build/fp32/metrics.json").read_text())["metrics"]["top1"]["value"]
    assert points["'worse before its steps'"].nodes == ()
    assert points["'worse before its steps'"].value == pytest.approx(top1, abs=0.005)
    assert points["'worse after optimize.onnx'"].nodes == (seen.steps[0].node,)
    (advice,) = which_step(seen, [])
    assert advice.mark.line == 12
    assert "quantize.static lost most of the accuracy, between 'worse after optimize.onnx' and worse" in advice.what
    assert "optimize.onnx and quantize.static lost most" in next(which_step(before, [])).what, (
        "it cannot tell them apart"
    )


def test_answers_far_from_those_of_the_baseline_are_a_loss(digits: Inline, tmp_path: Path) -> None:
    """``cosine`` is not measured of the baseline itself: there it would be 1."""
    import numpy as np

    work = digits.copy(tmp_path / "copy")
    with np.load(digits.root / "data.npz") as given:
        np.savez(work.root / "blank.npz", image=given["image"][:200] / 50, label=given["label"][:200])
    text = STEPS.replace("top1, size", "cosine, size").replace("      - optimize.onnx\n", "")
    work.write("Compressfile", text + "    gates: {cosine: {min: 0.98}}\n")
    work("all", code=3)
    (row,) = json.loads(work("advise", "--json").out)["advice"]
    assert (row["check"], row["target"], row["where"]) == ("which-step", "worse", "Compressfile:11:9")
    assert row["evidence"][0] == "cosine 1 in fp32"
    work.edit("Compressfile", "{data: blank}", "{data: data}")
    work("all")
    assert [each["check"] for each in json.loads(work("advise", "--json").out)["advice"]] == ["judged-on-its-own-data"]


def test_what_was_measured_is_what_is_judged(digits: Inline) -> None:
    from compressbuild.advise import gather
    from compressbuild.project import Project

    digits.write("Compressfile", ONNX.replace("{max-drop: 0.05, against: fp32}", "{min: 1}"))
    with digits.world():
        project = Project(digits.root / "Compressfile")
        (seen,) = gather(project, ["int8"])
        project.close()
    published = json.loads((digits.root / "build/int8/metrics.json").read_text())
    assert seen.value == published["metrics"]["top1"]["value"]
    base = json.loads((digits.root / "build/fp32/metrics.json").read_text())
    assert seen.same_model
    assert seen.best == ("fp32", base["metrics"]["top1"]["value"])
    assert seen.allowed == 0, "the gate is missed"
    digits.write("Compressfile", ONNX)
