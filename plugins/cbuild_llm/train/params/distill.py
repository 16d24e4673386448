"""Parameters of training a language model on a teacher's logits."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, ModelRef, Share

from .fields import LlmTraining

__all__ = ["DistillLlm"]


class DistillLlm(LlmTraining, kw_only=True):
    """Train a language model to expect what its teacher expects: alpha·T²·KL + (1 − alpha)·cross-entropy of the next
    token (Hinton et al. 2015).
    """

    teacher: Annotated[ModelRef, Meta(description="target that recorded a teacher on `tokens`, with `record.logits`")]
    alpha: Annotated[Share, Meta(description="weight of the teacher; the text itself weighs 1 − alpha")] = 1.0
