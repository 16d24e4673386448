"""Secrets of the environment, the home and the command line end up nowhere."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from command import Work

from compressbuild.execute.sandbox import lack

FILE = """\
version: 1
models: {f: {file: f.txt}}
datasets: {d: {loader: 'load:go'}}
targets:
  good: {from: f, steps: [toy.copy: {data: d}]}
  bad: {from: f, steps: [toy.copy: {fail: raise}]}
  dead: {from: f, steps: [toy.copy: {fail: crash}]}
"""
# Tells all that it can find out, as a careless loader or a library's debugging output would.
LOADER = """\
import os, sys
def go():
    from pathlib import Path
    print(dict(os.environ), sys.argv, Path("/proc/self/environ").read_bytes(), Path("/proc/self/cmdline").read_bytes())
    home = Path.home()
    found = [str(dict(os.environ)), str(sys.argv), str(home)]
    for path in home.rglob("*"):
        found.append(path.read_text() if path.is_file() else path.name)
    return sorted(found)
"""


SANDBOXES = [kind for kind in ("auto", "bubblewrap") if lack(kind) is None]


@pytest.fixture
def canaries(tmp_path: Path) -> list[str]:
    return [f"canary{secrets.token_hex(12)}" for _ in range(100)]


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_hundred_secrets_stay_where_they_are(tmp_path: Path, canaries: list[str], sandbox: str) -> None:
    home = tmp_path / "home"
    for number, word in enumerate(canaries[60:90]):
        place = home / (f".config/app{number}" if number % 2 else f".secret{number}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(word)
    variables = {f"TOKEN_{number}": word for number, word in enumerate(canaries[:58])}
    variables |= {"AWS_SECRET_ACCESS_KEY": canaries[58], "HF_TOKEN": canaries[59], "HOME": str(home)}
    variables["CBUILD_SANDBOX"] = sandbox
    work = Work(tmp_path / "work", toy=True)
    work.write("f.txt", "abc")
    work.write("load.py", LOADER)
    work.write("Compressfile", FILE)
    settings = [word for secret in canaries[90:] for word in ("--set", f"vars.x={secret}")]
    shown = work("all", "-k", "-v", code=1, **variables).text
    shown += work("report", "-o", "report.html", code=None, **variables).text
    shown += work("doctor", **variables).text
    shown += work("list", *settings, code=None, **variables).text
    places = [path for path in work.root.rglob("*") if path.is_file()]
    assert any("logs" in path.parts for path in places)
    assert (work.root / "build/good/provenance.json").exists()
    for path in places:
        content = path.read_bytes()
        leaked = [number for number, word in enumerate(canaries) if word.encode() in content]
        assert leaked == [], f"{path.relative_to(work.root)} holds secrets {leaked}"
    assert [number for number, word in enumerate(canaries[:90]) if word in shown] == []
