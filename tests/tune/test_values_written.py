"""The chosen values in the text of a Compressfile: only they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.compressfile.nodes import plain
from compressbuild.errors import CbuildError, UsageError
from compressbuild.tune.apply import edited, write

HEAD = "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n  a:\n    from: f\n    steps:\n"
AT = "targets.a.steps.0.prune.channels.ratio"

CASES = {
    "flow": (
        "      - prune.channels: {ratio: {search: [0.1, 0.7]}, align: 8}  # why\n", 0.35,
        "      - prune.channels: {ratio: {search: [0.1, 0.7], value: 0.35}, align: 8}  # why\n",
    ),
    "flow with spaces": (
        "      - prune.channels: {ratio: { search: [0.1, 0.7] }}\n", 0.35,
        "      - prune.channels: {ratio: { search: [0.1, 0.7], value: 0.35 }}\n",
    ),
    "flow that ends in a comma": (
        "      - prune.channels: {ratio: {search: [0.1, 0.7],}}\n", 0.35,
        "      - prune.channels: {ratio: {search: [0.1, 0.7], value: 0.35}}\n",
    ),
    "flow over lines": (
        "      - prune.channels:\n          ratio: {  # the share\n            search: [0.1, 0.7]}\n", 0.35,
        "      - prune.channels:\n          ratio: {value: 0.35,   # the share\n            search: [0.1, 0.7]}\n",
    ),
    "block": (
        "      - prune.channels:\n          ratio:  # the share\n            # both ends\n"
        "            search: [0.1, 0.7]\n", 0.35,
        "      - prune.channels:\n          ratio:  # the share\n            # both ends\n            value: 0.35\n"
        "            search: [0.1, 0.7]\n",
    ),
    "a value that is there": (
        "      - prune.channels: {ratio: {value: 0.5, search: [0.1, 0.7]}}  # ü\n", 0.35,
        "      - prune.channels: {ratio: {value: 0.35, search: [0.1, 0.7]}}  # ü\n",
    ),
    "the same value": (
        "      - prune.channels: {ratio: {value: 0.35, search: [0.1, 0.7]}}\n", 0.35,
        "      - prune.channels: {ratio: {value: 0.35, search: [0.1, 0.7]}}\n",
    ),
    "text": (
        "      - prune.channels: {ratio: {choose: [u8-affine, 'true']}}\n", "u8-affine",
        "      - prune.channels: {ratio: {choose: [u8-affine, 'true'], value: u8-affine}}\n",
    ),
    "text that needs quotes": (
        "      - prune.channels: {ratio: {choose: [u8-affine, 'true']}}\n", "true",
        "      - prune.channels: {ratio: {choose: [u8-affine, 'true'], value: \"true\"}}\n",
    ),
    "a list": (
        "      - prune.channels: {ratio: {choose: [[1, 2], [3]], value: [1, 2]}}\n", [3],
        "      - prune.channels: {ratio: {choose: [[1, 2], [3]], value: [3]}}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_only_the_value_changes(tmp_path: Path, case: str, end: str):
    before, value, after = (part.replace("\n", end) if isinstance(part, str) else part for part in CASES[case])
    head = HEAD.replace("\n", end)
    path = tmp_path / "Compressfile"
    path.write_bytes(f"{head}{before}".encode())
    assert edited(f"{head}{before}", path, {AT: value}) == f"{head}{after}"
    assert write(path, {AT: value}) is (before != after)
    assert path.read_bytes() == f"{head}{after}".encode()
    params = loads(path.read_bytes().decode(), path).targets["a"].steps[0].params
    assert params is not None
    assert plain(params)["ratio"] == value


def test_several_ranges_of_a_line(tmp_path: Path):
    path = tmp_path / "Compressfile"
    path.write_text(
        HEAD + "      - t: {a: {search: [1, 9]}, b: {choose: [x, y], value: x}}\n      - t: {a: {search: [1, 9]}}\n"
    )
    assert write(path, {f"targets.a.steps.{at}": v for at, v in (("0.t.a", 3), ("0.t.b", "y"), ("1.t.a", 4))})
    assert path.read_text() == HEAD + (
        "      - t: {a: {search: [1, 9], value: 3}, b: {choose: [x, y], value: y}}\n"
        "      - t: {a: {search: [1, 9], value: 4}}\n"
    )


def test_what_is_beside_the_text_stays(tmp_path: Path):
    real = tmp_path / "real"
    real.write_bytes(b"\xef\xbb\xbf" + (HEAD + CASES["flow"][0]).encode())
    real.chmod(0o640)
    link = tmp_path / "Compressfile"
    link.symlink_to(real)
    assert write(link, {AT: 0.35})
    assert link.is_symlink()
    assert real.read_bytes() == b"\xef\xbb\xbf" + (HEAD + CASES["flow"][2]).encode()
    assert os.stat(real).st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Compressfile", "real"]


def test_what_cannot_be_edited_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "Compressfile"
    text = HEAD + "      - prune.channels: {ratio: {choose: [a b c, d], value: a\n          b c}}\n"
    path.write_text(text)
    with pytest.raises(CbuildError, match="cannot be edited"):
        write(path, {AT: "d"})
    with pytest.raises(UsageError, match="no range at targets"):
        write(path, {AT.replace("ratio", "other"): 1})
    assert path.read_text() == text
