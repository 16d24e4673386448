"""``prune.llm-layers``: what is written is the source without some layers, for any program that loads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.model import rewrite
from cbuild_llm.model.comparing import check_cache
from cbuild_llm.model.token_ids import TokenIds
from safetensors import safe_open

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun
from compressbuild.api.work import WorkInput

IDS = torch.randint(320, (2, 48), generator=torch.Generator().manual_seed(1))
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen3": {"head_dim": 8, "layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 8,
              "use_sliding_window": True},
    "Gemma3Text": {"layer_types": ["sliding_attention"] * 3 + ["full_attention"], "sliding_window": 8},
    "GPT2": {},
    "Mamba": {"state_size": 4},
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
}  # fmt: skip


def stock(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """As a program loads it, with no code of ours."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()


def layers_of(model: Any) -> torch.nn.ModuleList:
    body = getattr(model, model.base_model_prefix)
    return body.h if hasattr(body, "h") else body.layers


def without(model: Any, dropped: list[int]) -> torch.Tensor:
    """Logits of a model whose layers are skipped by hand: the forward of each is replaced."""
    for index in dropped:
        layers_of(model)[index].forward = lambda hidden_states, *args, **kwargs: hidden_states
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dropped", [[0], [1, 3]], ids=str)
def test_it_is_the_source_with_the_layers_skipped(
    tmp_path: Path, pruned: Callable[..., NodeRun], family: str, dropped: list[int]
) -> None:
    folder = tmp_path / "model"
    tiny_llms.language_model(folder, family, **FAMILIES[family])
    made = pruned(folder, drop=dropped)
    assert made.facts["dropped"] == dropped
    wanted = without(stock(folder), dropped)
    found = stock(made.out)
    assert len(layers_of(found)) == 4 - len(dropped)
    with torch.no_grad():
        torch.testing.assert_close(found(input_ids=IDS, use_cache=False).logits, wanted, rtol=0, atol=0)
    types = FAMILIES[family].get("layer_types")
    if types is not None:
        kept = [kind for index, kind in enumerate(types) if index not in dropped]
        assert json.loads((made.out / "config.json").read_text())["layer_types"] == kept
    with torch.no_grad():
        whole = found.generate(IDS[:1], max_new_tokens=12, do_sample=False, use_cache=False, pad_token_id=1)
        cached = found.generate(IDS[:1], max_new_tokens=12, do_sample=False, use_cache=True, pad_token_id=1)
    assert whole.tolist() == cached.tolist()


def test_bfloat16_in_shards_stays_as_it_is(tmp_path: Path, pruned: Callable[..., NodeRun]) -> None:
    folder = tmp_path / "model"
    tiny_llms.language_model(folder, dtype=torch.bfloat16, max_shard_size="30kB", tie_word_embeddings=True)
    made = pruned(folder, drop=[1])
    index = json.loads((made.out / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    source = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in tensors(path).items()}
    found = {name: tensor for path in made.out.glob("*.safetensors") for name, tensor in tensors(path).items()}
    assert set(found) == set(index["weight_map"])
    names = {
        "model.layers.0.": "model.layers.0.",
        "model.layers.1.": "model.layers.2.",
        "model.layers.2.": "model.layers.3.",
    }
    for name, tensor in found.items():
        head = next((head for head in names if name.startswith(head)), None)
        origin = name if head is None else name.replace(head, names[head])
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, source[origin]), name
    assert stock(made.out).config.tie_word_embeddings
    beside = {path.name for path in folder.iterdir() if "safetensors" not in path.name}
    assert beside == {path.name for path in made.out.iterdir() if "safetensors" not in path.name}
    assert (made.out / "chat_template.jinja").read_text() == tiny_llms.TEMPLATE


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping


@pytest.mark.parametrize(
    ("choice", "dropped"),
    [
        ({"count": 1, "by": "last"}, [3]),
        ({"count": 2, "by": "spread"}, [1, 2]),
        ({"keep": [0, -1]}, [1, 2]),
        ({"drop": [-1]}, [3]),
    ],
)
def test_by_position(pruned: Callable[..., NodeRun], choice: dict[str, Any], dropped: list[int]) -> None:
    assert pruned(**choice).facts["dropped"] == dropped


def test_influence_is_that_of_the_paper(
    llama: Path, pruned: Callable[..., NodeRun], tokenized: Callable[..., WorkInput]
) -> None:
    """From the hidden states that transformers gives itself. The last is after the final norm, so the last layer's
    output is taken without it."""
    ids = tokenized(tokens=96, context=32, stride=32)
    made = pruned(tokens=ids, count=2)
    model = stock(llama)
    last: list[torch.Tensor] = []
    model.model.norm.register_forward_pre_hook(lambda norm, args: last.append(args[0]))
    rows = torch.tensor(TokenIds.read(Path(ids.path)).ids.astype("int64")).reshape(3, 32)
    with torch.no_grad():
        states = list(model(input_ids=rows, output_hidden_states=True, use_cache=False).hidden_states[:-1])
    states.append(last[0])
    wanted = []
    for before, after in pairwise(states):
        product = (before.double() * after.double()).sum(-1)
        wanted.append(float(1 - (product / before.double().norm(dim=-1) / after.double().norm(dim=-1)).mean()))
    assert made.facts["influence"] == pytest.approx(wanted, abs=2e-6)
    assert made.facts["dropped"] == sorted(sorted(range(4), key=lambda index: wanted[index])[:2])


def test_loss_is_measured_without_the_layers(
    llama: Path, pruned: Callable[..., NodeRun], tokenized: Callable[..., WorkInput]
) -> None:
    ids = tokenized(tokens=96, context=32, stride=32)
    made = pruned(tokens=ids, count=1, by="loss")
    rows = torch.tensor(TokenIds.read(Path(ids.path)).ids.astype("int64")).reshape(3, 32)
    losses = []
    for index in range(4):
        model = stock(llama)
        layers_of(model)[index].forward = lambda hidden_states, *args, **kwargs: hidden_states
        with torch.no_grad():
            losses.append(float(model(input_ids=rows, labels=rows, use_cache=False).loss))
    assert made.facts["loss"] == pytest.approx(min(losses), rel=1e-5)
    assert made.facts["dropped"] == [losses.index(min(losses))]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "one of 'drop', 'keep' and 'count'"),
        ({"drop": [0], "count": 1}, "one of 'drop', 'keep' and 'count'"),
        ({"drop": [4]}, "there is no layer 4: the model has 4"),
        ({"keep": [0, 1, 2, 3]}, "that drops 0 of 4"),
        ({"count": 4, "by": "last"}, "leaves none of 4"),
        ({"count": 1}, "'by: influence' is measured on token ids"),
    ],
)
def test_what_cannot_be_dropped(pruned: Callable[..., NodeRun], choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pruned(**choice)


def test_a_pattern_that_the_configuration_cannot_say_is_refused(tmp_path: Path, pruned: Callable[..., NodeRun]) -> None:
    """Every second layer of a Llama 4 is a mixture of experts, by its number. Without a whole period, no configuration
    of the class fits; the last layer can go."""
    folder = tmp_path / "model"
    tiny_llms.language_model(folder, "Llama4Text", num_local_experts=2, intermediate_size_mlp=64)
    with pytest.raises(UserError, match="not those of a Llama4ForCausalLM") as caught:
        pruned(folder, drop=[0])
    assert "a whole period of its pattern" in (caught.value.hint or "")
    assert pruned(folder, drop=[3]).facts["layers"] == 3


def test_a_cache_by_wrong_positions_is_seen(llama: Path) -> None:
    """Without a cache these positions count for nothing, so no other check sees them."""
    model = stock(llama)
    check_cache(model, IDS)
    for layer in model.model.layers:
        layer.self_attn.layer_idx = 0
    with pytest.raises(UserError, match="with a cache"):
        check_cache(model, IDS)


# -- faults that the technique's own check must see ------------------------------------------------------------------


def _stale_types(edited: Callable[..., dict[str, Any]], said: Any, config: Any, kept: Any) -> dict[str, Any]:
    """As if the configuration's lists were not shortened along with the layers."""
    return {**edited(said, config, kept), "layer_types": config.layer_types[: len(kept)]}


def _swapped(renamed: Callable[..., dict[str, str]], *args: Any) -> dict[str, str]:
    """Two layers of the written model in each other's place."""
    swap = {"layers.0.": "layers.1.", "layers.1.": "layers.0."}
    found = renamed(*args)
    for old, new in found.items():
        head = next((head for head in swap if head in new), None)
        if head is not None:
            found[old] = new.replace(head, swap[head])
    return found


@pytest.mark.parametrize(
    ("place", "fault", "family"),
    [("edited_config", _stale_types, "Gemma3Text"), ("_renamed", _swapped, "Llama")],
    ids=["layer types of other layers", "layers in another order"],
)
def test_a_wrong_model_is_refused(
    tmp_path: Path,
    pruned: Callable[..., NodeRun],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: Callable[..., Any],
    family: str,
) -> None:
    folder = tmp_path / "model"
    tiny_llms.language_model(folder, family, **FAMILIES[family])
    original = getattr(rewrite, place)
    monkeypatch.setattr(rewrite, place, lambda *args: fault(original, *args))
    with pytest.raises(UserError, match="is not its source with these skipped"):
        pruned(folder, drop=[2])
