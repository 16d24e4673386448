"""``prune.llm-width``: what is dead goes first, and the narrower model is the source with the rest masked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.prune import width
from cbuild_llm.prune.params.width import PruneLlmWidth
from safetensors.torch import load_file
from training import token_ids

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node
from compressbuild.api.work import WorkInput

Narrow = Callable[..., NodeRun]
PROBE = torch.randint(2, 320, (2, 40), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> WorkInput:
    return token_ids(tmp_path_factory.mktemp("width") / "ids", tiny_llms.TEXT[60_000:60_400])


@pytest.fixture
def narrow(tmp_path: Path, ids: WorkInput) -> Narrow:
    def narrow(model: Path, **params: Any) -> NodeRun:
        typed = msgspec.convert({"tokens": "ids", **params}, PruneLlmWidth)
        world = {"inputs": {"tokens": ids}, "references": {"ids": "tokens"}}
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        return run_node("cbuild_llm.prune.width:prune", artifact(model, "hf-model"), typed, out, **world)

    return narrow


def logits(folder: Path) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=PROBE).logits
    return found


def planted(folder: Path, family: str = "Llama", **options: Any) -> Any:
    """Two layers in which four channels, two neurons, and a group of heads are dead; others in every layer."""
    model = tiny_llms.language_model(folder, family, layers=2, **options)
    state = model.state_dict()
    with torch.no_grad():
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            state[name][:, [3, 20, 21, 31]] = 0
        for index, neurons, group in ((0, [5, 40], 1), (1, [0, 63], 0)):
            layer = f"model.layers.{index}."
            size = state[f"{layer}self_attn.v_proj.weight"].shape[0] // 2
            state[f"{layer}mlp.up_proj.weight"][neurons[0]] = 0
            state[f"{layer}mlp.gate_proj.weight"][neurons[1]] = 0
            state[f"{layer}self_attn.v_proj.weight"][group * size : (group + 1) * size] = 0
            for part in ("self_attn.o_proj", "mlp.down_proj"):
                state[f"{layer}{part}.weight"][[3, 20, 21, 31]] = 0
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("params", "shapes"),
    [
        ({"intermediate": 62}, {"mlp.up_proj": (62, 32), "mlp.down_proj": (32, 62)}),
        ({"kv-heads": 1}, {"self_attn.q_proj": (16, 32), "self_attn.k_proj": (8, 32), "self_attn.o_proj": (32, 16)}),
        ({"hidden": 28}, {"self_attn.q_proj": (32, 28), "mlp.down_proj": (28, 64), "input_layernorm": (28,)}),
        (
            {"hidden": 28, "intermediate": 62, "kv-heads": 1},
            {"self_attn.o_proj": (28, 16), "mlp.gate_proj": (62, 28)},
        ),
    ],
    ids=["neurons", "heads", "channels", "all"],
)
@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
def test_what_is_dead_goes_first(tmp_path: Path, narrow: Narrow, family: str, params: Any, shapes: Any) -> None:
    planted(tmp_path / "model", family, **({"head_dim": 8} if family == "Qwen3" else {}))
    made = narrow(tmp_path / "model", **params)
    wanted, found = logits(tmp_path / "model"), logits(made.out)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 2e-5
    after = load_file(made.out / "model.safetensors")
    for index in range(2):
        for name, shape in shapes.items():
            assert tuple(after[f"model.layers.{index}.{name}.weight"].shape) == shape
    assert made.facts["parameters"] == sum(value.numel() for value in after.values()) < made.facts["parameters_before"]
    assert transformers.AutoTokenizer.from_pretrained(made.out).chat_template == tiny_llms.TEMPLATE


def test_what_is_alive_counts(tmp_path: Path, narrow: Narrow) -> None:
    """The comparison above is not blind: one neuron more than the dead ones changes the logits."""
    planted(tmp_path / "model")
    made = narrow(tmp_path / "model", intermediate=61)
    wanted, found = logits(tmp_path / "model"), logits(made.out)
    assert float((found - wanted).abs().max() / wanted.abs().max()) > 1e-3


def by_definition(folder: Path, ids: WorkInput, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean |activation| of each neuron, mean norm of what each query head gives), one token at a time."""
    from cbuild_llm.model.token_ids import TokenIds

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    seen: dict[str, list[torch.Tensor]] = {"down": [], "o": []}
    block = model.model.layers[layer]
    block.mlp.down_proj.register_forward_pre_hook(lambda _, args: seen["down"].append(args[0][0]))
    block.self_attn.o_proj.register_forward_pre_hook(lambda _, args: seen["o"].append(args[0][0]))
    read = TokenIds.read(Path(ids.path))
    for at in range(0, len(read.ids), 32):
        with torch.no_grad():
            model(input_ids=torch.from_numpy(read.ids[at : at + 32].astype("int64"))[None])
    neurons = torch.cat(seen["down"]).double().abs().mean(0)
    heads = torch.stack([row.reshape(4, 8).norm(dim=1) for row in torch.cat(seen["o"]).double()]).mean(0)
    return neurons, heads


def test_the_most_active_stay(tmp_path: Path, ids: WorkInput, narrow: Narrow) -> None:
    tiny_llms.language_model(tmp_path / "model", layers=2)
    made = narrow(tmp_path / "model", intermediate=24, heads=2, windows=100)
    before, after = (load_file(place / "model.safetensors") for place in (tmp_path / "model", made.out))
    for index in range(2):
        neurons, heads = by_definition(tmp_path / "model", ids, index)
        stay = neurons.argsort(descending=True)[:24].sort().values
        name = f"model.layers.{index}.mlp.down_proj.weight"
        assert torch.equal(after[name], before[name][:, stay])
        best = [max((2 * group, 2 * group + 1), key=lambda at: float(heads[at])) for group in range(2)]
        rows = torch.cat([torch.arange(8 * head, 8 * head + 8) for head in best])
        name = f"model.layers.{index}.self_attn.q_proj.weight"
        assert torch.equal(after[name], before[name][rows]), "one query head of each group"
        name = f"model.layers.{index}.self_attn.k_proj.weight"
        assert torch.equal(after[name], before[name])
    assert (made.facts["heads"], made.facts["kv_heads"]) == (2, 2)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Llama", {"tie_word_embeddings": True, "dtype": torch.bfloat16, "max_shard_size": "40kB"}),
        ("Llama", {"num_key_value_heads": 4}),
        ("Qwen2", {}),
        ("Mistral", {"sliding_window": 16}),
        ("Gemma3Text", {}),
    ],
    ids=["tied, bfloat16, shards", "a head of keys each", "biases", "sliding window", "Gemma"],
)
def test_families(tmp_path: Path, narrow: Narrow, family: str, options: Any) -> None:
    """The check within the step holds; what it writes generates with transformers."""
    tiny_llms.language_model(tmp_path / "model", family, layers=2, **options)
    widths = {"intermediate": 40, "kv-heads": 1} if family == "Gemma3Text" else {"hidden": 24, "intermediate": 40}
    made = narrow(tmp_path / "model", **widths)
    found = transformers.AutoModelForCausalLM.from_pretrained(made.out, local_files_only=True)
    assert found.config.intermediate_size == 40
    assert found.config.head_dim == 8
    assert found.generate(PROBE[:1, :6], max_new_tokens=3, min_new_tokens=3, do_sample=False).shape == (1, 9)


@pytest.mark.parametrize(
    ("family", "params", "message"),
    [
        ("Llama", {}, "no width is given"),
        ("Llama", {"hidden": 64}, "'hidden: 64' is more than the model has: 32"),
        ("Llama", {"heads": 3}, "3 query heads cannot share 2 heads of keys"),
        ("Llama", {"hidden": 30}, r"transformers takes no configuration .*multiple of the number of attention heads"),
        ("Llama", {"intermediate": 64}, "nothing would be pruned"),
        ("GPT2", {"hidden": 16}, "no 'intermediate_size'|no 'hidden_size'"),
        ("Phi3", {"hidden": 16}, r"'model\.layers\.0\.self_attn\.qkv_proj\.weight' of .* is not known"),
        ("Olmo2", {"heads": 2}, r"'model\.layers\.0\.self_attn\.q_norm\.weight' of 32 is not known"),
        ("Gemma3Text", {"hidden": 24}, "the narrower model is not its source"),
    ],
)
def test_what_cannot_be_narrower(tmp_path: Path, narrow: Narrow, family: str, params: Any, message: str) -> None:
    tiny_llms.language_model(tmp_path / "model", family, layers=2)
    with pytest.raises(UserError, match=message):
        narrow(tmp_path / "model", **params)


@pytest.mark.parametrize("fault", ["heads of another group", "norms as they were"])
def test_a_model_that_is_another_is_refused(
    tmp_path: Path, narrow: Narrow, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Planted in what is written; the masked source, which it is compared with, has no such fault."""
    tiny_llms.language_model(tmp_path / "model", layers=2)
    write = width.write_narrower

    def wrong(folder: Path, found: Any, config: Any, change: Any, out: Path) -> None:
        def changed(name: str, tensor: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = change(name, tensor)
            if fault == "norms as they were" and name.endswith("layernorm.weight"):
                return tensor[: len(made)].clone()
            if fault == "heads of another group" and "k_proj" in name:
                return made.roll(8, 0)
            return made

        write(folder, found, config, changed, out)

    monkeypatch.setattr(width, "write_narrower", wrong)
    params = {"hidden": 24} if fault == "norms as they were" else {"heads": 2}
    with pytest.raises(UserError, match="the narrower model is not its source"):
        narrow(tmp_path / "model", **params)
