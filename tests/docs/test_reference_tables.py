"""Tables that stand in the code and on a page say the same."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest
from pages import ROOT, tables
from test_techniques import default, registry

from compressbuild.plan import keys
from compressbuild.plan.explain import Reason

DOCS = ROOT / "docs"


def code_table(text: str) -> list[list[str]]:
    """The table of columns in a docstring; continued lines are joined."""
    lines = text.splitlines()
    ruler = next(n for n, line in enumerate(lines) if set(line) == {"-", " "} and "--" in line)
    starts = [m.start() for m in re.finditer("-+", lines[ruler])]
    rows: list[list[str]] = []
    for line in lines[ruler + 1 :]:
        if not line.strip():
            break
        cells = [
            line[a:b].strip()
            for a, b in zip(starts, [*starts[1:], None], strict=True)  # the last is open
        ]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells, strict=True)]
    return rows


def test_the_table_of_the_action_key() -> None:
    page = tables((DOCS / "keys.md").read_text())[0][1:]
    assert keys.__doc__ is not None
    assert [[cell.replace("`", "") for cell in row] for row in page] == [
        [cell.replace("`", "") for cell in row] for row in code_table(keys.__doc__)
    ]


def test_the_layers_of_the_architecture() -> None:
    code = re.search(r'LAYERS = """\n(.*?)"""', (ROOT / "tools" / "rooms.py").read_text(), re.DOTALL)
    page = re.search(r"^```\n(__main__\n.*?)^```", (DOCS / "architecture.md").read_text(), re.MULTILINE | re.DOTALL)
    assert code is not None
    assert page is not None
    assert page[1].split("\n") == [line.strip() for line in code[1].split("\n")]


def test_every_room_has_a_sentence() -> None:
    text = (DOCS / "architecture.md").read_text()
    for path in (ROOT / "compressbuild").iterdir():
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"| `{path.name}/` |" in text, path.name
        elif path.suffix == ".py" and not path.name.startswith("__"):
            assert f"`{path.name}`" in text, path.name


@pytest.mark.parametrize("name", sorted(registry().backends))
def test_the_settings_of_each_backend(name: str) -> None:
    text = (DOCS / "backends.md").read_text()
    assert f"\n## {name}\n" in text
    own = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = {word: row[2] for row in tables(own)[0][1:] for word in re.findall(r"`([\w-]+)`", row[0])}
    settings = {f.encode_name: default(f) for f in msgspec.structs.fields(registry().backends[name].settings)}
    assert rows.keys() == settings.keys()
    assert rows == settings


@pytest.mark.parametrize("name", sorted(registry().metrics))
def test_each_metric_and_its_parameters(name: str) -> None:
    assert f"`{name}`" in (DOCS / "evidence.md").read_text()
    (table,) = [t for t in tables((DOCS / "gates.md").read_text()) if t[0] == ["metric", "parameters"]]
    rows = [row for row in table if f"`{name}`" in row[0]]
    fields = {f.encode_name for f in msgspec.structs.fields(registry().metrics[name].params)}
    assert len(rows) == bool(fields)
    assert {word for row in rows for word in re.findall(r"`([\w-]+)` \(", row[1])} == fields


def test_every_verdict_is_explained() -> None:
    text = (DOCS / "gates.md").read_text()
    for verdict in ("pass", "fail", "inconclusive", "unmeasured"):
        assert f"| `{verdict}` |" in text


def test_the_page_of_keys_has_every_reason() -> None:
    text = (DOCS / "keys.md").read_text()
    assert [reason for reason in get_args(Reason) if f"| `{reason}` |" not in text] == []
