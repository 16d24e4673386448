"""Where each mechanism stops: what one node, record and target costs here, and builds simulated from that.

    python benchmarks/scale.py                      prints the tables of docs/scale.md, from benchmarks/scale.json
    python benchmarks/scale.py --measure [WHAT …]   measures first: store, state, scheduler, local, ssh, ray, s3

Constants that were measured carry the date and the machine's load. Constants of services that are not here are
assumptions, in :data:`ASSUMED`, each with where it is from.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "benchmarks")]

from compressbuild.api import WorkInput, WorkRequest  # noqa: E402
from compressbuild.execute.agenda import Agenda  # noqa: E402
from compressbuild.execute.away import Away  # noqa: E402
from compressbuild.execute.executor import Executor, Finished  # noqa: E402
from compressbuild.execute.local import LocalExecutor  # noqa: E402
from compressbuild.execute.places import Places  # noqa: E402
from compressbuild.execute.pools import Need, Pools  # noqa: E402
from compressbuild.machines.machines import Machines  # noqa: E402
from compressbuild.registry import discover  # noqa: E402
from compressbuild.store import Store  # noqa: E402
from compressbuild.store.gc import collect  # noqa: E402
from compressbuild.store.stats import measure as count  # noqa: E402

FILE = ROOT / "benchmarks" / "scale.json"
PAGE, MARK = ROOT / "docs" / "scale.md", "<!-- benchmarks/scale -->"
ASSUMED = {
    "noop": 0.000032,  # seconds of a no-op for a target: 10,000 toy targets, 2026-11-28
    "engine": 0.0062,  # seconds of its CPU for a step, commit and publication included: 10,000 toy targets, 2026-11-28
    "network": 1.25e9 / 10,  # bytes a second of the client's link: 1 Gbit/s
    "s3 latency": 0.1,  # seconds of a small request; Amazon's design patterns for S3 give 100 to 200 ms
    "s3 parallel": 64,  # requests at once
    "s3 page": 1000,  # objects in an answer of ListObjectsV2
}
MACHINES = (1, 10, 100, 1000)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
_WORKERS = (1, 10, 100, 1000)


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure_store(records: int) -> dict[str, float]:
    """Seconds of CPU and bytes of each of ``records`` results of one small file, without fsync."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "cache", sync=False) as store:
        dice = random.Random(1)
        keys = [f"{dice.getrandbits(256):064x}" for _ in range(records)]
        began = time.process_time()
        for number, key in enumerate(keys):
            base = store.scratch()
            out = base / "out"
            out.mkdir()
            (out / "value").write_text(f"value {number}")
            store.commit(
                out, key=key, kind="toy", label=f"t{number}/step", seconds=1.0, peak_rss=1 << 20, facts={},
                sandbox="landlock", consume=True,
            )  # fmt: skip
            store.abandon(base)
        commit = (time.process_time() - began) / records
        some = random.Random(2).sample(keys, min(10_000, records))
        hit = _each(some, lambda key: store.lookup(key, touch=False))
        miss = _each([key[::-1] for key in some], store.lookup)
        inodes, size = _disk(Path(folder))
        return {
            "records": records,
            "commit": commit,
            "hit": hit,
            "miss": miss,
            "list": _cpu(lambda: count(store)) / records,
            "gc": _cpu(lambda: collect(store, dry_run=True)) / records,
            "inodes": inodes / records,
            "bytes on disk": size / records,
        }


def measure_state(targets: int) -> dict[str, float]:
    """Of the layered graph of trivial targets, run in the engine's own process: what ``.cbuild`` takes, and a no-op."""
    import graphs
    from compare import CBUILD, Command, environment
    from growth import INLINE, best

    with tempfile.TemporaryDirectory() as folder:
        root, env = Path(folder) / "toy", environment()
        graphs.compressfile(root, targets)
        cold = best(Command(INLINE, root, env), 1)
        everything = Command([CBUILD, "all"], root, env)
        full = best(everything, 1)  # writes the state for this search path
        noop = best(everything, 3).cpu - best(Command([sys.executable, "-c", "pass"]), 3).cpu
        text = (root / "Compressfile").read_text()
        last = f"salt: {targets - 1},"
        leaf = best(everything, 1, lambda: _write(root, text.replace(last, "salt: 999999999,")))
        names = ("noop", "rows")
        state = sum(p.stat().st_size for name in names for p in (root / ".cbuild").rglob(f"{name}/*") if p.is_file())
        inodes, size = _disk(root / ".cbuild")
        return {
            "targets": targets,
            "cold cpu": cold.cpu / targets,
            "cached cpu": full.cpu / targets,
            "noop": noop / targets,
            "leaf": leaf.cpu,
            "state bytes": state / targets,
            "files": inodes / targets,
            "bytes on disk": size / targets,
        }


def measure_scheduler(nodes: int) -> dict[str, float]:
    """Seconds of CPU of the scheduler's own decisions for each node, by how many workers of one CPU an address has.
    Nothing runs. Of ``nodes``, each of one half waits for one of the other."""
    found = {}
    for workers in _WORKERS:
        inputs: dict[int, list[int]] = {n: [] if n < nodes // 2 else [n - nodes // 2] for n in range(nodes)}
        places = Places(Pools(1), lambda host, workers=workers: [Pools(1) for _ in range(workers)])  # type: ignore[misc]
        host = "ray://head"
        agenda = Agenda(inputs, dict.fromkeys(inputs, 1.0), places=dict.fromkeys(inputs, host))
        need, running, now = Need(host=host), [], 0.0
        began = time.process_time()
        while True:
            while (index := agenda.due()) is not None:
                agenda.queue(index)
            agenda.next_round()
            places.next_round()
            while (index := agenda.next(places.is_full, idle=places.running == 0)) is not None:
                if places.try_acquire(index, need, 1.0):
                    heapq.heappush(running, (now + 1 + index % 7, index))
                    places.began(index)
                else:
                    agenda.put_off(index)
            if not running:
                break
            now, index = heapq.heappop(running)
            places.release(index)
            agenda.ended(index, ok=True)
        found[str(workers)] = (time.process_time() - began) / nodes
    return found


def _request(base: Path, size: int) -> WorkRequest:
    (base / "in").mkdir(parents=True)
    (base / "out").mkdir()
    (base / "project").mkdir()
    (base / "in" / "data").write_bytes(os.urandom(size))
    return WorkRequest(
        label="copy",
        run="compressbuild.agent.trial:copied",
        params={},
        inputs={"subject": WorkInput(path=str(base / "in"), kind="files")},
        out=str(base / "out"),
        scratch=str(base / "scratch"),
        root=str(base / "project"),
    )


def _nodes(executor: Executor, place: Path, count: int, at_once: int, size: int) -> float:
    """Seconds for ``count`` nodes that copy ``size`` new bytes, ``at_once`` of them in flight."""
    requests = [_request(place / str(number), size) for number in range(count)]
    began, started, ended = time.perf_counter(), 0, 0
    while ended < count:
        while started < count and started - ended < at_once:
            log = place / str(started) / "log"
            executor.start(started, requests[started], preload=(), log=log, timeout=None, memory=None)
            started += 1
        for each in executor.wait(60):
            if isinstance(each, Finished):
                assert each.cause == "ok", each.detail
                ended += 1
    return time.perf_counter() - began


def _costs(executor: Executor, place: Path, cpu: Callable[[], float]) -> dict[str, float]:
    """Of a node with next to no data: alone, and with four in flight; the client's CPU; and bytes a second."""
    _nodes(executor, place / "first", 2, 1, 0)
    one = [_nodes(executor, place / f"one{n}", 1, 1, 0) for n in range(20)]
    before, count = cpu(), 100
    many = _nodes(executor, place / "many", count, 4, 0) / count
    used = (cpu() - before) / count
    large = [_nodes(executor, place / f"large{n}", 1, 1, 32 << 20) for n in range(3)]
    rate = 2 * (32 << 20) / max(1e-9, statistics.median(large) - statistics.median(one))
    return {"alone": statistics.median(one), "of four": many, "client cpu": used, "bytes per second": rate}


def measure_local() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, closing(LocalExecutor()) as executor:
        return _costs(executor, Path(folder), time.process_time)


def measure_ssh() -> dict[str, float]:
    from sshd import SSHD, sshd

    if SSHD is None:
        raise SystemExit("sshd is not installed: apt install openssh-server")
    with tempfile.TemporaryDirectory() as folder, sshd(Path(folder) / "ssh") as server:
        os.environ["CBUILD_SSH"] = server.command
        return _away(Path(folder), server.address)


def measure_ray() -> dict[str, float]:
    from raycluster import cluster, lacking

    if why := lacking():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder) / "ray") as found:
        os.environ |= {"CBUILD_RAY": found.command, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": found.token}
        return _away(Path(folder), found.address(cpus=2))


def _away(place: Path, address: str) -> dict[str, float]:
    connected = []
    for what in ("first", "later"):
        machines = Machines(discover(cache=None), place / what, "auto")
        connected.append(_once(lambda found=machines: found.session(address)))  # type: ignore[misc]
        machines.close()
    machines = Machines(discover(cache=None), place / "state", "auto")
    link = machines.session(address)._link.process.pid  # type: ignore[attr-defined]
    with closing(machines), closing(Away("there", lambda: machines.session(address))) as away:
        found = _costs(away, place / "nodes", lambda: time.process_time() + _seconds_of(link))
        memory = _resident(link)
    return {"first session": connected[0], "session": connected[1], "memory": memory, **found}


def measure_s3(results: int) -> dict[str, float]:
    """The client's CPU for each small result that goes to the server and comes from it, over a build without one."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "remote_cache.py"), str(results)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    cost = {line[:34].strip(): float(line.split()[-4]) / 1000 for line in done.stdout.splitlines()}
    return {
        "results": results,
        "send": cost["first, sends"] - cost["alone"],
        "take": cost["second, takes"],
        "again": cost["second again, all here"],
    }


def _each(values: Sequence[str], do: Callable[[str], object]) -> float:
    return _cpu(lambda: [do(value) for value in values]) / len(values)


def _cpu(do: Callable[[], object]) -> float:
    """Seconds of this process, which a busy machine stretches least."""
    began = time.process_time()
    do()
    return time.process_time() - began


def _once(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _write(root: Path, text: str) -> None:
    (root / "Compressfile").write_text(text)


def _disk(place: Path) -> tuple[int, int]:
    """Inodes, and bytes of the blocks that they take."""
    found = [path.lstat() for path in place.rglob("*")]
    return len(found), sum(each.st_blocks * 512 for each in found)


def _seconds_of(pid: int) -> float:
    """CPU of a process."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1024


# -- simulating --------------------------------------------------------------------------------------------------------


def simulated(machines: int, seconds: float, size: float, client: float, link: float, nodes: int = 0) -> float:
    """The share of time that the machines work, in a build of independent nodes of about ``seconds`` each, until the
    last of them is given out.

    One client: ``client`` seconds of its CPU for each node, half before and half after it, one thing at a time; and a
    link of ``link`` bytes a second, which each node's input and output of ``size`` bytes cross, one at a time.
    """
    dice, nodes = random.Random(7), nodes or max(2000, 5 * machines)
    cpu = wire = last = 0.0
    runs = []
    waiting = nodes
    events = [(0.0, number, "idle") for number in range(machines)]
    heapq.heapify(events)
    while events:
        now, machine, what = heapq.heappop(events)
        if what == "idle" and waiting:
            waiting -= 1
            last = now
            cpu = max(now, cpu) + client / 2
            heapq.heappush(events, (cpu, machine, "input"))
        elif what == "input":
            wire = max(now, wire) + size / link
            took = seconds * dice.lognormvariate(-0.125, 0.5)  # mean 1
            runs.append((wire, took))
            heapq.heappush(events, (wire + took, machine, "output"))
        elif what == "output":
            wire = max(now, wire) + size / link
            heapq.heappush(events, (wire, machine, "result"))
        elif what == "result":
            cpu = max(now, cpu) + client / 2
            heapq.heappush(events, (cpu, machine, "idle"))
    return sum(max(0.0, min(took, last - began)) for began, took in runs) / (machines * last)


# -- the tables --------------------------------------------------------------------------------------------------------


def tables(found: dict[str, Any]) -> Iterator[str]:
    yield from _node_table(found)
    yield ""
    yield from _build_table(found)
    if "state" in found:
        yield ""
        yield from _size_table(found)


def _node_table(found: dict[str, Any]) -> Iterator[str]:
    yield "| a node that does nothing | alone | four in flight | CPU of the client | data in and out | a session |"
    yield "|---|---|---|---|---|---|"
    for name in ("local", "ssh", "ray"):
        if each := found.get(name):
            session = f"{each['session']:.1f} s, {each['memory'] / 2**20:.0f} MB" if "session" in each else "–"
            yield (
                f"| {name} | {_ms(each['alone'])} | {_ms(each['of four'])} | {_ms(each['client cpu'])} "
                f"| {each['bytes per second'] / 1e6:.0f} MB/s | {session} |"
            )


def _build_table(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "| a node takes | its input and output | "
        + " | ".join(f"{each:,} worker{'s' * (each > 1)}" for each in MACHINES)
        + " |"
    )
    yield "|---|---|" + "---|" * len(MACHINES)
    away = found.get("ray") or found["ssh"]
    for seconds, label in ((1.0, "1 s"), (60.0, "1 min"), (1800.0, "30 min")):
        for size, shown in ((1e5, "0.1 MB"), (1e7, "10 MB"), (1e9, "1 GB")):
            shares = []
            for machines in MACHINES:
                scheduler = found["scheduler"][str(machines)] if "scheduler" in found else 0.0
                client = ASSUMED["engine"] + away["client cpu"] + scheduler
                shares.append(simulated(machines, seconds, size, client, ASSUMED["network"]))
            yield f"| {label} | {shown} each | " + " | ".join(f"{share:.0%}" for share in shares) + " |"


def _size_table(found: dict[str, Any]) -> Iterator[str]:
    state, store, s3 = found["state"], found.get("store"), found.get("s3")
    yield "| | " + " | ".join(f"{size:,} artifacts" for size in SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)

    def row(what: str, of: Callable[[int], str]) -> str:
        return f"| {what} | " + " | ".join(map(of, SIZES)) + " |"

    yield row("no-op", lambda n: _time(ASSUMED["noop"] * n))
    yield row("state of the no-op", lambda n: f"{state['state bytes'] * n / 1e6:,.1f} MB")
    yield row("a build that finds all in the cache and publishes it", lambda n: _time(state["cached cpu"] * n))
    yield row("the engine's own CPU in a cold build", lambda n: _time(ASSUMED["engine"] * n))
    if store:
        yield row("`cache stats`", lambda n: _time(store["list"] * n))
        yield row("`cache gc`", lambda n: _time(store["gc"] * n))
        yield row("the cache, of small results", lambda n: f"{store['bytes on disk'] * n / 1e9:,.2f} GB")
        yield row("inodes", lambda n: f"{store['inodes'] * n:,.0f}")
    if s3:
        wait = ASSUMED["s3 latency"] / ASSUMED["s3 parallel"]
        yield row("send it to S3: CPU", lambda n: _time(s3["send"] * n))
        yield row(f"latency of the requests, {ASSUMED['s3 parallel']:.0f} at once", lambda n: _time(2 * wait * n))
        yield row("list it there", lambda n: _time(ASSUMED["s3 latency"] * -(-2 * n // ASSUMED["s3 page"])))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{1000 * seconds:.0f} ms"


# -- the command -------------------------------------------------------------------------------------------------------


@contextmanager
def _dated(found: dict[str, Any], what: str) -> Iterator[None]:
    before = os.getloadavg()[0]
    yield
    found[what] |= {"date": date.today().isoformat(), "load": [before, os.getloadavg()[0]]}
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("store", "state", "scheduler", "local", "ssh", "ray", "s3")
    parser.add_argument("--measure", nargs="*", choices=names, metavar="WHAT", help=f"of {', '.join(names)}")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--results", type=int, default=1_000)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "store": lambda: measure_store(options.records),
        "state": lambda: measure_state(options.targets),
        "scheduler": lambda: measure_scheduler(10_000),
        "local": measure_local,
        "ssh": measure_ssh,
        "ray": measure_ray,
        "s3": lambda: measure_s3(options.results),
    }
    asked = names if options.measure == [] else options.measure or ()
    for name in asked:
        with _dated(found, name):
            found[name] = dict(ways[name]())
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr)
    text = "\n".join(tables(found))
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition(f"{MARK}\n")
        PAGE.write_text(f"{before}{MARK}\n\n{text}\n\n{MARK}\n\n{rest.partition(MARK)[2].lstrip()}")


if __name__ == "__main__":
    main()
