"""The standard backend, as far as it goes without a GPU: the shared path runs with TensorRT-RTX in its place."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cbuild_tensorrt import standard as backend
from cbuild_tensorrt.compile import build
from cbuild_tensorrt.flags import set_flags
from cbuild_tensorrt.library import Library
from cbuild_tensorrt.logs import attach
from cbuild_tensorrt.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_tensorrt.settings import TensorRTSettings

from compressbuild.api import UserError
from compressbuild.api.facts import FACTS
from compressbuild.api.testing import make_context, run_node

COMPILE = "cbuild_tensorrt.standard:compile"


SPEC = importlib.util.find_spec("tensorrt")


@pytest.mark.skipif(SPEC is not None and SPEC.origin is not None, reason="TensorRT is installed here")
@pytest.mark.parametrize("beside", [None, "tensorrt"])
def test_without_tensorrt_it_says_how_to_get_it(
    beside: str | None, artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a directory of that name lies on the path, which Python imports as an empty package."""
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not Path(path, "tensorrt").is_dir()])
    if beside is not None:
        (tmp_path / "path" / beside).mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / "path"))
    with pytest.raises(UserError, match="TensorRT cannot be loaded: ") as caught:
        run_node(COMPILE, artifacts["fp32"], TensorRTSettings(), tmp_path / "out")
    sys.modules.pop("tensorrt", None)
    assert ("is not the library but" if beside else "No module named 'tensorrt'") in str(caught.value)
    assert "pip install 'compressbuild[tensorrt]'" in (caught.value.hint or "")


def test_a_version_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="8.6.1"))
    with pytest.raises(UserError, match=r"TensorRT 8\.6\.1 is too old"):
        backend.library()


@pytest.fixture
def rtx() -> Library:
    module = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    return Library(module, "tensorrt", "TensorRT")


def test_the_shared_path_builds_with_the_standard_settings(
    rtx: Library, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    settings = TensorRTSettings(optimization_level=1, flags=("strict-nans",), workspace=1 << 26)

    def configure(config: Any) -> None:
        backend.configure(rtx.trt, config, settings, b"")
        config.num_compute_capabilities = 1
        config.set_compute_capability(rtx.trt.ComputeCapability.SM89, 0)

    ctx = make_context(tmp_path / "out", facts={"gpu.sm": "sm89"})
    found, _ = build(rtx, ctx, artifacts["s8-symmetric"], settings, configure, gpu={"sm": "sm89"})
    assert found["precision"] == "int8"
    written = json.loads((ctx.out / "engine.json").read_text())
    assert written["gpu"] == {"sm": "sm89"}
    assert written["library"] == "tensorrt"


def test_configure_sets_what_was_asked(rtx: Library) -> None:
    trt = rtx.trt
    asked: list[Any] = []
    recorder = SimpleNamespace(set_flag=asked.append)
    settings = TensorRTSettings(hardware_compatibility="ampere-plus", version_compatible=True)
    backend.configure(trt, recorder, settings, b"")
    assert recorder.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert asked == [trt.BuilderFlag.VERSION_COMPATIBLE]


def test_flags_are_set_and_cleared(rtx: Library) -> None:
    trt = rtx.trt
    config = trt.Builder(attach(trt, logging.getLogger("cbuild"))[0]).create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32)
    set_flags(trt, config, ("no-tf32", "DIRECT_IO"))
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.get_flag(trt.BuilderFlag.DIRECT_IO)


class TimingConfig:
    """The timing-cache half of an IBuilderConfig: takes caches that begin with 'ok'."""

    def create_timing_cache(self, data: bytes) -> bytes | None:
        return None if data == b"unreadable" else data

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        self.cache, self.ignored = cache, ignore_mismatch
        return cache != b"of another GPU"

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.cache + b"+new")


def test_the_timing_cache_is_read_and_kept(tmp_path: Path) -> None:
    config = TimingConfig()
    settings = TensorRTSettings(timing_cache="old.cache", save_timing_cache=True)
    backend.configure(None, config, settings, b"old")
    assert (config.cache, config.ignored) == (b"old", False)
    backend.save_timing_cache(config, tmp_path)
    assert (tmp_path / "timing.cache").read_bytes() == b"old+new"


@pytest.mark.parametrize("data", [b"unreadable", b"of another GPU"])
def test_a_timing_cache_that_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match=r"does not take the timing cache old\.cache"):
        backend.configure(None, TimingConfig(), TensorRTSettings(timing_cache="old.cache"), data)


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'ada'"):
        msgspec.convert({"hardware-compatibility": "ada"}, TensorRTSettings)
    with pytest.raises(msgspec.ValidationError, match="unknown field `compute-capability`"):
        msgspec.convert({"compute-capability": "sm89"}, TensorRTSettings)


def test_records_say_what_each_needs() -> None:
    records = {record.name: record for record in compressbuild_backends()}
    kinds = {kind.name for kind in compressbuild_kinds()}
    rtx, standard = records["tensorrt-rtx"], records["tensorrt"]
    assert {rtx.produces, standard.produces} == kinds
    assert {record.qdq_scheme for record in records.values()} == {"s8-symmetric"}
    assert not rtx.compile_needs.gpu
    assert rtx.compile_facts == ()
    assert rtx.run_needs.gpu
    assert standard.compile_needs.gpu
    assert "tensorrt-rtx" in standard.compile_needs.install
    assert {fact for record in records.values() for fact in (*record.compile_facts, *record.run_facts)} <= set(FACTS)
    assert all(record.nondeterministic for record in records.values())
