"""The table of ``make soak``: what a run of tests says becomes rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import soak
from sweeps import Tally, tallied

REPORT = f"""<testsuites><testsuite>
<testcase name="test_sweep"><properties>
  <property name="seed" value="7"/><property name="tried" value="40"/><property name="failed" value="2"/>
</properties><failure message="2 of 40"/></testcase>
<testcase name="test_all"><properties><property name="tried" value="9"/></properties></testcase>
<testcase name="test_product[a]"/>
<testcase name="test_product[b]"><error message="boom"/></testcase>
<testcase name="test_product[c]"><skipped message="{soak.TIME_IS_OVER}"/></testcase>
<testcase name="test_product[d]"><skipped message="needs a GPU"/></testcase>
</testsuite></testsuites>"""


def test_rows_and_table(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    rows = soak.rows("f.py", tmp_path / "report.xml")
    assert rows == [
        ("f.py::test_sweep", "40", "2", "7"),
        ("f.py::test_all", "9", "0", "every case"),
        ("f.py", "2 of 3", "1", "by chance"),
    ]
    lines = soak.table(rows).splitlines()
    assert lines[0].split() == ["test", "tried", "failed", "seed"]
    assert lines[3].split() == ["f.py", "2", "of", "3", "1", "by", "chance"]


def test_the_long_tests_of_a_file_are_counted_by_function() -> None:
    found = soak.collected(["tests/faults/test_call_faults.py"])["tests/faults/test_call_faults.py"]
    assert found["test_many_calls"] == 1
    assert found["test_every_call"] > 20


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed is tried again, and so is what another test of the same name of case has tried."""
    monkeypatch.setenv("CBUILD_CASES", str(tmp_path / "cases"))
    (tmp_path / "cases").write_text('{"test": "another", "name": "5", "failed": []}\n')
    first = Tally(1)
    assert list(first.left(range(6))) == [*range(6)]
    for number in (3, 1, 4):
        with first.case(name=str(number)):
            assert number != 4
    assert first.failed
    second = Tally(2)
    assert list(second.left(range(6))) == [0, 2, 4, 5]
    assert second.before == 2

    said: dict[str, object] = {}
    with tallied(said.__setitem__) as third:
        for number in third.left([1, 3]):
            raise AssertionError(f"{number} is done")
    assert (said["tried"], said["failed"]) == (2, 0)
    monkeypatch.delenv("CBUILD_CASES")
    assert list(Tally(3).left(range(2))) == [0, 1]
