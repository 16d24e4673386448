"""The source ``jsonl``."""

from __future__ import annotations

import json
from typing import Any

from compressbuild.api import Context, Rows, UserError

from ..batches import Batches
from .columns import Read, batches, paths, unknown, wanted
from .params import Jsonl

__all__ = ["jsonl_table"]


def jsonl_table(ctx: Context, params: Jsonl, rows: Rows) -> Batches:
    """Rows of a JSON lines file."""
    columns: dict[str, list[Any]] = {name: [] for name in wanted(params)}
    places: list[str] = []
    for path, shown in paths(ctx, params.jsonl, (".jsonl", ".ndjson", ".json")):
        try:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        place = f"{shown}:{number}"
                        _add(columns, line, place)
                        places.append(place)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"'{shown}' cannot be read: {error}", hint="it must be JSON lines in UTF-8") from error
    return batches(ctx, params, rows, Read(columns, places), params.jsonl)


def _add(columns: dict[str, list[Any]], line: str, place: str) -> None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: this is not JSON: {error}", hint="each line is one JSON object") from error
    if not isinstance(row, dict):
        raise UserError(f"{place}: this is not an object", hint='write {"column": value} on each line')
    for name, values in columns.items():
        if name not in row:
            raise unknown(name, list(row), place)
        values.append(row[name])
