"""The backends ``onnxruntime-genai`` and ``openvino-genai``: their numbers beside a loop of the bare runtime and torch,
and faults that they must see."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from cbuild_llm.model.generating import greedy
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.model.token_scores import TokenScores
from cbuild_llm.scores.params.scores import TokenScores as Params

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, make_context, run_node

Made = Callable[..., NodeRun]


def stock(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def loaded(runtime: Any, place: Path, folder: Path) -> Any:
    return import_module(f"{runtime.plugin}.runner").load(make_context(place), folder, None)


def log_softmax(row: np.ndarray) -> np.ndarray:
    row = row.astype(np.float64)
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def test_perplexity_and_divergence_are_those_of_a_loop(
    tmp_path: Path, small: Path, runtime: Any, made_by: Made
) -> None:
    """Each token from a context of its own, on the bare runtime, with torch beside it."""
    made = made_by(runtime, runtime.int4)
    ids = np.random.default_rng(0).integers(2, 320, 40).astype(np.int32)
    place = tmp_path / "ids"
    place.mkdir()
    tokens = TokenIds(ids, 16, 8, 320)
    tokens.write(place)
    out = run_node(
        "cbuild_llm.scores.score:score",
        artifact(made.out, runtime.kind, backend=runtime.backend),
        Params(tokens="ids", source="chat"),
        tmp_path / "scores",
        inputs={"tokens": artifact(place, "token-ids"), "source": artifact(small, "hf-model")},
        references={"ids": "tokens", "chat": "source"},
    ).out
    found = TokenScores.read(out).arrays
    source, bare, nll, kl, same = stock(small), runtime.bare(made.out), [], [], []
    for window in tokens.windows():
        for position in range(window.first, window.end):
            seen = ids[window.start : position].tolist()
            own = log_softmax(bare(seen))
            with torch.no_grad():
                known = source(input_ids=torch.tensor([seen])).logits[0, -1].double().log_softmax(-1).numpy()
            nll.append(-own[ids[position]])
            kl.append((np.exp(known) * (known - own)).sum())
            same.append(own.argmax() == known.argmax())
    np.testing.assert_allclose(found["nll"], nll, atol=3e-2)  # OpenVINO's cache has 8 bits
    np.testing.assert_allclose(found["nll"].mean(), np.mean(nll), rtol=1e-3)
    np.testing.assert_allclose(found["kl"].mean(), np.mean(kl), rtol=5e-2)
    assert (found["same"] != np.array(same)).sum() <= 1
    assert found["kl"].mean() > 1e-5, "quantizing has changed something"


def test_it_writes_what_torch_and_the_library_write(tmp_path: Path, small: Path, runtime: Any, made_by: Made) -> None:
    folder = made_by(runtime, runtime.exact).out
    ids = [0, 17, 44, 90]
    text, model = list(ids), stock(small)
    for _ in range(16):
        with torch.no_grad():
            text.append(int(model(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    runner = loaded(runtime, tmp_path, folder)
    assert greedy(runner, ids, 16) == text[4:]
    assert greedy(runner, ids, 16) == text[4:], "the prompt before is forgotten"
    written = runtime.writes(folder, ids, 16)
    assert written == text[4 : 4 + len(written)]
    assert len(written) > 8


def test_facts_and_files(small: Path, runtime: Any, made_by: Made) -> None:
    exact, int4 = made_by(runtime, runtime.exact), made_by(runtime, runtime.int4)
    assert exact.facts["parity"]["max_error"] < 1e-4
    assert exact.facts["sqnr_db"]["logits"] > 60 > int4.facts["sqnr_db"]["logits"] > 5
    sizes = [sum(file.stat().st_size for file in made.out.iterdir()) for made in (exact, int4)]
    assert sizes[1] < sizes[0]
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (int4.out / file).read_bytes() == (small / file).read_bytes()


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
    ("files_of", "template", "message"),
    [
        (
            {"config": lambda said: said["rope_parameters"].update(rope_theta=500.0)},
            None,
            r"genai \d.* gives other logits than transformers",
        ),
        ({"tokenizer": lambda said: said.update(post_processor=None)}, None, "makes other ids of 'The quick brown fox"),
        ({}, "{{ messages[0].content }}", "writes a conversation in another way"),
    ],
    ids=["positions", "BOS", "template"],
)
def test_a_converter_that_reads_something_else(
    tmp_path: Path,
    small: Path,
    runtime: Any,
    made_by: Made,
    monkeypatch: pytest.MonkeyPatch,
    files_of: Any,
    template: str | None,
    message: str,
) -> None:
    other = changed(tmp_path / "other", small, **files_of)
    if template is not None:
        (other / "chat_template.jinja").write_text(template)
    runtime.plant(monkeypatch, other)
    with pytest.raises(UserError, match=message):
        made_by(runtime, {**runtime.int4, "threads": 1 + len(message)})


def test_damage_is_seen(tmp_path: Path, runtime: Any, made_by: Made) -> None:
    whole = made_by(runtime, runtime.int4).out
    validate = import_module(f"{runtime.plugin}.artifact").validate
    validate(whole)
    for name in runtime.damage:
        place = tmp_path / name
        shutil.copytree(whole, place)
        (place / name).write_bytes((whole / name).read_bytes()[:-60])
        with pytest.raises(ValueError, match=r"\w{4}"):
            validate(place)


def test_ids_and_lengths_that_do_not_fit(tmp_path: Path, runtime: Any, made_by: Made) -> None:
    runner = loaded(runtime, tmp_path, made_by(runtime, runtime.int4).out)
    with pytest.raises(UserError, match="has 320 tokens"):
        runner({"input_ids": np.array([[1, 320]])})
    with pytest.raises(UserError, match="257 tokens are more than the model's 256 positions"):
        runner({"input_ids": np.zeros((1, 257), np.int64)})
    with pytest.raises(UserError, match="more than the model's 256 positions"):
        runner.start([1, 2], 300)


def test_a_model_that_the_builder_does_not_know(tmp_path: Path, made_by: Made) -> None:
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime_genai is not installed")
    import tiny_llms
    from runtimes import GenAi

    sizes = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.OPTConfig(vocab_size=320, max_position_embeddings=256, word_embed_proj_dim=32, **sizes)
    transformers.OPTForCausalLM(config).save_pretrained(tmp_path / "opt")
    tiny_llms.tokenizer().save_pretrained(tmp_path / "opt")
    with pytest.raises(UserError, match="does not know this model") as failed:
        made_by(GenAi, GenAi.int4, tmp_path / "opt")
    assert "openvino-genai" in str(failed.value.hint)
