from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.compressfile.load import TOP_KEYS, load, loads
from compressbuild.compressfile.nodes import plain
from compressbuild.compressfile.spec import EvaluateSpec, InputSpec, RunOptions, Spec
from compressbuild.errors import CompressfileError, UsageError

FULL = """\
version: 1
vars: {ratio: 0.5}
models:
  net:
    factory: pkg.net:build
    args: {width: 32}
    weights: ./weights//net.safetensors
    inputs:
      image: {shape: [batch, 1, 8, 8], dtype: float32}
      mask: {shape: [batch, 8]}
    files: [net.json]
  ready: {file: ready.onnx, files: [ready.onnx.data], kind: onnx}
datasets:
  train: {loader: pkg.data:train}
  calib: {loader: pkg.data:calib, args: {n: 8}, files: [data/calib.npz]}
platforms:
  cpu: {backend: onnxruntime, threads: 1, requires: {cpu.isa: avx2}}
evaluate: {data: train, metrics: [top1, {latency: {warmup: 5}}], baseline: plain, timeout: 1m}
defaults: {timeout: 1h, memory: 2GiB, threads: 2, seed: 7}
env: [HF_HOME, HF_HOME]
cache: .cache
python-path: [src, .]
preload: [sklearn.datasets]
targets:
  plain: {from: net, evaluate: false}
  small:
    from: plain
    steps:
      - export.onnx
      - quantize.static: {data: calib}
        timeout: 10m
        memory: 4GiB
        threads: 3
        seed: 1
      - convert.fp16:
    platform: cpu
    timeout: 20
    gates:
      top1: {max-drop: 0.01, against: net, inconclusive: allow}
      size: {min: 1, max: 2.5, unmeasured: allow}
    evaluate: {metrics: [size], seed: 3}
groups:
  some: [small]
  more: [some, "pl*"]
"""


@pytest.fixture(scope="module")
def full() -> Spec:
    return loads(FULL, Path("sub/Compressfile"))


def test_models(full: Spec) -> None:
    net, ready = full.models["net"], full.models["ready"]
    assert (net.factory, net.weights, net.file, net.files) == (
        "pkg.net:build",
        "weights/net.safetensors",
        None,
        ("net.json",),
    )
    assert net.args is not None
    assert plain(net.args) == {"width": 32}
    assert net.inputs == (InputSpec("image", ("batch", 1, 8, 8), "float32"), InputSpec("mask", ("batch", 8), "float32"))
    assert (ready.factory, ready.file, ready.kind, ready.files) == (None, "ready.onnx", "onnx", ("ready.onnx.data",))
    assert str(net.marks["weights"]).endswith("Compressfile:7:14")


def test_datasets_and_platforms(full: Spec) -> None:
    assert (full.datasets["train"].loader, full.datasets["calib"].files) == ("pkg.data:train", ("data/calib.npz",))
    cpu = full.platforms["cpu"]
    assert (cpu.backend, plain(cpu.settings)) == ("onnxruntime", {"threads": 1})
    assert cpu.requires is not None
    assert plain(cpu.requires) == {"cpu.isa": "avx2"}


def test_steps(full: Spec) -> None:
    export, quantize, convert = full.targets["small"].steps
    assert (export.technique, export.params, export.options) == ("export.onnx", None, RunOptions())
    assert quantize.params is not None
    assert (quantize.technique, plain(quantize.params)) == ("quantize.static", {"data": "calib"})
    assert quantize.options == RunOptions(600, 4 * 2**30, 3, 1)
    assert (convert.technique, convert.params) == ("convert.fp16", None)
    assert full.targets["small"].options == RunOptions(timeout=20)


def test_gates(full: Spec) -> None:
    top1, size = full.targets["small"].gates
    assert (top1.metric, top1.max_drop, top1.against, top1.inconclusive, top1.unmeasured) == (
        "top1",
        0.01,
        "net",
        "allow",
        "fail",
    )
    assert (size.min, size.max, size.against, size.unmeasured) == (1, 2.5, None, "allow")


def test_evaluate(full: Spec) -> None:
    whole, own, off = full.evaluate, full.targets["small"].evaluate, full.targets["plain"].evaluate
    assert whole is not None
    assert own is not None
    assert off is not None
    assert (whole.data, [use.name for use in whole.metrics], whole.baseline) == ("train", ["top1", "latency"], "plain")
    assert whole.options == RunOptions(timeout=60)
    assert (own.data, [use.name for use in own.metrics], own.baseline) == ("train", ["size"], "plain")
    assert own.options == RunOptions(timeout=60, seed=3)
    assert off == EvaluateSpec(off.mark)


def test_the_rest(full: Spec) -> None:
    assert full.defaults == RunOptions(3600, 2 * 2**30, 2, 7)
    assert (full.env, full.cache, full.python_path) == (("HF_HOME",), ".cache", ("src", "."))
    assert full.preload == ("sklearn.datasets",)
    assert full.groups == {"some": ("small",), "more": ("plain", "small")}
    assert full.root == Path.cwd() / "sub"
    assert full.texts == {"sub/Compressfile": FULL}


def test_the_least_file() -> None:
    spec = loads("version: 1\n", Path("Compressfile"))
    assert (spec.targets, spec.evaluate, spec.cache, spec.python_path, spec.env) == ({}, None, "cache", (".",), ())


def test_empty_sections_are_none() -> None:
    sections = [key for key in TOP_KEYS if key not in ("version", "cache")]
    spec = loads("version: 1\n" + "".join(f"{name}:\n" for name in sections), Path("Compressfile"))
    assert spec.targets == {}


def test_outside(spec: Callable[..., Spec]) -> None:
    loaded = spec(
        "outside: [/data/sets, ../shared]\n",
        head="version: 1\nmodels: {a: {file: /data/sets/x//a.onnx, files: [../shared/b]}}\n",
    )
    assert loaded.outside == ("/data/sets", "../shared")
    assert (loaded.models["a"].file, loaded.models["a"].files) == ("/data/sets/x/a.onnx", ("../shared/b",))


@pytest.mark.parametrize("path", ["..", "../x", "/", "/etc", "a/../../b", "/data/sets/../x", "/data/setsx", "./../x"])
def test_paths_do_not_leave_the_root(refused: Callable[..., list[str]], path: str) -> None:
    text = f"version: 1\noutside: [/data/sets]\nmodels: {{a: {{file: {path}}}}}\n"
    assert refused("", head=text) == [f"'file' leads outside the project: '{path}'"]


def test_a_target_may_gate_against_one_made_from_it(spec: Callable[..., Spec]) -> None:
    """Comparing is not being made from: no cycle."""
    loaded = spec("targets:\n  a: {from: net, gates: {s: {max-ratio: 2, against: b}}}\n  b: {from: a}\n")
    assert loaded.targets["a"].gates[0].against == "b"


def test_names_may_repeat_across_namespaces(spec: Callable[..., Spec]) -> None:
    assert spec("targets:\n  cpu: {from: net, platform: cpu}\n  test: {from: net}\n").targets["cpu"].platform == "cpu"


def test_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "project" / "Compressfile"
    file.parent.mkdir()
    file.write_bytes(b"\xef\xbb\xbfversion: 1\r\n")
    spec = load(file)
    assert (spec.root, spec.text) == (file.parent, "version: 1\r\n")
    file.write_text("version: 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompressfileError) as caught:
        load(file)
    assert str(caught.value.diagnostics[0].mark) == "project/Compressfile:1:10"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        load(tmp_path / "Compressfile")
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path)


def test_garbage_collection_is_as_it_was() -> None:
    assert gc.isenabled()
    with pytest.raises(CompressfileError):
        loads("version: [", Path("Compressfile"))
    assert gc.isenabled()


def test_a_deep_chain_of_targets(spec: Callable[..., Spec]) -> None:
    chain = "".join(f"  t{n}: {{from: t{n - 1}}}\n" for n in range(1, 3000))
    assert len(spec(f"targets:\n  t0: {{from: net}}\n{chain}").targets) == 3000


def test_a_deep_chain_of_groups(spec: Callable[..., Spec]) -> None:
    groups = "".join(f"  g{n}: [g{n + 1}]\n" for n in range(3000))
    assert spec(f"targets: {{a: {{from: net}}}}\ngroups:\n{groups}  g3000: [a]\n").groups["g0"] == ("a",)
