"""What a change re-runs on a real model, and what it does not."""

from __future__ import annotations

import shutil

import msgspec
from calibration import write_calibration
from command import Work

ALL = {
    "net/source", "base/train", "onnx/export.onnx", "onnx/metrics.predict", "onnx/top1", "onnx/size", "onnx/layers",
    "cpu-int8/quantize.static", "cpu-int8/onnxruntime", "cpu-int8/metrics.predict", "cpu-int8/top1", "cpu-int8/size",
    "cpu-int8/layers",
    "rtx-fp16/convert.fp16", "rtx-fp16/tensorrt-rtx", "rtx-fp16/size", "rtx-fp16/layers",
}  # fmt: skip
NONDETERMINISTIC = {"rtx-fp16/tensorrt-rtx"}  # as its backend declares
INT8 = {node for node in ALL if node.startswith("cpu-int8/")}


def test_second_build_runs_nothing(mini_built: Work):
    ran = mini_built("all")
    assert ran.out.endswith(f"4 of 5 targets up to date (nothing to do, {len(ALL)} nodes cached)\n")
    assert "skipped server: needs" in ran.out
    assert ran.err == ""
    ran = mini_built.json("all")
    assert ran.started == []
    assert {t.status for t in ran.targets.values()} == {"up to date", "skipped"}


def test_published_directory_lost(mini: Work):
    before = mini.published()
    mini.unpublish()
    ran = mini.json("rtx-fp16")
    assert ran.started == []
    assert ran.targets["rtx-fp16"].status == "published"
    assert mini.published() == {name: data for name, data in before.items() if name.startswith("rtx-fp16/")}
    mini("all")
    assert mini.published() == before


def test_parameter_of_a_leaf_changed_and_changed_back(mini: Work):
    before = mini.published()
    there = mini.json("all", "--set", "vars.method=percentile")
    assert set(there.started) == INT8
    assert mini.published() != before
    back = mini.json("all")
    assert back.started == []
    assert mini.published() == before


def test_comments_and_formatting_in_code(mini: Work):
    for name in ("net.py", "data.py", "scale.py"):
        text = (mini.root / name).read_text()
        mini.write(name, "# A comment.\n" + text.replace("(", "(\n    ", 1).replace(", ", ",  "))
    mini.edit("scale.py", "# N×64 → N×1×8×8", "# as the network takes them")
    assert mini.json("all").started == []


def test_edit_of_imported_code_stops_where_bytes_are_equal(mini: Work):
    before = mini.published()
    mini.edit("scale.py", "(shaped / 16)", "(shaped * 0.0625)")  # other code, same numbers
    ran = mini.json("all")
    # everything that reads data ran: its code imports the file; nothing else, for the bytes came out equal
    assert set(ran.started) == {
        "base/train", "onnx/metrics.predict", "cpu-int8/quantize.static", "cpu-int8/metrics.predict",
    }  # fmt: skip
    assert mini.published() == before
    why = mini("why", "base", "--set", "models.net.args.width=6").out
    assert "run      net/source" in why


def test_edit_that_changes_bytes(mini: Work):
    before = mini.published()
    mini.edit("scale.py", "(shaped / 16)", "(shaped / 15)")
    assert mini.json("base").started == ["base/train"]  # the untrained network does not see data
    changed = {name for name, data in mini.published().items() if data != before[name]}
    assert changed == {"base/weights.safetensors"}
    plan = mini("-n", "onnx").out
    assert "run      onnx/export.onnx  (input subject: " in plan
    assert "may run  onnx/top1  (depends on onnx/metrics.predict)" in plan


def test_calibration_bytes_changed(mini: Work):
    before = mini.published()
    write_calibration(mini.root / "data/calibration.npz", 15)
    ran = mini.json("all")
    assert {"cpu-int8/quantize.static", "cpu-int8/onnxruntime"} <= set(ran.started) <= INT8
    after = mini.published()
    assert {name for name in after if after[name] != before[name]} == {"cpu-int8/model.onnx"}
    why = mini("why", "cpu-int8", "--set", "vars.method=entropy").out
    assert "parameter method: minmax → entropy" in why


def test_metric_parameter_changed(mini: Work):
    mini.edit("Compressfile", "[top1, size]", "[{top1: {ignore: 3}}, size]")
    before = mini.published()
    ran = mini.json("all")
    assert set(ran.started) == {"onnx/top1", "cpu-int8/top1"}
    assert mini.published() == before


def test_moved_and_copied(mini: Work, tmp_path):
    before = mini.published()
    moved = tmp_path / "elsewhere" / "deep"
    moved.parent.mkdir()
    shutil.move(mini.root, moved)
    work = Work(moved)
    assert work.json("all").started == []
    copied = work.copy(tmp_path / "copied")
    assert copied.json("all").started == []
    shutil.move(copied.root / "cache", tmp_path / "cache elsewhere")
    ran = copied.json("all", "--cache-dir", str(tmp_path / "cache elsewhere"))
    assert ran.started == []
    assert copied.published() == before


def test_incompatible_target(mini: Work):
    named = mini("server", code=4)
    assert "error: target 'server' cannot be built on this machine: it needs the Python package tensorrt" in named.err
    assert "hint:" in named.err
    assert "skipped server: needs" in mini("edge").out  # a group
    assert "skipped server: needs" in mini("ser*", "onnx").out  # a glob
    assert mini("server", "onnx", code=4).out == ""  # nothing was begun
    only = mini("ser*", code=4)
    assert "none of these targets can be built on this machine" in only.err


def test_clean_build_elsewhere_makes_the_same_bytes(mini_built: Work, tmp_path):
    again = mini_built.copy(tmp_path / "a longer name")
    shutil.rmtree(again.root / "cache")
    shutil.rmtree(again.root / ".cbuild")
    again.unpublish()
    ran = again.json("all")
    assert set(ran.started) == ALL
    first, second = mini_built.published(), again.published()
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} <= {"rtx-fp16/model.engine"}
    outputs = [
        {row["node"]: row["output"] for row in map(msgspec.json.decode, work.json("-n", "all").out.splitlines()[:-1])}
        for work in (mini_built, again)
    ]
    assert outputs[0].keys() == ALL
    assert {node for node in ALL if outputs[0][node] != outputs[1][node]} <= NONDETERMINISTIC


def test_check_proves_determinism(mini: Work):
    ran = mini.json("all", "--check")
    assert set(ran.started) == ALL - NONDETERMINISTIC
    assert {t.status for t in ran.targets.values()} == {"checked", "skipped"}


def test_nothing_heavy_in_a_build_of_nothing(mini_built: Work):
    """The engine itself imports no model library, whatever it is asked."""
    mini_built("all")
    for words in (["all"], ["-n", "all"], ["plugins"], ["list"], ["--help"]):
        ran = mini_built(*words, PYTHONPROFILEIMPORTTIME="1")
        imported = {line.rpartition("|")[2].strip() for line in ran.err.splitlines() if line.startswith("import time:")}
        assert "sys" in imported or "site" in imported, "the import log is there"
        heavy = {"torch", "numpy", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "sklearn"}
        assert not heavy & imported, words
        assert "networkx" not in imported, words
        if words == ["all"]:
            assert not {"click", "yaml", "pluggy", "msgspec", "compressbuild.api", "importlib.metadata"} & imported
        if words == ["--help"]:
            assert not {"yaml", "pluggy", "networkx", "compressbuild.project", "asyncio"} & imported
