"""Does the same comparison of latency come out the same each time, on this machine as it is?

    cbuild cpu-fp32 cpu-int8
    python benchmarks/verdicts.py build/cpu-int8 build/cpu-fp32 --repeats 20 --hogs 2

Each repeat is a process of its own, as each build is. The first artifact is compared with the second, and the second
with itself. ``--hogs``: processes that keep the machine busy meanwhile. Exit status 1 if fewer than 19 of 20 repeats
agree, or fewer than that find no difference between a file and itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from compressbuild.evaluate.compare import direct_speed

AGREE = 19 / 20


def measure(subject: Path, baseline: Path, batch: int) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, str(subject), str(baseline), "--batch", str(batch), "--once"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def once(subject: Path, baseline: Path, batch: int) -> None:
    from cbuild_metrics.speed.params import Latency

    from compressbuild.api import WorkInput
    from compressbuild.api.testing import run_node

    def entry(path: Path) -> WorkInput:
        return WorkInput(path=str(path.resolve()), kind="onnx", load="cbuild_onnxruntime.runner:load")

    with tempfile.TemporaryDirectory() as place:
        world = {"inputs": {"baseline": entry(baseline)}}
        node = run_node(
            "cbuild_metrics.speed.latency:latency", entry(subject), Latency(batch=batch), Path(place) / "out", **world
        )
    print(json.dumps(node.facts))


def repeat(subject: Path, baseline: Path, batch: int, repeats: int) -> Counter[str]:
    """How often each verdict came out."""
    verdicts: Counter[str] = Counter()
    for number in range(1, repeats + 1):
        found = measure(subject, baseline, batch)
        said = direct_speed("latency", found)
        assert said is not None
        assert said.low is not None
        assert said.high is not None
        verdicts[said.verdict] += 1
        noisy = ", noisy" if found["noisy"] else ""
        print(
            f"{subject.name} against {baseline.name} {number:2}: ×{said.ratio:.3f} [{said.low:.3f}–{said.high:.3f}] "
            f"{said.verdict} ({found['disturbed']} of {found['disturbed'] + found['blocks']} pairs disturbed{noisy})",
            flush=True,
        )
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", type=Path)
    parser.add_argument("baseline", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--hogs", type=int, default=0)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        once(asked.subject, asked.baseline, asked.batch)
        return 0
    with ExitStack() as stack:
        for _ in range(asked.hogs):
            hog = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(hog.kill)
        different = repeat(asked.subject, asked.baseline, asked.batch, asked.repeats)
        same = repeat(asked.baseline, asked.baseline, asked.batch, asked.repeats)
    print(f"{asked.subject.name} against {asked.baseline.name}: {dict(different)}; against itself: {dict(same)}")
    agree = min(different.most_common(1)[0][1], same["no difference shown"])
    return 0 if agree >= AGREE * asked.repeats else 1


if __name__ == "__main__":
    sys.exit(main())
