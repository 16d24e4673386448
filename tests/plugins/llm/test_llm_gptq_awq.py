"""GPTQ and AWQ in ``quantize.llm``: GPTQ beside its definition, AWQ beside its promise, and what the files hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from safetensors.torch import load_file

pytest.importorskip("auto_round", reason="the wheel auto-round is not installed")
pytest.importorskip("compressed_tensors", reason="the wheel compressed-tensors is not installed")

from cbuild_llm.model import hessian
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.quantize import awq, gptq, rounding, tool
from cbuild_llm.quantize.params import QuantizeLlm
from quantizing import SIZES, dequantized, quantize, token_ids, unpacked
from seen_inputs import inputs_of

from compressbuild.api import UserError

LINEAR = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LINEAR += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
Solved = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers with biases, trained a little: what enters its linear layers is correlated. Some channels of the
    residual stream are large, as they are in real models."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    tiny_llms.language_model(folder, layers=2, attention_bias=True, num_key_value_heads=4, **SIZES)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor(tiny_llms.tokenizer()(tiny_llms.TEXT[:40_000], verbose=False)["input_ids"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(40):
        batch = ids[step * 256 : step * 256 + 256].reshape(8, 32)
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    with torch.no_grad():
        for layer in model.model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight[::16] *= 10
    model.save_pretrained(folder)
    return folder


# -- GPTQ ------------------------------------------------------------------------------------------------------------


def by_definition(weight: np.ndarray, gram: np.ndarray, bits: int, size: int, symmetric: bool) -> Solved:
    """GPTQ column by column, without blocks: the inverse of what is left of the damped Hessian is computed for each
    column, and every later column is updated at once. Integers N×K from 0, scales and zero points N×K/S."""
    weight, gram = weight.copy(), gram.copy()
    dead = np.diag(gram) == 0
    weight[:, dead] = 0
    gram[dead, dead] = np.diag(gram).mean()
    gram += 0.01 * np.diag(gram).mean() * np.eye(len(gram))
    integers = np.empty(weight.shape, int)
    scales: list[np.ndarray] = []
    zeros: list[np.ndarray] = []
    for at in range(weight.shape[1]):
        if at % size == 0:
            scale, zero = own_grid(weight[:, at : at + size], bits, symmetric)
            scales, zeros = [*scales, scale], [*zeros, zero]
        integers[:, at] = np.clip(np.rint(weight[:, at] / scales[-1]) + zeros[-1], 0, 2**bits - 1)
        off = weight[:, at] - (integers[:, at] - zeros[-1]) * scales[-1]
        inverse = np.linalg.inv(gram[at:, at:])
        weight[:, at:] -= np.outer(off / inverse[0, 0], inverse[0])
    return integers, np.stack(scales, 1), np.stack(zeros, 1)


def own_grid(group: np.ndarray, bits: int, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scales in float16, and zero points, of the rows of one group. With a scale alone, the weight farthest from 0 is
    the lowest integer, so the scale has its sign turned."""
    low, high = np.minimum(group.min(1), 0), np.maximum(group.max(1), 0)
    if symmetric:
        farthest = np.where(high < -low, low, high)
        scale = np.float16(-np.float32(farthest) / 2 ** (bits - 1))
        return scale.astype(float), np.full(len(group), 2 ** (bits - 1))
    scale = np.float16((np.float32(high) - np.float32(low)) / (2**bits - 1)).astype(float)
    return scale, np.rint(-low / scale)


def correlated(columns: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight 12×K in float32, inputs 600×K). Inputs are mixed, and one is always 0."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(12, columns, generator=generator)
    mix = torch.randn(columns, columns, generator=generator, dtype=torch.float64) / 4 + torch.eye(columns)
    inputs = torch.randn(600, columns, generator=generator, dtype=torch.float64) @ mix
    inputs[:, columns // 2] = 0.0
    return weight, inputs


FORMS = [(4, 8, True), (4, 32, True), (4, 32, False), (8, 32, True), (4, 160, True), (4, 160, False)]
FORM_NAMES = [f"{bits} bits, {size}, {'scales' if even else 'zero points'}" for bits, size, even in FORMS]


@pytest.mark.parametrize(("bits", "size", "symmetric"), FORMS, ids=FORM_NAMES)
def test_gptq_is_its_definition(bits: int, size: int, symmetric: bool) -> None:
    weight, inputs = correlated(160)
    gram = hessian.gram(inputs)
    found = gptq.solve(weight, gram, bits, size, symmetric)
    wanted = by_definition(weight.double().numpy(), gram.numpy(), bits, size, symmetric)
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(own.double().numpy(), other)


@pytest.mark.parametrize(("bits", "size", "symmetric"), FORMS, ids=FORM_NAMES)
def test_without_correlation_it_is_rounding_to_the_nearest(bits: int, size: int, symmetric: bool) -> None:
    weight, _ = correlated(160)
    found = tool.standing_for(gptq.solve(weight, torch.eye(160, dtype=torch.float64), bits, size, symmetric))
    wanted = tool.grid(weight, bits, SimpleNamespace(symmetric=symmetric, group_size=size))  # type: ignore[arg-type]
    assert torch.equal(found, wanted)


def layer_by_layer(
    source: Path, written: dict[str, np.ndarray], ids: torch.Tensor, see: Callable[[str, np.ndarray, np.ndarray], None]
) -> None:
    """``see`` name, weight N×K and inputs M×K of each linear layer: the whole model runs again for each decoder layer,
    with what was written in those before it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    for index, layer in enumerate(model.model.layers):
        seen = inputs_of(model, layer, LINEAR, ids)
        for name in LINEAR:
            weight, whole = layer.get_submodule(name).weight, f"model.layers.{index}.{name}"
            see(whole, weight.detach().double().numpy(), seen[name].flatten(0, 1).double().numpy())
            with torch.no_grad():
                weight.copy_(torch.from_numpy(written[whole]))


def rows_of(made: Path) -> torch.Tensor:
    return torch.from_numpy(TokenIds.read(made / "ids").ids.astype("int64").reshape(8, 32))


def share_off(llama: Path, place: Path) -> float:
    """The share of weights that are not those of the definition: all decoder layers, from their own inputs."""
    made = quantize(llama, place, method="gptq", tokens="ids", format="gptq")
    written, off = dequantized(made.out), []

    def see(name: str, weight: np.ndarray, inputs: np.ndarray) -> None:
        integers, scales, zeros = by_definition(weight, inputs.T @ inputs, 4, 32, True)
        wanted = (integers - zeros.repeat(32, 1)) * scales.repeat(32, 1)
        off.append(np.abs(written[name] - wanted) > 1e-6)

    layer_by_layer(llama, written, rows_of(place), see)
    assert len(off) == 14
    return float(np.concatenate([each.ravel() for each in off]).mean())


def test_every_layer_is_rounded_on_what_the_rounded_ones_give(tmp_path: Path, llama: Path) -> None:
    assert share_off(llama, tmp_path / "made") < 0.01, "all but near ties of float32, and what follows from these"


def _no_feedback(factor: Any) -> Any:
    return lambda *given: torch.diag(factor(*given).diagonal())


def _of_the_first_layer(change: Any) -> Any:
    """Layers of one size share the statistics of the first of them."""

    def changed(*given: Any) -> Any:
        first: dict[int, torch.Tensor] = {}
        *rest, act = given
        change(*rest, lambda name, layer, found: act(name, layer, first.setdefault(len(found), found)))

    return changed


def _of_the_group_before(ranges: Any) -> Any:
    last: list[Any] = []

    def stale(*given: Any) -> Any:
        last.append(ranges(*given))
        return last[-2] if len(last) > 1 and len(last[-2][0]) == len(last[-1][0]) else last[-1]

    return stale


@pytest.mark.parametrize(
    ("name", "fault"),
    [("inverse_factor", _no_feedback), ("change_layers", _of_the_first_layer), ("ranges", _of_the_group_before)],
    ids=["no error feedback", "the Hessian of another layer", "the scale of another group"],
)
def test_the_comparison_sees(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(gptq, name, fault(getattr(gptq, name)))
    assert share_off(llama, tmp_path / "made") > 0.1


@pytest.mark.parametrize("symmetric", [True, False])
def test_every_layer_errs_less_than_rounded_to_the_nearest(tmp_path: Path, llama: Path, symmetric: bool) -> None:
    made = quantize(llama, tmp_path / "made", method="gptq", tokens="ids", format="awq", symmetric=symmetric)
    written, compared = dequantized(made.out), []

    def see(name: str, weight: np.ndarray, inputs: np.ndarray) -> None:
        nearest = tool.grid(torch.from_numpy(weight).float(), 4, QuantizeLlm(format="awq", symmetric=symmetric))
        errors = [np.square(inputs @ (each - weight).T).sum() for each in (written[name], nearest.double().numpy())]
        assert errors[0] <= errors[1], name
        compared.append(errors[0] / errors[1])

    layer_by_layer(llama, written, rows_of(tmp_path / "made"), see)
    assert len(compared) == 14
    assert float(np.mean(compared)) < 0.8


# -- AWQ -------------------------------------------------------------------------------------------------------------


def logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    """By transformers, of a float directory or of compressed-tensors."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        return model(input_ids=ids).logits.float()


def factors(before: dict[str, Any], after: dict[str, Any], name: str) -> np.ndarray:
    return (before[name].double() / after[name].double()).numpy()


def awq_of(llama: Path, place: Path) -> tuple[float, float, float]:
    """Beside the factors by which norms were divided: the share of weights that are not the nearest of the source's
    times these, the farthest in steps of the grid, and how much the factors of one norm differ (a logarithm)."""
    made = quantize(llama, place, method="awq", tokens="ids")
    before, after = load_file(llama / "model.safetensors"), load_file(made.out / "model.safetensors")
    layers, off, spread = unpacked(made.out), [], 0.0
    assert made.facts["layers"] == len(layers) == 14
    for index in range(2):
        path = f"model.layers.{index}"
        # v_proj and up_proj are divided by the factors of what reads them, too
        for norm, names in (("input_layernorm", LINEAR[:2]), ("post_attention_layernorm", LINEAR[4:5])):
            scale = factors(before, after, f"{path}.{norm}.weight")
            spread = max(spread, float(np.ptp(np.log(scale))))
            for name in names:
                integers, steps = layers[f"{path}.{name}"]
                wanted = before[f"{path}.{name}.weight"].double().numpy() * scale
                off.append(np.abs(integers * steps - wanted) / np.abs(steps))
    for name in ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"):
        assert torch.equal(before[name], after[name])
    whole = np.concatenate([each.ravel() for each in off])
    return float((whole > 0.5).mean()), float(whole.max()), spread


def test_awq_scales_channels_and_what_makes_them(tmp_path: Path, llama: Path) -> None:
    wrong, farthest, spread = awq_of(llama, tmp_path / "made")
    assert wrong < 0.05, "only the ends of a grid with one scale"
    assert farthest < 1.01
    assert spread > 0.5, "channels have factors of their own"


def test_awq_and_gptq_are_nearer_to_the_source_than_rounding(tmp_path: Path, llama: Path) -> None:
    """On other tokens than those that they were chosen on, by transformers alone."""
    ids = torch.from_numpy(TokenIds.read(Path(token_ids(tmp_path / "ids", 70_000).path)).ids.astype("int64"))
    wanted = logits(llama, ids.reshape(8, 32))
    errors = {}
    for method in ("rtn", "awq", "gptq"):
        made = quantize(llama, tmp_path / method, method=method, tokens="ids")
        errors[method] = float((logits(made.out, ids.reshape(8, 32)) - wanted).square().mean())
        assert made.facts["method"] == method
    assert errors["awq"] < 0.9 * errors["rtn"]
    assert errors["gptq"] < 0.9 * errors["rtn"]


def test_norms_that_are_not_divided_are_seen(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: layers are scaled, and what makes their inputs is not. The step's check of fidelity sees it at times
    only; that of what was written always does. Without both, the files say it."""
    write = rounding.write_quantized
    monkeypatch.setattr(rounding, "write_quantized", lambda *given: write(*given[:-2], {}, given[-1]))
    with pytest.raises(UserError, match="not the model that was quantized in memory"):
        awq_of(llama, tmp_path / "refused")
    monkeypatch.setattr(rounding, "check_fidelity", lambda *given, **more: {})
    wrong, _, spread = awq_of(llama, tmp_path / "made")
    assert wrong > 0.3
    assert spread == 0


def test_pairs_that_would_change_the_model_are_refused(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: what auto-round knows of the model is wrong. The gate is not linear; the norm has another reader."""
    from auto_round.algorithms.transforms.awq import mappings

    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    ids = [torch.arange(2, 34)[None]]
    awq.check_smoothing(model, ids)
    for smooth, balance in ((r"gate_proj$", [r"down_proj$"]), (r"input_layernorm$", [r"q_proj$", r"k_proj$"])):
        right = [each for each in mappings.default_mappings if each.smooth_layer != smooth]
        monkeypatch.setitem(
            mappings.AWQ_MAPPING_REGISTRY, "LlamaForCausalLM", [*right, mappings.AWQMapping(smooth, balance)]
        )
        layer = smooth.removesuffix("$")
        with pytest.raises(
            UserError, match=rf"AWQ would change the model: not only .* read 'model\.layers\.0\.\S*{layer}'"
        ):
            awq.check_smoothing(model, ids)
    monkeypatch.setitem(mappings.AWQ_MAPPING_REGISTRY, "LlamaForCausalLM", [])
    with pytest.raises(UserError, match="auto-round knows no layers of a LlamaForCausalLM"):
        quantize(llama, tmp_path / "made", method="awq", tokens="ids")


# -- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gptq", pytest.param("awq", marks=pytest.mark.slow)])
def test_all_formats_hold_what_was_computed(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    computed: dict[str, tool.Integers] = {}
    made_by = {"gptq": "gptq_integers", "awq": "choose_integers"}[method]
    original = getattr(rounding, made_by)

    def noted(*given: Any) -> Any:
        computed.update(original(*given))
        return computed if method == "gptq" else computed.items()

    monkeypatch.setattr(rounding, made_by, noted)
    for form in ("compressed-tensors", "gptq", "awq"):
        made = quantize(llama, tmp_path / form, method=method, tokens="ids", format=form)
        found = (
            {name: integers * steps for name, (integers, steps) in unpacked(made.out).items()}
            if form == "compressed-tensors"
            else dequantized(made.out)
        )
        assert set(found) == set(computed)
        assert len(found) == 14
        for name, weight in found.items():
            np.testing.assert_array_equal(weight, tool.standing_for(computed[name]).double().numpy())


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_bits_under_a_budget(tmp_path: Path, llama: Path, method: str) -> None:
    made = quantize(llama, tmp_path / "made", method=method, tokens="ids", budget="280 kB")
    used = {each["bits"] for each in made.facts["choice"]}
    assert len(used) > 1
    assert made.facts["directory_bytes"] <= 280_000


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_without_tokens_it_is_refused(method: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"`method: {method}` works on token ids: add `tokens: TARGET`"):
        msgspec.convert({"method": method}, QuantizeLlm)


SCRIPT = """
import sys
from pathlib import Path
from quantizing import quantize
for method in ("gptq", "awq"):
    quantize(Path(sys.argv[1]), Path(sys.argv[2]) / method, method=method, tokens="ids", format="awq", symmetric=False)
"""


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(tmp_path: Path, llama: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": number}
        subprocess.run([sys.executable, "-c", SCRIPT, llama, tmp_path / number], check=True, env=environment)
    for method in ("gptq", "awq"):
        one, two = (tmp_path / number / method / "out" for number in ("1", "2"))
        names = sorted(path.name for path in one.iterdir())
        assert "model.safetensors" in names
        assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
