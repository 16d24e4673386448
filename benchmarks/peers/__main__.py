"""compressbuild beside other build systems, on one graph in one run: python -m benchmarks.peers.

What is measured, and how to read it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from ..compare import REPO
from .bench import measured
from .plot import svg
from .results import Results, load, save
from .table import page
from .tools import TOOLS
from .venvs import install

PAGE, PLOT = REPO / "docs" / "benchmarks.md", REPO / "docs" / "peers.svg"
MARKED = re.compile(r"(<!-- benchmarks/peers -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    given = arguments()
    if given.read:
        results = load(given.read)
    else:
        if given.install:
            install([tool for tool in TOOLS if tool.name in given.tools], given.venvs)
        tools = [tool(given.venvs, os.cpu_count() or 1) for tool in TOOLS if tool.name in given.tools]
        results = measured(
            tools,
            given.sizes,
            limit=given.limit,
            rounds=given.rounds,
            again=given.again,
            scratch=given.scratch,
            within=given.minutes * 60,
            say=lambda line: print(line, file=sys.stderr, flush=True),
            keep=lambda results: save(results, given.json) if given.json else None,
        )
    print(page(results))
    if given.write:
        write(results)


def arguments() -> argparse.Namespace:
    names = [tool.name for tool in TOOLS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=sizes, default=[10, 1000, 10_000], metavar="N,…", help="nodes")
    parser.add_argument("--tools", type=_names, default=names, metavar="NAME,…", help=f"of {', '.join(names)}")
    parser.add_argument("--limit", type=float, default=60, metavar="S", help="seconds after which a build is stopped")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often quick builds are measured")
    parser.add_argument("--again", type=float, default=10, metavar="S", help="quick: seconds of a tool's first round")
    parser.add_argument("--minutes", type=float, default=float("inf"), metavar="M", help="then nothing more is begun")
    parser.add_argument("--venvs", type=Path, metavar="DIR", help="holds an environment for each tool of Python")
    parser.add_argument("--install", action="store_true", help="first install into --venvs what is missing there")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where to build (default: the temporary directory)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing: read results from there")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    given = parser.parse_args()
    if given.install and not given.venvs:
        parser.error("--install needs --venvs: the tools are not installed into this environment")
    if unknown := set(given.tools) - set(names):
        parser.error(f"unknown tool {', '.join(sorted(unknown))}: known are {', '.join(names)}")
    if min(given.sizes) < 4:
        parser.error("--sizes: a graph has 4 nodes or more")
    return given


def sizes(text: str) -> list[int]:
    return [int(word.replace("_", "")) for word in text.split(",")]


def _names(text: str) -> list[str]:
    return text.split(",")


def write(results: Results) -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKED.sub(lambda found: found[1] + page(results) + found[2], text), encoding="utf-8")
    PLOT.write_text(svg(results), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
