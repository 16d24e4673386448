"""The kind ``genai-model``: what ONNX Runtime GenAI loads.

::

    genai_config.json               what the model is, and how text is generated
    model.onnx, model.onnx.data     one step, with keys and values as inputs and outputs
    tokenizer.json, chat_template.jinja, config.json, …   as in the ``hf-model``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compressbuild.api import UserError

__all__ = ["CONFIG", "MODEL", "read_config", "validate"]

CONFIG, MODEL = "genai_config.json", "model.onnx"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def read_config(directory: Path) -> dict[str, Any]:
    """``model`` of the configuration. UserError if it cannot be read, or lacks what a run needs."""
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))["model"]
        fits = config["decoder"]["filename"] == MODEL and all(
            isinstance(config[name], int) and config[name] > 0 for name in ("vocab_size", "context_length")
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{CONFIG} is not one of ONNX Runtime GenAI: {type(error).__name__}: {error}") from error
    if not fits:
        raise UserError(f"{CONFIG} does not name {MODEL}, or has no sizes")
    return dict(config)


def validate(directory: Path) -> None:
    """ValueError unless configuration, model, weights and a tokenizer are there and whole."""
    from cbuild_onnx.model import soundness

    try:
        read_config(directory)
        soundness.check(directory / MODEL)
    except UserError as error:
        raise ValueError(str(error)) from error
    for path in sorted(directory.glob("*.json")):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path.name} is no JSON, or it is cut off") from error
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise ValueError(f"it has no tokenizer ({', '.join(_TOKENIZERS)})")
