"""Torch modules to and from artifacts: the factory is called again, edits are replayed, weights are loaded strictly."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from compressbuild.api import Context, UserError

from .description import WEIGHTS, ModelDescription
from .edits import replay, resize
from .palette import pack, unpack
from .plain import make_plain

__all__ = ["load_model", "load_plain", "make_module", "prepare", "save_model", "stored_weights", "weights_of"]

_LARGE = 1 << 28  # bytes

# What a model's code imports, as transformers does torchao, says which of its kernels this machine lacks, and that it
# calls torch by older names. A failed step shows the last lines of its log, and these would take the room of its cause.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def prepare(ctx: Context) -> None:
    """Make torch repeatable: threads and seed from the key, deterministic kernels."""
    torch.set_num_threads(ctx.threads)  # another count sums in another order: other bytes
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(ctx.seed)


def make_module(ctx: Context, description: ModelDescription) -> nn.Module:
    """A fresh module from the user's factory, made with the description's seed; torch's own generator is untouched."""
    factory = ctx.factory(description.factory)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(description.seed)
        try:
            module = factory(**description.args)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself did not fit
                raise UserError(
                    f"cannot call the factory {description.factory}: {error}", hint="check the model's 'args:'"
                ) from error
            raise
    if not isinstance(module, nn.Module):
        raise UserError(f"the factory {description.factory} returned a {type(module).__name__}, not a torch.nn.Module")
    lazy = next((name for name, value in (*module.named_parameters(), *module.named_buffers()) if is_lazy(value)), None)
    if lazy is not None:
        raise UserError(
            f"parameter '{lazy}' of the model from {description.factory} is lazy: it has no shape yet",
            hint="have the factory run the model once, on zeros of the inputs' shapes",
        )
    return module


def load_model(ctx: Context, directory: Path) -> nn.Module:
    """The module of a ``torch-model`` artifact, in eval mode."""
    description = ModelDescription.read(directory)
    module = make_module(ctx, description)
    replay(module, description.edits)
    load_state(module, stored_weights(directory), description)
    return module.eval()


def stored_weights(directory: Path) -> dict[str, Tensor]:
    """The weights of a ``torch-model`` as its file has them; one name of each tied tensor."""
    return unpack(load_file(directory / WEIGHTS), ModelDescription.read(directory).edits)


def load_plain(ctx: Context, directory: Path) -> tuple[nn.Module, ModelDescription]:
    """The module, for a technique that changes weights or layers, and what it is to be described as: where weights
    are computed from others (``weight_norm``), they are parameters from here on."""
    module, description = load_model(ctx, directory), ModelDescription.read(directory)
    if computed := make_plain(module):
        ctx.log.info("computed weights became plain ones: %s", ", ".join(computed))
        description = description.edited([{"op": "plain"}])
    return module, description


def load_state(module: nn.Module, state: Mapping[str, Tensor], description: ModelDescription) -> None:
    """Load ``state`` strictly; one name of each group of tied tensors is enough.

    Large tensors take the place of the module's own, as they are mapped from their file: copied, they would be in
    memory twice.
    """
    complete = dict(state)
    for names in _tied(module):
        first = next((name for name in names if name in state), None)
        if first is not None:
            complete.update({name: state[first] for name in names if name not in state})
    resize(module, complete, shapes=description.resized)
    large = sum(value.nbytes for value in state.values()) > _LARGE
    if large:
        complete |= _parameters(module, complete)
    try:
        module.load_state_dict(complete, strict=True, assign=large)
    except RuntimeError as error:
        raise _misfit(module, complete, description, error) from error


def _misfit(
    module: nn.Module, state: Mapping[str, Tensor], description: ModelDescription, error: Exception
) -> UserError:
    own = set(module.state_dict())
    missing, strange = sorted(own - set(state)), sorted(set(state) - own)
    parts = (("the file lacks", missing), ("the module has no", strange))
    said = "; ".join(
        f"{what} {', '.join(names[:2])}" + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        for what, names in parts
        if names
    )
    hint = "the factory or its 'args:' may have changed since the weights were saved"
    if missing and any(hasattr(layer, "from_pretrained") for layer in module.modules()):
        hint = (
            "save_pretrained renames weights, and only from_pretrained renames them back: in the "
            "factory, without 'weights:', call from_pretrained(DIRECTORY, local_files_only=True); or save the weights "
            "with safetensors.torch.save_model"
        )
    shown = said or " ".join(str(error).split())[:300]
    return UserError(f"the weights do not fit the module that {description.factory} makes: {shown}", hint=hint)


def _parameters(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is in ``state`` for the module's parameters as parameters, those that are tied as one."""
    made: dict[int, nn.Parameter] = {}
    found: dict[str, Tensor] = {}
    for name, own in module.named_parameters(remove_duplicate=False):
        if name in state:
            found[name] = made.setdefault(id(own), nn.Parameter(state[name], requires_grad=own.requires_grad))
    return found


def save_model(
    ctx: Context, module: nn.Module, base: Path | ModelDescription, edits: Iterable[Mapping[str, Any]] = ()
) -> ModelDescription:
    """Write ``module`` to ``ctx.out``, described as ``base`` (an artifact or a description) and then ``edits``."""
    description = (ModelDescription.read(base) if isinstance(base, Path) else base).edited(edits)
    state, known = pack(weights_of(module), description.edits)
    description = replace(description, edits=tuple(known))
    save_file(state, ctx.out / WEIGHTS)  # no metadata: with two keys its order is random
    description.write(ctx.out)
    return description


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The state dict, each tied tensor once, in standard memory layout."""
    state = module.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise UserError(f"the module's state '{strange[0]}' is not a tensor, so it cannot be saved without pickle")
    for names in _tied(module):
        for name in names[1:]:
            state.pop(name, None)
    if sum(value.nbytes for value in state.values()) > _LARGE:  # no second copy
        return {name: value.detach().contiguous() for name, value in state.items()}
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def _tied(module: nn.Module) -> list[list[str]]:
    """Groups of names of the same parameter or buffer."""
    names: dict[int, list[str]] = {}
    for name, value in (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ):
        names.setdefault(id(value), []).append(name)
    return [group for group in names.values() if len(group) > 1]
