"""Tools of data pipelines: DVC and Snakemake. Their actions are shell commands."""

from __future__ import annotations

import json

from ..layered import Layered
from ..place import Place
from .shell import command
from .tool import Tool, run


class Dvc(Tool):
    name = package = "dvc"
    mode = "`dvc repro`, one at a time, without Git, analytics and update check"

    def prepare(self, place: Place) -> None:
        run(place, [str(self.program), "init", "--no-scm", "--quiet"])
        for option in ("core.analytics", "core.check_update"):
            run(place, [str(self.program), "config", option, "false"])

    def write(self, place: Place, graph: Layered) -> None:
        stages = {
            node.name: {"cmd": command(place, graph, node), "deps": node.reads, "outs": [node.output]}
            for node in graph.nodes
        }
        (place.project / "dvc.yaml").write_text(json.dumps({"stages": stages}))

    def words(self) -> list[str]:
        return [str(self.program), "repro", "--quiet"]


SNAKEFILE = """\
import json

NODES = json.load(open("graph.json"))


rule all:
    input: [f"out/{name}" for name in NODES]


rule node:
    output: "out/{name}"
    input: lambda wildcards: NODES[wildcards.name]["reads"]
    params: command=lambda wildcards: NODES[wildcards.name]["command"]
    shell: "{params.command}"
"""


class Snakemake(Tool):
    name = package = "snakemake"
    mode = "one rule, `--cores`, `--scheduler greedy`"
    remedy = ("--unlock", "--rerun-incomplete")
    notes = {
        "cutoff": "Snakemake compares the content of source files only: what depends on a job that runs, runs",
        "back": "Snakemake keeps no earlier results",
    }

    def write(self, place: Place, graph: Layered) -> None:
        nodes = {node.name: {"reads": node.reads, "command": command(place, graph, node)} for node in graph.nodes}
        (place.project / "graph.json").write_text(json.dumps(nodes))
        (place.project / "Snakefile").write_text(SNAKEFILE)

    def words(self) -> list[str]:
        return [str(self.program), "--cores", str(self.jobs), "--scheduler", "greedy", "--quiet", "all"]
