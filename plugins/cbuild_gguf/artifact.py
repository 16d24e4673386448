"""The kind ``gguf-model``: ``model.gguf``, which holds the weights, the configuration, tokenizer and chat template."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["FILE", "tensor_types", "validate"]

FILE = "model.gguf"


def validate(directory: Path) -> None:
    """ValueError unless the file is whole, and holds a model with a tokenizer."""
    reader = _reader(directory / FILE)
    lacking = [name for name in ("general.architecture", "tokenizer.ggml.tokens") if name not in reader.fields]
    if lacking or not reader.tensors:
        raise ValueError(f"{FILE} has no {lacking[0] if lacking else 'weights'}")


def tensor_types(file: Path) -> tuple[dict[str, int], dict[str, str]]:
    """(type → how many tensors, name → type of the embedding and the head)."""
    tensors = _reader(file).tensors
    counts = Counter(tensor.tensor_type.name for tensor in tensors)
    ends = {
        tensor.name: str(tensor.tensor_type.name)
        for tensor in tensors
        if tensor.name in ("token_embd.weight", "output.weight")
    }
    return dict(sorted(counts.items())), ends


def _reader(file: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except (ValueError, IndexError, KeyError, OverflowError, OSError, MemoryError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{file.name} is no GGUF file, or it is cut off: {text}") from error
