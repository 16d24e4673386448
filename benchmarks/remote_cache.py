"""The remote cache on a real S3 server on loopback: client CPU for each small result, and a second checkout.

    python benchmarks/remote_cache.py [RESULTS]

The server is moto, a Python program: its seconds bound the wall time, so the client's CPU is what to compare.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from keys import Pair  # noqa: E402
from servers import free_port, served  # noqa: E402
from toyproject import Toy  # noqa: E402


def timed(what: str, nodes: int, toy: Toy) -> None:
    cpu, wall = time.process_time(), time.monotonic()
    report, ran = toy.build("all")
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    assert report.exit_code == 0
    print(f"{what:34} {len(ran):6} ran  {wall:7.2f} s  CPU {cpu:6.2f} s  {1000 * cpu / nodes:6.2f} ms a node")


def main(results: int) -> None:
    base = Path(tempfile.mkdtemp())
    key, port = Pair.make(base, "ci").private, free_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }
    rows = "\n".join(f"  t{n}: {{from: f, steps: [{{toy.copy: {{note: n{n}}}}}]}}" for n in range(results))
    text = f"version: 1\nmodels: {{f: {{file: f.txt}}}}\ntargets:\n{rows}\n"

    def checkout(name: str, **environ: str) -> Toy:
        toy = Toy(base / name / "project", base / name / "cache")
        toy.environ = environ
        toy.write("f.txt", "abc")
        toy.write("Compressfile", text)
        return toy

    try:
        with served([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, base / "server"):
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/shared", method="PUT")).close()
            remote = {"CBUILD_REMOTE": "s3://shared/bench"}
            timed("alone", results + 1, checkout("alone"))
            timed("first, sends", results + 1, checkout("first", CBUILD_SIGNING_KEY=str(key), **remote))
            second = checkout("second", CBUILD_REMOTE_TRUST=str(key.with_suffix(".pub")), **remote)
            timed("second, takes", results + 1, second)
            timed("second again, all here", results + 1, second)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
