"""``cbuild mcp``: a server for coding agents, over standard input and output."""

from __future__ import annotations

import os
import sys

import click

from ..errors import UsageError
from .options import project_options

__all__ = ["command"]


@click.command("mcp", context_settings={"help_option_names": ["-h", "--help"]})
@project_options
def command(file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Serve the project to a coding agent by the Model Context Protocol (MCP), over standard input and output: tools
    to list, plan, explain, advise and report, and one to build."""
    try:
        terminal = os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # None where it was closed
        raise UsageError(
            "there is no standard input, where the client speaks", hint="an agent starts this command itself"
        ) from None
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise UsageError("'cbuild mcp' needs the MCP SDK for Python", hint="pip install 'compressbuild[mcp]'") from None
    from ..agents.server import serve

    if terminal:
        click.echo("waiting for an MCP client on standard input; Ctrl-C ends", err=True)
    options = ["--file", file]
    for override in overrides:
        options += ["--set", override]
    if cache_dir is not None:
        options += ["--cache-dir", cache_dir]
    return serve(options)
