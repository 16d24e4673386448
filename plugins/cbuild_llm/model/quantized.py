"""The kind ``hf-quantized``: a Hugging Face directory whose linear layers are packed.

::

    config.json         with a ``quantization_config``: compressed-tensors, GPTQ or AWQ
    model.safetensors   NAME.weight_packed, NAME.weight_scale, NAME.weight_shape …, or NAME.qweight, NAME.qzeros,
                        NAME.scales …; all other weights as they were
    tokenizer.json, …   as in an ``hf-model``

transformers needs a package for each form: compressed-tensors, and gptqmodel for the other two. Here GPTQ and AWQ are
unpacked by ``cbuild_llm.model.packed`` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from cbuild_huggingface.model.loading import ORIGIN, load_pretrained
from cbuild_torch.model.public import prepare
from safetensors import safe_open
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from .checkpoint import PARTS, Checkpoint, read_quantized
from .loading import architecture
from .packed import Form, unpack
from .runner import LlmRunner

__all__ = ["load", "load_quantized", "open_model"]


def load_quantized(folder: Path, shown: str) -> nn.Module:
    """The model in transformers, in eval mode: products are computed in float32 with the weights that the integers
    stand for. UserError if a weight is missing."""
    found = read_quantized(folder, shown)
    bare = {name: value for name, value in found.config.items() if name != "quantization_config"}
    form = found.config["quantization_config"]["quant_method"]
    tensors = None if form == "compressed-tensors" else _unpacked(folder, found, form, shown)
    config = found.config if tensors is None else bare
    plain = {name: value for name, value in config.items() if name not in ORIGIN}
    return load_pretrained(architecture(bare, shown), plain, {}, folder, shown, "copy all files of the model", tensors)


def _unpacked(folder: Path, found: Checkpoint, form: Form, shown: str) -> dict[str, Tensor]:
    """All weights by name, the packed ones in float32."""
    packed = dict.fromkeys(found.packed)
    tensors: dict[str, Tensor] = {}
    for file in sorted({tensor.file for tensor in found.tensors.values()}):
        with safe_open(folder / file, "pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
    for layer in packed:
        parts = {name: tensors.pop(f"{layer}.{name}") for name in PARTS[form]}
        try:
            tensors[f"{layer}.weight"] = unpack(form, parts)
        except (IndexError, RuntimeError, ValueError) as error:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in parts.items())
            raise UserError(
                f"'{shown}': the parts of the packed layer '{layer}' do not fit each other: {shapes}",
                hint="copy all files of the model again",
            ) from error
    return tensors


def load(ctx: Context, directory: Path, settings: None = None) -> LlmRunner:
    """Runner of an ``hf-quantized`` artifact."""
    prepare(ctx)
    return LlmRunner(load_quantized(directory, "the quantized model"))


def open_model(directory: Path, factory: Callable[..., Any] | None, trusted: Collection[str]) -> Any:
    """The model of transformers, in eval mode. UserError for a directory that holds none."""
    return load_quantized(directory, str(directory))
