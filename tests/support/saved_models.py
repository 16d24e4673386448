"""Tiny models of transformers with weights as they are initialised, saved as their library saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film"]


def text_model(kind: str, folder: Path, *, tokenizer: bool = True, seed: int = 0, **options: Any) -> Any:
    """``BertForSequenceClassification``, say, with a tokenizer beside it."""
    torch.manual_seed(seed)
    family = "DistilBert" if kind.startswith("DistilBert") else "Bert"
    sizes = (
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
        if family == "DistilBert"
        else {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    )
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(WORDS), max_position_embeddings=64, initializer_range=0.5, **sizes
    )
    model = getattr(transformers, kind)(config).eval()
    model.save_pretrained(folder, **options)
    if tokenizer:
        made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        names = ["input_ids", "attention_mask"] + ([] if family == "DistilBert" else ["token_type_ids"])
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", model_input_names=names
        ).save_pretrained(folder)
    return model


def vision_model(folder: Path) -> Any:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    size = {"height": 16, "width": 16}
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_resize": True, "size": size}))
    return model


def edited(path: Path, **changes: Any) -> None:
    """Change a JSON file; None takes a key away."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in content.items() if changes.get(name, 0) is not None}))
