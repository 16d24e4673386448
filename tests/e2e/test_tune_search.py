"""``cbuild tune`` in processes of its own: on a real model, and when it is interrupted."""

from __future__ import annotations

import json
import signal
import time

from command import Work, finish

TARGET = """
  tuned:
    from: base
    steps: [{prune.channels: {ratio: {choose: [0.25, 0.5, 0.75]}, round-to: 1}}]
    evaluate: {data: test, metrics: [top1, parameters]}
    gates: {top1: {max-drop: DROP, against: base}}
"""


def test_the_smallest_model_that_keeps_its_accuracy(mini: Work):
    """A loop of builds says how accurate each is; the gate is put between them."""
    text = (mini.root / "Compressfile").read_text().replace("\ngroups:", TARGET + "\ngroups:")
    text = text.replace("epochs: 1, lr: 0.01}}], evaluate: false}", "epochs: 1, lr: 0.01}}]}")
    mini.write("Compressfile", text.replace("DROP", "1"))
    found = {}
    for ratio in (0.25, 0.5, 0.75):
        ran = mini.json("tuned", "--set", f"targets.tuned.steps.0.prune.channels.ratio.value={ratio}")
        found[ratio] = ran.targets["tuned"].metrics
    base = mini.json("base", "--set", "targets.tuned.steps.0.prune.channels.ratio.value=0.5").targets["base"].metrics
    drops = {ratio: base["top1"] - metrics["top1"] for ratio, metrics in found.items()}
    limit = (min(drops.values()) + max(drops.values())) / 2
    assert min(drops.values()) < limit, "some must miss the gate, others not"
    mini.write("Compressfile", text.replace("DROP", f"{limit:.6f}"))
    said = json.loads(mini("tune", "tuned", "--minimize", "parameters", "--json", "--apply").out)
    kept = [ratio for ratio, drop in drops.items() if drop <= limit]
    smallest = min(kept, key=lambda ratio: found[ratio]["parameters"])
    chosen = said["trials"][said["chosen"] - 1]
    assert chosen["parameters"] == {"ratio": smallest}
    assert [t["ran"] for t in said["trials"]] == [0, 0, 0], "each was built before"
    assert f"choose: [0.25, 0.5, 0.75], value: {smallest}" in (mini.root / "Compressfile").read_text()
    mini("tuned")


def test_ctrl_c_keeps_the_finished_trials(toys: Work):
    toys.write(
        "Compressfile",
        "version: 1\nmodels: {f: {file: f.txt}}\nevaluate: {metrics: [length]}\ntargets:\n"
        "  a: {from: f, steps: [{toy.copy: {note: {choose: [x, y, z]}, seconds: 1.5}}]}\n",
    )
    process = toys.start("tune", "a", "--minimize", "length")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("trial 1: note x")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130
    assert "Traceback" not in ran.text
    assert "1 trials: 1 keep the gates" in ran.out
    assert toys.settle() == []
    again = json.loads(toys("tune", "a", "--minimize", "length", "--json").out)
    assert [t["parameters"]["note"] for t in again["trials"]] == ["x", "y", "z"]
    assert [bool(t["ran"]) for t in again["trials"]] == [False, True, True]


def test_without_optuna_it_names_the_extra(toys: Work):
    toys.write("hidden/optuna/__init__.py", "raise ImportError('not here')")
    toys.write(
        "Compressfile",
        "version: 1\nmodels: {f: {file: f.txt}}\nevaluate: {metrics: [length]}\ntargets:\n"
        "  a: {from: f, steps: [{toy.copy: {note: {choose: [x, y]}}}]}\n",
    )
    ran = toys("tune", "a", "--minimize", "length", code=2, PYTHONPATH=f"{toys.root}/hidden")
    assert "pip install 'compressbuild[tune]'" in ran.err
