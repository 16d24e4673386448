"""``quantize.llm``: the integers are those of the formula, and transformers loads what they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from safetensors.torch import load_file, save_file

pytest.importorskip("auto_round", reason="the wheel auto-round is not installed")
pytest.importorskip("compressed_tensors", reason="the wheel compressed-tensors is not installed")

from cbuild_llm.model.checkpoint import validate_quantized
from cbuild_llm.model.quantized import load as load_runner
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.quantize import rounding
from cbuild_llm.quantize.params import QuantizeLlm
from quantizing import SIZES, Quantize, quantize, token_ids, unpacked

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, make_context, run_node


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, whose matrices have rows and columns in multiples of 32, as auto-round wants them."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    tiny_llms.language_model(folder, layers=2, **SIZES)
    return folder


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Quantize:
    """Run the technique; equal parameters run once."""
    home = tmp_path_factory.mktemp("quantized")
    made: dict[str, NodeRun] = {}

    def quantized(model: Path = llama, **params: Any) -> NodeRun:
        key = json.dumps([str(model), params], sort_keys=True)
        if key not in made:
            made[key] = quantize(model, home / str(len(list(home.iterdir()))), **params)
        return made[key]

    return quantized


@pytest.mark.parametrize(
    "params",
    [{}, {"bits": 8, "group-size": 16}, {"ignore": ["*.down_proj"]}],
    ids=["4 bits", "8 bits", "some stay"],
)
def test_integers_are_the_nearest_of_their_grid(llama: Path, quantized: Quantize, params: Any) -> None:
    made = quantized(**params)
    bits = params.get("bits", 4)
    before, after = load_file(llama / "model.safetensors"), load_file(made.out / "model.safetensors")
    layers = unpacked(made.out)
    wanted = [
        name.removesuffix(".weight")
        for name in before
        if "_proj" in name and not ("ignore" in params and "down_proj" in name)
    ]
    assert sorted(layers) == sorted(wanted)
    assert made.facts["layers"] == len(wanted)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for layer, (integers, scale) in layers.items():
        weight = before[f"{layer}.weight"].double().numpy()
        nearest = np.clip(np.rint(weight / scale), low, high)
        assert (integers != nearest).mean() < 0.002, f"{layer}: all but ties of float16's scales"
        assert np.abs(integers - nearest).max() <= 1
        size = params.get("group-size", 32)
        groups = np.abs(weight).reshape(-1, size).max(axis=1)
        reach = np.abs(integers * scale).reshape(-1, size).max(axis=1)
        assert (reach > 0.8 * groups).all(), f"{layer}: the grid ends where the weights end"
    for name, value in before.items():
        if name.removesuffix(".weight") not in layers:
            assert torch.equal(value, after[name]), f"{name} stays, bit for bit"
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= set(made.facts["in_float"])
    assert made.facts["bytes"] == (made.out / "model.safetensors").stat().st_size < made.facts["bytes_before"]


def test_transformers_loads_what_the_integers_stand_for(tmp_path: Path, llama: Path, quantized: Quantize) -> None:
    made = quantized()
    reference = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    for layer, (integers, scale) in unpacked(made.out).items():
        with torch.no_grad():
            reference.get_submodule(layer).weight.copy_(torch.from_numpy(integers * scale))
    ids = torch.arange(2, 42)[None]
    with torch.no_grad():
        wanted = reference(input_ids=ids).logits
        stock = transformers.AutoModelForCausalLM.from_pretrained(made.out, local_files_only=True).eval()
        found = stock(input_ids=ids).logits.float()
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-4
    runner = load_runner(make_context(tmp_path / "run"), made.out)
    own = runner({"input_ids": ids.numpy(), "attention_mask": np.ones((1, 40), np.int64)})["logits"]
    np.testing.assert_allclose(own, wanted.numpy(), atol=1e-4 * float(wanted.abs().max()))
    assert float((wanted - 0).abs().max()) > 0
    assert transformers.AutoTokenizer.from_pretrained(made.out).chat_template == tiny_llms.TEMPLATE


def test_tuning_is_nearer_to_the_source_than_rounding(tmp_path: Path, llama: Path, quantized: Quantize) -> None:
    """Judged by the error of the logits on other tokens than it was tuned on, by transformers alone."""
    ids = TokenIds.read(Path(token_ids(tmp_path / "ids", 70_000).path)).ids.astype("int64")
    rows = torch.from_numpy(ids.reshape(8, 32))

    def logits(folder: Path) -> torch.Tensor:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
        with torch.no_grad():
            return model(input_ids=rows).logits.float()

    wanted = logits(llama)
    tuned = quantized(method="auto-round", tokens="ids", iterations=60)
    errors = [float((logits(made.out) - wanted).square().mean()) for made in (quantized(), tuned)]
    assert errors[1] < 0.9 * errors[0]
    assert tuned.facts["method"] == "auto-round"
    assert (tuned.out / "model.safetensors").read_bytes() != (quantized().out / "model.safetensors").read_bytes()


def test_bfloat16_and_a_tied_head_stay_single(tmp_path: Path, quantized: Quantize) -> None:
    tiny_llms.language_model(
        tmp_path / "tied", layers=2, tie_word_embeddings=True, dtype=torch.bfloat16, max_shard_size="90kB", **SIZES
    )
    made = quantized(tmp_path / "tied")
    after = load_file(made.out / "model.safetensors")
    assert "lm_head.weight" not in after
    assert after["model.embed_tokens.weight"].dtype == torch.bfloat16
    assert (made.facts["tied_head"], made.facts["in_float"]) == (True, ["model.embed_tokens.weight"])
    found = transformers.AutoModelForCausalLM.from_pretrained(made.out, local_files_only=True)
    assert found.lm_head.weight.data_ptr() == found.model.embed_tokens.weight.data_ptr()


@pytest.mark.parametrize(
    ("family", "params", "message"),
    [
        ("Llama", {"ignore": ["*.nothing"]}, "nothing"),
        ("Llama", {"ignore": ["*"]}, "no linear layer is left to quantize"),
        ("Llama", {"group-size": 64}, "down_proj' has 96 inputs, no multiple of the group size 64"),
        ("GPT2", {}, "no linear layer is left to quantize in 'transformer.h'"),
    ],
)
def test_what_cannot_be_quantized(tmp_path: Path, quantized: Quantize, family: str, params: Any, message: str) -> None:
    tiny_llms.language_model(tmp_path / "model", family, layers=2, **(SIZES if family == "Llama" else {}))
    with pytest.raises(UserError, match=message):
        quantized(tmp_path / "model", **params)


def test_a_layer_that_auto_round_does_not_pack(tmp_path: Path, quantized: Quantize) -> None:
    tiny_llms.language_model(tmp_path / "model", layers=1)
    with pytest.raises(UserError, match=r"no layer of 16 × 32, such as 'model\.layers\.0\.self_attn\.k_proj'"):
        quantized(tmp_path / "model")
    made = quantized(tmp_path / "model", ignore=["*.k_proj", "*.v_proj"])
    assert made.facts["layers"] == 5


def test_tuning_without_tokens_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="add `tokens: TARGET`"):
        msgspec.convert({"method": "auto-round"}, QuantizeLlm)


def test_a_checkpoint_that_is_another_model_is_refused(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the scales of every layer are written in reverse order of rows."""
    write = rounding.write_quantized

    def reversed_scales(*args: Any) -> list[str]:
        single: list[str] = write(*args)
        file = args[-1] / "model.safetensors"
        tensors = load_file(file)
        save_file({k: v.flip(0).contiguous() * 3 if k.endswith("_scale") else v for k, v in tensors.items()}, file)
        return single

    monkeypatch.setattr(rounding, "write_quantized", reversed_scales)
    with pytest.raises(UserError, match=r"quantize\.llm damaged the model"):
        run_node("cbuild_llm.quantize.rounding:quantize", artifact(llama, "hf-model"), QuantizeLlm(), tmp_path / "out")


def test_what_is_no_quantized_directory(tmp_path: Path, llama: Path, quantized: Quantize) -> None:
    with pytest.raises(ValueError, match="not that of a model in compressed-tensors, GPTQ or AWQ"):
        validate_quantized(llama)
    made = quantized()
    with pytest.raises(UserError, match="is quantized already, by 'compressed-tensors'"):
        quantized(made.out)
