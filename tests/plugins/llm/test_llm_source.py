"""The source ``llm`` and the kind ``hf-model``: files as they are, loaded by transformers, nothing run or unpickled."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.model.checkpoint import validate
from cbuild_llm.model.opening import open_model
from cbuild_llm.model.runner import load
from cbuild_llm.params import Llm
from saved_models import edited, text_model

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, make_context, run_node

IDS = np.array([[4, 6, 9], [5, 5, 6]])


@pytest.fixture
def read(tmp_path: Path) -> Callable[[], NodeRun]:
    return lambda: run_node("cbuild_llm.source:read", None, Llm(llm="model"), tmp_path / "out", root=tmp_path)


@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
def test_every_file_is_kept_as_it_is(tmp_path: Path, read: Callable[[], NodeRun], shards: bool) -> None:
    options = {"max_shard_size": "40kB"} if shards else {}
    model = tiny_llms.language_model(tmp_path / "model", dtype=torch.bfloat16, **options)
    (tmp_path / "model" / "README.md").write_text("of no use")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    made = read()
    assert made.facts["class"] == "LlamaForCausalLM"
    assert made.facts["parameters"] == sum(value.numel() for value in model.parameters())
    assert (made.facts["dtypes"], made.facts["vocabulary"]) == (["BF16"], tiny_llms.VOCABULARY)
    kept = {path.name: path.read_bytes() for path in made.out.iterdir()}
    assert kept == {
        path.name: path.read_bytes()
        for path in (tmp_path / "model").iterdir()
        if path.name not in ("README.md", "pytorch_model.bin")
    }
    assert {"chat_template.jinja", "generation_config.json", "tokenizer.json"} <= kept.keys()
    assert ("model.safetensors.index.json" in kept) is shards
    validate(made.out)
    found = load(make_context(tmp_path / "loaded"), made.out)
    with torch.no_grad():
        expected = model.float()(torch.tensor(IDS)).logits.numpy()
    feeds = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}
    np.testing.assert_array_equal(found(feeds)["logits"], expected)
    opened = open_model(made.out, None, ())
    assert isinstance(opened, transformers.LlamaForCausalLM)


def test_padding_on_the_left_is_not_seen(tmp_path: Path, llama: Path) -> None:
    runner = load(make_context(tmp_path / "loaded"), llama)
    whole = runner({"input_ids": IDS, "attention_mask": np.ones_like(IDS)})["logits"]
    padded = {"input_ids": np.pad(IDS, ((0, 0), (2, 0))), "attention_mask": np.pad(np.ones_like(IDS), ((0, 0), (2, 0)))}
    np.testing.assert_allclose(runner(padded)["logits"][:, 2:], whole, atol=1e-5)


def _remote_code(folder: Path) -> None:
    edited(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _moved(folder: Path) -> None:
    """The index says another shard of one weight."""
    weights = folder / "model.safetensors"
    weights.rename(folder / "model-00001-of-00002.safetensors")
    from safetensors.torch import save_file

    save_file({"extra": torch.zeros(1)}, folder / "model-00002-of-00002.safetensors")
    from safetensors import safe_open

    with safe_open(folder / "model-00001-of-00002.safetensors", "pt") as file:
        names = list(file.keys())
    where = dict.fromkeys(names, "model-00001-of-00002.safetensors") | {"extra": "model-00002-of-00002.safetensors"}
    where["lm_head.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def _integers(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    held["model.embed_tokens.weight"] = held["model.embed_tokens.weight"].to(torch.int8)
    save_file(held, folder / "model.safetensors")


def _layer_gone(folder: Path) -> None:
    edited(folder / "config.json", num_hidden_layers=5)


def _bert(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    text_model("BertForSequenceClassification", folder)
    edited(folder / "config.json", model_type="vit", architectures=["ViTModel"])


@pytest.mark.parametrize(
    ("spoil", "message", "hint"),
    [
        (_remote_code, "asks for code that comes with the model (modeling_mine.Mine)", "'factory:'"),
        (_pickled, "weights in 'pytorch_model.bin', a pickle", "save_pretrained"),
        (_cut, "'model/model.safetensors' is damaged", "again"),
        (_moved, "the weight 'lm_head.weight' lies in 'model-00001-of-00002.safetensors', but", "all files"),
        (_integers, "the weight 'model.embed_tokens.weight' is I8", "float weights"),
        (_layer_gone, "its files lack model.layers.4", "all files"),
        (_bert, "is a 'vit', which is no causal language model", "huggingface"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer", "save_pretrained"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "'model/tokenizer.json' cannot be read", "again"),
        (lambda f: (f / "generation_config.json").write_text("["), "generation_config.json' cannot be read", "again"),
        (lambda f: (f / "config.json").unlink(), "has no config.json", "one model"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, read: Callable[[], NodeRun], spoil: Callable[[Path], Any], message: str, hint: str
) -> None:
    tiny_llms.language_model(tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(UserError) as caught:
        read()
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_file_that_no_part_names_is_no_part_of_the_kind(tmp_path: Path, llama: Path) -> None:
    validate(llama)
    (tmp_path / "copy").mkdir()
    for path in llama.iterdir():
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "copy" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin"):
        validate(tmp_path / "copy")


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"input_ids": IDS + 320, "attention_mask": np.ones_like(IDS)}, "but the model has 320 tokens"),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 4), np.int64)}, "differ in shape"),
        (dict.fromkeys(("input_ids", "attention_mask"), np.ones((1, 300), np.int64)), "more than the model's 256"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, llama: Path, feeds: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(make_context(tmp_path / "loaded"), llama)(feeds)
