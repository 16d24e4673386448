"""Each runtime of language models, and its library's own calls beside ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbuild_llm.model.loading import load_causal, load_tokenizer

__all__ = ["RUNTIMES", "GenAi", "OpenVino"]


class GenAi:
    backend, kind, plugin = "onnxruntime-genai", "genai-model", "cbuild_genai"
    modules = ("onnxruntime_genai",)
    exact = {"precision": "fp32"}
    int4 = {"method": "k-quant", "mixed": True}
    damage = ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json")

    @staticmethod
    def plant(monkeypatch: pytest.MonkeyPatch, other: Path) -> None:
        """Let the builder read another directory."""
        compiling = import_module("cbuild_genai.compile")
        build = compiling.build
        monkeypatch.setattr(compiling, "build", lambda model, *rest: build(other, *rest))

    @staticmethod
    def bare(folder: Path) -> Callable[[list[int]], np.ndarray]:
        """Logits V of the token after ids: the ONNX file in a session of its own, with an empty cache."""
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        decoder = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
        past = {
            item.name: np.zeros((1, decoder["num_key_value_heads"], 0, decoder["head_size"]), np.float32)
            for item in session.get_inputs()
            if item.name.startswith("past")
        }

        def after(ids: list[int]) -> np.ndarray:
            feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64), **past}
            return session.run(["logits"], feeds)[0][0, -1]

        return after

    @staticmethod
    def writes(folder: Path, ids: list[int], count: int) -> list[int]:
        """What the library generates by itself."""
        import onnxruntime_genai as og

        model = og.Model(str(folder))
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + count, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(np.array(ids, np.int32))
        while not generator.is_done():
            generator.generate_next_token()
        return [int(token) for token in generator.get_sequence(0)[len(ids) :]]


class OpenVino:
    backend, kind, plugin = "openvino-genai", "openvino-genai-model", "cbuild_openvino_genai"
    modules = ("openvino_genai", "openvino_tokenizers", "nncf")
    exact = {"precision": "fp32", "cache": "f32"}
    int4 = {"symmetric": False}
    damage = ("openvino_model.xml", "openvino_tokenizer.xml", "config.json", "tokenizer.json")

    @staticmethod
    def plant(monkeypatch: pytest.MonkeyPatch, other: Path) -> None:
        """Let the converters read another directory."""
        compiling = import_module("cbuild_openvino_genai.compile")
        tokenizers, copied = compiling.convert_tokenizer, compiling.copy_beside
        monkeypatch.setattr(compiling, "convert", lambda module: traced(other).clone())
        monkeypatch.setattr(
            compiling, "convert_tokenizer", lambda tokenizer, out: tokenizers(load_tokenizer(other, "other"), out)
        )
        monkeypatch.setattr(compiling, "copy_beside", lambda model, out: copied(other, out))

    @staticmethod
    def bare(folder: Path) -> Callable[[list[int]], np.ndarray]:
        """Logits V of the token after ids: a request of its own for each, in float32."""
        import openvino

        options = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        compiled = openvino.compile_model(folder / "openvino_model.xml", "CPU", options)

        def after(ids: list[int]) -> np.ndarray:
            feeds = {
                "input_ids": np.array([ids]),
                "attention_mask": np.ones((1, len(ids)), np.int64),
                "position_ids": np.arange(len(ids))[None],
                "beam_idx": np.zeros(1, np.int32),
            }
            return compiled.create_infer_request().infer(feeds)["logits"][0, -1]

        return after

    @staticmethod
    def writes(folder: Path, ids: list[int], count: int) -> list[int]:
        """What the library generates by itself."""
        import openvino
        import openvino_genai

        pipeline = openvino_genai.LLMPipeline(str(folder), "CPU", INFERENCE_PRECISION_HINT="f32")
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.apply_chat_template = count, True, False
        given = openvino_genai.TokenizedInputs(
            openvino.Tensor(np.array([ids])), openvino.Tensor(np.ones((1, len(ids)), np.int64))
        )
        return list(pipeline.generate(given, config).tokens[0])


RUNTIMES = {each.backend: each for each in (GenAi, OpenVino)}


@cache
def _converter() -> Callable[[Any], Any]:
    return import_module("cbuild_openvino_genai.convert").convert


@cache
def _traced(config: str, folder: Path) -> Any:
    return _converter()(load_causal(folder, "the model"))


def traced(folder: Path) -> Any:
    """OpenVINO's model of a directory, converted once."""
    return _traced(json.dumps(json.loads((folder / "config.json").read_text())), folder)
