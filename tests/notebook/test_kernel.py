"""The Python API in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import TOY_PATH

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TEXT = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [shares, length, wait], baseline: first}
targets:
  first: {from: f, steps: [toy.copy]}
  second: {from: first, steps: [{toy.copy: {seconds: 0.6}}]}
  broken: {from: f, steps: [{toy.copy: {fail: raise}}]}
"""
CELLS = [
    "import sys, compressbuild\nsorted({'torch', 'numpy', 'onnx', 'click', 'compressbuild.build'} & {*sys.modules})",
    "report = compressbuild.build('Compressfile', ['first', 'second'])\nreport",
    "compressbuild.plan('Compressfile', ['second'])",
    "compressbuild.why('Compressfile', 'second')",
    "compressbuild.compare('Compressfile', 'first', 'second')",
    "compressbuild.load('Compressfile')",
    "compressbuild.build('Compressfile', ['secnd'])",
    "compressbuild.build('Compressfile', ['broken']).ok",
    "report['second'].status",
]


def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import nbformat

    (tmp_path / "f.txt").write_text("abc")
    (tmp_path / "Compressfile").write_text(TEXT)
    monkeypatch.setenv("PYTHONPATH", TOY_PATH, prepend=":")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    client = nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    updates: list[Any] = []
    plain = client.process_message

    def process(message: Any, cell: Any, index: int) -> Any:
        if message["msg_type"] == "update_display_data":
            updates.append((index, message["content"]["data"]["text/html"]))
        return plain(message, cell, index)

    client.process_message = process
    client.execute()
    cells = [cell.outputs for cell in book.cells]
    assert result(cells[0])["text/plain"] == "[]"
    shown = result(cells[1])
    assert "<svg" in shown["text/html"]
    assert "<td>second</td>" in shown["text/html"]
    assert "2 of 2 targets up to date" in shown["text/plain"]
    assert any("second/toy.copy" in html and "<progress" in html for index, html in updates if index == 1)
    assert [html for index, html in updates if index == 1][-1] == ""
    assert "cached" in result(cells[2])["text/html"]
    assert "<td>second/toy.copy</td>" in result(cells[3])["text/html"]
    assert "second against first: " in result(cells[4])["text/html"]
    assert "<td>first → toy.copy</td>" in result(cells[5])["text/html"]
    (error,) = [output for output in cells[6] if output.output_type == "error"]
    assert error.traceback == ["error: unknown target 'secnd'", "  hint: did you mean 'second'?"]
    assert result(cells[7])["text/plain"] == "False"
    assert "broken/toy.copy raised" in [html for index, html in updates if index == 7][-1]
    assert result(cells[8])["text/plain"] == "'published'"


def result(outputs: Any) -> Any:
    """What the cell's last expression shows."""
    (found,) = [output for output in outputs if output.output_type == "execute_result"]
    return found.data
