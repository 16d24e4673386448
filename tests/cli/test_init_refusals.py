"""What cbuild init says of what it cannot use; nothing is loaded for it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from command import Inline


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    made = Inline(tmp_path / "project")
    made.write("model.onnx", b"not read")
    made.write("weights.pt", b"")
    made.write("folder/a.txt", "")
    made.write("table.csv", "a,b\n1,2\n")
    made.write("broken.npz", b"PK")
    made.write("hf/config.json", "[]")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(
            "label.npy", b"\x93NUMPY\x01\x00\x3c\x00{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }     \n"
        )
    made.write("labels.npz", archive.getvalue())
    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.onnx",), "there is no 'nowhere.onnx'"),
        (("weights.pt",), "weights alone need a factory"),
        (("folder",), "has no config.json"),
        (("hf",), "'hf/config.json' is not a mapping"),
        (("/",), "lies outside"),
        (("nets:cnn",), "--input image=batch,3,224,224"),
        (("nets:cnn", "--input", "image"), "'image' does not describe an input"),
        (("nets:cnn", "--input", "image=batch,,3"), "leaves a size out"),
        (("nets:cnn", "--input", "x=batch,3", "--weights", "none.safetensors"), "there is no 'none.safetensors'"),
        (("nets:cnn", "--input", "x=batch,3", "--train"), "--train needs labelled data"),
        (("model.onnx", "--input", "x=batch,3"), "says its inputs and weights itself"),
        (("model.onnx", "--train"), "cannot be trained first"),
        (("model.onnx", "--data", "nowhere.npz"), "there is no 'nowhere.npz'"),
        (("model.onnx", "--data", "broken.npz"), "'broken.npz' cannot be read"),
        (("model.onnx", "--data", "labels.npz"), "has no array for an input"),
        (("model.onnx", "--data", "table.csv"), "(columns: a, b)"),
        (("model.onnx", "--data", "folder"), "has no images"),
        (("model.onnx", "--data", "weights.pt"), "is not data that 'cbuild init' knows"),
        (("model.onnx", "--platform", "onnxruntme"), "did you mean 'onnxruntime'?"),
        (("model.onnx", "--goal", "speed"), "'speed' is not one of"),
        (("model.onnx", "-f", "nowhere/Compressfile"), "there is no directory 'nowhere'"),
    ],
)
def test_refused(work: Inline, words: tuple[str, ...], said: str) -> None:
    ran = work("init", *words, code=2)
    assert said in ran.err
    assert not (work.root / "Compressfile").exists()
    assert not (work.root / "cache").exists()


def test_a_file_that_is_there_is_kept(work: Inline) -> None:
    work.write("Compressfile", "mine")
    assert "Compressfile is there already" in work("init", "model.onnx", code=2).err
    assert (work.root / "Compressfile").read_text() == "mine"


def test_without_a_model(tmp_path: Path, work: Inline) -> None:
    assert "there is none in this directory" in Inline(tmp_path / "empty")("init", code=2).err
    assert "several models here: model.onnx, hf" in work("init", code=2).err
