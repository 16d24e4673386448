"""ONNX Runtime GenAI: a language model as one ONNX step with a cache, built and run by that library."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import Backend, Kind, Platform, Stack, hookimpl

from .settings import GenAiSettings

_RUN = Stack(
    modules=("onnxruntime_genai", "onnxruntime", "onnx", "numpy"),
    tools=("onnxruntime-genai", "onnxruntime", "onnx", "numpy"),
    install="pip install 'compressbuild[onnxruntime-genai]'",
)
_COMPILE = _RUN.also(
    modules=("torch", "transformers", "safetensors"),
    tools=("torch", "transformers", "safetensors", "tokenizers", "onnx-ir"),
    preload=("torch", "torch._dynamo", "safetensors.torch", "transformers.modeling_utils"),
)


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="genai-model",
        files=("genai_config.json", "model.onnx"),
        summary="a language model for ONNX Runtime GenAI, with its tokenizer and chat template",
        loading=(
            "import onnxruntime_genai as og\n"
            "model = og.Model(directory)\n"
            "tokenizer = og.Tokenizer(model)\n"
            'tokenizer.update_options(add_special_tokens="true")  # else it adds no BOS\n'
            "params = og.GeneratorParams(model)\n"
            "params.set_search_options(max_length=64)\n"
            "generator = og.Generator(model, params)\n"
            'generator.append_tokens(tokenizer.encode("Once upon a time"))\n'
            "while not generator.is_done():\n"
            "    generator.generate_next_token()\n"
            "print(tokenizer.decode(generator.get_sequence(0)))\n"
        ),
        validate="cbuild_genai.artifact:validate",
        load="cbuild_genai.runner:load",
        stack=_RUN,
    )


@hookimpl
def compressbuild_backends() -> Iterator[Backend]:
    yield Backend(
        name="onnxruntime-genai",
        summary="ONNX Runtime GenAI: language models with a cache, in 4 or 8 bits, on CPUs",
        compile="cbuild_genai.compile:compile",
        load="cbuild_genai.runner:load",
        settings=GenAiSettings,
        consumes=("hf-model",),
        produces="genai-model",
        stack=_COMPILE,
        # The files are the same everywhere; whether they compute what their source does is seen on one processor.
        compile_facts=("cpu.arch", "cpu.isa"),
        run_facts=("cpu.model", "cpu.isa"),
    )


@hookimpl
def compressbuild_platforms() -> Iterator[Platform]:
    yield Platform(
        name="ort-genai",
        backend="onnxruntime-genai",
        summary="ONNX Runtime GenAI on this machine's processor, weights of 4 bits",
        settings={"precision": "int4", "threads": 1},
    )
