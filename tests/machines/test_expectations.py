"""A node is refused by a machine that is not what its key was made for, and the difference is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nearby import Nearby

from compressbuild.agent.host import identity
from compressbuild.api import WorkExpect, WorkRequest
from compressbuild.execute.executor import Finished
from compressbuild.machines.bundle import Bundle
from compressbuild.machines.session import Session, Unreachable

Run = Callable[[WorkRequest], Finished]
Make = Callable[..., WorkRequest]


def as_it_is(session: Session) -> dict[str, Any]:
    ready = session.ready
    facts = {"cpu.model": ready.facts["cpu.model"], "cpu.isa": ready.facts["cpu.isa"], "host": ready.host}
    return {
        "python": ready.python,
        "facts": facts,
        "tools": {"msgspec": ready.versions["msgspec"], "no-such-thing": None},
    }


def test_a_machine_as_expected(session: Session, run: Run, request_of: Make, tmp_path: Path) -> None:
    end = run(request_of(expect=WorkExpect(**as_it_is(session))))
    assert end.cause == "ok", end.detail
    assert (tmp_path / "out/a").read_text() == "text"


@pytest.mark.parametrize(
    ("field", "changed", "says"),
    [
        ("python", "3.99", "Python is "),
        ("facts", {"cpu.model": "another"}, "cpu.model is "),
        ("facts", {"cpu.isa": ["avx10"]}, "cpu.isa is "),
        ("facts", {"gpu.sm": "sm89"}, "gpu.sm is None there, not 'sm89'"),
        ("facts", {"host": "0123"}, "host is "),
        ("tools", {"msgspec": "0.0.1"}, "there, not 0.0.1"),
        ("tools", {"onnxruntime-of-tomorrow": "9"}, "onnxruntime-of-tomorrow is not installed there, not 9"),
        ("tools", {"msgspec": None}, "there, not absent"),
    ],
)
def test_another_machine(
    session: Session, run: Run, request_of: Make, tmp_path: Path, field: str, changed: Any, says: str
) -> None:
    expect = as_it_is(session)
    expect[field] = {**expect[field], **changed} if isinstance(changed, dict) else changed
    end = run(request_of(expect=WorkExpect(**expect)))
    assert end.cause == "unavailable"
    assert "the machine is not what it was planned for" in end.detail
    assert says in end.detail
    assert list((tmp_path / "out").iterdir()) == []


def test_code_that_the_key_does_not_cover(run: Run, request_of: Make, bundle: Bundle, monkeypatch: Any) -> None:
    """A plugin that is edited after its code was sent: by bytes, for a comment may be in a table that it reads."""
    from compressbuild.api import WorkSight
    from compressbuild.execute import away

    path = bundle.files["compressbuild/agent/trial.py"]
    request = request_of(sight=WorkSight(files=(path,)))
    assert run(request).cause == "ok"
    digest = away.file_digest
    monkeypatch.setattr(away, "file_digest", lambda p: "0" * 64 if p == path else digest(p))
    monkeypatch.setattr(away, "signature", lambda p: (0,))
    end = run(request)
    assert end.cause == "unavailable"
    assert "compressbuild/agent/trial.py is other code there than the key covers" in end.detail


def test_an_identity(tmp_path: Path) -> None:
    """Two boards of one image differ by their serial numbers, and the machine-id itself is not shown."""
    for name, serial in (("one", b"100\0"), ("two", b"200\0")):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc/machine-id").write_text("c0ffee\n")
        (tmp_path / name / "proc/device-tree").mkdir(parents=True)
        (tmp_path / name / "proc/device-tree/serial-number").write_bytes(serial)
    one, two = identity(tmp_path / "one"), identity(tmp_path / "two")
    assert one != two
    assert one == identity(tmp_path / "one")
    assert "c0ffee" not in one


def test_what_a_login_script_prints(bundle: Bundle, device: Nearby) -> None:
    noisy = Nearby(device.home, before="Welcome!\nLast login: today, cbuild-agent\n")
    session = Session(noisy, bundle, "auto")
    assert session.ready.python == f"{sys.version_info[0]}.{sys.version_info[1]}"
    session.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/bin/sh\necho 'cbuild-agent-1 {\"python\": [3, 9]}'\n", "has Python 3.9, and 3.11 or later is needed"),
        ("#!/bin/sh\necho 'no module named site' >&2\nexit 1\n", "cannot be reached: no module named site"),
        ("#!/bin/sh\nexec yes\n", "let the login script print nothing"),
    ],
)
def test_a_python_that_will_not_do(tmp_path: Path, bundle: Bundle, text: str, says: str) -> None:
    (tmp_path / "python").write_text(text)
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(Unreachable) as raised:
        Session(Nearby(tmp_path, python=str(tmp_path / "python")), bundle, "auto")
    assert says in str(raised.value)


def test_libraries_that_lack(tmp_path: Path, bundle: Bundle) -> None:
    """Of a Python of the same kind they are sent; of another one the hint says what to install."""
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 -S "$@"\n')
    (tmp_path / "python").chmod(0o755)
    session = Session(Nearby(tmp_path, python=str(tmp_path / "python")), bundle, "auto")
    assert session.ready.host
    session.close()
    said = json.dumps({"python": [3, 12], "tag": "cpython-312-other", "lacks": ["blake3"]})
    (tmp_path / "python").write_text(f"#!/bin/sh\necho 'cbuild-agent-1 {said}'\ncat > /dev/null\n")
    with pytest.raises(Unreachable, match="lacks the Python package blake3") as raised:
        Session(Nearby(tmp_path, python=str(tmp_path / "python")), bundle, "auto")
    assert raised.value.hint == "run there: python3 -m pip install blake3"


def test_a_sandbox_that_cannot_be_had(device: Nearby, bundle: Bundle) -> None:
    with pytest.raises(Unreachable, match="cannot be used: the sandbox 'bubblewrap'"):
        Session(device, bundle, "bubblewrap")


def test_nodes_of_one_image(tmp_path: Path) -> None:
    """They share all that is read here; the executor says their names."""
    assert identity(tmp_path, "n1") != identity(tmp_path, "n2")
    assert identity(tmp_path, "n1") != identity(tmp_path)
