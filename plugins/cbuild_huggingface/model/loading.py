"""The weights of a Hugging Face directory, loaded with the library's own names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from compressbuild.api import UserError

from .factory import configured, model_class

__all__ = ["ORIGIN", "load_pretrained"]

ORIGIN = ("_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version")
"""Keys of a configuration that say where it comes from, and nothing of the model."""


def load_pretrained(
    name: str,
    config: Mapping[str, Any],
    options: Mapping[str, Any],
    folder: Path,
    shown: str,
    advice: str = "choose the class that they were trained as with 'task:', or leave 'task:' out",
    tensors: Mapping[str, torch.Tensor] | None = None,
) -> nn.Module:
    """The model with its weights, in float32, in eval mode. UserError if a weight is not in the files.

    ``advice``: the hint where the weights are those of another class. ``tensors``: the weights by the files' names,
    where the files hold them in a form of their own.
    """
    kind: Any = model_class(name)
    transformers.logging.set_verbosity_error()  # its report of the weights is checked below, and said in our words
    transformers.logging.disable_progress_bar()
    try:
        where: dict[str, Any] = {} if tensors is None else {"state_dict": dict(tensors)}
        model, info = kind.from_pretrained(
            folder if tensors is None else None,
            **where,
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
            hint=advice,
        )
    return model.eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
