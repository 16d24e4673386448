"""The source ``huggingface``: models that save_pretrained wrote become torch-models that compute the same."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from cbuild_huggingface.params import HuggingFace
from cbuild_torch.model.public import ModelDescription, load

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, make_context, run_node

pytest.importorskip("transformers", reason="the models are those of transformers")

from saved_models import edited, text_model, vision_model

FACTORY = "cbuild_huggingface.model.factory:build"
IDS = np.array([[4, 6, 0], [5, 5, 6]])
MASK = np.array([[1, 1, 0], [1, 1, 1]])


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., NodeRun]:
    def read(**keys: Any) -> NodeRun:
        params = msgspec.convert({"huggingface": "model", **keys}, HuggingFace)
        return run_node("cbuild_huggingface.source:read", None, params, tmp_path / "out", root=tmp_path)

    return read


def outputs(out: Path, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    """What the artifact computes, loaded as any consumer loads it: by its factory, without the directory."""
    ctx = make_context(out.parent / "loaded", run="x:y", params={}, factories=(FACTORY,))
    runner = load(ctx, out)
    assert [item.name for item in runner.inputs] == list(feeds)
    return runner(feeds)


@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
def test_an_encoder(tmp_path: Path, read: Callable[..., NodeRun], shards: bool) -> None:
    folder = tmp_path / "model"
    model = text_model("BertForSequenceClassification", folder, **({"max_shard_size": "4kB"} if shards else {}))
    assert (folder / "model.safetensors.index.json").exists() is shards
    made = read()
    assert made.facts["class"] == "BertForSequenceClassification"
    types = np.zeros_like(IDS)
    with torch.no_grad():
        expected = model(torch.tensor(IDS), torch.tensor(MASK), torch.tensor(types)).logits.numpy()
    for path in folder.iterdir():
        path.unlink()
    found = outputs(made.out, input_ids=IDS, attention_mask=MASK, token_type_ids=types)
    np.testing.assert_array_equal(found["logits"], expected)
    inputs = ModelDescription.read(made.out).inputs
    assert {(item.shape, item.dtype) for item in inputs} == {(("batch", "sequence"), "int64")}


def test_a_tokenizer_that_makes_no_types(tmp_path: Path, read: Callable[..., NodeRun]) -> None:
    model = text_model("DistilBertForMaskedLM", tmp_path / "model")
    with torch.no_grad():
        expected = model(torch.tensor(IDS), torch.tensor(MASK)).logits.numpy()
    found = outputs(read().out, input_ids=IDS, attention_mask=MASK)
    np.testing.assert_array_equal(found["logits"], expected)


def test_another_task_of_the_same_weights(tmp_path: Path, read: Callable[..., NodeRun]) -> None:
    """The head is left out, and so is the pooling layer that the weights do not have."""
    model = text_model("BertForMaskedLM", tmp_path / "model")
    made = read(task="feature-extraction")
    assert made.facts["class"] == "BertModel"
    types = np.zeros_like(IDS)
    with torch.no_grad():
        expected = model.bert(torch.tensor(IDS), torch.tensor(MASK), torch.tensor(types)).last_hidden_state.numpy()
    found = outputs(made.out, input_ids=IDS, attention_mask=MASK, token_type_ids=types)
    np.testing.assert_array_equal(found["last_hidden_state"], expected)


@pytest.mark.parametrize("mode", ["mean_tokens", "cls_token"])
def test_a_model_of_sentence_transformers(tmp_path: Path, read: Callable[..., NodeRun], mode: str) -> None:
    folder = tmp_path / "model"
    model = text_model("BertModel", folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False, f"pooling_mode_{mode}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    types = np.zeros_like(IDS)
    with torch.no_grad():
        states = model(torch.tensor(IDS), torch.tensor(MASK), torch.tensor(types)).last_hidden_state.numpy()
    whole = (states * MASK[..., None]).sum(1) / MASK.sum(1, keepdims=True) if mode == "mean_tokens" else states[:, 0]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    found = outputs(read().out, input_ids=IDS, attention_mask=MASK, token_type_ids=types)
    np.testing.assert_allclose(found["sentence_embedding"], expected, rtol=1e-5, atol=1e-6)
    made = run_node(
        "cbuild_huggingface.companions:gather", None, HuggingFace(huggingface="model"), tmp_path / "c", root=tmp_path
    )
    names = {path.relative_to(made.out).as_posix() for path in made.out.rglob("*") if path.is_file()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json"} <= names
    assert not any("safetensors" in name for name in names)


def test_images(tmp_path: Path, read: Callable[..., NodeRun]) -> None:
    model = vision_model(tmp_path / "model")
    made = read()
    pixels = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.tensor(pixels)).logits.numpy()
    np.testing.assert_array_equal(outputs(made.out, pixel_values=pixels)["logits"], expected)
    assert ModelDescription.read(made.out).inputs[0].shape == ("batch", 3, 16, 16)


def test_inputs_of_ones_own(tmp_path: Path, read: Callable[..., NodeRun]) -> None:
    text_model("BertModel", tmp_path / "model", tokenizer=False)
    made = read(inputs={"input_ids": {"shape": ["batch", 8]}})
    (item,) = ModelDescription.read(made.out).inputs
    assert (item.name, item.shape, item.dtype) == ("input_ids", ("batch", 8), "int64")


def test_equal_directories_are_equal_bytes(tmp_path: Path, read: Callable[..., NodeRun]) -> None:
    text_model("BertModel", tmp_path / "model")
    first = {path.name: path.read_bytes() for path in read().out.iterdir()}
    edited(tmp_path / "model" / "config.json", transformers_version="4.0.0", _name_or_path="elsewhere")
    params = HuggingFace(huggingface="model")
    again = run_node("cbuild_huggingface.source:read", None, params, tmp_path / "again", root=tmp_path)
    assert {path.name: path.read_bytes() for path in again.out.iterdir()} == first


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def _remote_code(folder: Path) -> None:
    edited(folder / "config.json", auto_map={"AutoModel": "modeling_mine.Mine"})


def _remote_tokenizer(folder: Path) -> None:
    edited(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Tokenizer", None]})


def _no_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "keys", "message", "hint"),
    [
        (_remote_code, {}, "asks for code that comes with the model (modeling_mine.Mine)", "'factory:'"),
        (_remote_tokenizer, {}, "tokenizer_config.json' asks for code", "'factory:'"),
        (_pickled, {}, "weights in 'pytorch_model.bin', a pickle", "save_pretrained"),
        (_no_shard, {}, "lacks the shard 'model-1.safetensors'", "all files"),
        (_cut, {}, "cannot be loaded as a BertForMaskedLM", "config.json"),
        (lambda f: (f / "model.safetensors").unlink(), {}, "has no model.safetensors", "all files"),
        (lambda f: (f / "config.json").unlink(), {}, "has no config.json", "one model"),
        (lambda f: (f / "config.json").write_text("["), {}, "'model/config.json' cannot be read", ""),
        (
            lambda f: edited(f / "config.json", architectures=None),
            {},
            "no 'architectures'",
            "task: text-classification",
        ),
        (lambda f: edited(f / "config.json", architectures=["BertFor"]), {}, "no model class 'BertFor'", "'task:'"),
        (lambda f: edited(f / "config.json", model_type="brt"), {}, "no model type 'brt'", "upgrade"),
        (lambda f: edited(f / "config.json", quantization_config={"quant_method": "gptq"}), {}, "by 'gptq'", "float"),
        (None, {"task": "text-classification"}, "its files lack bert.pooler.dense.bias", "'task:'"),
        (None, {"task": "image-classification"}, "a 'bert' is not made for 'task: image-classification'", "leave it"),
        (None, {"inputs": {"x": {"shape": [1]}}}, "the model takes no input 'x'", "input_ids"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, read: Callable[..., NodeRun], spoil: Any, keys: dict[str, Any], message: str, hint: str
) -> None:
    text_model("BertForMaskedLM", tmp_path / "model")
    if spoil is not None:
        spoil(tmp_path / "model")
    with pytest.raises(UserError) as caught:
        read(**keys)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")
