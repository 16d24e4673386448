"""``cbuild sbom``: where the bill goes, and what it refuses."""

from __future__ import annotations

import json

from command import Work


def test_to_standard_output_or_a_file(built: Work, toys: Work):
    printed = built("sbom", "second").out
    assert json.loads(printed)["metadata"]["component"]["name"] == "second"
    assert "wrote bill.json" in toys("sbom", "second", "-o", "bill.json").err
    assert (toys.root / "bill.json").read_text() == printed


def test_what_it_refuses(toys: Work):
    assert "unknown target 'secnd'" in toys("sbom", "secnd", code=2).err
    (toys.root / "build/first/value").write_text("other")
    assert "first: value changed" in toys("sbom", "first", code=1).err
    (toys.root / "build/second").rename(toys.root / "elsewhere")
    assert "second is not published" in toys("sbom", "second", code=1).err
    assert "cannot write no/such" in toys("sbom", "third-1", "-o", "no/such", code=2).err
