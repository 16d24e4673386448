"""The source ``parquet``."""

from __future__ import annotations

from typing import Any

from compressbuild.api import Context, Rows, UserError

from ..batches import Batches
from .columns import Read, batches, paths, unknown, wanted
from .params import Parquet

__all__ = ["parquet_table"]


def parquet_table(ctx: Context, params: Parquet, rows: Rows) -> Batches:
    """Rows of a Parquet file."""
    import pyarrow
    from pyarrow import parquet

    columns: dict[str, list[Any]] = {name: [] for name in wanted(params)}
    places: list[str] = []
    for path, shown in paths(ctx, params.parquet, (".parquet",)):
        try:
            file = parquet.ParquetFile(path)
            known = file.schema_arrow.names
            for name in columns:
                if name not in known:
                    raise unknown(name, known, shown)
            table = file.read(columns=list(columns), use_threads=False)
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(f"'{shown}' cannot be read as Parquet: {error}") from error
        for name, values in columns.items():
            values += table.column(name).to_pylist()
        places += [f"{shown}, row {row}" for row in range(table.num_rows)]
    return batches(ctx, params, rows, Read(columns, places), params.parquet)
