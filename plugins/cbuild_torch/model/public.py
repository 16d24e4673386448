"""What a plugin on torch models needs, and may rely on. It stays as it is within a minor version of compressbuild.

::

    from cbuild_torch.model.public import load_plain, prepare, save_model

    def scale(ctx, model, params):
        prepare(ctx)                                   # threads, seed and deterministic kernels, as the key says
        module, description = load_plain(ctx, model)   # in eval mode
        with torch.no_grad():
            for weight in module.parameters():
                weight.mul_(params.factor)
        save_model(ctx, module, description)

``load_plain`` makes weights that are computed (``weight_norm``) plain parameters; ``load_model`` leaves them alone.
``save_model(ctx, module, description, edits)``: the edits say how the module differs from what the factory makes:
``{"op": "sparse", "parameters": [...]}`` marks weights whose zeros a later training keeps, ``{"op": "resize"}`` says
that tensors have other shapes, and :mod:`cbuild_torch.model.edits` lists the rest. ``trace(module, inputs, sizes)``
gives an exported program and the names of its outputs. ``caller(module, inputs)`` calls it with input name → tensor;
``tensors`` makes tensors of arrays, ``named_outputs`` names what comes out.
"""

from .calling import caller, first_output, named_outputs, tensors
from .description import ModelDescription
from .module import load_model, load_plain, prepare, save_model
from .program import trace
from .runner import TorchRunner, load
from .selection import check_patterns, matching, prunable_layers

__all__ = [
    "ModelDescription",
    "TorchRunner",
    "caller",
    "check_patterns",
    "first_output",
    "load",
    "load_model",
    "load_plain",
    "matching",
    "named_outputs",
    "prepare",
    "prunable_layers",
    "save_model",
    "tensors",
    "trace",
]
