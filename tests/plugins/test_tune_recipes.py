"""cbuild tune --recipe on a real model: each candidate is an ordinary build, and the choice is that of an oracle."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ridge
from command import Ran, Warm, Work

DATA = ("--data", "digits.npz")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    for name in ("onnxruntime", "openvino", "nncf"):
        pytest.importorskip(name)
    work = Warm(tmp_path_factory.mktemp("recipes") / "project")
    images, labels = ridge.digits()
    np.savez(work.root / "digits.npz", image=images, label=labels)
    ridge.write_onnx(work.root / "model.onnx", images, labels)
    yield work
    work.close()


@pytest.fixture(scope="module")
def searches(place: Warm) -> tuple[dict[str, Any], set[str], dict[str, Any], set[str], Ran]:
    """Three candidates, then all, then all again, with the choice written; with the action results after each."""
    words = ("tune", "--recipe", "auto", "model.onnx", *DATA, "--goal", "size", "--json")
    few = json.loads(place(*words, "--trials", "3").out)
    before = records(place)
    every = json.loads(place(*words, "-j", "2").out)
    after = records(place)
    return few, before, every, after, place(*words, "--apply", "-o", "Chosen")


def records(work: Work) -> set[str]:
    return {path.name for path in (work.root / "cache" / "ac").rglob("*") if path.is_file()}


def test_a_search_with_more_trials_runs_no_node_again(searches: Any, place: Warm) -> None:
    few, before, every, after, again = searches
    assert [t["candidate"] for t in every["trials"][:3]] == [t["candidate"] for t in few["trials"]]
    assert len(every["trials"]) > 3
    assert [t["ran"] for t in every["trials"][:3]] == [0] * 3
    assert all(t["ran"] for t in every["trials"][3:])
    assert before < after
    assert [t["ran"] for t in json.loads(again.out)["trials"]] == [0] * len(every["trials"])
    assert records(place) == after
    for trial, same in zip(few["trials"], every["trials"], strict=False):
        assert (trial["quality"], trial["ratio"], trial["size"]) == (same["quality"], same["ratio"], same["size"])


def test_recipes_and_runtimes_are_tried_and_the_smallest_is_chosen(searches: Any) -> None:
    every = searches[2]
    assert every["family"] == "cnn"
    assert {t["runtime"] for t in every["trials"]} >= {"onnxruntime", "openvino"}
    assert {t["recipe"] for t in every["trials"]} >= {None, "static-int8", "openvino-int8", "openvino-weights-int8"}
    kept = [t for t in every["trials"] if t["state"] == "kept"]
    chosen = every["trials"][every["chosen"] - 1]
    assert chosen in kept
    assert chosen["size"] <= 1.01 * min(t["size"] for t in kept)
    assert all(t["reason"] for t in every["trials"] if t is not chosen)


def test_what_it_writes_is_published_from_the_cache_and_measures_the_same(searches: Any, place: Warm) -> None:
    every, again = searches[2], json.loads(searches[4].out)
    assert again["written"]
    chosen = every["trials"][every["chosen"] - 1]
    text = (place.root / "Chosen").read_text()
    assert re.findall(r"^  ([\w-]+):$", text[text.index("\ntargets:") :], re.MULTILINE) == ["fp32", chosen["candidate"]]
    before = records(place)
    ran = place.json("all", "-f", "Chosen")
    assert records(place) == before
    assert not ran.started
    made = ran.targets[chosen["candidate"]]
    assert (made.status, made.metrics["top1"]) == ("published", chosen["quality"])
    again = place("tune", "--recipe", "auto", "model.onnx", *DATA, "--apply", "-o", "Chosen", code=2)
    assert "is there already" in again.err


def test_the_gate_is_that_of_an_ordinary_build(searches: Any, place: Warm) -> None:
    """Where less may be lost than the worst candidate loses, that one is out, untimed, and says by how much."""
    every = searches[2]
    base = every["trials"][0]["quality"]
    worst = min((t for t in every["trials"][1:]), key=lambda t: t["quality"])
    if worst["quality"] >= base:
        pytest.skip("no candidate loses anything on this processor")
    limit = (base - worst["quality"]) / 2
    words = ("tune", "--recipe", "auto", "model.onnx", *DATA, "--goal", "size", "--max-drop", str(limit))
    strict = json.loads(place(*words, "--json").out)
    missed = {t["candidate"] for t in strict["trials"] if t["state"] == "missed"}
    assert missed == {t["candidate"] for t in every["trials"] if base - t["quality"] > limit}
    lost = next(t for t in strict["trials"] if t["candidate"] == worst["candidate"])
    assert (lost["ratio"], lost["ran"]) == (None, 0)
    assert lost["reason"].startswith(f"top1 max-drop {limit:g}: got {base - worst['quality']:.4g}")
    shown = place(*words).out
    assert f"| {worst['candidate']}" in shown
    assert "chosen for size: " in shown


def bits(place: Warm, target: str) -> np.ndarray:
    found = json.loads((place.root / "build" / target / "metrics.json").read_text())["metrics"]["top1"]
    return np.unpackbits(np.frombuffer(base64.b64decode(found["hits"]), np.uint8))[: found["n"]].astype(int)


def test_a_loss_is_judged_by_the_interval_of_the_same_samples(searches: Any, place: Warm) -> None:
    """The oracle resamples the pairs with numpy. What may lose more than is allowed is not kept."""
    every = searches[2]
    chosen = every["trials"][every["chosen"] - 1]
    place("all", "-f", "Chosen")
    lost = bits(place, "fp32") - bits(place, chosen["candidate"])
    rng = np.random.default_rng(1)
    drawn = np.array([lost[rng.integers(0, len(lost), len(lost))].mean() for _ in range(4000)])
    if lost.any():
        assert chosen["lost"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.0015)
    else:
        assert chosen["lost"][1] == pytest.approx(3 / len(lost), rel=0.05)  # the rule of three
    for trial in every["trials"][1:]:
        assert trial["lost"][0] <= every["trials"][0]["quality"] - trial["quality"] <= trial["lost"][1]
        if trial["state"] in ("kept", "unsure"):
            assert (trial["state"] == "kept") == (trial["lost"][1] <= 0.01), trial


def test_few_samples_show_nothing_and_it_says_so(place: Warm) -> None:
    images, labels = ridge.digits()
    np.savez(place.root / "few.npz", image=images[:250], label=labels[:250])
    words = (
        "tune",
        "--recipe",
        "auto",
        "model.onnx",
        "--data",
        "few.npz",
        "--goal",
        "size",
        "--platform",
        "onnxruntime",
    )
    strict = json.loads(place(*words, "--json").out)
    assert strict["chosen"] == 1
    assert {t["state"] for t in strict["trials"][1:]} == {"unsure"}
    assert "150 samples do not show that it loses at most 0.01: 95 % interval " in strict["trials"][1]["reason"]
    shown = place(*words).out
    assert "needs more samples to be judged" in shown
    allowed = json.loads(place(*words, "--json", "--inconclusive", "allow").out)
    assert allowed["chosen"] > 1
    assert [t["lost"] for t in allowed["trials"]] == [t["lost"] for t in strict["trials"]]


def test_the_report_shows_the_candidates(searches: Any, place: Warm) -> None:
    place("tune", "--recipe", "auto", "model.onnx", *DATA, "--goal", "size")  # the last search is shown
    every = searches[2]
    chosen = every["trials"][every["chosen"] - 1]
    said = json.loads(place("report", "-f", "Chosen", "--format", "json", "-o", "-").out)
    shown = {target["name"]: target["search"] for target in said["targets"]}
    found = shown[chosen["candidate"]]
    assert found["chosen"] == every["chosen"]
    assert (found["across"], found["up"], found["relative"]) == ("latency", "top1", ["latency"])
    assert [(t["number"], t["parameters"]["runtime"]) for t in found["trials"]] == [
        (t["trial"], t["runtime"]) for t in every["trials"]
    ]
    kept = {t["trial"]: (t["ratio"], t["size"]) for t in every["trials"] if t["state"] == "kept"}
    front = {
        n for n, own in kept.items() if not any(o != own and o[0] <= own[0] and o[1] <= own[1] for o in kept.values())
    }
    assert {kept[number] for number in found["front"]} == {kept[number] for number in front}
    for trial in found["trials"]:
        assert trial["limits"]["top1"] == [pytest.approx(every["trials"][0]["quality"] - 0.01)]


def test_without_labels_answers_are_compared_with_the_baselines(place: Warm) -> None:
    images, _ = ridge.digits()
    np.savez(place.root / "bare.npz", image=images)
    words = ("--recipe", "static-int8", "model.onnx", "--data", "bare.npz", "--platform", "onnxruntime", "--json")
    found = json.loads(place("tune", *words).out)
    assert found["metrics"]["quality"] == "cosine"
    base, made = found["trials"]
    assert (base["state"], base["quality"]) == ("kept", None)
    assert made["state"] == "kept"
    assert 0.98 <= made["quality"] < 1


def refused(work: Work, *words: str) -> str:
    ran = work("tune", *words, code=2)
    assert "Traceback" not in ran.text
    return ran.err


def test_what_it_refuses(place: Warm) -> None:
    assert "give --data" in refused(place, "--recipe", "auto", "model.onnx")
    assert "there is no 'none.onnx'" in refused(place, "--recipe", "auto", "none.onnx", *DATA)
    assert "did you mean 'static-int8'?" in refused(place, "--recipe", "static-in8", "model.onnx", *DATA)
    assert "does not suit this model" in refused(place, "--recipe", "fewer-heads", "model.onnx", *DATA)
    assert "compresses nothing" in refused(place, "--recipe", "export", "model.onnx", *DATA)
    assert "--minimize" in refused(place, "--recipe", "auto", "model.onnx", *DATA, "--minimize", "size")
    assert "--seed cannot be given with --recipe" in refused(place, "--recipe", "auto", "model.onnx", "--seed", "1")
    assert "--max-drop needs --recipe" in refused(place, "a", "--max-drop", "0.1")
    said = refused(place, "--recipe", "auto", "model.onnx", *DATA, "--platform", "openvin")
    assert "no backend is called 'openvin'" in said
    assert "there is no directory" in refused(place, "--recipe", "auto", "model.onnx", *DATA, "-o", "none/Compressfile")


def test_a_baseline_that_cannot_be_measured(place: Warm) -> None:
    images, labels = ridge.digits()
    np.savez(place.root / "wide.npz", image=np.repeat(images, 3, 1), label=labels)
    words = ("--recipe", "static-int8", "model.onnx", "--data", "wide.npz", "--platform", "onnxruntime")
    ran = place("tune", *words, code=1)
    assert "the model as it came cannot be measured" in ran.err
    assert "Traceback" not in ran.text
