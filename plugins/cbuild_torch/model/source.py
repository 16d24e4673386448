"""A ``torch-model`` from a user's factory, and weights if there are any."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from compressbuild.api import Context, ModelInput, UserError

from .description import ModelDescription
from .module import load_state, make_module, prepare, save_model

__all__ = ["init"]


def init(ctx: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Call the factory and save what it makes. ``params``: ``factory``, ``args``, ``weights`` (a path or None) and
    ``inputs`` (a list of ``[name, shape, dtype]``)."""
    prepare(ctx)
    inputs = tuple(_input(*entry) for entry in params.get("inputs") or ())
    if not inputs:
        raise UserError(
            f"the model of {params['factory']} declares no inputs",
            hint="say e.g. 'inputs: {image: {shape: [batch, 3, 224, 224], dtype: float32}}'",
        )
    description = ModelDescription(params["factory"], params.get("args") or {}, inputs, ctx.seed)
    module = make_module(ctx, description)
    if params.get("weights"):
        load_state(module, _read(ctx.file(params["weights"])), description)
    save_model(ctx, module, description)
    return {"parameters": sum(value.numel() for value in module.parameters())}


def _input(name: str, shape: list[int | str], dtype: str) -> ModelInput:
    try:
        torch.from_numpy(np.zeros(0, np.dtype(dtype)))
    except TypeError as error:
        raise UserError(f"input '{name}' has a type that torch does not know: {dtype}", hint="e.g. float32") from error
    return ModelInput(name, tuple(shape), np.dtype(dtype).name)


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict. Pickled files are read by torch's restricted unpickler, which runs nothing."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _refuse_compressed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"weights file '{path}' does not exist") from error
    except SafetensorError as error:
        raise UserError(f"weights file '{path}' cannot be read: {error}") from error
    except UserError:
        raise
    except (
        Exception
    ) as error:  # torch.load has no error class of its own: pickle, zip, runtime and value errors come out
        raise UserError(
            f"weights file '{path}' cannot be read safely: {str(error).splitlines()[0]}",
            hint="save the state dict alone: safetensors.torch.save_file(model.state_dict(), …)",
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"weights file '{path}' is not a state dict (name → tensor)")
    return state


def _refuse_compressed(path: Path) -> None:
    """torch never compresses, but would unpack what is: some kilobytes could fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise UserError(
            f"weights file '{path}' is a compressed archive, which torch.save never writes: {packed[0]}",
            hint="save the state dict alone: safetensors.torch.save_file(model.state_dict(), …)",
        )
