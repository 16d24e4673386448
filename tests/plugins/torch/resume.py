"""Trainings killed half-way and run again; prints the digests of what they made and of what an undisturbed one made."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import digits
import torch
import torch._dynamo  # as the engine does, for the first optimizer of a child needs it
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.gradual import PruneGradual
from cbuild_torch.train import optimise
from cbuild_torch.train.params import Distill, Train

FACTORIES = (*digits.FACTORIES, "pruning_models:dropout")
calls = 0
die_at = 0


def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The cross-entropy; at its ``die_at``-th call the process is killed."""
    global calls
    calls += 1
    if calls == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.nn.functional.cross_entropy(outputs, labels)


CASES = {
    # name: (function, model, parameters, the call of the loss that kills)
    "train": (
        "train.finetune:train",
        "dropout",
        Train(data="train", epochs=5, accumulate=2, validation="calibration", patience=2, lr=0.02, loss="resume:loss"),
        60,
    ),
    "distill": (
        "train.distill:distill",
        "cnn",
        Distill(
            data="train",
            teacher="big",
            epochs=2,
            optimizer="sgd",
            lr=0.01,
            hidden={"stem": "stem"},
            loss="resume:loss",
        ),
        28,
    ),
    "gradual": ("prune.gradual:prune", "dropout", PruneGradual(data="train", epochs=3, loss="resume:loss"), 40),
    "channels": (
        "prune.channels:prune",
        "cnn",
        PruneChannels(data="train", steps=3, round_to=2, recover_epochs=1, loss="resume:loss"),
        30,
    ),
}


def in_a_child(function: Callable[[], object]) -> int:
    """Exit status of a process of its own, negative if it was killed."""
    child = os.fork()
    if child == 0:
        function()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def digest(directory: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(directory.iterdir()))).hexdigest()


def main(place: Path) -> None:
    models = {
        "cnn": digits.source(place / "cnn", width=8),
        "dropout": digits.source(place / "dropout", factory="pruning_models:dropout"),
    }
    teacher = {"inputs": {"teacher": digits.as_input(digits.source(place / "wide"))}, "references": {"big": "teacher"}}
    optimise._SAVE_EVERY = 0.0  # after every update, so that it goes on in the middle of an epoch
    os.fsync = lambda _: None  # which is for a power failure; a kill leaves the kernel's copy
    sys.modules["resume"] = sys.modules["__main__"]  # where 'resume:loss' is looked up
    for name, (run, model, params, kill) in CASES.items():

        def apply(out: str, die: int = 0, run=run, model=model, params=params, name=name) -> None:
            global calls, die_at
            calls, die_at = 0, die
            node = digits.apply(
                f"cbuild_torch.{run}", models[model], params, place / f"{name}-{out}",
                factories=FACTORIES, checkpoint=None if out == "whole" else place / f"{name}.checkpoint", **teacher,
            )  # fmt: skip
            (place / f"{name}-{out}.calls").write_text(f"{calls} {node.progress[0]['done']:.3f}")

        assert in_a_child(lambda: apply("whole")) == 0
        assert in_a_child(lambda kill=kill: apply("killed", kill)) == -signal.SIGKILL
        left = sorted(path.name for path in (place / f"{name}.checkpoint").iterdir())
        shutil.rmtree(place / f"{name}-killed")
        assert in_a_child(lambda: apply("killed")) == 0
        said = [(place / f"{name}-{out}.calls").read_text() for out in ("whole", "killed")]
        print(name, digest(place / f"{name}-whole"), digest(place / f"{name}-killed"), *said, *left)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
