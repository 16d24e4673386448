"""Print the keys of a project as JSON, with the engine that this interpreter finds. Needs nothing of the tests."""

import json
import sys
from pathlib import Path

from compressbuild.project import Project
from compressbuild.registry import discover


def keys(root: Path) -> dict[str, str]:
    """Node → its key with the Python version left out, which is the part that must differ."""
    project = Project(root / "Compressfile", cache=root / "cache", environ={})
    installed = any(plugin.name == "gold" for plugin in discover(cache=None).plugins)
    project.__dict__["registry"] = discover(cache=None, extra=[] if installed else ["gold"])
    found = {}
    for index in project.graph.order:
        node = project.graph.nodes[index]
        parts = project.keyer.parts(node, {role: role * 8 for role in node.inputs})
        if parts["tools"].pop("python") != "{}.{}".format(*sys.version_info):  # no assert: PYTHONOPTIMIZE drops it
            sys.exit("the key does not cover the version of Python")
        found[node.position] = project.keyer.key(parts)
    if project.keyer.problems:
        sys.exit(str(project.keyer.problems))
    project.close()
    return dict(sorted(found.items()))


if __name__ == "__main__":
    print(json.dumps(keys(Path(sys.argv[1])), indent=1))
