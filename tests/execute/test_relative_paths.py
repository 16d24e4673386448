"""A relative path in a user's code: nodes do not run in the project's directory, and the message says so."""

from __future__ import annotations

import runpy
from pathlib import Path

from compressbuild.execute.failure import Failure, describe


def failure(root: Path, code: str) -> Failure:
    (root / "user.py").write_text(code)
    try:
        runpy.run_path(str(root / "user.py"))
    except FileNotFoundError as error:
        return describe(error, root=str(root), run="plugin:work")
    raise AssertionError("nothing was raised")


def test_one_line_says_where_and_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.npy").write_bytes(b"")
    found = failure(tmp_path, "import io\n\nopen('data/x.npy')\n")
    assert found.error == (
        "user.py:3 opens 'data/x.npy', which is in the project's directory, but nodes run in a directory of their own"
    )
    assert found.hint == "write Path(__file__).parent / 'data/x.npy' in your code"
    assert found.trace is None


def test_a_file_that_is_nowhere_is_what_python_says(tmp_path: Path) -> None:
    found = failure(tmp_path, "open('nowhere.npy')\n")
    assert "No such file or directory: 'nowhere.npy'" in found.error
    assert found.trace is not None
    missing = failure(tmp_path, f"open({str(tmp_path / 'gone')!r})\n")
    assert "gone" in missing.error


def test_a_library_in_rust_names_the_file_in_its_message_alone(tmp_path: Path) -> None:
    """As safetensors does: its error has no ``filename``."""
    (tmp_path / "w.safetensors").write_bytes(b"")
    found = failure(tmp_path, "raise FileNotFoundError('No such file or directory: w.safetensors')\n")
    assert found.error.startswith("user.py:1 opens 'w.safetensors', which is in the project's directory")
    assert found.hint == "write Path(__file__).parent / 'w.safetensors' in your code"
