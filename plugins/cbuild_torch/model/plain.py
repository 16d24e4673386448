"""Weights that are computed from others in each call (``weight_norm``, ``spectral_norm``, ``orthogonal`` …), made
parameters: what a technique changes has to be what the layer multiplies with."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["make_plain"]


def make_plain(module: nn.Module) -> list[str]:
    """Replace each computed tensor by a parameter of the value that it has; their names. Call it in eval mode: in
    training ``spectral_norm`` goes on estimating."""
    found = []
    for path, layer in list(module.named_modules()):
        computed = list(layer.parametrizations) if is_parametrized(layer) else []  # type: ignore[arg-type]
        for name in computed:
            remove_parametrizations(layer, name, leave_parametrized=True)
        for hook in list(layer._forward_pre_hooks.values()):  # of torch's older functions of these names
            if isinstance(hook, WeightNorm):
                remove_weight_norm(layer, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(layer, hook.name)
                _forget(layer)
            else:
                continue
            computed.append(hook.name)
        found += [f"{path}.{name}" if path else name for name in computed]
    return found


def _forget(layer: nn.Module) -> None:
    """torch 2.13 leaves the hook that wants the old names when weights are loaded: it looks for it without its wrap."""
    hooks = layer._load_state_dict_pre_hooks
    for key, hook in list(hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del hooks[key]
