"""How long commands take that build nothing, as ratios to ``python -c pass``: `python benchmarks/startup.py [--quick]`.

Whole processes, interleaved in one run. Ratios to the bare interpreter hold on other machines; milliseconds do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import graphs
from compare import CBUILD, REPO, Command, environment, interleaved, run, show

SIZES = (10, 100, 1_000, 10_000)
READING = {
    "list": ["list"],
    "why": ["why", "all"],
    "show": ["show", "cpu-int8"],
    "-n": ["-n", "all"],
    "plugins": ["plugins"],
    "schema": ["schema"],
    "graph": ["graph"],
    "history": ["history", "cpu-int8"],
}
"""Commands that only read, as they are typed in the example's directory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no 10,000 targets, no example")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--example", type=Path, metavar="DIR", help="the example, built there; time its commands alone")
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its modules compiled
    if options.example:
        reading(options.example, rounds)
        return
    with tempfile.TemporaryDirectory(prefix="cbuild-startup-") as name:
        base = Path(name)
        commands(base, rounds, example=not options.quick)
        for size in SIZES[:-1] if options.quick else SIZES:
            no_op(base, size, rounds)
        plan(base, 900 if options.quick else 10_000, rounds=min(rounds, 3))


def bare() -> Command:
    return Command([sys.executable, "-c", "pass"])


def commands(base: Path, rounds: int, *, example: bool) -> None:
    found = {
        "python -c pass": bare(),
        "cbuild --version": Command([CBUILD, "--version"]),
        "cbuild --help": Command([CBUILD, "--help"]),
        "cbuild plugins": Command([CBUILD, "plugins"]),
    }
    show("commands", interleaved(found, rounds))
    if example:
        root = base / "example"
        root.mkdir()
        shutil.copy(REPO / "Compressfile.example", root / "Compressfile")
        shutil.copytree(REPO / "examples", root / "examples")
        print("building the example once …", flush=True)
        run(Command([CBUILD, "all"], cwd=root))
        reading(root, rounds)


def reading(root: Path, rounds: int) -> None:
    """The commands that read, on a project that is built."""
    found = {"python -c pass": bare(), "cbuild all (no-op)": Command([CBUILD, "all"], cwd=root)}
    found |= {f"cbuild {name}": Command([CBUILD, *words], cwd=root) for name, words in READING.items()}
    show("commands on the example, built", interleaved(found, rounds))


def no_op(base: Path, size: int, rounds: int) -> None:
    root = base / f"toy-{size}"
    graphs.compressfile(root, size)
    env = environment()
    print(f"\nbuilding {size} targets …", flush=True)
    cold = run(Command([sys.executable, str(Path(__file__).with_name("build_inline.py")), "all"], root, env))
    full = run(Command([CBUILD, "all"], root, env))  # all is cached: writes the state for this search path
    found = {"python -c pass": bare(), "cbuild all": Command([CBUILD, "all"], root, env)}
    ninja = shutil.which("ninja")
    if ninja:
        beside = base / f"ninja-{size}"
        graphs.ninja(beside, size)
        run(Command([ninja], beside))
        found["ninja"] = Command([ninja], beside)
    timings = interleaved(found, rounds if size < 10_000 else max(5, rounds // 2))
    show(f"no-op of {size} targets (first build, nodes in-process: {cold:.1f} s; all cached: {full:.2f} s)", timings)
    if ninja:
        print(f"  cbuild is ×{timings['cbuild all'].median / timings['ninja'].median:.2f} of ninja")
    else:
        print("  ninja is not installed: not compared")


def plan(base: Path, targets: int, rounds: int) -> None:
    root = base / "matrix"
    graphs.matrix(root, targets)
    found = {
        "python -c pass": bare(),
        f"cbuild -n all ({targets} targets)": Command([CBUILD, "-n", "all"], root, environment()),
    }
    show(f"plan of {targets} targets from one matrix", interleaved(found, rounds))


if __name__ == "__main__":
    main()
