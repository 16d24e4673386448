"""How the time of a build grows with the number of targets: `python benchmarks/growth.py [--quick] [--sizes N …]`.

Whole processes on the layered graph. What is compared is processor time, which a busy machine disturbs least, the best
of several runs; beside it stands the best elapsed time. ``b`` fits seconds = a + c · N^b; 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import graphs
from compare import CBUILD, Command, environment, exponent, run

SIZES = (10, 100, 1_000, 3_000, 10_000)
INLINE = [sys.executable, str(Path(__file__).with_name("build_inline.py")), "all"]


@dataclass(frozen=True)
class Cost:
    """Seconds: of the processor, and elapsed."""

    cpu: float
    elapsed: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 1,000 targets, one run each")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sizes = [size for size in options.sizes if size <= 1_000] if options.quick else options.sizes
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its modules compiled
    found: dict[str, dict[int, Cost]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="cbuild-growth-") as name:
            for scenario, cost in scenarios(Path(name), size, 1 if options.quick else options.rounds).items():
                found.setdefault(scenario, {})[size] = cost
    show(sizes, found)


def scenarios(base: Path, size: int, rounds: int) -> dict[str, Cost]:
    """Every scenario on a graph of this size."""
    root, env = base / "toy", environment()
    graphs.compressfile(root, size)
    everything = Command([CBUILD, "all"], root, env)
    text = (root / "Compressfile").read_text()

    def forget() -> None:
        shutil.rmtree(root / ".cbuild")

    salts = iter(range(1_000_001, 2_000_000))

    def edit() -> None:
        (root / "Compressfile").write_text(text.replace(f"salt: {size - 1},", f"salt: {next(salts)},"))

    found = {"python -c pass": best(Command([sys.executable, "-c", "pass"]), rounds)}
    found["cold, nodes in its process"] = best(Command(INLINE, root, env), 1)
    run(everything)  # writes the state for this search path
    found["no-op"] = best(everything, rounds)
    found["one leaf's parameter"] = best(everything, rounds, edit)
    found["all cached, no state"] = best(everything, rounds, forget)
    if ninja := shutil.which("ninja"):
        graphs.ninja(base / "ninja", size)
        run(Command([ninja], base / "ninja"))
        found["ninja, no-op"] = best(Command([ninja], base / "ninja"), rounds)
    deep = base / "deep"
    graphs.chain(deep, size)
    found["cold, one chain of steps"] = best(Command(INLINE, deep, env), 1)
    return found


def best(command: Command, rounds: int, before: Callable[[], None] = lambda: None) -> Cost:
    costs = []
    for _ in range(rounds):
        before()
        began = _children()
        elapsed = run(command)
        costs.append(Cost(_children() - began, elapsed))
    return Cost(min(cost.cpu for cost in costs), min(cost.elapsed for cost in costs))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(sizes: Sequence[int], found: Mapping[str, Mapping[int, Cost]]) -> None:
    width = max(map(len, found))
    print("seconds of the processor (elapsed)")
    print(f"  {'targets':{width}}  " + "".join(f"{size:>18,}" for size in sizes) + "       b")
    for scenario, costs in found.items():
        cells = "".join(f"{costs[size].cpu:9.3f} ({costs[size].elapsed:6.2f})" for size in sizes)
        fitted = exponent({size: cost.cpu for size, cost in costs.items()}, costs[min(costs)].cpu)
        print(f"  {scenario:{width}}  {cells}  {'–' if fitted is None else f'{fitted:.2f}':>6}")


if __name__ == "__main__":
    main()
