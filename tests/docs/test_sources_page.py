"""The first page of the sources: an ONNX file and a .npz become int8 on two runtimes, as written, with no Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command import Work
from pages import ROOT
from ridge import digits, write_onnx

PAGE = ROOT / "docs" / "sources.md"


def project(place: Path) -> Work:
    block = re.search(r"```yaml\n# file: Compressfile\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    images, labels = digits()
    write_onnx(place / "model.onnx", images, labels)
    np.savez(place / "data.npz", image=images, label=labels)
    (place / "Compressfile").write_text(block[1])
    return Work(place)


def test_one_runtime(tmp_path: Path) -> None:
    work = project(tmp_path)
    work("int8-ort", "--set", "evaluate.metrics=[top1]")
    assert (tmp_path / "build" / "int8-ort" / "model.onnx").is_file()


@pytest.mark.slow
def test_an_onnx_file_and_a_npz(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    work = project(tmp_path)
    work("all")
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["int8-ort", "int8-vino", "ort-fp32"]
    assert work("all", "--json").started == []
    images, labels = digits()
    np.savez(tmp_path / "data.npz", image=images, label=(labels + 1) % 10)
    again = work("int8-ort", "--json").started
    assert {"int8-ort/quantize.static", "int8-ort/top1"} <= set(again)
    assert not any(node.endswith("/onnxruntime") for node in again), "equal bytes are not compiled again"


@pytest.mark.slow
def test_a_hugging_face_directory(tmp_path: Path) -> None:
    """As written, on a tiny encoder: built, gated, with its tokenizer; then the weights change, then the template."""
    saved_models = pytest.importorskip("saved_models", reason="the model is one of transformers")
    block = re.search(r"```yaml\n# file: encoder/Compressfile\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    saved_models.text_model("BertModel", tmp_path / "encoder")
    rows = "".join(f"{text}\n" for text in ("good film", "bad film", "good good bad", "film") * 10)
    (tmp_path / "texts.csv").write_text(f"text\n{rows}")
    (tmp_path / "Compressfile").write_text(block[1])
    work = Work(tmp_path)
    work("all")
    first = {path.name for path in (tmp_path / "build" / "int8").iterdir()}
    assert {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"} <= first
    saved_models.text_model("BertModel", tmp_path / "encoder", seed=1)
    again = work("all", "--json").started
    assert {"encoder/source", "onnx/export.onnx", "int8/quantize.dynamic", "int8/cosine"} <= set(again)
    (tmp_path / "encoder" / "chat_template.jinja").write_text("{{ messages }}")
    assert "onnx/export.onnx" not in work("all", "--json").started
    assert (tmp_path / "build" / "int8" / "chat_template.jinja").read_text() == "{{ messages }}"
    work("verify", "int8")
