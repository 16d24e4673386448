"""An ``hf-model`` as a directory of ONNX Runtime GenAI, by its own model builder."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

from cbuild_llm.model.checkpoint import copy_beside

from compressbuild.api import UserError

from .engine import VERSION
from .settings import GenAiSettings

__all__ = ["build"]


def build(model: Path, out: Path, place: Path, settings: GenAiSettings) -> None:
    """Fill ``out``; ``place``: a directory for what is not kept. The tokenizer's files are those of ``model``, byte for
    byte. UserError for a model that the builder does not know."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # it must not look for anything elsewhere
    from onnxruntime_genai.models import builder

    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)  # it says a line for each node
    options = ["hf_token=false", "hf_remote=false", *_options(settings)]
    where = (str(model), str(model), str(out), settings.precision, "cpu", str(place / "cache"))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            extra = builder.parse_extra_options(*where, options)
            builder.create_model(*where, **extra)
    except NotImplementedError as error:  # the builder's, for an architecture that it does not know
        raise UserError(
            f"the builder of {VERSION} does not know this model",
            hint="take the backend 'openvino-genai', or 'export.onnx' and 'onnxruntime', which run any of transformers",
        ) from error
    # It has no errors of its own: what it does not expect in a configuration ends in one of these.
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError) as error:
        text = " ".join(str(error).replace(f"{model}", "the model").split())[:300] or type(error).__name__
        if isinstance(error, KeyError):
            text = f"it looks for {text}, and finds none"
        odd = settings.method == "k-quant" and "reshape" in text
        rows = "'method: k-quant' takes rows of an even number of groups: try another 'group-size', or 'method: rtn'"
        raise UserError(
            f"the builder of {VERSION} cannot convert this model: {text}", hint=rows if odd else None
        ) from error
    copy_beside(model, out)


def _options(settings: GenAiSettings) -> list[str]:
    if settings.precision == "fp32":
        return []
    return [
        f"algo_config={'k_quant' if settings.method == 'k-quant' else 'default'}",
        f"block_size={settings.group_size}",
        f"accuracy_level={4 if settings.activations == 'int8' else 1}",
        *(["matmul_mixed_precision=last_matmul:int8,mixed_layers:int8"] if settings.mixed else []),
    ]
