"""A Llama that has learned something, and what a training step is run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tiny_llms
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.train.params.distill import DistillLlm
from cbuild_llm.train.params.finetune import FinetuneLlm
from cbuild_llm.train.params.record import RecordLogits

from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node
from compressbuild.api.work import WorkInput

STEPS: dict[str, tuple[str, Any]] = {
    "record": ("cbuild_llm.train.record:record", RecordLogits),
    "distill": ("cbuild_llm.train.distill:distill", DistillLlm),
    "finetune": ("cbuild_llm.train.finetune:finetune", FinetuneLlm),
}


def token_ids(place: Path, text: str, *, context: int = 32, stride: int | None = None, **options: Any) -> WorkInput:
    """An artifact ``token-ids`` of a text, by the tokenizer of the tiny models. ``end``: of its documents."""
    place.mkdir()
    ids = tiny_llms.tokenizer()(text, verbose=False)["input_ids"]
    TokenIds(np.array(ids, np.int32), context, stride or context, tiny_llms.VOCABULARY, **options).write(place)
    return artifact(place, "token-ids")


def step(name: str, model: Path, out: Path, tokens: WorkInput, teacher: Path | None = None, **params: Any) -> NodeRun:
    """Run one of the three steps."""
    run, kind = STEPS[name]
    inputs, references = {"tokens": tokens}, {"ids": "tokens"}
    said = {"tokens": "ids", **{name.replace("_", "-"): value for name, value in params.items()}}
    if teacher is not None:
        inputs["teacher"] = artifact(teacher, "token-logits")
        references["taught"], said["teacher"] = "teacher", "taught"
    world: dict[str, Any] = {"inputs": inputs, "references": references}
    if "checkpoint" in said:
        world["checkpoint"] = said.pop("checkpoint")
    return run_node(run, artifact(model, "hf-model"), msgspec.convert(said, kind), out, **world)
