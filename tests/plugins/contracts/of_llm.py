"""Every technique, metric and kind of the plugin for language models keeps the contract."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from cbuild_llm.model.token_choices import Question, TokenChoices
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.model.token_scores import TokenScores
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api.conformance import KindContract, MetricContract, TechniqueContract, artifact

from . import subjects

PRELOAD = ("torch", "torch._dynamo", "safetensors.torch", "transformers.modeling_utils")
COUNT = 90


@cache
def chat(**options: object) -> Path:
    import tiny_llms

    place = subjects.place() / f"chat{len(options)}"
    tiny_llms.language_model(place, layers=2, **options)
    return place


@cache
def strange() -> Path:
    """A language model that llama.cpp does not know."""
    import tiny_llms
    import transformers

    place = subjects.place() / "strange"
    sizes = {
        "hidden_size": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 32,
    }
    config = transformers.OPTConfig(vocab_size=320, max_position_embeddings=256, **sizes)
    transformers.OPTForCausalLM(config).save_pretrained(place)
    tiny_llms.tokenizer().save_pretrained(place)
    return place


@cache
def encoder() -> Path:
    """A model that is no causal language model."""
    import tiny_llms
    import transformers

    place = subjects.place() / "encoder"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    transformers.ViTModel(transformers.ViTConfig(**sizes)).save_pretrained(place)
    tiny_llms.tokenizer().save_pretrained(place)
    return place


@cache
def packed() -> Path:
    """An ``hf-quantized`` of two layers."""
    from cbuild_llm.quantize.params import QuantizeLlm

    from compressbuild.api.testing import run_node

    source = artifact(chat(hidden_size=64), "hf-model")
    return run_node("cbuild_llm.quantize.rounding:quantize", source, QuantizeLlm(), subjects.place() / "packed").out


@cache
def ids(vocabulary: int = 320) -> Path:
    place = subjects.place() / f"ids{vocabulary}"
    place.mkdir()
    drawn = np.random.default_rng(0).integers(vocabulary - 100, vocabulary, COUNT).astype(np.int32)
    TokenIds(drawn, 24, 8, vocabulary).write(place)
    return place


@cache
def taught() -> Path:
    """What a model expects after each of :func:`ids`."""
    from cbuild_llm.train.params.record import RecordLogits

    from compressbuild.api.testing import run_node

    world = {"inputs": {"tokens": artifact(ids(), "token-ids")}, "references": {"ids": "tokens"}}
    params, out = RecordLogits(tokens="ids", top=8), subjects.place() / "taught"
    return run_node("cbuild_llm.train.record:record", artifact(chat(), "hf-model"), params, out, **world).out


@cache
def questions() -> Path:
    place = subjects.place() / "questions"
    place.mkdir()
    drawn = np.random.default_rng(0).integers(2, 320, (8, 4)).tolist()
    asked = [Question(each, [[5], [7, 9]], [1, 4], index % 2) for index, each in enumerate(drawn)]
    TokenChoices(320, asked).write(place)
    return place


@cache
def scores(sort: str) -> Path:
    """``alone``: of one model. ``few``: of five tokens. ``both``: with a source."""
    place = subjects.place() / f"scores-{sort}"
    place.mkdir()
    generator = np.random.default_rng(0)
    count = 5 if sort == "few" else COUNT
    arrays = {"nll": generator.random(count) + 1, "top": generator.integers(0, 320, count)}
    if sort != "alone":
        more = {"source_nll": generator.random(count) + 1, "kl": generator.random(count), "same": arrays["top"] < 160}
        arrays |= more
    TokenScores("0" * 64, arrays).write(place)
    return place


@cache
def bigrams(tokens: int = 320) -> Path:
    """An ONNX model whose logits of a token are a row of a table, by its id."""
    place = subjects.place() / f"bigrams{tokens}"
    place.mkdir()
    table = np.random.default_rng(0).standard_normal((tokens, tokens)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "bigrams",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", tokens])],
        [numpy_helper.from_array(table, "table")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), place / "model.onnx"
    )
    return place


class OfLlm(TechniqueContract):
    preload = PRELOAD
    references = {"ids": "tokens", "chat": "source"}

    def subject(self, place):
        return artifact(chat(), "hf-model")

    def inputs(self, place):
        return {"tokens": artifact(ids(), "token-ids"), "source": artifact(chat(), "hf-model")}


class TestPruneLlmLayers(OfLlm):
    technique = "prune.llm-layers"
    params = {"count": 1, "tokens": "ids"}
    unfit_params = ({"count": 2}, {"drop": [0]}, {"tokens": "chat"})
    beside = {"drop": {"count": None}, "keep": {"count": None}}


class TestPruneLlmWeights(OfLlm):
    technique = "prune.llm-weights"
    params = {"tokens": "ids"}
    unfit_params = ({"tokens": "chat"}, {"ignore": ["nothing"]}, {"ignore": ["*"]})


class TestPruneLlmWidth(OfLlm):
    technique = "prune.llm-width"
    params = {"tokens": "ids", "intermediate": 48}
    unfit_params = ({"tokens": "chat"}, {"intermediate": 100}, {"heads": 3})


class TestRecordLogits(OfLlm):
    technique = "record.logits"
    params = {"tokens": "ids", "top": 8}
    unfit_params = ({"tokens": "chat"}, {"packing": "documents"})


class TestFinetuneLlm(OfLlm):
    technique = "finetune.llm"
    params = {"tokens": "ids"}
    unfit_params = ({"tokens": "chat"}, {"freeze": ["*"]}, {"packing": "documents"})


class TestDistillLlm(OfLlm):
    technique = "distill.llm"
    params = {"tokens": "ids", "teacher": "taught"}
    references = {**OfLlm.references, "taught": "teacher"}
    unfit_params = ({"tokens": "chat"}, {"teacher": "ids"}, {"freeze": ["*"]})

    def inputs(self, place):
        return {**super().inputs(place), "teacher": artifact(taught(), "token-logits")}


class TestTokenizeChoices(OfLlm):
    technique = "tokenize.choices"
    params = {"file": "questions.jsonl"}
    unfit_params = ({"file": "other.jsonl"},)

    def project(self, place):
        (place / "other.jsonl").write_text("[1, 2]\n")
        line = '{"context": "The quick brown", "choices": ["fox", "lazy dog"], "answer": 0}'
        (place / "questions.jsonl").write_text(f"{line}\n" * 3)


class TestQuantizeLlm(OfLlm):
    technique = "quantize.llm"

    def subject(self, place):
        return artifact(chat(hidden_size=64), "hf-model")

    params = {"method": "auto-round", "tokens": "ids", "iterations": 3, "format": "gptq"}
    others = {"budget": "1 MB"}
    unfit_params = ({"ignore": ["nothing"]}, {"ignore": ["*"]}, {"group-size": 48})


class TestTokenScores(OfLlm):
    """On ONNX Runtime: what runs the subject is code of another record, with a key of its own."""

    technique = "metrics.token-scores"
    params = {"tokens": "ids", "source": "chat"}
    unfit_params = ({"tokens": "chat"},)

    def subject(self, place):
        return artifact(bigrams(), "onnx")

    def inputs(self, place):
        return {"tokens": artifact(ids(), "token-ids"), "source": artifact(bigrams(), "onnx")}

    def unfit(self, place):
        return [artifact(bigrams(200), "onnx"), artifact(subjects.onnx_model(), "onnx")]


class TestTokenizeText(OfLlm):
    technique = "tokenize.text"
    params = {"text": ["text.txt"]}
    unfit_params = ({"skip": 1_000_000},)

    def project(self, place):
        (place / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 8)


class OfScores(MetricContract):
    preload = subjects.NUMBERS
    kind = "token-scores"
    params = {"tokens": "ids", "source": "chat"}
    references = {"ids": "tokens", "chat": "source"}
    bad = "alone"

    def subject(self, place):
        return scores("both")

    def inputs(self, place):
        return {"tokens": artifact(ids(), "token-ids"), "source": artifact(chat(), "hf-model")}

    def unfit(self, place):
        return [scores(self.bad)]


class TestPerplexityOfTokens(OfScores):
    metric = "lm-perplexity"
    bad = "few"


class TestPerplexityRatio(OfScores):
    metric = "lm-perplexity-ratio"


class TestKl(OfScores):
    metric = "lm-kl"


class TestSameTop(OfScores):
    metric = "lm-same-top"


class OfGeneration(MetricContract):
    """On the reference runtime of an ``hf-model``."""

    preload = PRELOAD
    params = {"tokens": "ids", "prompt": 8, "generate": 4, "repeat": 3}
    references = {"ids": "tokens", "chat": "source"}
    unfit_params = ({"prompt": 1000},)

    def subject(self, place):
        return artifact(chat(), "hf-model")

    def inputs(self, place):
        return {"tokens": artifact(ids(), "token-ids"), "source": artifact(chat(), "hf-model")}


class TestFirstToken(OfGeneration):
    metric = "lm-first-token"


class TestPrefill(OfGeneration):
    metric = "lm-prefill"


class TestDecode(OfGeneration):
    metric = "lm-decode"


class TestGreedyAgreement(OfGeneration):
    metric = "lm-greedy-agreement"
    params = {"tokens": "ids", "source": "chat", "prompts": 2, "prompt": 8, "generate": 4}


class TestChoice(MetricContract):
    metric = "lm-choice"
    preload = PRELOAD
    params = {"questions": "asked"}
    references = {"asked": "questions", "ids": "tokens"}
    unfit_params = ({"questions": "ids"},)

    def subject(self, place):
        return artifact(chat(), "hf-model")

    def inputs(self, place):
        return {"questions": artifact(questions(), "token-choices"), "tokens": artifact(ids(), "token-ids")}


class TestTokenChoicesKind(KindContract):
    kind = "token-choices"

    def subject(self, place):
        return questions()


class TestTokenLogitsKind(KindContract):
    kind = "token-logits"
    preload = PRELOAD

    def subject(self, place):
        return taught()


class TestHfQuantized(KindContract):
    kind = "hf-quantized"
    preload = PRELOAD
    exempt = ("chat_template.jinja",)

    def subject(self, place):
        return packed()


class TestHfModel(KindContract):
    kind = "hf-model"
    preload = PRELOAD
    exempt = ("chat_template.jinja",)

    def subject(self, place):
        return chat()


class TestTokenIdsKind(KindContract):
    kind = "token-ids"

    def subject(self, place):
        return ids()


class TestTokenScoresKind(KindContract):
    kind = "token-scores"
    raw = ("*.npy",)

    def subject(self, place):
        return scores("both")
