"""prune.layers and what a model keeps for its blocks by position."""

from __future__ import annotations

import json

import position_models
import pytest
import torch
from cbuild_torch.model import positions
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.blocks import bypassed
from cbuild_torch.prune.params.layers import PruneLayers

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node

LAYERS = "cbuild_torch.prune.depth:prune"
FACTORIES = tuple(f"position_models:{name}" for name in position_models.FACTORIES)


@pytest.fixture
def dropped(tmp_path):
    """Drop blocks: what was made, and the whole and the smaller model."""

    def apply(name, drop, run="out"):
        made = {"factory": f"position_models:{name}", "args": {}, "weights": None, "inputs": position_models.INPUTS}
        source = run_node(
            "cbuild_torch.model.source:init", None, made, tmp_path / f"{run}-source", factories=FACTORIES
        ).out
        node = run_node(LAYERS, source, PruneLayers(drop=drop), tmp_path / run, factories=FACTORIES)
        context = make_context(tmp_path / f"{run}-load", factories=FACTORIES)
        return node, load_model(context, source), load_model(context, node.out)

    return apply


def skipped(whole, names, ids):
    with torch.no_grad(), bypassed(whole, names):
        return whole(ids)


@pytest.mark.parametrize("name", ["gemma3", "by_list", "by_attribute"])
@pytest.mark.parametrize("drop", [(0,), (1, 3), (2,)])
@pytest.mark.parametrize("length", [5, 60])
def test_blocks_keep_what_belongs_to_them(dropped, name, drop, length):
    node, whole, small = dropped(name, drop)
    ids = torch.randint(0, 50, (2, length), generator=torch.Generator().manual_seed(length))
    wanted = skipped(whole, node.facts["dropped"], ids)
    with torch.no_grad():
        assert torch.allclose(small(ids), wanted, atol=1e-5)


def test_the_config_is_edited_and_generation_with_a_cache_works(dropped):
    node, whole, small = dropped("gemma3", (0,))
    config = small.model.config
    assert config.layer_types == ["sliding_attention", "full_attention", "full_attention"]
    assert config.num_hidden_layers == 3
    assert [block.self_attn.layer_idx for block in small.model.model.layers] == [0, 1, 2]
    assert len(whole.model.config.layer_types) == 4  # the factory's own object
    ids = torch.arange(3, 33).view(1, 30)
    config.use_cache = True
    cached, plain = (
        small.model.generate(ids, max_new_tokens=4, do_sample=False, use_cache=use) for use in (True, False)
    )
    assert torch.equal(cached, plain)
    assert "config" in {edit["op"] for edit in json.loads((node.out / "model.json").read_text())["edits"]}


def test_what_counts_positions_in_its_code_is_refused(dropped):
    with pytest.raises(UserError, match=r"changes more than skipping them does: output 'output' is off by") as error:
        dropped("by_number", (0,))
    assert "depends on their positions" in (error.value.hint or "")


def test_lists_left_as_they_were_are_caught(dropped, monkeypatch):
    monkeypatch.setattr("cbuild_torch.prune.blocks.list_edits", lambda *_: iter(()))
    with pytest.raises(UserError, match="changes more than skipping them"):
        dropped("gemma3", (0,))


@pytest.mark.parametrize(
    ("attribute", "values"), [("config", {"new": [1]}), ("config", {"layer_types": [[]]}), ("", {"forward": 1})]
)
def test_an_artifact_sets_plain_values_only(attribute, values):
    module = position_models.by_list()
    with pytest.raises(ValueError, match="not a plain list or number"):
        positions.configure(module, "", attribute, values)
