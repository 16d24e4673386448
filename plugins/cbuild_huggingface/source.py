"""A ``torch-model`` from a Hugging Face directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from cbuild_torch.model.public import ModelDescription, prepare, save_model
from safetensors import SafetensorError
from torch import nn

from compressbuild.api import Context, UserError

from .directory import check_weights, read_config, read_pooling
from .inputs import inputs_of
from .model.factory import Pooled, configured, model_class
from .params import HuggingFace

__all__ = ["read"]

_FACTORY = "cbuild_huggingface.model.factory:build"
# What says where a configuration comes from, and nothing of the model.
_ORIGIN = ("_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version")
_AUTO = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "image-classification": "AutoModelForImageClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "sentence-similarity": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "text-generation": "AutoModelForCausalLM",
    "token-classification": "AutoModelForTokenClassification",
}


def read(ctx: Context, params: HuggingFace) -> dict[str, Any]:
    """Load the weights with the library's own names, and save them with how the model is built again."""
    prepare(ctx)
    folder, shown = ctx.file(params.huggingface), params.huggingface.rstrip("/")
    said = read_config(folder, shown)
    check_weights(folder, shown)
    pooling = _pooling(params, folder, shown)
    config = {name: value for name, value in said.items() if name not in _ORIGIN}
    name = _architecture(params, said, config, shown)
    options = _options(name, pooling is not None or params.task == "feature-extraction", folder, config)
    model = _loaded(name, config, options, folder, shown)
    module = Pooled(model, **pooling) if pooling is not None else model
    args: dict[str, Any] = {"architecture": name, "config": config, "options": options, "pool": pooling}
    inputs = inputs_of(module, config, folder, shown, params.inputs)
    save_model(ctx, module, ModelDescription(_FACTORY, args, inputs, ctx.seed))
    return {"class": name, "parameters": sum(value.numel() for value in module.parameters())}


def _pooling(params: HuggingFace, folder: Path, shown: str) -> Mapping[str, Any] | None:
    if params.task not in (None, "sentence-similarity"):
        return None
    found = read_pooling(folder, shown)
    if found is None and params.task is not None:
        return {"pooling": "mean", "normalize": False}
    return found


def _architecture(params: HuggingFace, said: Mapping[str, Any], config: Mapping[str, Any], shown: str) -> str:
    """The name of the model's class."""
    if params.task is not None:
        auto = getattr(transformers, _AUTO[params.task])
        kind = type(configured(config))
        if kind not in auto._model_mapping:
            raise UserError(
                f"a '{said.get('model_type')}' is not made for 'task: {params.task}'",
                hint=f"choose another task, or leave it out for '{_first(said) or 'its own'}'",
            )
        found = auto._model_mapping[kind]
        return str((found[0] if isinstance(found, tuple) else found).__name__)
    name = _first(said)
    if name is None:
        raise UserError(
            f"'{shown}/config.json' has no 'architectures', so the model's class cannot be told",
            hint="say what it is for, e.g. 'task: text-classification'",
        )
    return name


def _first(said: Mapping[str, Any]) -> str | None:
    names = said.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def _options(name: str, only_states: bool, folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """No pooling layer where its output is not used: other heads' checkpoints have no weights for it."""
    import inspect

    takes = "add_pooling_layer" in inspect.signature(model_class(name).__init__).parameters
    return {"add_pooling_layer": False} if only_states and takes else {}


def _loaded(name: str, config: Mapping[str, Any], options: Mapping[str, Any], folder: Path, shown: str) -> nn.Module:
    """The model with its weights, in float32. UserError if a weight is not in the files."""
    kind: Any = model_class(name)
    transformers.logging.set_verbosity_error()  # its report of the weights is checked below, and said in our words
    transformers.logging.disable_progress_bar()
    try:
        model, info = kind.from_pretrained(
            folder,
            config=configured(config),
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"'{shown}' cannot be loaded as a {name}: {' '.join(str(error).split())[:300]}",
            hint="its config.json and its weights may be of different models",
        ) from error
    missing, strange = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        parts = [("its files lack", missing), ("they have beside that", strange)]
        said = "; ".join(f"{what} {_some(names)}" for what, names in parts if names)
        raise UserError(
            f"the weights in '{shown}' are not those of a {name}: {said}",
            hint="choose the class that they were trained as with 'task:', or leave 'task:' out",
        )
    return model.eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
