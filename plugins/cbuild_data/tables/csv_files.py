"""The source ``csv``."""

from __future__ import annotations

import csv
from typing import Any

from compressbuild.api import Context, Rows, UserError

from ..batches import Batches
from .columns import Read, batches, paths, unknown, wanted
from .params import Csv

__all__ = ["csv_table"]


def csv_table(ctx: Context, params: Csv, rows: Rows) -> Batches:
    """Rows of a CSV file."""
    columns: dict[str, list[Any]] = {name: [] for name in wanted(params)}
    places: list[str] = []
    quoting = csv.QUOTE_MINIMAL if params.quotes else csv.QUOTE_NONE
    for path, shown in paths(ctx, params.csv, (".csv", ".tsv")):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                lines = csv.reader(file, delimiter=params.delimiter, quoting=quoting, strict=True)
                header = list(params.columns) or next(lines, [])
                for name in columns:
                    if name not in header:
                        raise unknown(name, header, shown)
                at = {name: header.index(name) for name in columns}
                for row in lines:
                    if not row:
                        continue
                    if len(row) != len(header):
                        raise UserError(
                            f"{shown}:{lines.line_num}: {len(row)} columns, and the file has {len(header)}",
                            hint="quote text that has the delimiter, or name another with 'delimiter:'",
                        )
                    for name, values in columns.items():
                        values.append(row[at[name]])
                    places.append(f"{shown}:{lines.line_num}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"'{shown}' cannot be read as CSV: {error}", hint="it must be CSV in UTF-8") from error
    return batches(ctx, params, rows, Read(columns, places), params.csv)
