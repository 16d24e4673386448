"""The torch-model format: what is saved comes back, and nothing in it is trusted."""

from __future__ import annotations

import json
import pickle
import shutil

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.description import ModelDescription, validate
from cbuild_torch.model.edits import replay
from cbuild_torch.model.module import load_model, save_model
from safetensors.torch import load_file, save_file

from compressbuild.api import UserError
from compressbuild.api.testing import make_context
from examples.digits.model import build


def context(tmp_path, *factories):
    return make_context(tmp_path / "ctx", factories=factories or (digits.FACTORY,))


def test_a_source_holds_what_the_factory_makes(untrained):
    torch.manual_seed(0)
    expected = build(16).eval()
    feeds = {"image": np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)}
    with torch.no_grad():
        wanted = expected(torch.from_numpy(feeds["image"])).numpy()
    assert np.array_equal(digits.outputs(untrained, feeds)["output"], wanted)
    content = json.loads((untrained / "model.json").read_text())
    assert content["inputs"] == [{"name": "image", "shape": ["batch", 1, 8, 8], "dtype": "float32"}]
    assert content["edits"] == []
    assert sorted(path.name for path in untrained.iterdir()) == ["model.json", "weights.safetensors"]


def test_the_seed_makes_the_weights(untrained, tmp_path):
    again = digits.source(tmp_path / "again")
    assert (again / "weights.safetensors").read_bytes() == (untrained / "weights.safetensors").read_bytes()
    from compressbuild.api.testing import run_node

    params = {"factory": digits.FACTORY, "args": {"width": 16}, "inputs": [["image", ["n", 1, 8, 8], "float32"]]}
    other = run_node(
        "cbuild_torch.model.source:init", None, params, tmp_path / "o", factories=(digits.FACTORY,), seed=1
    ).out
    assert (other / "weights.safetensors").read_bytes() != (untrained / "weights.safetensors").read_bytes()


def test_an_undeclared_factory_is_not_called(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    content = json.loads((copy / "model.json").read_text())
    content["factory"] = "os:abort"
    (copy / "model.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="names a factory 'os:abort'"):
        load_model(context(tmp_path), copy)


@pytest.mark.parametrize(
    "edit",
    [
        {"op": "call", "function": "os:abort"},
        {"op": "set", "module": "stem.0", "attribute": "forward", "value": 1},
        {"op": "set", "module": "stem.0", "attribute": "weight", "value": 1},
        {"op": "set", "module": "stem.0", "attribute": "invented", "value": 1},
        {"op": "set", "module": "stem.0", "attribute": "groups", "value": {"a": 1}},
    ],
)
def test_only_known_edits_of_plain_attributes_are_replayed(edit):
    with pytest.raises(ValueError, match=r"model\.json"):
        replay(build(8), (edit,))


def test_shapes_are_strict_unless_the_model_was_resized(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    weights = load_file(copy / "weights.safetensors")
    weights["classify.weight"] = weights["classify.weight"][:, :8].clone()
    save_file(weights, copy / "weights.safetensors")
    with pytest.raises(UserError, match="the weights do not fit the module"):
        load_model(context(tmp_path), copy)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_validate_finds_damage(trained, tmp_path, name):
    validate(trained)
    copy = shutil.copytree(trained, tmp_path / "copy")
    content = (copy / name).read_bytes()
    for damaged in (content[:-7], content[: len(content) // 2], b""):
        (copy / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            validate(copy)


def test_tied_tensors_are_stored_once_and_stay_tied(toy, tmp_path):
    made = toy("tied", inputs=[["ids", ["batch", 5], "int64"]])
    assert list(load_file(made / "weights.safetensors")) == ["embed.weight"]
    module = load_model(context(tmp_path, "toy_models:tied"), made)
    assert module.project.weight is module.embed.weight


def test_tied_tensors_stay_tied_when_resized(toy, tmp_path):
    made = toy("tied", inputs=[["ids", ["batch", 5], "int64"]])
    ctx = context(tmp_path, "toy_models:tied")
    module = load_model(ctx, made)
    smaller = torch.nn.Parameter(module.embed.weight[:12].detach().clone())
    module.embed.weight = module.project.weight = smaller
    save_model(ctx, module, made, [{"op": "resize"}])
    again = load_model(ctx, ctx.out)
    assert again.project.weight is again.embed.weight
    assert (again.embed.num_embeddings, again.project.out_features) == (12, 12)
    assert torch.equal(again.project.weight, smaller)


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr("cbuild_torch.model.module._LARGE", 0)


@pytest.mark.usefixtures("everything_is_large")
def test_large_weights_are_those_of_the_file_and_training_leaves_it_alone(toy, tmp_path):
    made = toy("tied", inputs=[["ids", ["batch", 5], "int64"]])
    before = (made / "weights.safetensors").read_bytes()
    module = load_model(context(tmp_path, "toy_models:tied"), made)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    assert len(parameters) > len(list(module.parameters())), "tied ones stay tied"
    stored = load_file(made / "weights.safetensors")
    assert all(torch.equal(parameters[name], value) for name, value in stored.items() if name in parameters)
    addresses = [value.data_ptr() for value in parameters.values()]
    assert max(addresses) - min(addresses) < len(before), "in the mapped file"
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    assert (made / "weights.safetensors").read_bytes() == before
    ctx = make_context(tmp_path / "saved", factories=("toy_models:tied",))
    save_model(ctx, module, made)
    kept = load_file(ctx.out / "weights.safetensors")
    assert kept.keys() == stored.keys()
    assert all(torch.equal(kept[name], value + 1.0) for name, value in stored.items())


@pytest.mark.usefixtures("everything_is_large")
def test_frozen_parameters_of_a_large_model_stay_frozen(toy, tmp_path):
    made = toy("frozen")
    module = load_model(context(tmp_path, "toy_models:frozen"), made)
    assert {parameter.requires_grad for parameter in module.parameters()} == {True, False}


@pytest.mark.usefixtures("everything_is_large")
def test_a_large_model_of_another_shape_is_refused(trained, tmp_path):
    state = load_file(trained / "weights.safetensors")
    state["stem.weight"] = torch.zeros(3, 1, 3, 3)
    shutil.copytree(trained, tmp_path / "other")
    save_file(state, tmp_path / "other" / "weights.safetensors")
    with pytest.raises(UserError, match="the weights do not fit"):
        load_model(context(tmp_path), tmp_path / "other")


def test_half_precision_survives(untrained, tmp_path):
    ctx = context(tmp_path)
    save_model(ctx, load_model(ctx, untrained).half(), untrained)
    assert {p.dtype for p in load_model(ctx, ctx.out).parameters()} == {torch.float16}


def test_an_edit_is_not_repeated(untrained):
    description = ModelDescription.read(untrained).edited([{"op": "resize"}]).edited([{"op": "resize"}])
    assert description.edits == ({"op": "resize"},)


class TestWeights:
    """Source weights."""

    @pytest.fixture
    def state(self):
        torch.manual_seed(5)
        return build(16).state_dict()

    @pytest.mark.parametrize("form", ["safetensors", "pt", "nested.pth"])
    def test_are_loaded(self, state, tmp_path, form):
        path = tmp_path / f"w.{form}"
        if form == "safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": state, "epoch": 3} if form == "nested.pth" else state, path)
        made = digits.source(tmp_path / "made", weights=str(path))
        found = load_file(made / "weights.safetensors")
        assert all(torch.equal(found[name], value) for name, value in state.items())

    def test_that_are_pickled_code_are_refused_and_not_run(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        (tmp_path / "w.pt").write_bytes(pickle.dumps({"stem": Bomb()}))
        with pytest.raises(UserError, match="cannot be read safely") as error:
            digits.source(tmp_path / "made", weights=str(tmp_path / "w.pt"))
        assert "safetensors" in (error.value.hint or "")
        assert not (tmp_path / "ran").exists()

    def test_of_another_model_are_refused(self, tmp_path):
        save_file(build(8).state_dict(), tmp_path / "w.safetensors")
        with pytest.raises(UserError, match="the weights do not fit the module") as error:
            digits.source(tmp_path / "made", weights=str(tmp_path / "w.safetensors"))
        assert "args" in (error.value.hint or "")

    @pytest.mark.parametrize(("name", "said"), [("none.pt", "does not exist"), ("bad.safetensors", "cannot be read")])
    def test_that_cannot_be_read_are_named(self, tmp_path, name, said):
        (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
        with pytest.raises(UserError, match=said):
            digits.source(tmp_path / "made", weights=str(tmp_path / name))


def test_a_factory_that_cannot_be_used_is_explained(toy, tmp_path):
    with pytest.raises(UserError, match="returned a dict, not a torch"):
        toy("not_a_module")
    with pytest.raises(UserError, match=r"parameter '1\.weight' of the model from toy_models:lazy is lazy"):
        toy("lazy")
    with pytest.raises(UserError, match=r"cannot call the factory .* unexpected keyword argument 'wide'"):
        digits.source(tmp_path / "made", args={"wide": 3})
    with pytest.raises(UserError, match="has a type that torch does not know: uint24"):
        digits.source(tmp_path / "made", inputs=[["image", ["n", 3], "uint24"]])
    with pytest.raises(UserError, match="declares no inputs"):
        digits.source(tmp_path / "made", inputs=[])


def test_a_mapping_of_inputs_goes_by_name_and_outputs_are_named(toy):
    made = toy("two_inputs", inputs=[["left", ["n", 4], "float32"], ["right", ["n", 6], "float32"]])
    feeds = {"left": np.ones((3, 4), np.float32), "right": np.ones((3, 6), np.float32)}
    found = digits.outputs(made, feeds, ("toy_models:two_inputs",))
    assert {name: value.shape for name, value in found.items()} == {"logits": (3, 8), "norm": (3,)}
