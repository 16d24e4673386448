"""One small pipeline, written for each build tool: `data.txt` → `first` → `second`, in Python.

Each configuration is as the tool's documentation recommends. The first step's code imports `helper.py`, which none
names, as people do not name what their code imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

__all__ = ["LIMIT", "TOOLS", "Done", "Project"]

LIMIT = 120.0  # seconds for a build; the slowest takes some of them on a loaded machine
STEP = '''"""first: data.txt × FACTOR; second: what first made, with an end."""
import os, sys, time
from pathlib import Path

SIDE = False

def note(name):
    if os.environ.get("PROBE_RUNS"):
        with open(os.environ["PROBE_RUNS"], "a") as file:
            file.write(name + "\\n")

def slowly(path, text, seconds):
    with open(path, "w") as file:  # as libraries write: not all at once
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(seconds / 2)
        file.write(text[len(text) // 2 :])

def made(text, extra=""):
    import helper
    return text * helper.FACTOR + extra

if __name__ == "__main__":
    name, source, target, seconds = sys.argv[1:5]
    note(name)
    early, late = (float(each) for each in seconds.split(","))
    time.sleep(early)
    text = Path(source).read_text()
    time.sleep(late)
    extra = Path("side.txt").read_text() if name == "first" and SIDE else ""
    Path(target).parent.mkdir(exist_ok=True)
    slowly(target, made(text, extra) if name == "first" else text + "end", late)
'''
PLUGIN = '''import time
from pathlib import Path
from compressbuild.api import DatasetRef, Kind, Params, Technique, hookimpl

class Step(Params):
    """A step of the pipeline."""
    data: DatasetRef | None = None
    early: float = 0.0
    late: float = 0.0

def read(path):
    return next(each for each in sorted(path.iterdir()) if each.is_file()).read_text()

def run(ctx, model, params):
    text = read(model)
    time.sleep(params.late)
    made = ctx.dataset(params.data)(text, params.early) if params.data else text + "end"
    with open(ctx.out / "value", "w") as file:
        file.write(made[: len(made) // 2])
        file.flush()
        time.sleep(params.late / 2)
        file.write(made[len(made) // 2 :])

@hookimpl
def compressbuild_kinds():
    yield Kind(name="text", files=("*",), suffixes=(".txt",))

@hookimpl
def compressbuild_techniques():
    yield Technique(name="probe.step", params=Step, run="probe:run", consumes=("text",), produces="text")
'''
LOADER = """import time
from pathlib import Path
import step

def load():
    def made(text, early):
        time.sleep(early)
        text = (Path(__file__).parent / "data.txt").read_text()
        return step.made(text, (Path(__file__).parent / "side.txt").read_text() if step.SIDE else "")
    return made
"""


@dataclass
class Done:
    code: int | None
    said: str


@dataclass
class Project:
    """The pipeline in a directory, under one tool. ``early``, ``late``: seconds that the first step waits before it
    reads, and while it writes."""

    root: Path
    bin: Path
    seconds: tuple[float, float] = (0.0, 0.0)
    side: bool = False  # whether the first step reads side.txt, which no configuration names
    runs: Path = field(init=False)
    name: ClassVar[str] = ""
    final: ClassVar[str] = "out/second"
    caches: ClassVar[str] = ""
    steps: ClassVar[bool] = True  # whether its steps are the code of the pipeline
    limit: ClassVar[float] = LIMIT

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True)
        self.runs = self.root.parent / f"{self.root.name}.runs"
        self.write("data.txt", "abc")
        self.write("helper.py", "FACTOR = 1\n")
        self.write("step.py", STEP.replace("SIDE = False", f"SIDE = {self.side}"))
        self.declare()

    def declare(self) -> None:
        """Write what the tool reads beside the step. Nothing, where the command says all."""

    def command(self) -> list[str]:
        """What builds. Abstract: each tool has its own."""
        raise NotImplementedError

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def environment(self) -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.root.parent), "PROBE_RUNS": str(self.runs), "LC_ALL": "C.UTF-8"}

    def start(self, command: list[str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command or self.command(), cwd=self.root, env=self.environment(), start_new_session=True, text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def end(self, process: subprocess.Popen[str]) -> Done:
        """Wait for it. What it leaves running is killed."""
        try:
            said, _ = process.communicate(timeout=self.limit)
            return Done(process.returncode, said)
        except subprocess.TimeoutExpired:
            return Done(None, "")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def build(self) -> Done:
        return self.end(self.start())

    def recover(self, done: Done) -> str:
        """What the documentation says to do after such a failure, done; its name, or nothing."""
        return ""

    def begun(self, process: subprocess.Popen[str]) -> bool:
        return self.runs.exists()

    def ran(self) -> list[str]:
        """Steps that ran since this was last asked."""
        found = self.runs.read_text().split() if self.runs.exists() else []
        self.runs.unlink(missing_ok=True)
        return found

    def want(self, data: str = "abc", factor: int = 1, side: str = "") -> str:
        return data * factor + side + "end"

    def have(self) -> str | None:
        path = self.root / self.final
        return path.read_text(errors="replace") if path.is_file() else None

    @classmethod
    def version(cls, folder: Path) -> str:
        said = subprocess.run([folder / cls.name, "--version"], capture_output=True, text=True, check=False).stdout
        return said.split("\n")[0].rpartition(" ")[2]


class Cbuild(Project):
    name = "cbuild"
    final = "build/second/value"
    caches = "cache/cas"

    def declare(self) -> None:
        early, late = self.seconds
        site = self.root.parent / f"{self.root.name}.site"
        info = site / "probe-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "probe.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[compressbuild]\nprobe = probe\n")
        self.write("loader.py", LOADER)
        self.write(
            "Compressfile",
            "version: 1\nmodels: {data: {file: data.txt}}\n"
            "datasets: {d: {loader: loader:load, files: [data.txt]}}\ntargets:\n"
            f"  first: {{from: data, steps: [{{probe.step: {{data: d, early: {early}, late: {late}}}}}]}}\n"
            "  second: {from: first, steps: [probe.step]}\n",
        )

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": f"{self.root.parent / self.root.name}.site"}

    def command(self) -> list[str]:
        return [str(self.bin / "cbuild"), "all", "--json"]

    def begun(self, process: subprocess.Popen[str]) -> bool:
        assert process.stdout is not None
        line = process.stdout.readline()
        return '"node-started"' in line and "probe.step" in line

    def end(self, process: subprocess.Popen[str]) -> Done:
        done = super().end(process)
        for line in done.said.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                event = json.loads(line)
                if event["event"] == "node-started" and "probe.step" in event["node"]:
                    with self.runs.open("a") as file:
                        file.write(event["node"].partition("/")[0] + "\n")
        return done


class Doit(Project):
    """Signatures by MD5, the default; a task's code and data are its ``file_dep``."""

    name = "doit"

    def declare(self) -> None:
        wait = "{},{}".format(*self.seconds)
        self.write(
            "dodo.py",
            f"""import sys
def task_first():
    return {{"actions": [f"{{sys.executable}} step.py first data.txt out/first {wait}"],
            "file_dep": ["data.txt", "step.py"], "targets": ["out/first"]}}
def task_second():
    return {{"actions": [f"{{sys.executable}} step.py second out/first out/second 0,0"],
            "file_dep": ["out/first", "step.py"], "targets": ["out/second"]}}
""",
        )

    def command(self) -> list[str]:
        return [str(self.bin / "doit")]


class Dvc(Project):
    """``deps`` and ``outs`` of ``dvc.yaml``, without a Git repository, as for a pipeline alone."""

    name = "dvc"
    caches = ".dvc/cache/files"

    def declare(self) -> None:
        wait = "{},{}".format(*self.seconds)
        subprocess.run([self.bin / "dvc", "init", "-q", "--no-scm"], cwd=self.root, env=self.environment(), check=True)
        subprocess.run(
            [self.bin / "dvc", "config", "core.analytics", "false"], cwd=self.root, env=self.environment(), check=True
        )
        self.write(
            "dvc.yaml",
            f"""stages:
  first:
    cmd: {sys.executable} step.py first data.txt out/first {wait}
    deps: [data.txt, step.py]
    outs: [out/first]
  second:
    cmd: {sys.executable} step.py second out/first out/second 0,0
    deps: [out/first, step.py]
    outs: [out/second]
""",
        )

    def command(self) -> list[str]:
        return [str(self.bin / "dvc"), "repro"]


class Snakemake(Project):
    """Its default triggers: times, code of the rule, inputs, parameters, software."""

    name = "snakemake"

    def declare(self) -> None:
        wait = "{},{}".format(*self.seconds)
        self.write(
            "Snakefile",
            f"""rule second:
    input: "out/first", "step.py"
    output: "out/second"
    shell: "{sys.executable} step.py second out/first out/second 0,0"
rule first:
    input: "data.txt", "step.py"
    output: "out/first"
    shell: "{sys.executable} step.py first data.txt out/first {wait}"
""",
        )

    def command(self) -> list[str]:
        return [str(self.bin / "snakemake"), "--cores", "2"]

    def recover(self, done: Done) -> str:
        used = []
        if "unlock" in done.said:
            self.end(self.start([str(self.bin / "snakemake"), "--unlock"]))
            used.append("--unlock")
        if "incomplete" in done.said.lower() or used:
            self.end(self.start([*self.command(), "--rerun-incomplete"]))
            used.append("--rerun-incomplete")
        return ", ".join(used)


class Olive(Project):
    """Its own kind of pipeline: a pass over an ONNX model, the bytes of whose weights spell `data.txt`."""

    name = "olive"
    final = "out/model.onnx"
    caches = "cache"
    steps = False
    limit = 600.0  # it imports torch and transformers

    def declare(self) -> None:
        config = {
            "input_model": {"type": "ONNXModel", "model_path": "model.onnx"},
            "passes": {"int8": {"type": "OnnxDynamicQuantization"}},
            "output_dir": "out",
            "cache_dir": "cache",
        }
        self.write("olive.json", json.dumps(config))

    def write(self, name: str, text: str) -> None:
        super().write(name, text)
        if name == "data.txt":
            self._model(text)

    def _model(self, text: str) -> None:
        import numpy as np
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        weight = np.array([[0.0, 127.0, *map(ord, text)]] * 4, np.float32)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, weight.shape[1]])
        node = helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul")
        graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, self.root / "model.onnx")

    def want(self, data: str = "abc", factor: int = 1, side: str = "") -> str:
        return data

    def have(self) -> str | None:
        import onnx
        from onnx import numpy_helper

        if not (self.root / self.final).is_file():  # a FIFO would be waited for
            return None
        try:
            model = onnx.load(self.root / self.final)
            found = {each.name: numpy_helper.to_array(each).astype(float) for each in model.graph.initializer}
            row = (found["w_quantized"][0] - found["w_zero_point"]) * found["w_scale"]
            return "".join(chr(round(value)) for value in row[2:])
        except Exception:  # noqa: BLE001  whatever is wrong with it, it is not the model
            return None

    def environment(self) -> dict[str, str]:
        return super().environment() | {"CI": "1", "OLIVE_DISABLE_TELEMETRY": "1"}

    def command(self) -> list[str]:
        return [str(self.bin / "python"), "-m", "olive", "run", "--config", "olive.json"]

    @classmethod
    def version(cls, folder: Path) -> str:
        code = "import importlib.metadata as m; print(m.version('olive-ai'))"
        return subprocess.run(
            [folder / "python", "-c", code], capture_output=True, text=True, check=False
        ).stdout.strip()


TOOLS: dict[str, type[Project]] = {each.name: each for each in (Cbuild, Doit, Dvc, Snakemake, Olive)}
