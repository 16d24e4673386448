"""``prune.llm-weights``: the zeros are those of Wanda, and all else is as it was; SparseGPT beside its definition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.model import rewrite
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.prune import sparsegpt, wanda
from cbuild_llm.prune.layerwise import Pattern
from cbuild_llm.prune.params.weights import PruneLlmWeights
from safetensors.torch import load_file
from seen_inputs import inputs_of

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node
from compressbuild.api.work import WorkInput

LINEAR = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LINEAR += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


@pytest.fixture
def ids(tokenized: Callable[..., WorkInput]) -> WorkInput:
    return tokenized(tokens=96, context=32, stride=32)


@pytest.fixture
def zeroed(tmp_path: Path, llama: Path, ids: WorkInput) -> Callable[..., NodeRun]:
    def zeroed(model: Path = llama, **params: Any) -> NodeRun:
        typed = msgspec.convert({"tokens": "ids", **params}, PruneLlmWeights)
        world = {"inputs": {"tokens": ids}, "references": {"ids": "tokens"}}
        return run_node("cbuild_llm.prune.weights:prune", artifact(model, "hf-model"), typed, tmp_path / "out", **world)

    return zeroed


def by_definition(folder: Path, ids: WorkInput, kept: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Masks of what stays. Layer by layer, the whole model runs again with all layers before it pruned. ``kept``: of
    one row's scores."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = torch.tensor(TokenIds.read(Path(ids.path)).ids.astype("int64")).reshape(3, 32)
    masks = {}
    for index, layer in enumerate(model.model.layers):
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in LINEAR}
        hooks = [
            layer.get_submodule(name).register_forward_pre_hook(lambda _, args, into=seen[name]: into.append(args[0]))
            for name in LINEAR
        ]
        with torch.no_grad():
            model(input_ids=rows, use_cache=False)
        for hook in hooks:
            hook.remove()
        for name in LINEAR:
            weight = layer.get_submodule(name).weight
            norms = seen[name][0].reshape(-1, weight.shape[1]).double().norm(dim=0).numpy()
            scores = np.abs(weight.detach().double().numpy()) * norms
            masks[f"model.layers.{index}.{name}.weight"] = mask = np.stack([kept(row) for row in scores])
            with torch.no_grad():
                weight.mul_(torch.from_numpy(mask))
    return masks


def row_by_row(share: float) -> Callable[[np.ndarray], np.ndarray]:
    def kept(row: np.ndarray) -> np.ndarray:
        mask = np.ones(len(row), bool)
        mask[sorted(range(len(row)), key=lambda index: row[index])[: int(share * len(row))]] = False
        return mask

    return kept


def in_groups(zeros: int, size: int) -> Callable[[np.ndarray], np.ndarray]:
    def kept(row: np.ndarray) -> np.ndarray:
        return np.concatenate([row_by_row(zeros / size)(row[at : at + size]) for at in range(0, len(row), size)])

    return kept


@pytest.mark.parametrize(
    ("params", "kept", "sparsity"),
    [
        ({}, row_by_row(0.5), 0.5),
        ({"sparsity": 0.25}, row_by_row(0.25), 0.25),
        ({"pattern": "2:4"}, in_groups(2, 4), 0.5),
        ({"pattern": "4:8"}, in_groups(4, 8), 0.5),
    ],
    ids=["half of each row", "a quarter of each row", "2:4", "4:8"],
)
def test_the_zeros_are_those_of_the_paper(
    llama: Path, ids: WorkInput, zeroed: Callable[..., NodeRun], params: Any, kept: Any, sparsity: float
) -> None:
    made = zeroed(**params)
    masks = by_definition(llama, ids, kept)
    before, after = (load_file(place / "model.safetensors") for place in (llama, made.out))
    assert before.keys() == after.keys()
    differ = total = 0
    for name, weight in before.items():
        if name not in masks:
            assert torch.equal(weight, after[name]), name
            continue
        stays = after[name] != 0
        assert torch.equal(after[name][stays], weight[stays]), name
        differ += int((stays.numpy() != masks[name]).sum())
        total += weight.numel()
    assert differ <= total / 5000, "equal up to ties of float32"
    assert (made.facts["sparsity"], made.facts["layers"], made.facts["weights"]) == (sparsity, 28, total)


def test_bfloat16_and_what_is_ignored_stay(tmp_path: Path, zeroed: Callable[..., NodeRun]) -> None:
    folder = tmp_path / "model"
    tiny_llms.language_model(folder, "Qwen3", head_dim=8, dtype=torch.bfloat16, max_shard_size="40kB")
    made = zeroed(folder, ignore=["*.down_proj"], pattern="2:4")
    after = {name: value for path in made.out.glob("*.safetensors") for name, value in load_file(path).items()}
    assert {value.dtype for value in after.values()} == {torch.bfloat16}
    down = after["model.layers.0.mlp.down_proj.weight"]
    up = after["model.layers.0.mlp.up_proj.weight"]
    assert int((down == 0).sum()) == 0
    assert ((up.reshape(-1, 4) != 0).sum(1) <= 2).all()
    found = transformers.AutoModelForCausalLM.from_pretrained(made.out, local_files_only=True)
    assert torch.equal(found.model.layers[0].mlp.up_proj.weight, up)


@pytest.mark.parametrize(
    ("family", "options", "params", "message"),
    [
        ("Llama", {}, {"ignore": ["*.nothing"]}, "nothing"),
        ("GPT2", {}, {}, "no linear layer is left to prune in 'transformer.h'"),
        ("Llama", {"intermediate_size": 66}, {"pattern": "4:8"}, "mlp.down_proj' has 66 inputs, no multiple of 8"),
    ],
)
def test_what_cannot_be_zeroed(
    tmp_path: Path, zeroed: Callable[..., NodeRun], family: str, options: Any, params: Any, message: str
) -> None:
    tiny_llms.language_model(tmp_path / "model", family, layers=2, **options)
    with pytest.raises(UserError, match=message):
        zeroed(tmp_path / "model", **params)


def test_a_share_beside_a_pattern_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="leave it out"):
        msgspec.convert({"tokens": "ids", "pattern": "2:4", "sparsity": 0.5}, PruneLlmWeights)


def obs(weight: np.ndarray, gram: np.ndarray, pattern: Any) -> np.ndarray:
    """SparseGPT as its paper has it, without blocks of updates: the inverse of what is left of the damped Hessian is
    computed for each column, and every later column is updated at once."""
    weight, gram = weight.copy(), gram.copy()
    rows, columns = weight.shape
    dead = np.diag(gram) == 0
    weight[:, dead] = 0
    gram[dead, dead] = np.diag(gram).mean()
    gram += 0.01 * np.diag(gram).mean() * np.eye(columns)
    errors = [np.linalg.inv(gram[at:, at:])[0, 0] for at in range(columns)]
    stays = np.ones((rows, columns), bool)
    for at in range(columns):
        if pattern.group and at % pattern.group == 0:
            for row in range(rows):
                scores = [weight[row, at + k] ** 2 / errors[at + k] for k in range(pattern.group)]
                for k in sorted(range(pattern.group), key=scores.__getitem__)[: pattern.zeros]:
                    stays[row, at + k] = False
        if not pattern.group and at % 128 == 0:
            end = min(at + 128, columns)
            scores = weight[:, at:end] ** 2 / np.array(errors[at:end])
            least = np.argsort(scores, axis=None)[: int(pattern.share * scores.size)]
            mask = np.ones(scores.size, bool)
            mask[least] = False
            stays[:, at:end] = mask.reshape(scores.shape)
        inverse = np.linalg.inv(gram[at:, at:])
        for row in range(rows):
            if not stays[row, at]:
                weight[row, at:] -= weight[row, at] / inverse[0, 0] * inverse[0]
                weight[row, at] = 0.0
    return weight


def correlated(columns: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight 12×I, inputs 600×I). Neighbouring inputs are alike, and one is always 0."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(12, columns, generator=generator, dtype=torch.float64)
    mix = torch.randn(columns, columns, generator=generator, dtype=torch.float64) / 4 + torch.eye(columns)
    inputs = torch.randn(600, columns, generator=generator, dtype=torch.float64) @ mix
    inputs[:, columns // 2] = 0.0
    return weight, inputs


PATTERNS = [Pattern(share=0.5), Pattern(share=0.3), Pattern(4, 2), Pattern(8, 4)]


@pytest.mark.parametrize("columns", [24, 136])
@pytest.mark.parametrize("pattern", PATTERNS, ids=["half", "0.3", "2:4", "4:8"])
def test_sparsegpt_is_its_definition(pattern: Pattern, columns: int) -> None:
    weight, inputs = correlated(columns)
    gram = inputs.T @ inputs
    found, mask = sparsegpt.solve(weight, gram, pattern)
    wanted = obs(weight.numpy(), gram.numpy(), pattern)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-9)
    assert torch.equal(mask, found != 0) or int((mask & (found == 0)).sum()) == 0
    if pattern.group:
        assert (mask.reshape(12, -1, pattern.group).sum(2) == pattern.group - pattern.zeros).all()
    else:
        blocks = [12 * min(128, columns - at) for at in range(0, columns, 128)]
        assert int((~mask).sum()) == sum(int(pattern.share * size) for size in blocks)


@pytest.mark.parametrize("pattern", PATTERNS, ids=["half", "0.3", "2:4", "4:8"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sparsegpt_errs_less_than_wanda_and_magnitude(pattern: Pattern, seed: int) -> None:
    weight, inputs = correlated(136, seed)
    gram = inputs.T @ inputs

    def error(found: torch.Tensor) -> float:
        return float((inputs @ (found - weight).T).square().sum())

    by_wanda, _ = wanda.WANDA.prune(weight, wanda.WANDA.statistic(inputs), pattern)
    by_size = weight * wanda.kept(weight.abs(), pattern)
    own = error(sparsegpt.solve(weight, gram, pattern)[0])
    assert own < error(by_wanda)
    assert own < error(by_size)


@pytest.mark.parametrize("pattern", ["rows", "2:4"])
def test_sparsegpt_layer_by_layer(llama: Path, ids: WorkInput, zeroed: Callable[..., NodeRun], pattern: str) -> None:
    """The whole model runs again for each decoder layer, with those before it pruned by the definition."""
    made = zeroed(method="sparsegpt", pattern=pattern)
    module = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    rows = torch.tensor(TokenIds.read(Path(ids.path)).ids.astype("int64")).reshape(3, 32)
    after = load_file(made.out / "model.safetensors")
    for index, layer in enumerate(module.model.layers[:2]):
        seen = inputs_of(module, layer, LINEAR, rows)
        for name in LINEAR:
            weight, inputs = layer.get_submodule(name).weight, seen[name].reshape(96, -1).double()
            wanted = obs(weight.detach().double().numpy(), (inputs.T @ inputs).numpy(), _typed(pattern))
            found = after[f"model.layers.{index}.{name}.weight"]
            differ = int((np.abs(found.numpy() - wanted) > 1e-3 * np.abs(wanted).max()).sum())
            assert differ <= found.numel() / 100, f"{index}.{name}: equal up to near ties"
            with torch.no_grad():
                weight.copy_(found)
    assert made.facts["sparsity"] == 0.5
    assert after["model.embed_tokens.weight"].equal(load_file(llama / "model.safetensors")["model.embed_tokens.weight"])


def _typed(pattern: str) -> Pattern:
    return Pattern(4, 2) if pattern == "2:4" else Pattern(share=0.5)


def test_sparsegpt_keeps_the_type(tmp_path: Path, zeroed: Callable[..., NodeRun]) -> None:
    tiny_llms.language_model(tmp_path / "model", layers=1, dtype=torch.bfloat16)
    made = zeroed(tmp_path / "model", method="sparsegpt", pattern="2:4")
    up = load_file(made.out / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert up.dtype == torch.bfloat16
    assert ((up.reshape(-1, 4) != 0).sum(1) == 2).all()


def _unmasked(write: Callable[..., None], folder: Path, found: Any, masks: dict[str, Any], out: Path) -> None:
    """One layer's zeros are not written."""
    write(folder, found, dict(list(masks.items())[1:]), out)


def _shifted(kept: Callable[..., torch.Tensor], scores: torch.Tensor, pattern: Any) -> torch.Tensor:
    return kept(scores, pattern).roll(1, 1)


def test_zeros_that_are_not_written_are_seen(zeroed: Callable[..., NodeRun], monkeypatch: pytest.MonkeyPatch) -> None:
    from cbuild_llm.prune import weights

    monkeypatch.setattr(weights, "write_masked", lambda *args: _unmasked(rewrite.write_masked, *args))
    with pytest.raises(UserError, match=r"'model\.layers\.0\.self_attn\.q_proj\.weight' that was written"):
        zeroed()


def test_the_loop_sees_other_zeros(
    llama: Path, ids: WorkInput, zeroed: Callable[..., NodeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison above is not blind: masks shifted by one column differ from those of the definition."""
    original = wanda.kept
    monkeypatch.setattr(wanda, "kept", lambda *args: _shifted(original, *args))
    after = load_file(zeroed().out / "model.safetensors")
    masks = by_definition(llama, ids, row_by_row(0.5))
    assert any((after[name] != 0).numpy().tolist() != mask.tolist() for name, mask in masks.items())
