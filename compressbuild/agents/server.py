"""The MCP server of ``cbuild mcp``: tools that read, and one that builds, over standard input and output.

Only ``cli/mcp.py`` imports this module, when the command runs: the SDK takes half a second to import.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from .. import __version__
from ..interrupts import ENDING
from .building import Building
from .calls import Refused, Runner
from .skill import NAME, path

__all__ = ["serve"]

_INSTRUCTIONS = f"""\
cbuild builds compressed variants of a model as a Compressfile declares them, measures each, and publishes those that
meet their gates. Plan before you build; a build may take minutes to hours. Change the Compressfile itself, then build:
no tool here edits it. A missed gate is a finding, not an obstacle: find the cause with advise, why and report.
The method of an expert is the resource skill://{NAME}.
"""

_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_BUILDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

Json = dict[str, Any]
_WHICH = "names of targets or groups, globs such as 'sweep-*', tags such as 'tag:edge', or 'all'"
Targets = Annotated[list[str], Field(min_length=1, description=_WHICH)]
Settings = Annotated[
    dict[str, Any],
    Field(description="values to change for this call, as if the file were edited: {'vars.ratio': 0.3}"),
]
Jobs = Annotated[int | None, Field(ge=1, description="how many CPU slots to use; default: the machine's cores")]
Keep = Annotated[bool, Field(description="after a failure, build whatever does not depend on it")]

Full = Annotated[bool, Field(description="also steps, layers, logs, history and provenance, which are long")]
_LONG = frozenset({"nodes", "layers", "steps", "logs", "history", "provenance", "interface", "loading"})


def serve(options: Sequence[str]) -> int:
    """Serve until the client closes standard input, or a signal comes. ``options``: which project, as words of a
    command line. Returns the exit status."""
    runner = Runner(options)
    return anyio.run(_serve, _server(runner), runner)


async def _serve(server: MCPServer[Any], runner: Runner) -> int:
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, runner)
        await server.run_stdio_async()
        group.cancel_scope.cancel()
    return 0


async def _watch(runner: Runner) -> None:
    """A signal ends the commands, then this process at once: the thread that reads standard input cannot be woken."""
    heeded = [signal.Signals(each) for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as signals:
        async for number in signals:
            await runner.stop()
            os._exit(128 + number)


def _server(runner: Runner) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer(
        "compressbuild", instructions=_INSTRUCTIONS, version=__version__, log_level="ERROR"
    )

    @server.resource(f"skill://{NAME}", mime_type="text/markdown")
    def skill() -> str:
        """How an expert compresses a model with cbuild."""
        return Path(path()).read_text(encoding="utf-8")

    @server.tool(name="list", annotations=_READS)
    async def list_targets() -> CallToolResult:
        """The targets of the project: where each comes from, its steps, platform, gates, whether it is published, and
        what this machine lacks to build it."""
        return _answer({"targets": await _read(runner, "list")})

    @server.tool(annotations=_READS)
    async def plan(targets: Targets = ["all"], set: Settings = {}) -> CallToolResult:  # noqa: B006  the SDK copies it
        """What a build would run, and why, node by node; which targets are skipped on this machine, and why. Runs
        nothing."""
        *nodes, counted = await _read(runner, "build", targets, "--dry-run", "--json", *_set(set))
        return _answer({**counted, "nodes": nodes})

    @server.tool(annotations=_READS)
    async def why(targets: Targets, set: Settings = {}) -> CallToolResult:  # noqa: B006
        """For each node of targets, why it would run again: which parameter, code, data or software changed."""
        return _answer({"nodes": await _read(runner, "why", targets, "--json", *_set(set))})

    @server.tool(annotations=_READS)
    async def advise(targets: Targets = ["all"]) -> CallToolResult:  # noqa: B006
        """What an expert would change in targets, by their last results: each item with its evidence, its line, a
        patch of the Compressfile and a reference. Changes nothing."""
        (found,) = await _read(runner, "advise", targets, "--json")
        return _answer(found)

    @server.tool(annotations=_READS)
    async def report(targets: Targets = ["all"], full: Full = False) -> CallToolResult:  # noqa: B006
        """What was built: metrics with intervals, gates, warnings, and what to ship for each platform and why."""
        (found,) = await _read(runner, "report", targets, "--format", "json", "-o", "-")
        if not full:
            kept = [{key: value for key, value in each.items() if key not in _LONG} for each in found["targets"]]
            found = {key: value for key, value in found.items() if key not in _LONG} | {"targets": kept}
        return _answer(found)

    @server.tool(annotations=_BUILDS)
    async def build(
        targets: Targets, ctx: Context[Any, Any], jobs: Jobs = None, keep_going: Keep = False
    ) -> CallToolResult:
        """Build, measure and judge targets, and publish those that meet their gates in build/. A target that misses
        a gate is not published, and what it published before is removed. It builds what the file says: no value can
        be changed here. An outcome other than 'built' comes as an error, with the cause. It may take long: it
        reports progress to a client that asks for it, and a cancelled call leaves no process."""
        building = Building(ctx.report_progress)
        options = ["--json", *(["--jobs", str(jobs)] if jobs else []), *(["--keep-going"] if keep_going else [])]
        try:
            ended = await runner.run("build", targets, *options, watch=building)
            found = building.outcome(ended)
        except Refused as error:
            raise ToolError(str(error)) from None
        return _answer(found, failed=ended.status != 0)

    return server


async def _read(runner: Runner, command: str, words: Sequence[str] = (), *options: str) -> list[Json]:
    """The JSON values that a command printed, one a line."""
    try:
        ended = await runner.read(command, words, *(options or ("--json",)))
        return [_value(line) for line in ended.lines]
    except Refused as error:
        raise ToolError(str(error)) from None


def _value(line: bytes) -> Json:
    try:
        return msgspec.json.decode(line, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        shown = line[:100].decode(errors="replace")
        hint = "a plugin prints while it is imported; have it log instead"
        raise Refused(f"error: a line of standard output is not an answer: {shown!r}\n  hint: {hint}") from None


def _set(settings: Json) -> list[str]:
    return [
        word for name, value in settings.items() for word in ("--set", f"{name}={msgspec.json.encode(value).decode()}")
    ]


def _answer(found: Json, *, failed: bool = False) -> CallToolResult:
    """As structured content, and as text for clients that read no other."""
    text = msgspec.json.encode(found).decode()
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=found, is_error=failed)
