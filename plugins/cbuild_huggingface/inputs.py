"""What a model takes, as its configuration and its tokenizer or image processor say."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from compressbuild.api import ModelInput, UserError

from .model.directory import read_json
from .params import Input

__all__ = ["inputs_of"]

_TEXT = ("input_ids", "attention_mask", "token_type_ids")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


def inputs_of(
    module: nn.Module, config: Mapping[str, Any], folder: Path, shown: str, given: Mapping[str, Input]
) -> tuple[ModelInput, ...]:
    """The declared inputs, or those that follow, in the order of the model's ``forward``."""
    order = list(inspect.signature(module.forward).parameters)
    if given:
        strange = [name for name in given if name not in order]
        if strange:
            raise UserError(f"the model takes no input '{strange[0]}'", hint=f"its forward takes: {', '.join(order)}")
        found = {name: ModelInput(name, tuple(each.shape), each.dtype) for name, each in given.items()}
        return tuple(found[name] for name in order if name in found)
    names = set(_text_inputs(config, folder, shown)) if "input_ids" in order else set()
    found = {name: ModelInput(name, ("batch", "sequence"), "int64") for name in _TEXT if name in names}
    if "pixel_values" in order:
        found["pixel_values"] = ModelInput("pixel_values", ("batch", *_pixels(config, folder, shown)), "float32")
    found |= {name: ModelInput(name, shape, "float32") for name, shape in _sound(config).items() if name in order}
    if found and "decoder_input_ids" in order:  # the whole model, its decoder reading a text that is there
        found["decoder_input_ids"] = ModelInput("decoder_input_ids", ("batch", "decoder_sequence"), "int64")
    if not found:
        raise UserError(
            f"the inputs of '{shown}' cannot be told from its configuration",
            hint=f"name them with 'inputs:'; its forward takes: {', '.join(order[:6])}",
        )
    return tuple(found[name] for name in order if name in found)


def _text_inputs(config: Mapping[str, Any], folder: Path, shown: str) -> list[str]:
    """What the tokenizer makes, as it says itself, or as its class does."""
    from transformers import AutoTokenizer

    said = read_json(folder / _TOKENIZERS[1], shown) if (folder / _TOKENIZERS[1]).is_file() else {}
    names = said.get("model_input_names")
    if not names and any((folder / name).is_file() for name in _TOKENIZERS):
        try:
            names = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            ).model_input_names
        except Exception as error:
            raise UserError(
                f"the tokenizer of '{shown}' cannot be read: {' '.join(str(error).split())[:200]}",
                hint="save it again with save_pretrained, or name the model's inputs with 'inputs:'",
            ) from error
    known = list(names or _TEXT[:2])
    return [name for name in _TEXT if name in known and (name != _TEXT[2] or config.get("type_vocab_size", 0) > 1)]


def _sound(config: Mapping[str, Any]) -> dict[str, tuple[int | str, ...]]:
    """Shapes of sound: frames of a mel spectrogram in the length that the model fixes, or samples."""
    match config:
        case {"num_mel_bins": int(bins), "max_source_positions": int(positions)}:  # Whisper: two frames a position
            return {"input_features": ("batch", bins, 2 * positions)}
        case {"num_mel_bins": int(bins), "max_length": int(frames)}:  # the audio spectrogram transformer
            return {"input_values": ("batch", frames, bins)}
        case {"conv_stride": list(), "conv_kernel": list()}:  # wav2vec 2.0 and its kin
            return {"input_values": ("batch", "samples")}
    return {}


def _pixels(config: Mapping[str, Any], folder: Path, shown: str) -> tuple[int, int, int]:
    """Channels, height and width."""
    vision = config.get("vision_config") if isinstance(config.get("vision_config"), dict) else config
    assert isinstance(vision, Mapping)
    size = vision.get("image_size")
    path = folder / "preprocessor_config.json"
    if path.is_file():
        said = read_json(path, shown)
        size = said.get("crop_size") if said.get("do_center_crop") else said.get("size", size)
    match size:
        case int():
            height = width = size
        case [int(height), int(width)] | {"height": int(height), "width": int(width)}:
            pass
        case {"shortest_edge": int(side)}:
            height = width = side
        case _:
            raise UserError(
                f"the size of the images that '{shown}' takes cannot be told",
                hint="say 'inputs: {pixel_values: {shape: [batch, 3, 224, 224], dtype: float32}}'",
            )
    return int(vision.get("num_channels", 3)), height, width
