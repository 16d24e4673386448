"""``cbuild lock`` and ``--locked``: software that differs is named, and refused where it must not."""

from __future__ import annotations

import json

import pytest
from command import Work


def edit(work: Work, tools: dict[str, str | None]) -> None:
    """Change what is locked; None: no longer locked."""
    path = work.root / "Compressfile.lock"
    lock = json.loads(path.read_text())
    lock["tools"] = {name: v for name, v in {**lock["tools"], **tools}.items() if v is not None}
    path.write_text(json.dumps(lock))


def test_what_was_just_locked_is_as_locked(toys: Work):
    assert "wrote Compressfile.lock" in toys("lock").out
    assert toys("lock", "--check").out == "as in Compressfile.lock\n"
    assert "nothing to do" in toys("all", "--locked").out
    assert "nothing to do" in toys("all", "--locked").out, "by the state of the no-op, too"


def test_a_difference_is_named_and_with_locked_refused(toys: Work):
    toys("lock")
    edit(toys, {"python": "2.7", "gone": "1.0"})
    said = toys("all")
    assert "warning: Compressfile.lock: python is 3." in said.err
    assert "locked is 2.7" in said.err
    assert "gone" not in said.err, "no target needs it"
    assert "python is 3." in toys("all").err, "a build with a difference is no no-op"
    assert toys("lock", "--check", code=4).out.endswith("1 differ\n")
    refused = toys("all", "--locked", code=4).err
    assert "the installed software differs from Compressfile.lock: python is 3." in refused
    edit(toys, {"python": None})
    assert "python 3." in toys("all", "--locked", code=4).err
    assert "is not locked" in toys("-n", "all").err
    toys("lock")
    toys("all", "--locked")


def test_the_plugins_code_is_locked_by_its_digest(toys: Work):
    toys("lock")
    path = toys.root / "Compressfile.lock"
    lock = json.loads(path.read_text())
    assert {"toy:mix", "toy:copy", "toy:length"} <= lock["plugins"].keys()
    lock["plugins"]["toy:mix"] = "0" * 64
    path.write_text(json.dumps(lock))
    refused = toys("all", "--locked", code=4).err
    assert "the code of toy is not the locked one (toy:mix)" in refused


def test_a_no_op_sees_a_lock_that_was_edited(toys: Work):
    toys("lock")
    toys("all", "--locked")
    edit(toys, {"python": "2.7"})
    toys("all", "--locked", code=4)
    assert "locked is 2.7" in toys("all").err


def test_without_a_lock(toys: Work):
    assert "hint: 'cbuild lock' writes it" in toys("all", "--locked", code=4).err
    assert "there is no Compressfile.lock" in toys("lock", "--check", code=4).err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not a lock"),
        ("", "is not a lock"),
        ("\ud800", "is not a lock"),
        ('{"version": 1, "tools": {}}', "is not a lock"),
        ('{"version": 7, "tools": {}, "plugins": {}}', "has version 7"),
    ],
)
def test_a_damaged_lock_is_one_error(toys: Work, text: str, said: str):
    (toys.root / "Compressfile.lock").write_bytes(text.encode("utf-8", "surrogatepass"))
    error = toys("all", code=1).err
    assert error.startswith(f"error: Compressfile.lock {said}")
    assert "cbuild lock" in error


def test_a_lock_that_is_no_file(toys: Work):
    (toys.root / "Compressfile.lock").mkdir()
    assert "Compressfile.lock cannot be read" in toys("all", code=1).err
