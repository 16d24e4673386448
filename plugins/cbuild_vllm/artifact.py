"""The kind ``vllm-model``: a Hugging Face directory with float or packed weights, as ``vllm serve`` takes it."""

from __future__ import annotations

from pathlib import Path

from cbuild_llm.model.checkpoint import Checkpoint, read_checkpoint, read_quantized, validate_quantized
from cbuild_llm.model.checkpoint import validate as validate_float

__all__ = ["is_packed", "read", "validate"]


def is_packed(directory: Path) -> bool:
    """Whether its linear layers are integers. False also for what is no model."""
    import json

    try:
        said = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and "quantization_config" in said


def read(directory: Path, shown: str) -> Checkpoint:
    """UserError unless all of the model is there."""
    return (read_quantized if is_packed(directory) else read_checkpoint)(directory, shown)


def validate(directory: Path) -> None:
    """ValueError unless the directory is a ``vllm-model``."""
    (validate_quantized if is_packed(directory) else validate_float)(directory)
