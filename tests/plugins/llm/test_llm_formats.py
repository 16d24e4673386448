"""``quantize.llm`` in GPTQ and AWQ checkpoints: read bit by bit, beside what auto-round computed and what it packs."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from safetensors.torch import load_file, save_file

pytest.importorskip("auto_round", reason="the wheel auto-round is not installed")

from cbuild_llm.model import packed
from cbuild_llm.model.checkpoint import validate_quantized
from cbuild_llm.model.quantized import load as load_runner
from cbuild_llm.model.quantized import open_model
from cbuild_llm.quantize import rounding
from cbuild_llm.quantize.params import QuantizeLlm
from quantizing import SIZES, Quantize, dequantized, quantize

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, make_context

FORMS = [
    {"format": "gptq"},
    {"format": "gptq", "symmetric": False},
    {"format": "gptq", "bits": 8, "group-size": 16},
    {"format": "awq"},
    {"format": "awq", "symmetric": False, "ignore": ["*.0.mlp.down_proj"]},
]
NAMES = ["gptq", "gptq with zero points", "gptq of 8 bits", "awq, symmetric", "awq with zero points"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "llama"
    tiny_llms.language_model(folder, layers=2, attention_bias=True, **SIZES)
    return folder


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Quantize:
    """Run the technique; equal parameters run once."""
    home = tmp_path_factory.mktemp("quantized")
    made: dict[str, NodeRun] = {}

    def quantized(**params: Any) -> NodeRun:
        key = json.dumps(params, sort_keys=True)
        if key not in made:
            made[key] = quantize(llama, home / str(len(list(home.iterdir()))), **params)
        return made[key]

    return quantized


def tool(folder: Path, params: dict[str, Any]) -> Any:
    """auto-round as its own documentation calls it, to the nearest."""
    from auto_round import AutoRound
    from auto_round.schemes import QuantizationScheme

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    scheme = {
        "bits": params.get("bits", 4),
        "group_size": params.get("group-size", 32),
        "data_type": "int",
        "sym": params.get("symmetric", True),
        "act_bits": 16,
    }
    stay = ["lm_head", *(["model.layers.0.mlp.down_proj"] if "ignore" in params else [])]
    return AutoRound(
        model,
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        scheme=QuantizationScheme.from_dict(scheme),
        layer_config={name: {"bits": 16, "data_type": "float"} for name in stay},
        iters=0,
        disable_opt_rtn=True,
        disable_model_free=True,
        device_map="cpu",
        amp=False,
        enable_torch_compile=False,  # its warning about that breaks where NNCF has replaced the class of loggers
    )


@pytest.mark.parametrize("params", FORMS, ids=NAMES)
def test_the_files_hold_what_auto_round_computed(llama: Path, quantized: Quantize, params: Any) -> None:
    made = quantized(**params)
    computed, _ = tool(llama, params).quantize()
    found = dequantized(made.out)
    stays = "model.layers.0.mlp.down_proj" if "ignore" in params else "none"
    assert set(found) == {
        name for name, each in computed.named_modules() if "_proj" in name and name != stays and "." in name
    }
    for layer, weight in found.items():
        np.testing.assert_array_equal(weight, computed.get_submodule(layer).weight.detach().double().numpy())
    before, after = load_file(llama / "model.safetensors"), load_file(made.out / "model.safetensors")
    for name, value in before.items():
        if name.removesuffix(".weight") not in found:
            assert torch.equal(value, after[name]), f"{name} stays, bit for bit"
    assert made.facts["layers"] == len(found)
    assert made.facts["bytes"] < made.facts["bytes_before"]


@pytest.mark.slow
@pytest.mark.parametrize("params", FORMS, ids=NAMES)
def test_the_words_are_those_that_auto_round_packs(
    tmp_path: Path, llama: Path, quantized: Quantize, params: Any
) -> None:
    tool(llama, params).quantize_and_save(str(tmp_path), format=f"auto_{params['format']}")
    theirs = load_file(next(tmp_path.rglob("model.safetensors")))
    ours = load_file(quantized(**params).out / "model.safetensors")
    words = [name for name in ours if name.rpartition(".")[2] in ("qweight", "qzeros", "scales", "g_idx")]
    assert len(words) > 30
    for name in words:
        assert name.endswith("g_idx") or torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("params", FORMS, ids=NAMES)
def test_it_runs_with_the_weights_that_the_integers_stand_for(
    tmp_path: Path, llama: Path, quantized: Quantize, params: Any
) -> None:
    made = quantized(**params)
    reference = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    with torch.no_grad():
        for layer, weight in dequantized(made.out).items():
            reference.get_submodule(layer).weight.copy_(torch.from_numpy(weight))
        ids = torch.arange(2, 42)[None]
        wanted = reference(input_ids=ids).logits.numpy()
    validate_quantized(made.out)
    runner = load_runner(make_context(tmp_path), made.out)
    found = runner({"input_ids": ids.numpy(), "attention_mask": np.ones((1, 40), np.int64)})["logits"]
    np.testing.assert_allclose(found, wanted, atol=1e-5 * float(np.abs(wanted).max()))
    assert transformers.AutoTokenizer.from_pretrained(made.out).chat_template == tiny_llms.TEMPLATE


def test_zero_points_are_nearer_than_a_scale_alone(tmp_path: Path) -> None:
    """On weights that lie to one side."""
    model = tiny_llms.language_model(tmp_path / "model", layers=1, **SIZES)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in state.items():
        if "_proj" in name:
            value += 0.2
    model.load_state_dict(state)
    model.save_pretrained(tmp_path / "model")
    errors = []
    for symmetric in (True, False):
        made = quantize(tmp_path / "model", tmp_path / f"made{symmetric}", format="awq", symmetric=symmetric)
        found = dequantized(made.out)
        errors.append(sum(np.square(weight - state[f"{name}.weight"].numpy()).sum() for name, weight in found.items()))
    assert errors[1] < 0.7 * errors[0]


def test_configurations_name_what_stays_in_float(quantized: Quantize) -> None:
    params = {"symmetric": False, "ignore": ["*.0.mlp.down_proj"]}
    awq = json.loads((quantized(format="awq", **params).out / "config.json").read_text())["quantization_config"]
    assert awq == {
        "bits": 4,
        "group_size": 32,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": True,
        "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.down_proj"],
    }
    gptq = json.loads((quantized(format="gptq", **params).out / "config.json").read_text())["quantization_config"]
    assert gptq["sym"] is gptq["desc_act"] is gptq["lm_head"] is False
    (rule,) = gptq["dynamic"]
    matched = [name for name in ("model.layers.0.mlp.down_proj", "model.layers.0.mlp.up_proj", "model.layers.10.mlp.x")
               if re.match(rule.removeprefix("-:"), name)]  # fmt: skip
    assert matched == ["model.layers.0.mlp.down_proj"]


def test_a_zero_point_of_zero_is_no_gptq(tmp_path: Path) -> None:
    """auto-round stores it as 1, and says nothing: all weights of such a group would be off by a step."""
    model = tiny_llms.language_model(tmp_path / "model", layers=1, **SIZES)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3, :32].abs_()
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(
        UserError, match=r"'model\.layers\.0\.mlp\.up_proj' has a group with the zero point 0"
    ) as failed:
        quantize(tmp_path / "model", tmp_path / "gptq", format="gptq", symmetric=False)
    assert "format: awq" in str(failed.value.hint)
    quantize(tmp_path / "model", tmp_path / "awq", format="awq", symmetric=False)


@pytest.mark.parametrize("form", ["gptq", "awq"])
def test_damage_is_seen(tmp_path: Path, quantized: Quantize, form: str) -> None:
    whole = quantized(format=form).out
    tensors = load_file(whole / "model.safetensors")
    layer = "model.layers.1.self_attn.q_proj"

    def changed(name: str, **parts: torch.Tensor | None) -> Path:
        shutil.copytree(whole, tmp_path / name)
        other = {**tensors, **{f"{layer}.{part}": value for part, value in parts.items()}}
        kept = {key: value for key, value in other.items() if value is not None}
        save_file(kept, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        return tmp_path / name

    with pytest.raises(ValueError, match=rf"'{re.escape(layer)}' has no 'qzeros'"):
        validate_quantized(changed("lacks", qzeros=None))
    for part in ("qweight", "qzeros", "scales"):
        cut = tensors[f"{layer}.{part}"][:-1].contiguous()
        with pytest.raises(UserError, match=rf"parts of the packed layer '{re.escape(layer)}' do not fit"):
            open_model(changed(f"cut {part}", **{part: cut}), None, ())


@pytest.mark.parametrize("form", ["gptq", "awq"])
def test_words_in_another_order_are_seen(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Planted: the writer turns rows around, so that the file is another model."""
    monkeypatch.setattr(
        rounding, "pack", lambda *given: {k: v.flip(-1).contiguous() for k, v in packed.pack(*given).items()}
    )
    with pytest.raises(UserError, match="what was written is not the model that was quantized in memory"):
        quantize(llama, tmp_path / "made", format=form)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"format": "awq", "bits": 8}, "`format: awq` holds 4 bits only"),
        ({"symmetric": False}, "loads no compressed-tensors with packed zero points"),
        ({"format": "gptq", "bits": 8, "symmetric": False}, "no server reads GPTQ of 8 bits with zero points"),
    ],
)
def test_forms_that_are_refused(params: Any, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(params, QuantizeLlm)


def test_every_integer_lies_where_the_format_says() -> None:
    """All values of 4 and 8 bits, by themselves, without a model."""
    generator = torch.Generator().manual_seed(0)
    for form, bits in (("gptq", 4), ("gptq", 8), ("awq", 4)):
        integers = torch.randint(2**bits, (32, 64), generator=generator, dtype=torch.uint8)
        zeros = torch.randint(1, 2**bits, (32, 2), generator=generator, dtype=torch.uint8)
        scales = torch.rand((32, 2), generator=generator).half().float()
        made = packed.pack(form, integers, scales, zeros, bits, "layer")  # type: ignore[arg-type]
        wanted = (integers.double() - zeros.double().repeat_interleave(32, 1)) * scales.double().repeat_interleave(
            32, 1
        )
        assert torch.equal(packed.unpack(form, made).double(), wanted)  # type: ignore[arg-type]
        other = copy.copy(made)
        other["qzeros"] = made["qzeros"] ^ 1
        assert not torch.equal(packed.unpack(form, other).double(), wanted)  # type: ignore[arg-type]
