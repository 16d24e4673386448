"""``metrics.json``: its bytes, and what is read from it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from compressbuild.evaluate.concerns import Concern
from compressbuild.evaluate.evidence import Evidence
from compressbuild.evaluate.gates import Verdict
from compressbuild.evaluate.target import Assessment

FOUND = Assessment(
    metrics={"size": {"value": 3, "files": {"b": 1, "a": 2}}},
    unmeasured={"speed": "no runtime"},
    verdicts=(Verdict(metric="size", limit="max", bound=9.0, verdict="pass", ok=True, value=3.0, margin=6.0),),
    warnings=(Concern(kind="class-collapsed", message="one fell", classes=("1",)),),
)
BYTES = b"""\
{
  "gates": [
    {
      "against": null,
      "bound": 9.0,
      "high": null,
      "limit": "max",
      "low": null,
      "margin": 6.0,
      "metric": "size",
      "ok": true,
      "reason": "",
      "value": 3.0,
      "verdict": "pass"
    }
  ],
  "metrics": {
    "size": {
      "files": {
        "a": 2,
        "b": 1
      },
      "value": 3
    }
  },
  "platform": "cpu",
  "target": "t",
  "unmeasured": {
    "speed": "no runtime"
  },
  "warnings": [
    {
      "classes": [
        "1"
      ],
      "kind": "class-collapsed",
      "message": "one fell",
      "rows": "class"
    }
  ]
}
"""


def test_its_bytes_stay(tmp_path: Path) -> None:
    made = Evidence.of("t", "cpu", FOUND)
    assert made.encoded() == BYTES
    (tmp_path / "metrics.json").write_bytes(BYTES)
    assert Evidence.read(tmp_path) == made


def test_what_older_versions_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(b'{"target": "t", "metrics": {"size": {"value": 3}}, "extra": 1}')
    found = Evidence.read(tmp_path)
    assert found is not None
    assert (found.metrics, found.gates, found.warnings) == ({"size": {"value": 3}}, (), ())


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"metrics": 3}', b"\xff"])
def test_what_is_damaged_is_no_evidence(damaged: bytes, tmp_path: Path) -> None:
    assert Evidence.read(tmp_path) is None
    (tmp_path / "metrics.json").write_bytes(damaged)
    assert Evidence.read(tmp_path) is None


def test_what_was_missed() -> None:
    missed = msgspec.structs.replace(FOUND.verdicts[0], verdict="fail", ok=False)
    assert FOUND.missed == ()
    assert msgspec.structs.replace(FOUND, verdicts=(missed, *FOUND.verdicts)).missed == (missed,)
