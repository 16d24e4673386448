"""The kind ``openvino-genai-model``: what OpenVINO GenAI loads.

::

    openvino_model.xml, .bin          one step, whose keys and values are its state
    openvino_tokenizer.xml, .bin      text → ids
    openvino_detokenizer.xml, .bin    ids → text
    config.json, generation_config.json, tokenizer.json, chat_template.jinja, …   as in the ``hf-model``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cbuild_openvino.runtime import openvino

from compressbuild.api import UserError

__all__ = ["DETOKENIZER", "MODEL", "TOKENIZER", "one_line", "read", "validate"]

MODEL, TOKENIZER, DETOKENIZER = "openvino_model", "openvino_tokenizer", "openvino_detokenizer"


def read(directory: Path, name: str) -> Any:
    """A model of the directory. UserError if OpenVINO cannot read it."""
    import openvino_tokenizers

    core = openvino.Core()
    core.add_extension(str(openvino_tokenizers._ext_path))
    try:
        return core.read_model(str(directory / f"{name}.xml"))
    except Exception as error:  # OpenVINO raises RuntimeError for all it refuses, and others for what it trips over
        raise UserError(
            f"OpenVINO cannot read {name}.xml: {one_line(error, directory)}",
            hint="a file is damaged, or was made by a newer version",
        ) from error


def validate(directory: Path) -> None:
    """ValueError unless OpenVINO reads the three models, the first has a state, and all JSON is whole."""
    try:
        model = read(directory, MODEL)
        for name in (TOKENIZER, DETOKENIZER):
            read(directory, name)
    except UserError as error:
        raise ValueError(str(error)) from error
    if not list(model.get_sinks()) or not any("beam_idx" in port.names for port in model.inputs):
        raise ValueError(f"{MODEL}.xml has no state, or no input beam_idx")
    for path in sorted(directory.glob("*.json")):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path.name} is no JSON, or it is cut off") from error


def one_line(error: BaseException, directory: Path) -> str:
    """OpenVINO's message, without the directory and line breaks."""
    return " ".join(str(error).replace(f"{directory}/", "").split())[:400] or type(error).__name__
