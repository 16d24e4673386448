"""The source ``huggingface``: a directory that ``save_pretrained`` wrote."""

from compressbuild.api import Source, Stack, hookimpl

from .params import HuggingFace

_STACK = Stack(
    modules=("torch", "transformers", "safetensors", "numpy"),
    tools=("torch", "transformers", "safetensors", "numpy", "tokenizers"),
    preload=(
        "torch",
        "torch._dynamo",
        "torch.export",
        "torch.onnx",
        "safetensors.torch",
        "transformers.modeling_utils",
    ),
    install="pip install 'compressbuild[hf]'",
)


@hookimpl
def compressbuild_sources():
    yield Source(
        name="huggingface",
        of="model",
        params=HuggingFace,
        run="cbuild_huggingface.source:read",
        produces="torch-model",
        factory="cbuild_huggingface.model.factory:build",
        companions="cbuild_huggingface.companions:gather",
        stack=_STACK,
    )
