"""Each command: exit status and what it says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
from command import Work

NODES = {
    "f/source", "first/toy.mix", "second/toy.copy", "third-1/toy.mix", "third-2/toy.mix",
    *(f"{target}/{metric}" for target in ("first", "second", "third-1", "third-2") for metric in ("length", "wait")),
}  # fmt: skip


def rows(text: str) -> list[dict]:
    return [msgspec.json.decode(line) for line in text.splitlines()]


# -- build -----------------------------------------------------------------------------------------------------------


def test_dry_run(built: Work):
    before = built.published()
    ran = built("all", "-n", "--set", "vars.salt=2")
    assert ran.out.splitlines()[0] == "run      first/toy.mix  (parameter salt: 1 → 2)"
    assert "may run  second/toy.copy  (depends on first/toy.mix)" in ran.out
    assert built.published() == before
    assert built("all", "-n").out.startswith("13 cached")
    verbose = built("all", "-n", "-v").out
    assert verbose.startswith("cached   f/source")


def test_dry_run_as_json(built: Work):
    found = rows(built("all", "-n", "--json", "--set", "vars.salt=2").out)
    *nodes, last = found
    assert {node["node"] for node in nodes} == NODES
    assert last["targets"] == ["first", "second", "third-1", "third-2"]
    assert last["counts"]["run"] == 1
    by_name = {node["node"]: node for node in nodes}
    change = {"part": "parameters", "name": "salt", "old": 1, "new": 2}
    assert by_name["first/toy.mix"]["why"]["changes"] == [change]
    assert by_name["second/toy.copy"]["why"]["depends"] == ["first/toy.mix"]
    assert by_name["f/source"]["status"] == "cached"
    assert re.fullmatch("[0-9a-f]{64}", by_name["f/source"]["output"])


def test_events(toys: Work):
    ran = toys.json("all", "--set", "vars.salt=5")
    tags = [type(event).__name__ for event in ran.events]
    assert (tags[0], tags[-1]) == ("BuildStarted", "BuildFinished")
    assert ran.events[0].nodes == len(NODES)
    assert ran.events[-1].exit_code == 0
    assert ran.err == ""
    finished = [event.node for event in ran.events if type(event).__name__ == "NodeFinished"]
    assert sorted(finished) == sorted(NODES)  # each once
    assert all(event.reason for event in ran.events if type(event).__name__ == "NodeStarted")
    assert ran.targets["second"].metrics == {"length": 1, "wait": 1}


@pytest.mark.parametrize(("option", "salt"), [("--trace", 5), ("--profile", 6)])
def test_trace(toys: Work, option: str, salt: int):
    """``--profile`` is the old name."""
    toys(option, "out/trace.json", "all", "--set", f"vars.salt={salt}")
    trace = msgspec.json.decode((toys.root / "out/trace.json").read_bytes())
    slices = {event["name"] for event in trace["traceEvents"] if event["ph"] in "XB"}
    assert "first/toy.mix" in slices
    assert "error" in toys("all", option, "/proc/nowhere/trace.json", code=2).err


def test_jobs_and_verbose(toys: Work):
    ran = toys("all", "-j", "1", "-v", "--set", "vars.salt=6")
    assert "running   first/toy.mix  (parameter salt: 1 → 6)" in ran.out
    assert "cached    f/source" in ran.out


def test_check_finds_what_is_not_deterministic(toys: Work):
    toys.write("Compressfile", "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n"
               "  r: {from: f, steps: [{toy.copy: {fail: random}}]}\n")  # fmt: skip
    toys("all")
    before = toys.published()
    ran = toys("all", "--check", code=1)
    assert "declared deterministic, but this run produced different bytes: value" in ran.out
    assert "differs" in ran.out
    assert toys.json("all").started == []  # the cache is as it was
    assert toys.published() == before


def test_groups_and_globs(built: Work):
    assert rows(built("both", "-n", "--json").out)[-1]["targets"] == ["third-1", "third-2"]
    assert rows(built("third-*", "first", "-n", "--json").out)[-1]["targets"] == ["first", "third-1", "third-2"]


# -- looking ---------------------------------------------------------------------------------------------------------


def test_why(built: Work):
    ran = built("why", "third-1", "--set", "vars.salt=2")
    assert "run      first/toy.mix\n           parameter salt: 1 → 2\n" in ran.out
    assert "may run  second/toy.copy\n           depends on first/toy.mix\n" in ran.out
    found = {row["node"]: row for row in rows(built("why", "third-1", "--json").out)}
    assert all(row["status"] == "cached" for row in found.values())


def test_why_after_a_lost_result(toys: Work):
    import shutil

    shutil.rmtree(toys.root / "cache")
    out = toys("why", "first").out
    assert "nothing changed, but its result is no longer in the cache" in out
    shutil.rmtree(toys.root / ".cbuild")
    assert "never built here" in toys("why", "first").out


def test_list(built: Work):
    lines = built("list").out.splitlines()
    assert lines[0].split() == ["*", "first", "f", "→", "toy.mix"]
    assert lines[-1] == "* published, - cannot be built on this machine"
    assert "group: third-1, third-2" in lines[-2]
    found = rows(built("list", "--json").out)
    assert [row["target"] for row in found] == ["first", "second", "third-1", "third-2"]
    assert found[1]["gates"] == ["length"]
    assert all(row["published"] for row in found)


def test_show(built: Work):
    out = built("show", "second").out
    assert out.startswith("second: from first\n")
    assert "cached   second/toy.copy" in out
    assert "  length  1 B\n" in out
    assert "  gate length: max 9  pass  got 1, 8 from the limit\n" in out
    found = msgspec.json.decode(built("show", "second", "--json").out)
    assert found["published"]["metrics"]["length"] == {"value": 1}
    assert {node["node"] for node in found["nodes"]} >= {"f/source", "first/toy.mix", "second/toy.copy"}


def test_show_before_the_build(bare: Work, built: Work):
    bare.write("f.txt", "abc")
    bare.write("Compressfile", (built.root / "Compressfile").read_text())
    assert "not published; build it with: cbuild second" in bare("show", "second").out


def test_graph_svg(built: Work, tmp_path: Path):
    built("graph", "--format", "svg", "-o", str(tmp_path / "g.svg"))
    root = ElementTree.fromstring((tmp_path / "g.svg").read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = " ".join(root.itertext())
    for name in ("toy.mix", "toy.copy", "second", "third-2"):
        assert name in text
    assert "<script" not in (tmp_path / "g.svg").read_text()


def test_graph_dot(built: Work):
    out = built("graph", "--format", "dot").out
    assert out.startswith("digraph ")
    assert out.rstrip().endswith("}")
    assert out.count("{") == out.count("}")
    declared = set(re.findall(r"^ *(\w+) \[", out, re.MULTILINE)) - {"node", "edge", "graph"}
    for start, end in re.findall(r"^ *(\w+) -> (\w+)", out, re.MULTILINE):
        assert {start, end} <= declared
    assert out.count("toy.mix") >= 3


def test_graph_mermaid(built: Work):
    out = built("graph").out
    assert out.startswith("flowchart ")
    assert out.count("toy.mix") >= 3
    with_metrics = built("graph", "--metrics").out
    assert with_metrics.count("length") > out.count("length")
    one = built("graph", "first").out
    assert "third-1" not in one


# -- keeping ---------------------------------------------------------------------------------------------------------


def test_verify(toys: Work):
    assert toys("verify").out.endswith("4 checked, 0 bad\n")
    value = toys.root / "build/second/value"
    value.write_text("other")
    (toys.root / "build/first/extra").write_text("")
    (toys.root / "build/third-1/metrics.json").unlink()
    (toys.root / "build/third-2/provenance.json").write_text("{")
    lines = toys("verify", code=1).out.splitlines()
    assert "second: value changed" in lines
    assert "first: extra extra" in lines
    assert "third-1: metrics.json missing" in lines
    assert any(line.startswith("third-2: provenance.json cannot be read") for line in lines)
    assert lines[-1] == "4 checked, 4 bad"
    toys("all")  # puts all of it right
    assert toys("verify").out.endswith("4 checked, 0 bad\n")
    toys.unpublish()
    assert toys("verify").out.endswith("0 checked, 0 bad\n")
    assert "second: not published" in toys("verify", "second", code=1).out


def test_cache_stats(built: Work):
    out = built("cache", "stats").out
    keys = {row["key"] for row in rows(built("all", "-n", "--json").out)[:-1]}
    assert len(keys) < len(NODES)  # first and second are equal, so their lengths are one action
    assert f"{len(keys)} results" in out
    found = msgspec.json.decode(built("cache", "stats", "--json").out)
    assert found["records"] == len(keys)
    assert found["objects"] > 4


def test_cache_verify(toys: Work):
    assert "are sound" in toys("cache", "verify").out
    victim = next(p for p in sorted((toys.root / "cache/cas").rglob("*")) if p.is_file())
    victim.chmod(0o644)
    victim.write_bytes(b"not it")
    assert toys("cache", "verify", "--no-repair", code=1).out
    assert victim.exists()
    toys("cache", "verify", code=1)
    assert not victim.exists()  # in quarantine
    toys("all")
    toys("cache", "verify")


def test_cache_gc(toys: Work):
    before = toys.published()
    toys("all", "--set", "vars.salt=9")
    toys("all")
    assert "would free" in toys("cache", "gc", "--max-age", "1s", "-n").out
    assert "freed" in toys("cache", "gc").out
    assert toys.json("all", "--set", "vars.salt=9").started == []  # nothing that a result needs went
    toys("cache", "gc", "--max-size", "1B")
    toys.unpublish()
    toys("all")
    assert toys.published() == before


def test_cache_without_a_compressfile(bare: Work, built: Work):
    cache = str(built.root / "cache")
    assert "12 results" in bare("cache", "stats", "--cache-dir", cache).out
    assert "there is no cache" in bare("cache", "stats", "--cache-dir", "nowhere", code=2).err


# -- the machine -----------------------------------------------------------------------------------------------------


def test_plugins(bare: Work):
    out = bare("plugins").out
    assert "toy  (toy-plugin 1.0, toy)\n  techniques  toy.copy, toy.mix\n  metrics     length, shares, wait\n" in out
    found = {row["plugin"]: row for row in rows(bare("plugins", "--json").out)}
    assert found["toy"]["problems"] == []
    assert "prune.channels" in found["torch"]["techniques"]
    assert found["tensorrt"]["backends"]["tensorrt"].startswith("cannot compile here: needs ")
    assert found["onnxruntime"]["backends"] == {"onnxruntime": None, "onnxruntime-ort": None}


def test_broken_plugin_costs_only_itself(toys: Work, tmp_path: Path):
    info = tmp_path / "site/broken_thing-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-thing\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[compressbuild]\nbroken = broken_thing\n")
    (info.parent / "broken_thing.py").write_text("import a_module_that_is_not_there\n")
    path = f"{info.parent}:{toys.environment()['PYTHONPATH']}"
    out = toys("plugins", PYTHONPATH=path).out
    assert "broken  (broken-thing 2.5, broken_thing)\n  ! cannot be imported: " in out
    assert "a_module_that_is_not_there" in out
    assert "toy  (toy-plugin 1.0, toy)" in out
    toys("all", "--set", "vars.salt=4", PYTHONPATH=path)
    assert "broken" in toys("doctor", PYTHONPATH=path, code=1).out
    assert toys("--help", PYTHONPATH=path).code == 0


def test_doctor(bare: Work):
    assert re.search(r"^onnxruntime +can compile, can run here$", bare("doctor").out, re.MULTILINE)
    ran = bare("doctor", "-v")
    assert ran.out.startswith("compressbuild 0.1.0, Python 3.")
    assert re.search(r"^onnxruntime +can compile, can run here$", ran.out, re.MULTILINE)
    assert re.search(r"^tensorrt-rtx +can compile, (can|cannot) run here$", ran.out, re.MULTILINE)
    found = msgspec.json.decode(bare("doctor", "--json").out)
    assert found["facts"]["os"] == "Linux"
    assert found["facts"]["cpu.count"] >= 1
    assert found["problems"] == []
    for state in found["backends"].values():
        for what in ("compile", "run"):
            assert state[what]["possible"] == (state[what]["missing"] == [])


def test_schema(bare: Work):
    jsonschema = pytest.importorskip("jsonschema")
    import yaml

    schema = msgspec.json.decode(bare("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    example = Path(__file__).parents[2] / "Compressfile.example"
    assert list(validator.iter_errors(yaml.safe_load(example.read_text()))) == []
    bad = yaml.safe_load(example.read_text())
    bad["targets"]["onnx"]["form"] = bad["targets"]["onnx"].pop("from")
    assert list(validator.iter_errors(bad))
