"""``finetune.llm``, ``record.logits`` and ``distill.llm``: against loops of torch alone, on all logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.model import packing, token_logits
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.model.token_logits import TokenLogits
from cbuild_llm.tokens.params import TokenizeText
from cbuild_llm.train import loop, losses
from safetensors.torch import load_file
from training import step, token_ids

from compressbuild.api import UserError
from compressbuild.api.testing import run_node
from compressbuild.api.work import WorkInput

END = 1  # the EOS of the tiny models


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def student(place: Path) -> Path:
    tiny_llms.language_model(place / "student", layers=2, seed=1)
    return place / "student"


@pytest.fixture(scope="module")
def teacher(place: Path) -> Path:
    tiny_llms.language_model(place / "teacher", layers=2, seed=2)
    return place / "teacher"


@pytest.fixture(scope="module")
def ids(place: Path) -> WorkInput:
    """Windows that overlap by eight, the last one shorter; a document ends at every eleventh id or so."""
    made = token_ids(place / "ids", tiny_llms.TEXT[60_000:60_500], context=24, stride=16, end=END)
    read = TokenIds.read(Path(made.path))
    drawn = read.ids.copy()
    drawn[np.flatnonzero(np.random.default_rng(0).random(len(drawn)) < 0.09)] = END
    replace(read, ids=drawn).write(Path(made.path))
    assert len(drawn) % 16 != 8, "the last window is a shorter one"
    return made


def documents(ids: np.ndarray, mode: str) -> list[np.ndarray]:
    if mode == "stream":
        return [ids]
    cuts = [at + 1 for at, token in enumerate(ids) if token == END]
    return [part for part in np.split(ids, cuts) if len(part)]


def rows(module: Any, tokens: TokenIds, start: int, first: int, end: int, mode: str) -> tuple[Any, Any]:
    """(logits of the ids of a window that are predicted, these ids): each document runs by itself."""
    made, wanted, at = [], [], start
    for part in documents(tokens.ids[start:end], mode):
        logits = module(input_ids=torch.from_numpy(part.astype("int64"))[None], use_cache=False).logits[0]
        counted = [place for place in range(1, len(part)) if at + place >= first]
        made.append(logits[[place - 1 for place in counted]])
        wanted.append(torch.tensor([int(part[place]) for place in counted], dtype=torch.int64))
        at += len(part)
    return torch.cat(made), torch.cat(wanted)


def windows(tokens: TokenIds) -> Iterator[tuple[int, int, int]]:
    first = 1
    for start in range(0, len(tokens.ids), tokens.stride):
        end = min(start + tokens.context, len(tokens.ids))
        if max(first, start + 1) < end:
            yield start, max(first, start + 1), end
        first = end
        if end == len(tokens.ids):
            return


def by_hand(student: Path, teacher: Path | None, ids: WorkInput, mode: str, **options: Any) -> tuple[Any, list[float]]:
    """The trained module, and the loss of each epoch: AdamW, all logits, nothing of ours."""
    tokens = TokenIds.read(Path(ids.path))
    module = transformers.AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    other = transformers.AutoModelForCausalLM.from_pretrained(teacher or student, dtype=torch.float32).eval()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.0, weight_decay=0.0)
    each = list(windows(tokens))
    size, epochs, temperature = options["update"], options["epochs"], options.get("temperature", 1.0)
    alpha = options.get("alpha", 0.0 if teacher is None else 1.0)
    updates, warmup, done, means = epochs * math.ceil(len(each) / size), 0.0, 0, []
    warmup = options["warmup"] * updates
    for epoch in range(epochs):
        order = np.random.default_rng([0, epoch]).permutation(len(each))
        epoch_total = epoch_count = 0.0
        for at in range(0, len(each), size):
            rate = (done + 1) / (warmup + 1)
            if done >= warmup:
                rate = 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1.0, updates - warmup)))
            optimizer.param_groups[0]["lr"] = options["lr"] * rate
            total, count = torch.zeros(()), 0
            for index in order[at : at + size]:
                own, wanted = rows(module, tokens, *each[index], mode)
                with torch.no_grad():
                    known, _ = rows(other, tokens, *each[index], mode)
                soft = torch.nn.functional.kl_div(
                    torch.log_softmax(own / temperature, 1),
                    torch.log_softmax(known / temperature, 1),
                    log_target=True,
                    reduction="sum",
                )
                hard = torch.nn.functional.cross_entropy(own, wanted, reduction="sum")
                total = total + alpha * temperature**2 * soft + (1 - alpha) * hard
                count += len(wanted)
            optimizer.zero_grad()
            (total / count).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            done += 1
            epoch_total, epoch_count = epoch_total + float(total), epoch_count + count
        means.append(epoch_total / epoch_count)
    return module, means


def assert_same_weights(out: Path, module: Any, lr: float) -> None:
    """Adam's first steps have the size of the rate, whatever the gradient: where that is nearly 0, so is the sign."""
    wanted, differ, total = dict(module.named_parameters()), 0, 0
    for name, value in load_file(out / "model.safetensors").items():
        gap = (value - wanted[name].detach()).abs()
        differ += int((gap > 0.02 * lr).sum())
        total += gap.numel()
    assert differ <= total / 1000, f"{differ} of {total} weights differ"


@pytest.mark.parametrize("mode", ["stream", "documents"])
@pytest.mark.parametrize(
    ("temperature", "alpha"), [(1.0, 1.0), (2.0, 0.6)], ids=["teacher alone", "softened, and the text"]
)
def test_distilling_is_the_loop_on_all_logits(
    tmp_path: Path, student: Path, teacher: Path, ids: WorkInput, mode: str, temperature: float, alpha: float
) -> None:
    known = step("record", teacher, tmp_path / "known", ids, top=1000, temperature=temperature, packing=mode)
    options = {"epochs": 2, "lr": 1e-3, "warmup": 0.3}
    made = step("distill", student, tmp_path / "out", ids, known.out, alpha=alpha, batch_size=3, **options)
    module, means = by_hand(student, teacher, ids, mode, update=3, temperature=temperature, alpha=alpha, **options)
    assert made.facts["loss"] == pytest.approx(means[-1], rel=1e-4)
    assert_same_weights(made.out, module, 1e-3)
    assert (made.facts["top"], made.facts["packing"]) == (320, mode)


@pytest.mark.parametrize("mode", ["stream", "documents"])
def test_finetuning_is_the_loop(tmp_path: Path, student: Path, ids: WorkInput, mode: str) -> None:
    """Batches are accumulated here, and every token weighs the same."""
    options = {"epochs": 2, "lr": 1e-3, "warmup": 0.0}
    made = step("finetune", student, tmp_path / "out", ids, packing=mode, batch_size=2, accumulate=2, **options)
    module, means = by_hand(student, None, ids, mode, update=4, **options)
    assert made.facts["loss"] == pytest.approx(means[-1], rel=1e-4)
    assert_same_weights(made.out, module, 1e-3)
    assert made.facts["loss_after"] < made.facts["loss_before"]


def test_what_is_recorded(tmp_path: Path, teacher: Path, ids: WorkInput) -> None:
    made = step("record", teacher, tmp_path / "known", ids, top=7, temperature=1.5, packing="documents")
    found, tokens = TokenLogits.read(made.out), TokenIds.read(Path(ids.path))
    module = transformers.AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32).eval()
    with torch.no_grad():
        parts = [rows(module, tokens, *window, "documents")[0] for window in windows(tokens)]
    shares = torch.softmax(torch.cat(parts).double() / 1.5, 1).numpy()
    order = np.argsort(-shares, axis=1)[:, :7]
    assert (found.top == order).mean() > 0.999
    np.testing.assert_allclose(np.exp(found.logs), np.take_along_axis(shares, order, 1), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found.rest), 1 - np.take_along_axis(shares, order, 1).sum(1), rtol=1e-3)
    assert made.facts["held"] == pytest.approx(np.exp(found.logs).sum() / len(found.logs), rel=1e-4)
    assert sum(path.stat().st_size for path in made.out.glob("*.npy")) == len(shares) * (8 * 7 + 4) + 3 * 128


def test_the_others_count_as_one() -> None:
    """Against the distributions written out, the others' shares added up; and a lower bound of all tokens' loss."""
    generator = torch.Generator().manual_seed(0)
    own, other = (4 * torch.randn(6, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    p, q = torch.softmax(other / 2, 1), torch.softmax(own / 2, 1)
    kept = p.topk(5, dim=1)
    rest = 1 - kept.values.sum(1)
    found = losses.taught(own, kept.indices, kept.values.log(), rest.log(), 2.0)
    both = [
        torch.cat([each.gather(1, kept.indices), 1 - each.gather(1, kept.indices).sum(1, keepdim=True)], 1)
        for each in (p, q)
    ]
    by_definition = 4 * (both[0] * (both[0] / both[1]).log()).sum()
    assert float(found) == pytest.approx(float(by_definition), rel=1e-9)
    whole = 4 * (p * (p / q).log()).sum()
    assert 0.5 * float(whole) < float(found) < float(whole)
    order = p.argsort(dim=1, descending=True)
    all_of_them = losses.taught(own, order, p.gather(1, order).log(), torch.full((6,), -torch.inf).double(), 2.0)
    assert float(all_of_them) == pytest.approx(float(whole), rel=1e-9)


def test_a_killed_training_goes_on(
    tmp_path: Path, student: Path, ids: WorkInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"epochs": 3, "lr": 1e-3, "batch_size": 4}
    whole = step("finetune", student, tmp_path / "whole", ids, **options)
    kept = tmp_path / "kept"
    kept.mkdir()
    update, count = loop._Run._update, []

    def killed(run: Any, batches: Any) -> None:
        count.append(1)
        if len(count) == 7:
            raise KeyboardInterrupt
        update(run, batches)

    with monkeypatch.context() as patched:
        patched.setattr(loop._Run, "_update", killed)
        patched.setattr(loop, "_SAVE_EVERY", 0.0)
        with pytest.raises(KeyboardInterrupt):
            step("finetune", student, tmp_path / "cut", ids, checkpoint=kept, **options)
    updates: list[int] = []

    def counted(run: Any, batches: Any) -> None:
        updates.append(1)
        update(run, batches)

    monkeypatch.setattr(loop._Run, "_update", counted)
    resumed = step("finetune", student, tmp_path / "resumed", ids, checkpoint=kept, **options)
    assert len(updates) == whole.facts["updates"] - 6
    assert (resumed.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()
    assert resumed.facts == whole.facts


def test_types_shards_ties_and_zeros_stay(tmp_path: Path, ids: WorkInput) -> None:
    tiny_llms.language_model(
        tmp_path / "model",
        "Qwen3",
        layers=2,
        head_dim=8,
        dtype=torch.bfloat16,
        max_shard_size="40kB",
        tie_word_embeddings=True,
    )
    before = {
        name: value for path in (tmp_path / "model").glob("*.safetensors") for name, value in load_file(path).items()
    }
    for path in (tmp_path / "model").glob("*.safetensors"):
        tensors = load_file(path)
        for name in tensors:
            if "up_proj" in name:
                tensors[name][:, ::2] = 0
        from safetensors.torch import save_file

        save_file(tensors, path, metadata={"format": "pt"})
    made = step("finetune", tmp_path / "model", tmp_path / "out", ids, lr=1e-2, freeze=["*down_proj*"])
    after = {name: value for path in made.out.glob("*.safetensors") for name, value in load_file(path).items()}
    assert after.keys() == before.keys()
    assert "lm_head.weight" not in after
    assert {value.dtype for value in after.values()} == {torch.bfloat16}
    for name, value in after.items():
        if "up_proj" in name:
            assert bool((value[:, ::2] == 0).all())
            assert not torch.equal(value[:, 1::2], before[name][:, 1::2])
        elif "down_proj" in name:
            assert torch.equal(value, before[name])
    found = transformers.AutoModelForCausalLM.from_pretrained(made.out, local_files_only=True)
    assert found.lm_head.weight.data_ptr() == found.model.embed_tokens.weight.data_ptr()
    loose = step("finetune", tmp_path / "model", tmp_path / "loose", ids, lr=1e-2, keep_zeros=False)
    first = next(v for path in loose.out.glob("*.safetensors") for n, v in load_file(path).items() if "up_proj" in n)
    assert not bool((first[:, ::2] == 0).all())


@pytest.mark.parametrize("family", ["GPT2", "Gemma3Text", "Mistral"])
def test_other_families(tmp_path: Path, ids: WorkInput, family: str) -> None:
    tiny_llms.language_model(tmp_path / "model", family, layers=2)
    made = step("finetune", tmp_path / "model", tmp_path / "out", ids, lr=3e-3, packing="documents")
    assert made.facts["loss_after"] < made.facts["loss_before"]


def test_documents_that_see_each_other_are_refused(
    tmp_path: Path, student: Path, ids: WorkInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: transformers finds no second document in the positions."""
    monkeypatch.setattr(transformers.masking_utils, "find_packed_sequence_indices", lambda positions: None)
    with pytest.raises(UserError, match="lets documents of one window see each other"):
        step("finetune", student, tmp_path / "out", ids, packing="documents")


def refused(message: str, run: Any) -> None:
    with pytest.raises(UserError, match=message):
        run()


def test_what_does_not_fit(tmp_path: Path, student: Path, teacher: Path, ids: WorkInput) -> None:
    plain = token_ids(tmp_path / "plain", tiny_llms.TEXT[:900], context=24)
    known = step("record", teacher, tmp_path / "known", plain, top=4)
    out = tmp_path / "out"
    refused("recorded on other token ids", lambda: step("distill", student, out, ids, known.out))
    refused("do not say where a document ends", lambda: step("finetune", student, out, plain, packing="documents"))
    refused("matches nothing", lambda: step("finetune", student, out, plain, freeze=["*nothing"]))
    refused("freeze' names every parameter", lambda: step("finetune", student, out, plain, freeze=["*"]))
    refused("changed no weight", lambda: step("finetune", student, out, plain, lr=1e-30))
    long = token_ids(tmp_path / "long", tiny_llms.TEXT[:3000], context=300)
    refused("300 tokens are longer than the model's 256 positions", lambda: step("finetune", student, out, long))
    tiny_llms.language_model(tmp_path / "small", layers=1, vocab_size=200)
    refused("has 200 tokens", lambda: step("finetune", tmp_path / "small", out, plain))
    tiny_llms.language_model(tmp_path / "wide", layers=1, vocab_size=400)
    step("distill", tmp_path / "wide", out, plain, known.out)  # tokens that only the student knows are others


def test_recorded_rows_that_are_no_distribution_are_seen(
    tmp_path: Path, teacher: Path, ids: WorkInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cbuild_llm.train import record

    made = step("record", teacher, tmp_path / "known", ids, top=5)
    token_logits.validate(made.out)
    reduced = record._reduced

    def sharper(rows: Any, top: int, temperature: float) -> Any:
        kept, logs, rest = reduced(rows, top, temperature)
        return kept, logs - torch.logsumexp(logs, 1, keepdim=True), rest

    monkeypatch.setattr(record, "_reduced", sharper)
    wrong = step("record", teacher, tmp_path / "wrong", ids, top=5)
    with pytest.raises(ValueError, match="no distribution"):
        token_logits.validate(wrong.out)


def test_texts_end_where_they_are_said_to(tmp_path: Path, student: Path) -> None:
    for name, text in (("a.txt", "def pool(x):"), ("b.txt", "return x")):
        (tmp_path / name).write_text(text)
    params = msgspec.convert({"text": ["a.txt", "b.txt"], "ends": True, "context": 64}, TokenizeText)
    run_node("cbuild_llm.tokens.tokenize:tokenize", student, params, tmp_path / "ids", root=tmp_path)
    read = TokenIds.read(tmp_path / "ids")
    one, other = (tiny_llms.tokenizer()(text)["input_ids"] for text in ("def pool(x):", "return x"))
    assert read.ids.tolist() == [*one, END, *other, END]
    window = next(iter(read.windows()))
    bounds = [(part.start, part.end) for part in packing.pieces(read, window, "documents")]
    assert bounds == [(0, len(one) + 1), (len(one) + 1, len(read.ids))]
    assert packing.pieces(read, window, "stream") == [window]
