"""A model of transformers, made from its configuration alone: no file is read, and nothing is fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported

import torch
import transformers
from torch import Tensor, nn

from compressbuild.api import UserError

__all__ = ["Pooled", "build", "configured", "model_class"]


def build(
    architecture: str, config: Mapping[str, Any], options: Mapping[str, Any] | None = None, pool: Any = None
) -> nn.Module:
    """The module, with weights as they are initialised.

    ``architecture``: a class of transformers. ``options``: its further arguments. ``pool``: what :class:`Pooled` takes
    beside the model, for a model of sentences.
    """
    model = model_class(architecture)(configured(config), **(options or {}))
    return Pooled(model, **pool) if pool is not None else model


def model_class(name: str) -> type[nn.Module]:
    """A model class of transformers by its name."""
    found = getattr(transformers, name, None)
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise UserError(
            f"transformers {transformers.__version__} has no model class '{name}'",
            hint="upgrade transformers, or choose a class by 'task:'",
        )
    return found


def configured(config: Mapping[str, Any]) -> Any:
    """A configuration object for a model that takes tensors and gives tensors."""
    kind = config.get("model_type")
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if kind not in known:
        raise UserError(
            f"transformers {transformers.__version__} has no model type {kind!r}",
            hint="config.json says 'model_type'; upgrade transformers if it is a new one",
        )
    found = known[kind].from_dict({**config, "use_cache": False})
    found.return_dict = True
    return found


class Pooled(nn.Module):
    """One vector for each text, of the states of its tokens."""

    def __init__(self, model: nn.Module, pooling: str, normalize: bool) -> None:
        super().__init__()
        self.model = model
        self._pooling = pooling
        self._normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        more = {"token_type_ids": token_type_ids} if token_type_ids is not None else {}
        states = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
        if self._pooling == "cls":
            found = states[:, 0]
        else:
            counted = attention_mask.unsqueeze(-1).to(states.dtype)
            found = (states * counted).sum(1) / counted.sum(1).clamp(min=1e-9)
        return {"sentence_embedding": torch.nn.functional.normalize(found, dim=1) if self._normalize else found}
