"""Language models: the kind ``hf-model``, a directory that transformers loads; its pruning, and what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compressbuild.api import AnswerMetric, Kind, RunMetric, Source, Stack, Technique, hookimpl

from .params import Llm
from .prune.params.layers import PruneLlmLayers
from .prune.params.weights import PruneLlmWeights
from .prune.params.width import PruneLlmWidth
from .quantize.params import QuantizeLlm
from .scores.params.choice import Choice
from .scores.params.greedy import Greedy
from .scores.params.paired import Paired
from .scores.params.perplexity import Perplexity
from .scores.params.scores import TokenScores
from .speed.params import Generating
from .tokens.params import TokenizeText
from .tokens.params_choices import TokenizeChoices
from .train.params.distill import DistillLlm
from .train.params.finetune import FinetuneLlm
from .train.params.record import RecordLogits

_HF = Stack(
    modules=("torch", "transformers", "safetensors", "numpy"),
    tools=("torch", "transformers", "safetensors", "numpy", "tokenizers"),
    preload=("torch", "torch._dynamo", "safetensors.torch", "transformers.modeling_utils"),
    install="pip install 'compressbuild[hf]'",
)

_PACKED = _HF.also(
    modules=("compressed_tensors",), tools=("compressed-tensors",), install="pip install 'compressbuild[llm]'"
)
_QUANTIZE = _PACKED.also(modules=("auto_round",), tools=("auto-round", "accelerate"))

_NUMPY = Stack(modules=("numpy",), tools=("numpy",), install="pip install 'compressbuild[hf]'")


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="hf-model",
        files=("config.json", "*.safetensors"),
        summary="a causal language model as transformers saves it: configuration, weights, tokenizer, chat template",
        loading=(
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "model = AutoModelForCausalLM.from_pretrained(directory)\n"
            "tokenizer = AutoTokenizer.from_pretrained(directory)\n"
        ),
        validate="cbuild_llm.model.checkpoint:validate",
        load="cbuild_llm.model.runner:load",
        open="cbuild_llm.model.opening:open_model",
        stack=_HF,
    )
    yield Kind(
        name="hf-quantized",
        files=("config.json", "*.safetensors"),
        summary="a causal language model as transformers loads it, its linear layers packed: compressed-tensors, "
        "GPTQ or AWQ",
        loading=(
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "# and the package that config.json asks for: compressed-tensors; gptqmodel for GPTQ and AWQ\n"
            "model = AutoModelForCausalLM.from_pretrained(directory)\n"
            "tokenizer = AutoTokenizer.from_pretrained(directory)\n"
        ),
        validate="cbuild_llm.model.checkpoint:validate_quantized",
        load="cbuild_llm.model.quantized:load",
        open="cbuild_llm.model.quantized:open_model",
        stack=_PACKED,
    )
    yield Kind(
        name="token-ids",
        files=("tokens.json", "ids.npy"),
        summary="ids of a text's tokens, and the windows in which models see them",
        validate="cbuild_llm.model.token_ids:validate",
        stack=_NUMPY,
    )
    yield Kind(
        name="token-choices",
        files=("choices.json",),
        summary="multiple-choice questions as ids of tokens",
        validate="cbuild_llm.model.token_choices:validate",
    )
    yield Kind(
        name="token-logits",
        files=("logits.json", "top.npy", "logs.npy", "rest.npy"),
        summary="what a teacher expects after each token: its likeliest tokens, and the share of all others",
        validate="cbuild_llm.model.token_logits:validate",
        stack=_HF,
    )
    yield Kind(
        name="token-scores",
        files=("scores.json", "nll.npy", "top.npy"),
        summary="what a language model gave each token: its likelihood, the likeliest one",
        validate="cbuild_llm.model.token_scores:validate",
        stack=_NUMPY,
    )


@hookimpl
def compressbuild_sources() -> Iterator[Source]:
    yield Source(
        name="llm",
        of="model",
        params=Llm,
        run="cbuild_llm.source:read",
        produces="hf-model",
        stack=_HF,
    )


@hookimpl
def compressbuild_techniques() -> Iterator[Technique]:
    yield Technique(
        name="tokenize.text",
        run="cbuild_llm.tokens.tokenize:tokenize",
        params=TokenizeText,
        consumes=("hf-model",),
        produces="token-ids",
        stack=_HF,
    )
    yield Technique(
        name="tokenize.choices",
        run="cbuild_llm.tokens.choices:tokenize",
        params=TokenizeChoices,
        consumes=("hf-model",),
        produces="token-choices",
        stack=_HF,
    )
    yield Technique(
        name="prune.llm-layers",
        run="cbuild_llm.prune.layers:prune",
        params=PruneLlmLayers,
        consumes=("hf-model",),
        produces="hf-model",
        stack=_HF,
    )
    yield Technique(
        name="prune.llm-width",
        run="cbuild_llm.prune.width:prune",
        params=PruneLlmWidth,
        consumes=("hf-model",),
        produces="hf-model",
        stack=_HF,
    )
    yield Technique(
        name="prune.llm-weights",
        run="cbuild_llm.prune.weights:prune",
        params=PruneLlmWeights,
        consumes=("hf-model",),
        produces="hf-model",
        stack=_HF,
    )
    yield Technique(
        name="record.logits",
        run="cbuild_llm.train.record:record",
        params=RecordLogits,
        consumes=("hf-model",),
        produces="token-logits",
        stack=_HF,
    )
    yield Technique(
        name="distill.llm",
        run="cbuild_llm.train.distill:distill",
        params=DistillLlm,
        consumes=("hf-model",),
        produces="hf-model",
        stack=_HF,
    )
    yield Technique(
        name="finetune.llm",
        run="cbuild_llm.train.finetune:finetune",
        params=FinetuneLlm,
        consumes=("hf-model",),
        produces="hf-model",
        stack=_HF,
    )
    yield Technique(
        name="quantize.llm",
        run="cbuild_llm.quantize.rounding:quantize",
        params=QuantizeLlm,
        consumes=("hf-model",),
        produces="hf-quantized",
        stack=_QUANTIZE,
        traits=("weights-only",),
    )
    yield Technique(
        name="metrics.token-scores",
        run="cbuild_llm.scores.score:score",
        params=TokenScores,
        produces="token-scores",
        stack=_NUMPY,
    )


@hookimpl
def compressbuild_metrics() -> Iterator[AnswerMetric | RunMetric]:
    common = {"via": "metrics.token-scores", "role": "quality", "stack": _NUMPY}
    yield AnswerMetric(
        name="lm-perplexity",
        summary="exp of the mean negative log-likelihood of each token, in sliding windows",
        source="Jelinek et al. 1977; windows as transformers documents them",
        run="cbuild_llm.scores.measure:perplexity",
        params=Perplexity,
        direction="lower",
        priority=87,
        **common,
    )
    yield AnswerMetric(
        name="lm-perplexity-ratio",
        summary="perplexity over that of the source, on the same tokens",
        source="as llama.cpp's perplexity tool; block bootstrap, Carlstein 1986",
        run="cbuild_llm.scores.measure:perplexity_ratio",
        params=Paired,
        direction="lower",
        priority=86,
        **common,
    )
    yield AnswerMetric(
        name="lm-kl",
        summary="mean Kullback-Leibler divergence from the source's next tokens",
        source="Kullback and Leibler 1951; as llama.cpp's perplexity tool",
        run="cbuild_llm.scores.measure:kl_divergence",
        params=Paired,
        unit="nat",
        direction="lower",
        **common,
    )
    yield AnswerMetric(
        name="lm-same-top",
        summary="share of tokens whose likeliest prediction is the source's",
        source="as llama.cpp's perplexity tool",
        run="cbuild_llm.scores.measure:same_top",
        params=Paired,
        direction="higher",
        **common,
    )
    yield RunMetric(
        name="lm-greedy-agreement",
        summary="share of the tokens that it generates as its source does, before the first other one",
        source="position of the first divergence",
        run="cbuild_llm.scores.greedy:agreement",
        params=Greedy,
        direction="higher",
        role="quality",
        exclusive=False,
        stack=_NUMPY,
    )
    yield RunMetric(
        name="lm-choice",
        summary="share of multiple-choice questions that it answers right, by the likelihood of each choice",
        source="acc and acc_norm of lm-evaluation-harness",
        run="cbuild_llm.scores.choice:choice",
        params=Choice,
        direction="higher",
        role="quality",
        exclusive=False,
        stack=_NUMPY,
    )
    timed: dict[str, Any] = {
        "role": "cost",
        "params": Generating,
        "source": "as vLLM and NVIDIA NIM define it",
        "stack": _NUMPY,
    }
    yield RunMetric(
        name="lm-first-token",
        summary="time from a prompt to the first token, without tokenizing",
        run="cbuild_llm.speed.timing:first_token",
        unit="ms",
        direction="lower",
        **timed,
    )
    yield RunMetric(
        name="lm-prefill",
        summary="tokens of a prompt that it reads in a second",
        run="cbuild_llm.speed.timing:prefill",
        unit="tokens/s",
        direction="higher",
        **timed,
    )
    yield RunMetric(
        name="lm-decode",
        summary="tokens that it generates in a second, after the first, one sequence at a time",
        run="cbuild_llm.speed.timing:decode",
        unit="tokens/s",
        direction="higher",
        **timed,
    )
