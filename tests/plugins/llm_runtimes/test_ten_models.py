"""Models that nobody named, tiny and with weights by chance: each is right in a runtime, or refused with a reason.

``parity`` of a backend compares logits with transformers, whole and token by token; so a model that builds is right.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import run_node

pytestmark = pytest.mark.slow

COMMON = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.06}
USUAL = {**COMMON, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
USUAL |= {"max_position_embeddings": 256, "num_key_value_heads": 2}
OLD = {**COMMON, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Gemma2": ("Gemma2Config", {**USUAL, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 32}),
    "Mistral": ("MistralConfig", {**USUAL, "sliding_window": 32}),
    "Phi3": ("Phi3Config", USUAL),
    "OPT": (
        "OPTConfig",
        {**COMMON, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        | {"max_position_embeddings": 256, "word_embed_proj_dim": 64, "init_std": 0.06},
    ),
    "GPT-2": ("GPT2Config", OLD),
    "GPT-NeoX": ("GPTNeoXConfig", {name: value for name, value in USUAL.items() if name != "num_key_value_heads"}),
    "Falcon": (
        "FalconConfig",
        {**COMMON, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
        | {"new_decoder_architecture": False, "multi_query": True, "parallel_attn": True},
    ),
    "StableLM": ("StableLmConfig", USUAL),
    "Granite": ("GraniteConfig", USUAL),
    "Cohere": ("CohereConfig", USUAL),
    "Mamba": ("MambaConfig", {**COMMON, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "Qwen3-MoE": (
        "Qwen3MoeConfig",
        {**USUAL, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    ),
    "Olmo2": ("Olmo2Config", USUAL),
    "SmolLM3": ("SmolLM3Config", USUAL),
    "Starcoder2": ("Starcoder2Config", USUAL),
    "GLM": ("GlmConfig", {**USUAL, "head_dim": 16}),
    "Bloom": ("BloomConfig", {**COMMON, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "GPT-J": ("GPTJConfig", {**OLD, "rotary_dim": 8}),
}
RIGHT = None
KNOWS_NOT = "does not know (this|the) model"
NO_WINDOW = "gives other logits than transformers for 45 tokens"  # beyond the sliding window of 32
# model, backend → what the reason says, or None where it builds and is right
FOUND: dict[tuple[str, str], str | None] = {
    ("Gemma2", "onnxruntime-genai"): RIGHT,
    ("Gemma2", "openvino-genai"): RIGHT,
    ("Gemma2", "gguf"): "cannot convert this Gemma2ForCausalLM: .*tokenizer.model",
    ("Phi3", "openvino-genai"): RIGHT,
    ("Phi3", "onnxruntime-genai"): "it looks for 'multi_cache', and finds none",
    ("OPT", "openvino-genai"): RIGHT,
    ("OPT", "onnxruntime-genai"): KNOWS_NOT,
    ("OPT", "gguf"): KNOWS_NOT,
    ("GPT-2", "gguf"): RIGHT,
    ("GPT-NeoX", "gguf"): RIGHT,
    ("Falcon", "gguf"): "cannot convert this FalconForCausalLM: shape",
    ("Falcon", "openvino-genai"): RIGHT,
    ("StableLM", "openvino-genai"): RIGHT,
    ("Granite", "openvino-genai"): RIGHT,
    ("Cohere", "openvino-genai"): RIGHT,
    ("Mamba", "openvino-genai"): "keeps something other than keys and values",
    ("Qwen3-MoE", "openvino-genai"): RIGHT,
    ("Olmo2", "gguf"): RIGHT,
    ("Olmo2", "onnxruntime-genai"): KNOWS_NOT,
    ("Olmo2", "openvino-genai"): RIGHT,
    ("SmolLM3", "gguf"): RIGHT,
    ("SmolLM3", "onnxruntime-genai"): RIGHT,
    ("SmolLM3", "openvino-genai"): RIGHT,
    ("Starcoder2", "gguf"): RIGHT,
    ("Starcoder2", "onnxruntime-genai"): KNOWS_NOT,
    ("Starcoder2", "openvino-genai"): RIGHT,
    ("Mistral", "gguf"): NO_WINDOW,
    ("Mistral", "onnxruntime-genai"): NO_WINDOW,
    ("Mistral", "openvino-genai"): RIGHT,
    ("GLM", "gguf"): r"cannot convert this GlmForCausalLM: '<\|endoftext\|>'",
    ("GLM", "onnxruntime-genai"): KNOWS_NOT,
    ("GLM", "openvino-genai"): RIGHT,
    ("Bloom", "gguf"): RIGHT,
    ("Bloom", "onnxruntime-genai"): KNOWS_NOT,
    ("Bloom", "openvino-genai"): RIGHT,
    ("GPT-J", "gguf"): KNOWS_NOT,
    ("GPT-J", "onnxruntime-genai"): KNOWS_NOT,
    ("GPT-J", "openvino-genai"): RIGHT,
}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gguf": ("cbuild_gguf", {"type": "q8_0", "pre-tokenizer": "gpt-2"}),
    "onnxruntime-genai": ("cbuild_genai", {"precision": "int4"}),
    "openvino-genai": ("cbuild_openvino_genai", {"precision": "int4", "symmetric": False}),
}


def write(model: str, place: Path) -> None:
    name, options = MODELS[model]
    torch.manual_seed(0)
    config = getattr(transformers, name)(**options)
    transformers.AutoModelForCausalLM.from_config(config).eval().save_pretrained(place)
    tiny_llms.tokenizer().save_pretrained(place)


@pytest.mark.parametrize(("model", "backend"), FOUND)
def test_it_is_right_or_refused(tmp_path: Path, model: str, backend: str) -> None:
    write(model, tmp_path / "model")
    plugin, settings = SETTINGS[backend]
    record = next(iter(import_module(f"{plugin}.manifest").compressbuild_backends()))
    for module in record.stack.modules:
        pytest.importorskip(module, reason=f"{module} is not installed")

    def made() -> Any:
        typed = msgspec.convert(settings, record.settings)
        return run_node(record.compile, artifact(tmp_path / "model", "hf-model"), typed, tmp_path / "out")

    reason = FOUND[model, backend]
    if reason is None:
        limit = 1e-3 if backend == "gguf" else 1e-4  # llama.cpp looks GELU up in a table of float16
        assert made().facts["parity"]["max_error"] < limit
    else:
        with pytest.raises(UserError, match=reason):
            made()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("Falcon", "auto-round does not quantize 'transformer.h.0.self_attention.query_key_value', a FalconLinear"),
        ("GPT-2", "no linear layer is left to quantize"),
        ("Phi3", None),
        ("Qwen3-MoE", None),
    ],
)
def test_gptq_is_right_or_refused(tmp_path: Path, model: str, reason: str | None) -> None:
    pytest.importorskip("auto_round", reason="the wheel auto-round is not installed")
    from cbuild_llm.quantize.params import QuantizeLlm

    write(model, tmp_path / "model")
    source, run = artifact(tmp_path / "model", "hf-model"), "cbuild_llm.quantize.rounding:quantize"
    if reason is None:
        assert run_node(run, source, QuantizeLlm(format="gptq"), tmp_path / "out").facts["layers"] == 8
    else:
        with pytest.raises(UserError, match=reason):
            run_node(run, source, QuantizeLlm(format="gptq"), tmp_path / "out")


# model, method → layers that are quantized, or what the reason says
METHODS: dict[tuple[str, str], int | str] = {
    ("Olmo2", "gptq"): 14,
    ("Olmo2", "awq"): "read 'model.layers.0.post_attention_layernorm'",
    ("SmolLM3", "gptq"): 14,
    ("SmolLM3", "awq"): 14,
    ("Starcoder2", "gptq"): 12,
    ("Starcoder2", "awq"): 12,
    ("Mistral", "gptq"): 14,
    ("Mistral", "awq"): 14,
    ("GLM", "gptq"): 12,
    ("GLM", "awq"): 12,
    ("Bloom", "gptq"): 8,
    ("Bloom", "awq"): "auto-round cannot quantize a BloomForCausalLM by 'awq': RuntimeError: shape",
    ("GPT-J", "gptq"): 12,
    ("GPT-J", "awq"): "auto-round knows no layers of a GPTJForCausalLM",
}


@pytest.mark.parametrize(("model", "method"), METHODS)
def test_gptq_and_awq_are_right_or_refused(tmp_path: Path, model: str, method: Any) -> None:
    """Right: what was written has the source's logits, but for the noise of 4 bits on weights by chance."""
    pytest.importorskip("auto_round", reason="the wheel auto-round is not installed")
    from cbuild_llm.model.token_ids import TokenIds
    from cbuild_llm.quantize.params import QuantizeLlm

    write(model, tmp_path / "model")
    (tmp_path / "ids").mkdir()
    ids = tiny_llms.tokenizer()(tiny_llms.TEXT[60_000:62_000])["input_ids"][:256]
    TokenIds(np.array(ids, np.int32), 32, 32, 320).write(tmp_path / "ids")
    source, run = artifact(tmp_path / "model", "hf-model"), "cbuild_llm.quantize.rounding:quantize"
    params = QuantizeLlm(method=method, format="gptq", tokens="ids")
    world: dict[str, Any] = {"inputs": {"tokens": artifact(tmp_path / "ids", "token-ids")}}
    world["references"] = {"ids": "tokens"}
    wanted = METHODS[model, method]
    if isinstance(wanted, int):
        facts = run_node(run, source, params, tmp_path / "out", **world).facts
        assert facts["layers"] == wanted
        assert facts["sqnr_db"]["logits"] > 12
    else:
        with pytest.raises(UserError, match=wanted):
            run_node(run, source, params, tmp_path / "out", **world)
