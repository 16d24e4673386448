"""Parameters of training a language model on text."""

from __future__ import annotations

from .fields import LlmTraining, Packing

__all__ = ["FinetuneLlm"]


class FinetuneLlm(LlmTraining, kw_only=True):
    """Train a language model on text, to recover quality after a compression step."""

    packing: Packing = "stream"
