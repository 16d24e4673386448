"""``quantize.llm: {budget: …}``: measured losses beside a loop of transformers, the choice beside all combinations."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from safetensors.torch import load_file

pytest.importorskip("auto_round", reason="the wheel auto-round is not installed")

from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.quantize.budget import choose
from cbuild_llm.quantize.params import QuantizeLlm
from quantizing import SIZES, dequantized, quantize, token_ids, unpacked

from compressbuild.api import UserError

PLANTED = "model.layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers. In one matrix of the second, one weight of each group is several times as
    large as the others, so rounding to 4 bits is coarse there; and what it is multiplied with is zero."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    model = tiny_llms.language_model(folder, layers=2, initializer_range=0.06, **SIZES)
    with torch.no_grad():
        layer = model.model.layers[1].mlp
        layer.down_proj.weight.mul_(3)
        layer.down_proj.weight[:, ::32] = 2.5
        layer.up_proj.weight[::32] = 0
    model.save_pretrained(folder)
    return folder


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits[0].double().log_softmax(-1)


def divergence(source: Any, other: Any, windows: list[torch.Tensor]) -> float:
    terms = []
    for ids in windows:
        known, own = logits(source, ids), logits(other, ids)
        terms.append((known.exp() * (known - own)).sum(-1))
    return float(torch.cat(terms).mean())


def nearest(weight: torch.Tensor, bits: int, size: int = 32) -> torch.Tensor:
    """Symmetric, a scale in float16 for each group, the larger side reaching to the end of its grid."""
    groups = weight.double().reshape(-1, size)
    least, most = groups.amin(1, keepdim=True).clamp(max=0), groups.amax(1, keepdim=True).clamp(min=0)
    reach = torch.where(most < -least, -least, -most)  # the side of more steps takes the larger
    scale = (reach / 2 ** (bits - 1)).half().double()
    scale = torch.where(scale < 0, scale.clamp(max=-1e-5), scale.clamp(min=1e-5))
    integers = (groups / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (integers * scale).reshape(weight.shape).float()


def stock(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def with_bits(folder: Path, bits: dict[str, int]) -> Any:
    made = stock(folder)
    with torch.no_grad():
        for name, count in bits.items():
            weight = made.get_submodule(name).weight
            weight.copy_(nearest(weight, count))
    return made


def windows_of(place: Path) -> list[torch.Tensor]:
    tokens = TokenIds.read(Path(token_ids(place, 60_000).path))
    return [torch.from_numpy(row.astype("int64"))[None] for row in tokens.ids.reshape(8, 32)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Any:
    home = tmp_path_factory.mktemp("mixed")
    made: dict[str, Any] = {}

    def mixed(budget: int, **params: Any) -> Any:
        key = json.dumps([budget, params], sort_keys=True)
        if key not in made:
            place = home / str(len(made))
            made[key] = quantize(llama, place, budget=f"{budget}", tokens="ids", **params)
        return made[key]

    return mixed


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> tuple[int, int]:
    """Bytes of the directory with all layers in 4 bits, and with none."""
    made = quantize(llama, tmp_path_factory.mktemp("least") / "made")
    return held(made.out), held(llama)


def test_losses_are_those_of_a_loop(tmp_path: Path, llama: Path, sizes: Any, mixed: Any) -> None:
    made = mixed((sizes[0] + sizes[1]) // 2)
    windows, source = windows_of(tmp_path / "ids"), stock(llama)
    for row in made.facts["choice"]:
        for bits in (4, 8):
            alone = with_bits(llama, dict.fromkeys(row["layers"], bits))
            assert row["losses"][str(bits)] == pytest.approx(divergence(source, alone, windows), rel=1e-3, abs=1e-9)
    names = [row["layers"] for row in made.facts["choice"]]
    first = [f"model.layers.0.{part}_proj" for part in ("self_attn.q", "self_attn.k", "self_attn.v")]
    assert names[0] == first, "what reads the same is one part"
    assert [len(each) for each in names] == [3, 1, 2, 1] * 2


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("form", ["compressed-tensors", "gptq"])
def test_the_directory_fits_and_no_other_choice_is_better(
    tmp_path: Path, llama: Path, sizes: Any, mixed: Any, share: float, form: str
) -> None:
    """Judged by all 3^8 combinations with the sizes and losses of the report, and on the bytes of the directory."""
    budget = int(sizes[0] + share * (sizes[1] - sizes[0]) + 6000)
    made = mixed(budget, format=form)
    assert held(made.out) <= budget
    assert held(made.out) == made.facts["directory_bytes"]
    assert held(made.out) > budget - 0.12 * (sizes[1] - sizes[0]) - 6000, "the budget is used"
    rows = made.facts["choice"]
    options = [[*map(float, row["losses"].values()), 0.0] for row in rows]
    bits = [[*row["losses"], "float"] for row in rows]
    bytes_of = all_bytes(llama, rows, form)
    fixed = made.facts["directory_bytes"] - sum(
        each[names.index(str(row["bits"]))] for each, names, row in zip(bytes_of, bits, rows, strict=True)
    )
    best = min(
        sum(option[at] for option, at in zip(options, picked, strict=True))
        for picked in itertools.product(range(3), repeat=len(rows))
        if fixed + sum(each[at] for each, at in zip(bytes_of, picked, strict=True)) + 8000 <= budget
    )
    assert made.facts["loss_sum"] <= best + 1e-12


def all_bytes(folder: Path, rows: Any, form: str) -> list[list[int]]:
    """Bytes of each part in 4 bits, 8 and float: weights, float16 scales, and what the form has beside them."""
    weights = load_file(folder / "model.safetensors")
    found = []
    for row in rows:
        shapes = [weights[f"{name}.weight"].shape for name in row["layers"]]
        found.append(
            [
                *(sum(n * k * bits // 8 + n * k // 32 * 2 + k * 4 for n, k in shapes) for bits in (4, 8)),
                sum(n * k * 4 for n, k in shapes),
            ]
        )
    return found


def test_a_planted_layer_stays_precise(tmp_path: Path, llama: Path, sizes: Any, mixed: Any) -> None:
    made = mixed(int(sizes[0] + 0.05 * (sizes[1] - sizes[0]) + 6000))
    bits = {name: row["bits"] for row in made.facts["choice"] for name in row["layers"]}
    losses = {name: row["losses"]["4"] for row in made.facts["choice"] for name in row["layers"]}
    assert max(losses, key=losses.__getitem__) == PLANTED
    assert bits[PLANTED] != 4
    assert 4 in bits.values()
    windows, source = windows_of(tmp_path / "ids"), stock(llama)
    chosen = {name: count for name, count in bits.items() if count != "float"}
    flat = dict.fromkeys(bits, 4)
    lost = [divergence(source, with_bits(llama, each), windows) for each in (chosen, flat)]
    assert lost[0] < 0.5 * lost[1], "together, too, it loses much less than 4 bits everywhere"


@pytest.mark.parametrize("form", ["compressed-tensors", "gptq"])
def test_what_is_written_is_what_was_chosen(llama: Path, sizes: Any, mixed: Any, form: str) -> None:
    made = mixed(int(sizes[0] + 0.08 * (sizes[1] - sizes[0]) + 6000), format=form)
    bits = {name: row["bits"] for row in made.facts["choice"] for name in row["layers"]}
    assert len(set(bits.values())) > 1
    if form == "gptq":
        loaded = dequantized(made.out)
    else:
        loaded = {name: integers * scale for name, (integers, scale) in unpacked(made.out).items()}
        model = stock(made.out)
        with torch.no_grad():
            found = model(input_ids=torch.arange(2, 42)[None]).logits
            wanted = with_bits(llama, {name: count for name, count in bits.items() if count != "float"})
            errors = found - wanted(input_ids=torch.arange(2, 42)[None]).logits
        assert errors.abs().max() < 1e-3 * found.abs().max(), "transformers reads the bits of each layer"
    for name, count in bits.items():
        weight = stock(llama).get_submodule(name).weight.detach()
        assert (name in loaded) == (count != "float")
        if name in loaded:
            assert (torch.from_numpy(loaded[name]).float() != nearest(weight, count)).float().mean() < 0.01, name


def test_awq_has_4_bits_or_floats(sizes: Any, mixed: Any) -> None:
    made = mixed(int(sizes[0] + 0.5 * (sizes[1] - sizes[0]) + 6000), format="awq")
    assert {row["bits"] for row in made.facts["choice"]} == {4, "float"}
    said = json.loads((made.out / "config.json").read_text())["quantization_config"]
    stay = {name for row in made.facts["choice"] if row["bits"] == "float" for name in row["layers"]}
    assert set(said["modules_to_not_convert"]) == {*stay, "lm_head"}


def test_budgets_that_cannot_be_met(llama: Path, tmp_path: Path, sizes: Any) -> None:
    with pytest.raises(UserError, match=r"the smallest choice has [\d,]+ bytes, more than the budget of 20,000") as bad:
        quantize(llama, tmp_path / "small", budget="20 kB", tokens="ids")
    least = int(str(bad.value).partition("has ")[2].partition(" bytes")[0].replace(",", ""))
    assert sizes[0] <= least <= sizes[0] + 16_000
    made = quantize(llama, tmp_path / "least", budget=str(least), tokens="ids")
    assert {row["bits"] for row in made.facts["choice"]} == {4}
    with pytest.raises(UserError, match="holds the model as it is"):
        quantize(llama, tmp_path / "large", budget="1 GB", tokens="ids")


@pytest.mark.parametrize(
    ("params", "message"),
    [({"budget": "60 MB"}, "add `tokens: TARGET`"), ({"budget": "much", "tokens": "ids"}, "a size above 0")],
)
def test_parameters_that_are_refused(params: Any, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(params, QuantizeLlm)


def test_the_choice_is_the_best_of_all_combinations() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        count = int(generator.integers(1, 6))
        options = [
            {
                bits: (int(generator.integers(1, 40)) * scale, float(generator.integers(0, 9)))
                for bits, scale in ((4, 1), (8, 2), (32, 4))
            }
            for _ in range(count)
        ]
        room = int(generator.integers(1, 200))
        fitting = [
            (sum(each[at][1] for each, at in zip(options, picked, strict=True)), picked)
            for picked in itertools.product((4, 8, 32), repeat=count)
            if sum(each[at][0] for each, at in zip(options, picked, strict=True)) <= room
        ]
        found = choose(options, room)
        if not fitting:
            assert found is None
            continue
        assert found is not None
        assert sum(each[at][0] for each, at in zip(options, found, strict=True)) <= room
        assert sum(each[at][1] for each, at in zip(options, found, strict=True)) == min(fitting)[0]


def test_a_large_choice_fits_and_is_nearly_the_best() -> None:
    """Gigabytes, in steps: never more than there is room for, and no worse than with less room."""
    generator = np.random.default_rng(1)
    options = [
        {bits: (int(size * bits / 4), float(loss / bits**3)) for bits in (4, 8, 32)}
        for size, loss in zip(generator.integers(10**6, 10**8, 300), generator.random(300), strict=True)
    ]
    least = sum(each[4][0] for each in options)
    room = 2 * least
    found, tighter = choose(options, room), choose(options, int(room - 300 * least / 65536))
    assert found is not None
    assert tighter is not None
    assert sum(each[at][0] for each, at in zip(options, found, strict=True)) <= room

    def loss(picked: list[int]) -> float:
        return sum(each[at][1] for each, at in zip(options, picked, strict=True))

    assert loss(found) <= loss(tighter)
