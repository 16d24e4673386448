"""Models that nobody named, tiny and with weights by chance: each is right in a runtime, or refused with a reason.

``parity`` of a backend compares logits with transformers, whole and token by token; so a model that builds is right.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
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
    "Granite": ("GraniteConfig", USUAL),
    "Mamba": ("MambaConfig", {**COMMON, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "Qwen3-MoE": (
        "Qwen3MoeConfig",
        {**USUAL, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    ),
}
