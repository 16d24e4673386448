"""The same accidents, with compressbuild and with other build tools: what comes out afterwards?

Each tool gets one small pipeline, written as its documentation recommends (`pipelines.py`). A probe builds it, does
what it is named for, builds again, and compares what is there with what the inputs now say.

    python benchmarks/reliability_peers.py --tool doit=ENV/bin --tool dvc=ENV/bin --tool snakemake=ENV/bin
    python benchmarks/reliability_peers.py --probe kill --kills 20

`right`: the bytes are right. `stale`: the tool is content with old bytes. `damaged`: it is content with bytes that
nothing made. `stops`: it fails, and does so again. `hang`: it does not end. What follows a word says how it went.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines import LIMIT, TOOLS, Done, Project

Make = Callable[..., Project]


def verdict(project: Project, done: Done, want: str, before: str | None = None) -> str:
    """After an accident and a build: a word, and how it went."""
    if done.code is None:
        return "hang"
    note = ""
    if done.code != 0 and (note := project.recover(done)):
        note = f", after {note}"
    have = project.have()
    if have == want:
        own = "Traceback" in done.said and done.code != 0
        return "right" + note + (", with a traceback" if own else ", exit 1 first" if done.code and not note else "")
    if done.code != 0:
        return "stops" + (", with a traceback" if "Traceback" in done.said else "")
    return "stale" if have is not None and have == before else "damaged"


def built(make: Make, **options: object) -> tuple[Project, str]:
    project = make(**options)
    done = project.build()
    have = project.have()
    assert done.code == 0, done.said
    assert have == project.want(), (have, done.said)
    project.ran()
    return project, have


def edited_early(make: Make, options: argparse.Namespace) -> str:
    """The input is edited before the step reads it, and is as before when the next build comes."""
    project = make(seconds=(3.0, 0.2))
    process = project.start()
    _until_it_runs(project, process)
    project.write("data.txt", "xyz")
    project.end(process)
    project.write("data.txt", "abc")
    return verdict(project, project.build(), project.want(), project.want("xyz"))


def edited_late(make: Make, options: argparse.Namespace) -> str:
    """The input is edited after the step has read it."""
    project = make(seconds=(0.0, 3.0))
    process = project.start()
    _until_it_runs(project, process)
    time.sleep(1.5)
    project.write("data.txt", "xyz")
    project.end(process)
    return verdict(project, project.build(), project.want("xyz"), project.want())


def _until_it_runs(project: Project, process: subprocess.Popen[str]) -> None:
    """Until the first step has begun."""
    end = time.monotonic() + LIMIT
    while not project.begun(process) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)


def same_time(make: Make, options: argparse.Namespace) -> str:
    """The input is replaced by other content of its size, with its times (``cp -p``, an archive)."""
    project, before = built(make)
    path = project.root / "data.txt"
    info = path.stat()
    path.write_text("xyz")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    return verdict(project, project.build(), project.want("xyz"), before)


def helper(make: Make, options: argparse.Namespace) -> str:
    """A module that the code of a step imports is edited; no configuration names it."""
    project, before = built(make)
    project.write("helper.py", "FACTOR = 2\n")
    return verdict(project, project.build(), project.want(factor=2), before)


def undeclared(make: Make, options: argparse.Namespace) -> str:
    """A step reads a file that no configuration names; then the file changes."""
    project = make(side=True)
    project.write("side.txt", "one")
    done = project.build()
    if done.code != 0 and "side.txt" in done.said:
        return "right, refused by name"
    before = project.have()
    project.write("side.txt", "two")
    return verdict(project, project.build(), project.want(side="two"), before)


def flipped(make: Make, options: argparse.Namespace) -> str:
    """A bit of the published file flips; its size and time stay."""
    project, before = built(make)
    path = project.root / project.final
    _flip(path)
    return verdict(project, project.build(), before, path.read_text(errors="replace")).replace("stale", "damaged")


def cut(make: Make, options: argparse.Namespace) -> str:
    """The published file is cut short."""
    project, before = built(make)
    path = project.root / project.final
    path.chmod(0o644)
    path.write_text(before[:2])
    return verdict(project, project.build(), before, before[:2]).replace("stale", "damaged")


def cached(make: Make, options: argparse.Namespace) -> str:
    """A bit of every cached object flips, and what was published is gone."""
    project, before = built(make)
    if not project.caches:
        return "–"
    for path in sorted((project.root / project.caches).rglob("*")):
        if path.is_file() and path.stat().st_size:
            _flip(path)
    shutil.rmtree(project.root / Path(project.final).parts[0])
    return verdict(project, project.build(), before)


def _flip(path: Path) -> None:
    info, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    path.chmod(mode)


def fifo(make: Make, options: argparse.Namespace) -> str:
    """A FIFO lies where the result belongs."""
    project, before = built(make)
    path = project.root / project.final
    path.unlink()
    os.mkfifo(path)
    return verdict(project, project.build(), before)


def full(make: Make, options: argparse.Namespace) -> str:
    """The disk is full during a build, and has room again for the next."""
    if os.geteuid() != 0:
        return "–"
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
        try:
            project = make(place=Path(place))
            project.write("data.txt", text := "abc" * 50_000)
            with contextlib.suppress(OSError), open(Path(place, "filler"), "wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
            os.truncate(Path(place, "filler"), Path(place, "filler").stat().st_size - (100 << 10))
            done = project.build()
            own = "Traceback" in done.said and "site-packages" in done.said
            Path(place, "filler").unlink()
            word = verdict(project, project.build(), project.want(text))
            word += ", a traceback while full" if own else ""
            return word + ("" if done.code else ", exit 0 while full")
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def together(make: Make, options: argparse.Namespace) -> str:
    """Two builds are started at once."""
    project = make(seconds=(0.5, 0.5))
    processes = [project.start(), project.start()]
    done = [project.end(process) for process in processes]
    ran = project.ran()
    if any(each.code is None for each in done):
        return "hang"
    if project.have() != project.want():
        return "damaged" if any(each.code == 0 for each in done) else "stops"
    twice = len(ran) > len(set(ran))
    return "right" + (", one is refused" if any(each.code for each in done) else ", steps run twice" if twice else "")


def kill(make: Make, options: argparse.Namespace) -> str:
    """kill -9 of the process group at random moments; each time a build follows."""
    rng = random.Random(options.seed)
    project, _ = built(make, seconds=(0.1, 0.4))
    project.write("data.txt", "length")
    began = time.monotonic()
    project.build()
    whole = time.monotonic() - began
    words: dict[str, int] = {}
    for number in range(options.kills):
        project.write("data.txt", text := f"text {number}")
        project.ran()
        process = project.start()
        time.sleep(rng.uniform(0.05, 1.0) * whole)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        project.end(process)
        word = verdict(project, project.build(), project.want(text))
        words[word] = words.get(word, 0) + 1
        if not word.startswith("right"):
            break
    return "; ".join(f"{count}× {word}" for word, count in sorted(words.items()))


PROBES: dict[str, Callable[[Make, argparse.Namespace], str]] = {
    "edited-early": edited_early, "edited-late": edited_late, "same-time": same_time, "helper": helper,
    "undeclared": undeclared, "flipped": flipped, "cut": cut, "cached": cached, "fifo": fifo, "full": full,
    "together": together, "kill": kill,
}  # fmt: skip
OF_CODE = {"edited-early", "edited-late", "helper", "undeclared", "full"}
"""For these, the steps must be code of the pipeline."""


def probed(tool: str, folder: Path, probe: str, options: argparse.Namespace) -> str:
    count = iter(range(1000))

    def make(*, place: Path | None = None, **rest: object) -> Project:
        return TOOLS[tool]((place or work) / f"project{next(count)}", folder, **rest)

    if probe in OF_CODE and not TOOLS[tool].steps:
        return "–"
    with scratch() as work:
        return PROBES[probe](make, options)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=BIN", help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--only", action="store_true", help="these tools, without compressbuild")
    parser.add_argument("--probe", action="append", choices=PROBES)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folders = {} if options.only else {"cbuild": Path(sys.executable).parent}
    folders |= {name: Path(folder).absolute() for name, _, folder in (each.partition("=") for each in options.tool)}
    rows = {}
    for tool, folder in folders.items():
        for probe in options.probe or PROBES:
            rows[tool, probe] = probed(tool, folder, probe, options)
            print(f"{tool} {probe}: {rows[tool, probe]}", file=sys.stderr, flush=True)
    heads = [f"{tool} {TOOLS[tool].version(folder)}" for tool, folder in folders.items()]
    print(f"| | {' | '.join(heads)} |\n|---|{'---|' * len(folders)}")
    for probe in options.probe or PROBES:
        about = (PROBES[probe].__doc__ or "").strip().rstrip(".")
        print(f"| {about} | {' | '.join(rows[tool, probe] for tool in folders)} |")


if __name__ == "__main__":
    main()
