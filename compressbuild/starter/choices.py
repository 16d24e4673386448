"""The words of recipes, and those that a user may choose. ``--help`` shows them, so this imports no other module."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["FAMILIES", "GOALS", "SPEED", "TRAIN", "Family", "Goal", "Part", "Role"]

Family = Literal["cnn", "transformer-encoder", "transformer-decoder", "rnn", "mlp", "mix"]
Goal = Literal["size", "latency", "balanced"]
Part = Literal["calibration", "train"]
"""A part of the data that a recipe's steps name."""
Role = Literal["compress", "train", "export"]
FAMILIES: tuple[Family, ...] = get_args(Family)
GOALS: tuple[Goal, ...] = get_args(Goal)
SPEED: Goal = "latency"
TRAIN: Literal["train"] = "train"
"""The role of what trains, and the part of the data that weights are fitted to."""
