"""Tools that are described in Python: doit, SCons, redun."""

from __future__ import annotations

from ..place import Place
from .tool import PythonTool, run


class Doit(PythonTool):
    name = package = "doit"
    mode = "Python actions, one at a time, backend `json`"
    file = "dodo.py"
    notes = {
        "back": "doit keeps no earlier results",
        "killed": "doit writes down what is done when it ends",
    }
    text = """\
import json

from doit.tools import config_changed
from peers_action import act

DOIT_CONFIG = {"backend": "json", "reporter": "zero", "verbosity": 0}


def task_node():
    for name, salt, coarse, reads, output in json.load(open("graph.json")):
        yield {
            "name": name,
            "actions": [(act, [name, salt, coarse, reads, output])],
            "file_dep": reads,
            "targets": [output],
            "uptodate": [config_changed({"salt": salt})],
        }
"""

    def words(self) -> list[str]:
        return [str(self.program)]


class Scons(PythonTool):
    name = package = "scons"
    mode = "Python actions, no tool search, decider `content-timestamp`, `--implicit-cache`, `--max-drift=1`"
    coarse_clock = True
    file = "SConstruct"
    notes = {
        "back": "SCons keeps earlier results only in a `CacheDir`, which is not used here",
        "killed": "SCons writes down what is done when it ends",
    }
    text = """\
import json

from peers_action import act


def run(target, source, env):
    act(*env["ROW"])


Decider("content-timestamp")
env = Environment(tools=[])
action = Action(run, varlist=["SALT"])
for row in json.load(open("graph.json")):
    env.Command(row[4], row[3], action, ROW=row, SALT=row[1])
"""

    def words(self) -> list[str]:
        return [str(self.program), "-Q", "-s", "--implicit-cache", "--max-drift=1", "-j", str(self.jobs), "out"]


class Redun(PythonTool):
    name = package = "redun"
    mode = "local database, threads, `ContentFile`"
    file = "workflow.py"
    notes = {"back": "redun remembers results, but the files were overwritten since"}
    text = """\
import json

from peers_action import act
from redun import task
from redun.file import ContentFile

redun_namespace = "peers"


@task()
def node(name: str, salt: int, coarse: bool, reads: list, output: str) -> ContentFile:
    act(name, salt, coarse, [each.path for each in reads], output)
    return ContentFile(output)


@task(cache=False)
def main() -> list:
    made = {path: ContentFile(path) for path in ("source.txt", "leaf.txt")}
    for name, salt, coarse, reads, output in json.load(open("graph.json")):
        made[output] = node(name, salt, coarse, [made[path] for path in reads], output)
    return list(made.values())
"""

    def prepare(self, place: Place) -> None:
        run(place, [str(self.program), "init"])
        (place.project / ".redun" / "redun.ini").write_text(
            "[backend]\ndb_uri = sqlite:///redun.db\n"
            f"[executors.default]\ntype = local\nmode = thread\nmax_workers = {self.jobs}\n"
        )

    def words(self) -> list[str]:
        return [str(self.program), "run", "workflow.py", "main"]
