"""Training on some of several outputs: those asked for learn, and what is left out is said."""

from __future__ import annotations

import numpy as np
import pytest
import several_outputs
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.train.params import Distill, Finetune

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node
from compressbuild.api.work import WorkInput

FINETUNE, DISTILL = "cbuild_torch.train.finetune:train", "cbuild_torch.train.distill:distill"
WORLD = {
    "factories": ("several_outputs:spans",),
    "datasets": {"samples": "several_outputs:samples", "begins": "several_outputs:begins"},
}
LONG = {"epochs": 30, "lr": 2e-2, "batch_size": 16}


@pytest.fixture
def source(tmp_path):
    def make(seed=0, **args):
        params = {
            "factory": "several_outputs:spans",
            "args": args,
            "weights": None,
            "inputs": several_outputs.INPUTS,
            "seed": seed,
        }
        out = tmp_path / f"source-{seed}-{len(args)}"
        return run_node("cbuild_torch.model.source:init", None, params, out, seed=seed, **WORLD).out

    return make


def outputs(directory, tmp_path):
    module = load_model(make_context(tmp_path / f"load-{directory.name}", **WORLD), directory)
    x = np.concatenate([inputs["x"] for inputs, _ in several_outputs.samples()])
    with torch.no_grad():
        return {name: value.numpy() for name, value in module(torch.from_numpy(x)).items()}


def accuracy(found):
    labels = np.concatenate([labels for _, labels in several_outputs.samples()])
    return [float((found[name].argmax(1) == labels[:, at]).mean()) for at, name in enumerate(("start", "end"))]


def test_both_outputs_learn_when_both_are_asked_for(source, tmp_path):
    params = Finetune(data="samples", outputs=("start", "end"), **LONG)
    node = run_node(FINETUNE, source(), params, tmp_path / "out", **WORLD)
    assert min(accuracy(outputs(node.out, tmp_path))) > 0.9
    assert node.facts["outputs"] == ["start", "end"]
    assert node.facts["left_out"] == ["vector"]


def test_the_first_alone_learns_by_default_and_the_others_are_named(source, tmp_path):
    node = run_node(FINETUNE, source(), Finetune(data="begins", **LONG), tmp_path / "out", **WORLD)
    start, end = accuracy(outputs(node.out, tmp_path))
    assert start > 0.9
    assert end < 0.5
    assert node.facts["left_out"] == ["end", "vector"]


@pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
def test_a_teacher_teaches_each_output_in_its_own_way(source, tmp_path, names):
    """A teacher with other names teaches in order."""
    teacher, student = source(seed=1, **({"names": names} if names else {})), source()
    match = {"start": "kl", "end": "mse", "vector": "cosine"}
    params = Distill(teacher="t", data="samples", alpha=1.0, match=match, temperature=1.0, **LONG)
    world = {**WORLD, "inputs": {"teacher": WorkInput(path=str(teacher), kind="torch-model")}}
    node = run_node(DISTILL, student, params, tmp_path / "out", references={"t": "teacher"}, **world)
    wanted, found, before = (outputs(each, tmp_path) for each in (teacher, node.out, student))
    for (name, value), known in zip(found.items(), wanted.values(), strict=True):
        assert np.abs(value - known).std() < 0.5 * np.abs(before[name] - known).std() or name == "vector"
    vector = torch.from_numpy(next(reversed(wanted.values())))
    cosines = [
        torch.cosine_similarity(torch.from_numpy(each["vector"]), vector, dim=-1).mean() for each in (before, found)
    ]
    assert cosines[1] > max(0.9, float(cosines[0]))
    assert "left_out" not in node.facts


def test_by_default_the_first_is_taught_and_that_is_said(source, tmp_path):
    world = {**WORLD, "inputs": {"teacher": WorkInput(path=str(source(seed=1)), kind="torch-model")}}
    params = Distill(teacher="t", data="samples", alpha=1.0, epochs=1)
    node = run_node(DISTILL, source(), params, tmp_path / "out", references={"t": "teacher"}, **world)
    assert (node.facts["outputs"], node.facts["left_out"]) == (["start"], ["end", "vector"])


def test_a_name_that_is_none_is_refused(source, tmp_path):
    with pytest.raises(UserError, match="no output 'stop'"):
        run_node(FINETUNE, source(), Finetune(data="begins", outputs=("stop",)), tmp_path / "out", **WORLD)
