"""What the vLLM plugin offers keeps the contract."""

from __future__ import annotations

from cbuild_vllm.settings import VllmSettings

from compressbuild.api.conformance import BackendContract, KindContract, artifact
from compressbuild.api.testing import run_node

from . import of_llm, subjects


class Test_backend_vllm(BackendContract):
    backend = "vllm"
    preload = of_llm.PRELOAD
    settings = {"dtype": "bfloat16"}
    refuses = ({"dtype": "int8"},)

    def subject(self, place):
        return of_llm.chat()

    def unfit(self, place):
        return [of_llm.encoder(), artifact(of_llm.packed(), "hf-quantized")]


class Test_kind_vllm_model(KindContract):
    kind = "vllm-model"
    preload = of_llm.PRELOAD

    def subject(self, place):
        out = subjects.place() / "served"
        if not out.exists():
            run_node("cbuild_vllm.compile:compile", artifact(of_llm.chat(), "hf-model"), VllmSettings(), out)
        return out
