"""How fast the engine itself is, with nodes that do next to nothing: `python benchmarks/engine.py [--quick]`.

Actions per second in this process and in worker processes, with and without fsync; hashing beside plain BLAKE3; one
changed leaf among many. doit, where it is installed, does the same graph beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import graphs
from compare import CBUILD, SUPPORT, Command, environment, rates, run

sys.path[:0] = [str(SUPPORT)]
sys.path.append(str(SUPPORT / "site"))

from inline import InlineExecutor  # noqa: E402  found through the line above
from toyproject import Toy  # noqa: E402

from compressbuild import store  # noqa: E402
from compressbuild.digest import file_digest  # noqa: E402
from compressbuild.execute.local import LocalExecutor  # noqa: E402
from compressbuild.store import Store  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller graphs and files")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="cbuild-engine-") as name:
        base = Path(name)
        actions(base, 200 if quick else 1000)
        hashing(base, 1 << (26 if quick else 30))
        one_leaf(base, 300 if quick else 10_000)


def chain(toy: Toy, nodes: int) -> None:
    """One target of many nodes, so that nodes are timed and not publishing."""
    toy.write("f.txt", "abc")
    steps = ", ".join(f"{{toy.mix: {{salt: {i}, modulus: 1000003}}}}" for i in range(nodes))
    toy.write(
        "Compressfile", f"version: 1\nmodels: {{f: {{file: f.txt}}}}\ntargets:\n  t: {{from: f, steps: [{steps}]}}\n"
    )


def wide(toy: Toy, nodes: int) -> None:
    """One node that reads many, all independent of each other."""
    toy.write("f.txt", "abc")
    lines = ["version: 1", "models: {f: {file: f.txt}}", "targets:"]
    lines += [f"  t{i}: {{from: f, steps: [{{toy.mix: {{salt: {i}, modulus: 1000003}}}}]}}" for i in range(nodes)]
    toy.write("Compressfile", "\n".join(lines) + "\n")


def actions(base: Path, nodes: int) -> None:
    found = {}
    for name, shape, make, sync in (
        ("a chain, in this process, fsync", chain, InlineExecutor, True),
        ("a chain, in this process, no fsync", chain, InlineExecutor, False),
        ("published targets, in this process, no fsync", wide, InlineExecutor, False),
        ("a chain, a worker each", chain, _workers, True),
        ("published targets, a worker each", wide, _workers, True),
    ):
        count = nodes if make is InlineExecutor else nodes // 5
        with _sync(sync):
            place = base / name.replace(" ", "-").replace(",", "")
            toy = Toy(place / "project", cache=place / "cache")
            shape(toy, count)
            executor = make()
            began = time.perf_counter()
            report, _ = toy.build(executor=executor)
            seconds = time.perf_counter() - began
        assert report.exit_code == 0, [
            getattr(event, "error", None) for event in toy.events if getattr(event, "error", None)
        ]
        assert report.counts["built"] == count + 1
        found[name] = f"{count / seconds:8.0f} actions/s   ({seconds / count * 1000:.2f} ms each, {count} of them)"
    found["one fsync here"] = f"{_fsync(base) * 1000:8.2f} ms"
    rates("actions", found)


def _workers() -> LocalExecutor:
    return LocalExecutor({**os.environ, "PYTHONPATH": environment()["PYTHONPATH"]})


@contextlib.contextmanager
def _sync(sync: bool) -> Iterator[None]:
    vars(store)["Store"] = functools.partial(Store, sync=sync)
    try:
        yield
    finally:
        vars(store)["Store"] = Store


def _fsync(base: Path) -> float:
    times = []
    with (base / "fsync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def hashing(base: Path, size: int) -> None:
    import blake3

    path = base / "big"
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))

    def plain() -> None:
        blake3.blake3(max_threads=blake3.blake3.AUTO).update_mmap(path).digest()

    def single() -> None:
        blake3.blake3().update(path.read_bytes()).digest()

    rows: dict[str, Callable[[], object]] = {
        "blake3, mmap, all cores (b3sum)": plain,
        "compressbuild.digest.file_digest": lambda: file_digest(path),
        "blake3, read, one core": single,
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(7):
        for name, work in rows.items():
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    base_times = times[next(iter(rows))]
    rates(
        f"hashing {size >> 20} MiB",
        {
            name: f"{size / statistics.median(took) / 1e9:5.2f} GB/s   "
            f"×{statistics.median(b / t for b, t in zip(base_times, took, strict=True)):.2f}"
            for name, took in times.items()
        },
    )
    path.unlink()


def one_leaf(base: Path, targets: int) -> None:
    """Whole processes: after a first build, one leaf's parameter changes."""
    root = base / "leaf"
    graphs.compressfile(root, targets)
    env = environment()
    inline = str(Path(__file__).with_name("build_inline.py"))
    run(Command([sys.executable, inline, "all"], root, env))
    run(Command([CBUILD, "all"], root, env))
    text = (root / "Compressfile").read_text()
    times = []
    for salt in (1_000_001, 1_000_002, 1_000_003):
        (root / "Compressfile").write_text(text.replace(f"salt: {targets - 1},", f"salt: {salt},"))
        times.append(run(Command([CBUILD, "all"], root, env)))
    rows = {"cbuild": f"{statistics.median(times):.2f} s, a worker process and all"}
    if importlib.util.find_spec("doit") is None:
        rows["doit"] = "not installed: not compared"
    else:
        doit = base / "doit"
        doit.mkdir()
        rows["doit"] = f"{_doit(doit, targets):.2f} s, in its own process"
    rates(f"one leaf of {targets} targets changed", rows)


DODO = """
from pathlib import Path
def task_t():
    for number, above, salt in {rows!r}:
        def make(targets, number=number, salt=salt):
            Path(targets[0]).write_text(str(salt))
        yield dict(name=str(number), actions=[(make, [])], file_dep=above, targets=[f"out/t{{number}}"])
"""


def _doit(root: Path, targets: int) -> float:
    """The same graph as a dodo.py; one file that one leaf depends on changes."""
    (root / "out").mkdir()
    for name in ("f.txt", "leaf.txt"):
        (root / name).write_text("abc")
    rows = [
        (number, [f"out/t{i}" for i in graphs.parents(number, targets)] or ["f.txt"], number)
        for number in range(targets)
    ]
    rows[-1][1].append("leaf.txt")
    (root / "dodo.py").write_text(DODO.format(rows=rows))
    words = [sys.executable, "-m", "doit"]
    subprocess.run(words, cwd=root, check=True, capture_output=True)
    times = []
    for text in "xyz":
        (root / "leaf.txt").write_text(text)
        times.append(run(Command(words, root)))
    shutil.rmtree(root)
    return statistics.median(times)


if __name__ == "__main__":
    main()
