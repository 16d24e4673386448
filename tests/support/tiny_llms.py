"""Tiny causal language models of transformers, with a byte-level BPE tokenizer made of the text that they read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCABULARY = 320
TEXT = Path(torch.nn.functional.__file__).read_text(encoding="utf-8")  # English and code, on every machine
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": VOCABULARY}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"


@cache
def _trained() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([TEXT[:50_000]], trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return made


def tokenizer() -> Any:
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_trained(), bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    made.chat_template = TEMPLATE
    return made


def language_model(folder: Path, family: str = "Llama", *, layers: int = 4, seed: int = 0, **options: Any) -> Any:
    """``LlamaForCausalLM``, say, with weights large enough that every layer counts. ``options``: of the configuration;
    ``max_shard_size`` and ``dtype`` are of the files."""
    torch.manual_seed(seed)
    saving = {name: options.pop(name) for name in ("max_shard_size",) if name in options}
    dtype = options.pop("dtype", torch.float32)
    heads = {} if family == "GPT2" else {"num_key_value_heads": 2}
    sizes: dict[str, Any] = {**SIZES, **heads, "num_hidden_layers": layers, "max_position_embeddings": 256}
    if family == "GPT2":
        names = {"hidden_size": "n_embd", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}
        sizes = {names.get(name, name): value for name, value in sizes.items() if name != "intermediate_size"}
        sizes["n_positions"] = sizes.pop("max_position_embeddings")
    if family.startswith("Gemma"):
        sizes["head_dim"] = 8
    config = getattr(transformers, f"{family}Config")(**{**sizes, **SPECIAL, "initializer_range": 0.15, **options})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    model.save_pretrained(folder, **saving)
    tokenizer().save_pretrained(folder)
    return model
