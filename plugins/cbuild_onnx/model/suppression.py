"""Outputs that list what a model kept, as a detector does: how many rows they have depends on its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import ModelProto

from compressbuild.api import ModelInput, Runner

from . import files

__all__ = ["Without", "kept_only"]

_KEEPS = frozenset({"NonMaxSuppression"})


def kept_only(model: ModelProto) -> list[str]:
    """The outputs that follow from a NonMaxSuppression. Two runs that differ in a rounding may keep other boxes, so the
    rows of one are not those of the other."""
    reached: set[str] = set()
    for node in model.graph.node:
        inner = (each.op_type for graph in files.subgraphs(node) for each in graph.node)
        if not _KEEPS.isdisjoint((node.op_type, *inner)) or not reached.isdisjoint(files.reads(node)):
            reached.update(name for name in node.output if name)
    return [value.name for value in model.graph.output if value.name in reached]


class Without:
    """A Runner that gives no outputs called ``names``."""

    def __init__(self, runner: Runner, names: Sequence[str]) -> None:
        self._runner, self._names = runner, frozenset(names)

    @property
    def inputs(self) -> Sequence[ModelInput]:
        return self._runner.inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in self._runner(feeds).items() if name not in self._names}

    def describe(self) -> dict[str, Any]:
        return self._runner.describe()
