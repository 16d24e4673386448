"""The pruning techniques one after another in one process; prints the digest of each file made."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import digits
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.gradual import PruneGradual
from cbuild_torch.prune.params.heads import PruneHeads
from cbuild_torch.prune.params.layers import PruneLayers
from cbuild_torch.prune.params.movement import PruneMovement
from cbuild_torch.prune.params.nm import PruneNm
from cbuild_torch.prune.params.recurrent import PruneRecurrent
from cbuild_torch.train.params import Distill


def main(place: Path) -> None:
    def apply(name: str, run: str, subject: Path, params: object, **world: object) -> Path:
        return digits.apply(f"cbuild_torch.{run}", subject, params, place / name, **world).out

    encoder = digits.source(place / "encoder", factory="sequence_models:transformer")
    shorter = apply("layers", "prune.depth:prune", encoder, PruneLayers(count=1, data="calibration"))
    slim = apply("heads", "prune.heads:prune", shorter, PruneHeads(criterion="gradient", data="train"))
    thin = apply("channels", "prune.channels:prune", slim, PruneChannels(steps=2, recover_epochs=1, data="train"))
    sparse = apply("gradual", "prune.gradual:prune", thin, PruneGradual(data="train", epochs=1))
    apply("movement", "prune.movement:prune", sparse, PruneMovement(data="train", epochs=1))
    apply("nm", "prune.nm:prune", sparse, PruneNm())
    layers = {"encoder.layers.?": "encoder.layers.?"}
    attention = {"encoder.layers.?.self_attn": "encoder.layers.?.self_attn"}
    taught = Distill(data="train", teacher="big", epochs=1, hidden=layers, attention=attention)
    world = {"inputs": {"teacher": digits.as_input(encoder)}, "references": {"big": "teacher"}}
    apply("distill", "train.distill:distill", thin, taught, **world)
    gru = digits.source(place / "gru", factory="sequence_models:gru")
    apply("recurrent", "prune.recurrent:prune", gru, PruneRecurrent())
    for path in sorted(place.glob("*/*")):
        if path.is_file() and ".scratch" not in str(path):
            print("made", path.relative_to(place), hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
