"""What discovery remembers of sound manifests, and that it never outlives what it was made from.

Each discovery is a process of its own, as a command is: what was imported once cannot hide an edit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

MANIFEST = """
    from compressbuild.api import Kind, Technique, hookimpl
    from .params import Scale

    @hookimpl
    def compressbuild_kinds():
        yield Kind(name="weights", files=("w.bin",))

    @hookimpl
    def compressbuild_techniques():
        yield Technique(name="good.scale", params=Scale, run="good.work:scale", consumes=("weights",))
"""
PARAMS = """
    from compressbuild.api import Params

    class Scale(Params):
        '''Multiply every weight by a factor.'''
        factor: float = 0.5
"""
LOOK = """
    import json, sys
    from pathlib import Path
    from compressbuild.graph import Types
    from compressbuild.registry import discover

    found = discover(cache=Path(sys.argv[1]))
    told = {"asked": "good.manifest" in sys.modules, "problems": [p.message for p in found.problems]}
    told["techniques"] = [n for (what, n), owner in found.owner.items() if (what, owner) == ("technique", "good")]
    if "good.scale" in found.techniques:
        types = Types(Path(sys.argv[1] + "-params"), found.stamp)
        kind = found.techniques["good.scale"].params
        told |= {"factor": types.typed(kind, {}).values["factor"], "consumes": found.techniques["good.scale"].consumes}
        assert told["factor"] == kind().factor, "what is remembered of its values is as old as its type"
        types.save()
    print(json.dumps(told))
"""


class Installed:
    """A plugin in a package, installed beside the first-party ones."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.cache = folder / "cache"
        info = self.site / "good_dist-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: good-dist\nVersion: 1.0\n")
        (info / "RECORD").write_text("good/__init__.py,,\n")
        (info / "entry_points.txt").write_text("[compressbuild]\ngood = good.manifest\n")
        self.write("good/__init__.py", "")
        self.write("good/manifest.py", MANIFEST)
        self.write("good/params.py", PARAMS)
        self.env = {**os.environ, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}

    def write(self, name: str, text: str) -> None:
        path = self.site / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        os.utime(self.site, ns=(10**18, 10**18))  # installed long ago, and nothing since

    def look(self, *options: str) -> dict[str, Any]:
        words = [sys.executable, *options, "-c", textwrap.dedent(LOOK), str(self.cache)]
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


@pytest.fixture
def remembered(installed: Installed) -> Installed:
    assert installed.look()["asked"]
    again = installed.look()
    assert again == {
        "asked": False,
        "problems": [],
        "techniques": ["good.scale"],
        "factor": 0.5,
        "consumes": ["weights"],
    }
    return installed


def test_an_edited_manifest_is_asked_again(remembered: Installed) -> None:
    remembered.write("good/manifest.py", MANIFEST.replace("good.scale", "good.scaled"))
    found = remembered.look()
    assert found["asked"]
    assert found["techniques"] == ["good.scaled"]


def test_edited_parameters_are_read_again(remembered: Installed) -> None:
    remembered.write("good/params.py", PARAMS.replace("0.5", "0.7"))
    found = remembered.look()
    assert (found["asked"], found["factor"]) == (True, 0.7)
    again = remembered.look()
    assert (again["asked"], again["factor"]) == (False, 0.7)


def test_an_edit_of_the_same_size_and_time_is_seen(remembered: Installed) -> None:
    """What copies files with their times leaves a new inode and ctime."""
    path = remembered.site / "good" / "params.py"
    before = path.stat()
    remembered.write("good/params.py", PARAMS.replace("0.5", "0.7"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = remembered.look()
    assert (found["asked"], found["factor"]) == (True, 0.7)


def test_parameters_that_no_longer_hold_are_refused(remembered: Installed) -> None:
    remembered.write("good/params.py", PARAMS.replace("float", "'flaot'"))
    found = remembered.look()
    assert found["techniques"] == []
    assert "the types of Scale are unusable" in found["problems"][0]
    assert remembered.look()["asked"], "a plugin with a problem is asked each time"
    remembered.write("good/params.py", PARAMS)
    assert remembered.look()["problems"] == []


def test_a_manifest_that_breaks_or_goes_is_seen(remembered: Installed) -> None:
    remembered.write("good/manifest.py", "raise RuntimeError('broken')")
    assert remembered.look()["problems"][0].startswith("cannot be imported: RuntimeError: broken")
    (remembered.site / "good" / "manifest.py").unlink()
    assert "No module named 'good.manifest'" in remembered.look()["problems"][0]


def test_a_package_that_takes_the_place_of_a_module_is_seen(remembered: Installed) -> None:
    """``params/`` is imported before ``params.py``, which has not changed."""
    remembered.write("good/params/__init__.py", PARAMS.replace("0.5", "0.9"))
    found = remembered.look()
    assert (found["asked"], found["factor"]) == (True, 0.9)


def test_an_upgrade_and_a_removal_are_seen(remembered: Installed) -> None:
    info = remembered.site / "good_dist-1.0.dist-info"
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    found = remembered.look()
    assert found["techniques"] == []


def test_another_interpreter_or_search_path_asks_for_itself(remembered: Installed, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "good").mkdir(parents=True)
    for name, text in (("__init__", ""), ("manifest", MANIFEST), ("params", PARAMS.replace("0.5", "0.2"))):
        (other / "good" / f"{name}.py").write_text(textwrap.dedent(text))
    remembered.env["PYTHONPATH"] = f"{other}{os.pathsep}{remembered.site}"
    found = remembered.look()
    assert (found["asked"], found["factor"]) == (True, 0.2)


def test_a_file_as_young_as_the_process_is_not_remembered(installed: Installed) -> None:
    """It may have been written after it was imported: nothing can tell."""
    installed.write(
        "good/manifest.py",
        MANIFEST + "\n    import pathlib\n    pathlib.Path(__file__).with_name('params.py').touch()\n",
    )
    assert installed.look()["asked"]
    assert installed.look()["asked"]


def test_an_observer_is_asked_each_time(installed: Installed) -> None:
    observer = "\n    @hookimpl\n    def compressbuild_event(event):\n        pass\n"
    installed.write("good/manifest.py", MANIFEST + observer)
    assert installed.look()["asked"]
    assert installed.look()["asked"]


def test_every_first_party_record_comes_back_equal(installed: Installed) -> None:
    script = """
        import sys
        from pathlib import Path
        from compressbuild.registry import discover

        asked = discover()
        kept = discover(cache=Path(sys.argv[1]))
        assert type(kept.metrics) is not type(asked.metrics), "it was not remembered"
        for what in ("techniques", "backends", "kinds", "metrics", "platforms"):
            assert dict(getattr(kept, what)) == dict(getattr(asked, what)), what
            assert len(getattr(kept, what)) > 3
        assert kept.plugins == asked.plugins
        assert dict(kept.owner) == dict(asked.owner)
    """
    installed.look()
    words = [sys.executable, "-c", textwrap.dedent(script), str(installed.cache)]
    subprocess.run(words, env=installed.env, check=True)
