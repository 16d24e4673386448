"""A ``torch-model`` from a Hugging Face directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from cbuild_torch.model.public import ModelDescription, prepare, save_model

from compressbuild.api import Context, UserError

from .inputs import inputs_of
from .model.directory import check_weights, read_config, read_pooling
from .model.factory import Pooled, configured, model_class
from .model.loading import ORIGIN, load_pretrained
from .params import HuggingFace

__all__ = ["read"]

_FACTORY = "cbuild_huggingface.model.factory:build"
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
    config = {name: value for name, value in said.items() if name not in ORIGIN}
    name = _architecture(params, said, config, shown)
    options = _options(name, pooling is not None or params.task == "feature-extraction", folder, config)
    model = load_pretrained(name, config, options, folder, shown)
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
