"""OpenVINO GenAI: a language model as a stateful OpenVINO model with its tokenizer, run on CPUs."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Platform, Stack, hookimpl

from .settings import OpenVinoGenAiSettings

_MODULES = ("openvino", "openvino_genai", "openvino_tokenizers", "numpy")
_RUN = Stack(
    modules=_MODULES,
    tools=("openvino", "openvino-genai", "openvino-tokenizers", "numpy"),
    install="pip install 'compressbuild[openvino-genai]'",
)
_COMPILE = _RUN.also(
    modules=("nncf", "torch", "transformers", "safetensors"),
    tools=("nncf", "torch", "transformers", "safetensors", "tokenizers"),
    preload=("torch", "torch._dynamo", "safetensors.torch", "transformers.modeling_utils"),
)


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="openvino-genai-model",
        files=("openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml", "openvino_detokenizer.xml"),
        summary="a language model for OpenVINO GenAI, with its tokenizer and chat template",
        loading=(
            "import openvino_genai\n"
            'model = openvino_genai.LLMPipeline(directory, "CPU")\n'
            'print(model.generate("Once upon a time", max_new_tokens=40))\n'
        ),
        validate="cbuild_openvino_genai.artifact:validate",
        load="cbuild_openvino_genai.runner:load",
        stack=_RUN,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="openvino-genai",
        summary="OpenVINO GenAI: language models with a cache, in 4 or 8 bits, on CPUs",
        compile="cbuild_openvino_genai.compile:compile",
        load="cbuild_openvino_genai.runner:load",
        settings=OpenVinoGenAiSettings,
        consumes=("hf-model",),
        produces="openvino-genai-model",
        stack=_COMPILE,
        # The files are the same everywhere; whether they compute what their source does is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="openvino-llm",
        backend="openvino-genai",
        summary="OpenVINO GenAI on this machine's processor, weights of 4 bits",
        settings={"precision": "int4", "threads": 1},
    )
