"""What commands that only read import: what they need, and nothing that is remembered is made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from command import TOY_PATH, Work

SCRIPT = """
import contextlib, io, json, sys
from compressbuild.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""

# What takes long to import, or shows that a memo was not used.
NEVER = {
    "networkx": "an order that costs a quarter of a second",
    "rich": "the live display of a build",
    "yaml": "the Compressfile was parsed again",
    "compressbuild.compressfile.reader": "the Compressfile was parsed again",
    "compressbuild.registry.asking": "plugins were asked again",
    "compressbuild.build.run": "nothing is built",
    "compressbuild.execute": "nothing is run",
    "cryptography": "nothing is signed",
    "subprocess": "no program is asked",
    "random": "no interval is computed",
    "html": "no page is written",
    "numpy": "no model is touched",
}
PLANNING = {"compressbuild.plan", "compressbuild.closure", "compressbuild.store"}
COMMANDS = {
    "list": PLANNING | {"compressbuild.evaluate"},
    "history first": {"compressbuild.closure", "compressbuild.publish"},
    "graph": {"compressbuild.evaluate", "compressbuild.publish"},
    "why all": {"compressbuild.evaluate", "compressbuild.publish", "compressbuild.report.picture"},
    "-n all": {"compressbuild.evaluate", "compressbuild.publish", "compressbuild.report.picture"},
    "show first": {"compressbuild.report.picture"},
}
"""Command → what it does without, beside what no command that reads needs."""


def imported(toys: Work, words: str) -> set[str]:
    env = {**os.environ, "PYTHONPATH": TOY_PATH}
    line = [sys.executable, "-c", SCRIPT, *words.split()]
    done = subprocess.run(line, cwd=toys.root, env=env, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout)
    assert status == 0
    return set(modules)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_that_reads_imports_what_it_needs(toys: Work, words: str) -> None:
    forbidden = NEVER.keys() | COMMANDS[words]
    for _ in range(5):  # the first remembers; what another process compiles meanwhile is asked again
        found = imported(toys, words) & forbidden
        if not found:
            return
    assert found == set()


@pytest.mark.parametrize("words", ["list", "show first"])
def test_a_process_that_only_read_is_not_taken_down(toys: Work, words: str) -> None:
    """Freeing every module takes a fifth of a listing."""
    script = "import atexit\nfrom compressbuild.__main__ import main\natexit.register(print, 'taken down')\nmain()\n"
    line = [sys.executable, "-c", script, *words.split()]
    env = {**os.environ, "PYTHONPATH": TOY_PATH}
    done = subprocess.run(line, cwd=toys.root, env=env, capture_output=True, text=True, check=True)
    assert "first" in done.stdout
    assert "taken down" not in done.stdout
