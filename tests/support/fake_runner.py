"""Runners and contexts made by hand, for what is measured and not how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compressbuild.api import Context, ModelInput


class FakeRunner:
    """y = f(x) over rows, with inputs as declared; keeps the batches it was given."""

    def __init__(self, function: Callable[..., Mapping[str, Any]], **inputs: tuple[tuple[int | str, ...], str]) -> None:
        self.function = function
        self.inputs = tuple(ModelInput(name, *entry) for name, entry in inputs.items())
        self.batches: list[int] = []

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        self.batches.append(len(next(iter(feeds.values()))))
        return dict(self.function(**feeds))

    def describe(self) -> dict[str, Any]:
        return {"runtime": "fake"}


class FakeContext(Context):
    """A context with runners and datasets made by hand, for what is measured and not how it is loaded."""

    runners: dict[str, Any]
    data: Any

    def has(self, name: str) -> bool:
        return name in self.runners

    def runner(self, name: str) -> Any:
        found = self.runners[name]
        if isinstance(found, Exception):
            raise found
        return found

    def dataset(self, name: str | None = None) -> Any:
        return self.data
