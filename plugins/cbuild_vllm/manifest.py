"""vLLM: directories of language models that it serves. They are checked in transformers; vLLM is not run."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Needs, Stack, hookimpl

from .settings import VllmSettings

_STACK = Stack(
    modules=("torch", "transformers", "safetensors", "numpy"),
    tools=("torch", "transformers", "safetensors", "numpy", "tokenizers"),
    preload=("torch", "torch._dynamo", "safetensors.torch", "transformers.modeling_utils"),
    install="pip install 'compressbuild[hf]'",
)
_SERVER = Needs(system=("a server of vLLM",))


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="vllm-model",
        files=("config.json", "*.safetensors"),
        summary="a language model in a directory that vLLM serves, with its tokenizer and chat template",
        loading="from vllm import LLM\nmodel = LLM(directory)  # or: vllm serve DIRECTORY\n",
        validate="cbuild_vllm.artifact:validate",
        stack=_STACK,
        needs=_SERVER,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="vllm",
        summary="vLLM: directories of language models for its server",
        compile="cbuild_vllm.compile:compile",
        load="cbuild_vllm.runner:load",
        settings=VllmSettings,
        consumes=("hf-model", "hf-quantized"),
        produces="vllm-model",
        stack=_STACK,
        run_needs=_SERVER,
    )
