"""The table of ``make soak``: what a run of tests says becomes rows."""

from __future__ import annotations

from pathlib import Path

import soak

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
