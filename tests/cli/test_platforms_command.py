from __future__ import annotations

from pathlib import Path

import msgspec
from command import Inline


def test_the_catalogue_is_listed_with_what_this_machine_can_do(tmp_path: Path) -> None:
    work = Inline(tmp_path / "bare")
    rows = {row["platform"]: row for row in map(msgspec.json.decode, work("platforms", "--json").out.splitlines())}
    assert {"cpu-any", "cpu-x86-vnni", "arm64-server", "rtx-ada", "rtx-ampere", "rtx-blackwell", "a100"} <= set(rows)
    assert (rows["cpu-any"]["build"], rows["cpu-any"]["run"]) == (True, True)
    assert rows["rtx-ada"]["settings"] == {"compute-capability": "sm89"}
    assert rows["a100"]["requires"] == {"gpu.sm": "sm80"}
    for row in rows.values():
        assert row["build"] == (not row["missing"]["build"])
    text = work("platforms").out
    assert "{backend: tensorrt-rtx, compute-capability: [sm86, sm89, sm120]}" in text
    assert "needs" not in text
    assert ("needs" in work("platforms", "-v").out) == any(not row["build"] or not row["run"] for row in rows.values())
