"""The lazy command group: a command's module is imported when the command is run, not before."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from .. import __version__, interrupts
from ..errors import CbuildError, Interrupted
from . import completion
from .options import directory_option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "Cbuild", "main"]

COMMANDS = {
    "init": "Write a first Compressfile for a model.",
    "build": "Build targets (the default: 'cbuild TARGET…').",
    "watch": "Build targets, and again whenever something changes.",
    "why": "Explain why a target's nodes run, or do not.",
    "list": "List targets, groups, and what is built.",
    "show": "Show one target: steps, parameters, metrics, gates.",
    "affected": "List the targets that differ from a git revision.",
    "compare": "Compare two targets on the same samples.",
    "history": "Show a target's metrics from build to build.",
    "tune": "Search a target's ranges for the best values under its gates.",
    "report": "Write an HTML report of what is built, and what to ship.",
    "advise": "Say what an expert would change, with evidence and a patch.",
    "profile": "Show where the time of a target's run goes.",
    "graph": "Draw the DAG as svg, dot or mermaid.",
    "verify": "Check published artifacts against their provenance.",
    "sign": "Sign the provenance of published artifacts.",
    "clean": "Remove what targets published that are no longer declared.",
    "push": "Push published artifacts to a directory, bucket, hub or registry.",
    "sbom": "Write the bill of materials of a published target (CycloneDX ML-BOM).",
    "lock": "Pin the software that targets are built with.",
    "cache": "Statistics, clean-up and verification of the cache.",
    "env": "List, make, check and remove the Python environments of plugins.",
    "platforms": "List common hardware to build for, and what this machine can do for it.",
    "recipes": "List the recipes that 'cbuild init' chooses from.",
    "plugins": "List plugins, what they offer, and why one is unusable.",
    "doctor": "Show what this machine can build and run.",
    "help": "Explain a technique, backend, metric, source or kind of artifact.",
    "skill": "Print the method of an expert, for coding agents.",
    "mcp": "Serve the project to a coding agent (Model Context Protocol).",
    "schema": "Print a JSON Schema of the Compressfile, for editors.",
}

_TAKES_VALUE = frozenset(
    (
        "-C",
        "-f",
        "--file",
        "-j",
        "--jobs",
        "--set",
        "--cache-dir",
        "--trace",
        "--junit",
        "--profile",
        "--format",
        "-o",
        "--output",
        "--key",
        "--since",
        "--until",
        "--interval",
        "--minimize",
        "--maximize",
        "--trials",
        "--timeout",
        "--seed",
        "--data",
        "--platform",
        "--goal",
        "--input",
        "--weights",
        "--family",
        "--recipe",
        "--max-drop",
        "--at-once",
    )
)


class Cbuild(click.Group):
    """``cbuild WORD…``: a first word that is a command is the command; anything else is targets to build."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands ('cbuild COMMAND --help' says more)"):
            formatter.write_dl(list(COMMANDS.items()))
        with formatter.section("Exit status"):
            formatter.write_dl(
                [
                    ("0", "built, or nothing to do"),
                    ("1", "a node failed"),
                    ("2", "bad usage or Compressfile"),
                    ("3", "a gate failed"),
                    ("4", "a requested target cannot be built on this machine, or software is not as locked"),
                    ("130", "interrupted (128 + n for another signal)"),
                ]
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """A first word is a command, or a target; an option may be one of ``build``."""
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        build = importlib.import_module(".build", __package__).command
        with build.make_context("build", [], parent=ctx, resilient_parsing=True) as inner:
            known = {item.value for item in found}
            found += [item for item in build.shell_complete(inner, incomplete) if item.value not in known]
            return [*found, *map(CompletionItem, completion.targets(inner, self.params[0], incomplete))]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and _first_word(args) is None:  # the shell asks what the first word may become
            if not args:
                return super().parse_args(ctx, args)
            ctx.meta[completion.FIRST] = tuple(COMMANDS)
        if not any(word in ("--help", "-h", "--version") for word in args) or _first_word(args) is not None:
            args = _command_first(args)
        return super().parse_args(ctx, args)


def _first_word(args: list[str]) -> int | None:
    """Index of the first word that is neither an option nor an option's value."""
    skip = False
    for index, word in enumerate(args):
        if skip:
            skip = False
        elif word in _TAKES_VALUE:
            skip = True
        elif not word.startswith("-"):
            return index
    return None


def _command_first(args: list[str]) -> list[str]:
    at = _first_word(args)
    if at is None:
        return ["build", *args]
    if args[at] in COMMANDS:
        return [args[at], *args[:at], *args[at + 1 :]]
    return ["build", *args]


@click.command(
    cls=Cbuild,
    invoke_without_command=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    options_metavar="[OPTIONS]",
    subcommand_metavar="TARGET… | COMMAND",
)
@directory_option
@click.version_option(__version__, "--version", prog_name="cbuild")
def cbuild() -> None:
    """Build compressed variants of a model, as a Compressfile declares them.

    'cbuild all' builds every target, 'cbuild NAME' one; groups and globs work too. Only what changed runs again.
    """


def main(argv: list[str]) -> int:
    """Run a command line; errors are printed as the user should read them. Returns the exit status."""
    if "_CBUILD_COMPLETE" in os.environ:
        from .shells import register

        register()
    try:
        if any("\0" in word for word in argv):
            raise click.UsageError("a word of the command line has a NUL in it")
        outcome = cbuild.main(argv, prog_name="cbuild", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _interrupted("interrupted")
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and (command := _meant(argv)):
            click.echo(
                f"  hint: '{argv[_first_word(argv) or 0]}' is no command; did you mean 'cbuild {command}'?", err=True
            )
        return 2
    except Interrupted as error:
        return _interrupted(str(error))
    except CbuildError as error:
        from ..compressfile.excerpt import render

        click.echo(render(error, getattr(error, "texts", {})), err=True)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            from ..report.ci.github import errors

            for line in errors(error.diagnostics, os.environ):
                click.echo(line, err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; Python would complain of it at exit
        return 1
    except OSError as error:
        click.echo(f"cbuild: error: {_system_error(error)}", err=True)
        return 1
    except RuntimeError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        return _interrupted("interrupted")  # Python 3.11 wraps what is raised while a class is made
    return outcome if isinstance(outcome, int) else 0


def _meant(argv: list[str]) -> str | None:
    """The command that the first word of a line is nearly."""
    from ..words import did_you_mean

    at = _first_word(argv)
    return None if at is None or argv[at] in COMMANDS else did_you_mean(argv[at], COMMANDS)


def _interrupted(text: str) -> int:
    with contextlib.suppress(OSError):  # the terminal may be gone
        click.echo(text, err=True)
    return interrupts.status()


def _system_error(error: OSError) -> str:
    """One line: the file, and what the system says about it. A full or broken disk is not a bug worth a traceback."""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return where + (error.strerror or str(error))
