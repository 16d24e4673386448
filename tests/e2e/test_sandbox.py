"""The sandbox of a whole build: who chooses it, where it is said, and what it leaves as it was."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from command import Work

from compressbuild.execute import bubblewrap, landlock
from compressbuild.execute.events import NodeStarted, decode

FILE = """\
version: 1
{sandbox}
models: {{f: {{file: f.txt}}}}
datasets: {{d: {{loader: 'load:go', files: [words.txt]}}}}
evaluate: {{metrics: [length]}}
targets:
  good: {{from: f, steps: [toy.copy: {{data: d}}, toy.copy: {{}}]}}
"""
LOADER = """\
from pathlib import Path
def go():
    Path("/tmp/left").touch() if {touch} else None
    return [(Path(__file__).parent / "words.txt").read_text()]
"""

needs_bubblewrap = pytest.mark.skipif(bubblewrap.lack() is not None, reason=str(bubblewrap.lack()))
needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
BOXED = "bubblewrap, landlock" if landlock.version() else "bubblewrap"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path, toy=True)
    work.write("f.txt", "abc")
    work.write("words.txt", "words")
    work.write("load.py", LOADER.format(touch=False))
    declare(work, "")
    return work


def declare(work: Work, sandbox: str) -> None:
    work.write("Compressfile", FILE.format(sandbox=sandbox))


def sandboxes(work: Work, target: str = "good") -> list[str]:
    """Of each step, as the provenance says."""
    envelope = json.loads((work.root / "build" / target / "provenance.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    return [each["sandbox"] for each in steps(statement)]


def steps(value: object) -> list[dict[str, str]]:
    if isinstance(value, dict):
        return [value] if "sandbox" in value else [each for inner in value.values() for each in steps(inner)]
    return [each for inner in value for each in steps(inner)] if isinstance(value, list) else []


@needs_bubblewrap
def test_provenance_says_which_one_and_no_key_has_it(work: Work) -> None:
    work("good", CBUILD_SANDBOX="none")
    assert sandboxes(work) == ["engine", "none", "none"]
    before = work.published()
    declare(work, "sandbox: bubblewrap")
    again = work.json("good")
    assert again.started == [], "another sandbox runs nothing again"
    assert sandboxes(work) == ["engine", "none", "none"], "under which it was made"
    work("good", "--cache-dir", "other")
    assert sandboxes(work) == ["engine", BOXED, BOXED]
    assert work.published() == before


@needs_bubblewrap
def test_the_environment_has_the_last_word(work: Work) -> None:
    declare(work, "sandbox: none")
    work("good", CBUILD_SANDBOX="bubblewrap")
    assert sandboxes(work) == ["engine", BOXED, BOXED]


@needs_landlock
def test_left_to_itself_it_is_landlock(work: Work) -> None:
    work("good")
    assert sandboxes(work) == ["engine", "landlock", "landlock"]
    assert "landlock (version" in work("doctor").out


@needs_bubblewrap
def test_a_private_tmp_is_written_and_gone(work: Work) -> None:
    left = Path("/tmp/left")
    assert not left.exists()
    work.write("load.py", LOADER.format(touch=True))
    work("good", CBUILD_SANDBOX="bubblewrap")
    assert not left.exists()


def test_a_word_that_is_none(work: Work) -> None:
    declare(work, "sandbox: bubblewarp")
    said = work("good", code=2).err
    assert (
        "Compressfile:2:10: error: 'sandbox' must be auto or bubblewrap or landlock or none, not 'bubblewarp'" in said
    )
    assert "did you mean 'bubblewrap'?" in said
    declare(work, "")
    said = work("good", code=2, CBUILD_SANDBOX="landlok").err
    assert "CBUILD_SANDBOX must be auto, bubblewrap, landlock or none, not 'landlok'" in said


def test_what_this_machine_has_not_is_refused_by_name(work: Work) -> None:
    declare(work, "sandbox: bubblewrap")
    said = work("good", code=4, PATH="/nowhere").err
    assert "Compressfile:2:10: error: the sandbox 'bubblewrap' cannot be had here: bwrap is not installed" in said
    assert "install it" in said
    assert not (work.root / "build").exists()
    assert "none: bwrap is not installed" in work("doctor", "-v", PATH="/nowhere").out


@needs_bubblewrap
def test_a_killed_build_leaves_no_process(work: Work) -> None:
    work.write("load.py", "def go():\n    import time\n    time.sleep(60)\n")
    build = work.start("good", "--json", CBUILD_SANDBOX="bubblewrap")
    assert build.stdout is not None
    while not (isinstance(event := decode(build.stdout.readline().encode()), NodeStarted) and "copy" in event.node):
        pass
    build.send_signal(signal.SIGKILL)
    build.communicate()
    assert work.settle() == []


@needs_bubblewrap
def test_a_deadline_holds_inside(work: Work) -> None:
    """The warm parent's clock and its view of processes are those of the sandbox."""
    work.write("load.py", "def go():\n    import subprocess\n    subprocess.run(['sleep', '60'])\n")
    work.write("Compressfile", FILE.format(sandbox="sandbox: bubblewrap") + "defaults: {timeout: 1s}\n")
    said = work("good", code=1).text
    assert "exceeded its timeout of 1 s" in said
    assert work.settle() == []


@needs_bubblewrap
def test_links_on_the_way_are_no_obstacle(tmp_path: Path, work: Work) -> None:
    """A project named by a link, whose cache is one, too."""
    with tempfile.TemporaryDirectory() as elsewhere:
        (work.root / "cache").symlink_to(elsewhere)
        (Path(elsewhere) / "link").symlink_to(work.root)
        work(
            "good",
            "-f",
            f"{elsewhere}/link/Compressfile",
            "--cache-dir",
            f"{elsewhere}/own",
            CBUILD_SANDBOX="bubblewrap",
        )
        assert sandboxes(work) == ["engine", BOXED, BOXED]
        (Path(elsewhere) / "link").unlink()
        shutil.rmtree(Path(elsewhere) / "own")
        work.unpublish()
        work("good", CBUILD_SANDBOX="bubblewrap")
        assert sandboxes(work) == ["engine", BOXED, BOXED]


LEGACY = """\
version: 1
models: {m: {factory: 'net:make', weights: w.pt, inputs: {x: {shape: [batch, 4]}}}}
targets: {t: {from: m}}
"""


@needs_bubblewrap
def test_weights_in_a_pickle_are_read_in_bubblewrap_unasked(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    work = Work(tmp_path)
    work.write("net.py", "import torch\n\n\ndef make():\n    return torch.nn.Linear(4, 2)\n")
    work.write("Compressfile", LEGACY)
    torch.save(torch.nn.Linear(4, 2).state_dict(), work.root / "w.pt")
    work("t")
    assert sandboxes(work, "t") == [BOXED]
    work("t", "--cache-dir", "other", CBUILD_SANDBOX="none")
    assert sandboxes(work, "t") == ["none"], "what was asked for by name holds"
