"""The hooks a plugin may implement. Each returns records; none may change a plan.

A whole plugin, ``my_plugin/__init__.py``::

    from compressbuild.api import Params, Stack, Technique, hookimpl

    class Scale(Params):
        \"\"\"Multiply every weight by a factor.\"\"\"
        factor: float = 0.5

    @hookimpl
    def compressbuild_techniques():
        yield Technique(name="my.scale", params=Scale, run="my_plugin.scale:run",
                        consumes=("torch-model",), produces="torch-model",
                        stack=Stack(modules=("torch",), tools=("torch",), preload=("torch",)))

with the entry point ``[project.entry-points.compressbuild] my-plugin = "my_plugin"``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .destination import Destination
    from .executor import Executor
    from .records import AnswerMetric, ArtifactMetric, Backend, Check, Kind, Platform, RunMetric, Source, Technique

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("compressbuild")
hookimpl = pluggy.HookimplMarker("compressbuild")


@hookspec
def compressbuild_techniques() -> Iterable[Technique]:  # type: ignore[empty-body]
    """Yield techniques::

    @hookimpl
    def compressbuild_techniques():
        yield Technique(name="my.scale", run="my_plugin.scale:run", consumes=("torch-model",))
    """


@hookspec
def compressbuild_backends() -> Iterable[Backend]:  # type: ignore[empty-body]
    """Yield backends::

    @hookimpl
    def compressbuild_backends():
        yield Backend(name="my-runtime", compile="my_plugin.rt:compile", load="my_plugin.rt:load")
    """


@hookspec
def compressbuild_kinds() -> Iterable[Kind]:  # type: ignore[empty-body]
    """Yield kinds of artifact::

    @hookimpl
    def compressbuild_kinds():
        yield Kind(name="my-model", files=("model.bin",))
    """


@hookspec
def compressbuild_metrics() -> Iterable[ArtifactMetric | AnswerMetric | RunMetric]:  # type: ignore[empty-body]
    """Yield metrics::

    @hookimpl
    def compressbuild_metrics():
        yield ArtifactMetric(name="zeros", run="my_plugin.metrics:zeros", direction="higher")
    """


@hookspec
def compressbuild_platforms() -> Iterable[Platform]:  # type: ignore[empty-body]
    """Yield platforms for the catalogue::

    @hookimpl
    def compressbuild_platforms():
        yield Platform(name="my-board", backend="my-runtime", settings={"threads": 4})
    """


@hookspec
def compressbuild_sources() -> Iterable[Source]:  # type: ignore[empty-body]
    """Yield what models and datasets can be read from::

    @hookimpl
    def compressbuild_sources():
        yield Source(name="my-rows", of="dataset", params=MyRows, run="my_plugin.rows:load")
    """


@hookspec
def compressbuild_destinations() -> Iterable[Destination]:  # type: ignore[empty-body]
    """Yield places to push to::

    @hookimpl
    def compressbuild_destinations():
        yield Destination(name="my-store", schemes=("mystore",), open="my_plugin.store:open_place")
    """


@hookspec
def compressbuild_executors() -> Iterable[Executor]:  # type: ignore[empty-body]
    """Yield ways to other machines::

    @hookimpl
    def compressbuild_executors():
        yield Executor(name="my-cluster", schemes=("mycluster",), open="my_plugin.cluster:open_machine")
    """


@hookspec
def compressbuild_checks() -> Iterable[Check]:  # type: ignore[empty-body]
    """Yield checks for ``cbuild advise``::

    @hookimpl
    def compressbuild_checks():
        yield Check(name="wide-rows", run="my_plugin.advice:wide_rows", reference="docs/rows.md")
    """


@hookspec
def compressbuild_event(event: dict[str, Any]) -> None:
    """Observe one event of a build (read-only; the dict is the line that ``--json`` prints)::

    @hookimpl
    def compressbuild_event(event):
        if event["event"] == "node-finished":
            print(event["node"], event["status"])
    """
