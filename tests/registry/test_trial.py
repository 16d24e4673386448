"""A manifest that ends, hangs or crashes whoever imports it costs itself alone, and is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import install, python

SOUND = """\
from compressbuild.api import Kind, hookimpl
@hookimpl
def compressbuild_kinds():
    yield Kind(name="mine", files=("*",))
"""
HOSTILE = {
    "exits": ("import os; os._exit(0)", "ends the process that imports its manifest (exit status 0)"),
    "exits with a status": ("import os; os._exit(3)", "ends the process that imports its manifest (exit status 3)"),
    "interrupts": ("raise KeyboardInterrupt", "ends the process that imports its manifest (exit status 0)"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "crashes the process that imports its manifest (SIGSEGV)"),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", "crashes the process that imports its manifest (SIGKILL)"),
    "hangs": ("import time; time.sleep(1000)", "does not answer: its manifest was stopped after 0.5 s"),
    "hangs in a hook": (
        "from compressbuild.api import hookimpl\n@hookimpl\ndef compressbuild_kinds():\n    while True: pass",
        "does not answer: its manifest was stopped after 0.5 s",
    ),
    "leaves a child": (
        "import subprocess, os; subprocess.Popen(['sleep', '1000']); os._exit(1)",
        "ends the process that imports its manifest (exit status 1)",
    ),
}
ASK = """\
import json, sys, time
from pathlib import Path
from compressbuild.registry import discover, trial
trial._LIMIT = trial._TOGETHER = 0.5 if sys.argv[1] == "short" else 30.0
began = time.monotonic()
found = discover(cache=Path(sys.argv[2]))
print(json.dumps({
    "problems": {p.plugin: p.message for p in found.problems}, "kinds": sorted(found.kinds),
    "seconds": time.monotonic() - began,
}))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    install(tmp_path, "some-plugins", "1.0", {"good": "good", "bad": "bad.manifest"})
    (tmp_path / "good.py").write_text(SOUND)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/__init__.py").write_text("")
    return tmp_path


def ask(place: Path, limit: str = "short") -> dict:
    done = python(place, "-c", ASK, limit, str(place / "cache"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_named_and_left_out(place: Path, what: str) -> None:
    code, said = HOSTILE[what]
    (place / "bad/manifest.py").write_text(code + "\n")
    found = ask(place)
    assert found["problems"] == {"bad": said}
    assert "mine" in found["kinds"]
    again = ask(place, "long")
    assert again["problems"] == found["problems"], "remembered: it is not tried again"
    assert again["seconds"] < 20
    (place / "bad/manifest.py").write_text(SOUND.replace("mine", "repaired"))
    found = ask(place, "long")
    assert found["problems"] == {}
    assert {"mine", "repaired"} <= set(found["kinds"])


def test_many_that_hang_are_waited_for_together(tmp_path: Path) -> None:
    names = [f"bad{number}" for number in range(8)]
    install(tmp_path, "some-plugins", "1.0", {name: name for name in ["good", *names]})
    (tmp_path / "good.py").write_text(SOUND)
    for name in names:
        (tmp_path / f"{name}.py").write_text("import time; time.sleep(1000)")
    found = ask(tmp_path)
    assert set(names) <= found["problems"].keys()
    assert "mine" in found["kinds"]
    assert found["seconds"] < 0.5 * len(names), "each has its own time"


def test_what_a_manifest_prints_is_no_output_of_the_command(place: Path) -> None:
    noise = "import os\nprint('noise')\nos.write(1, b'more noise')\n"
    (place / "bad/manifest.py").write_text(noise + SOUND.replace("mine", "loud"))
    assert "loud" in ask(place, "long")["kinds"]
