"""Keys of datasets that are tables."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import FileRef, Meta, Needs, Params

__all__ = ["Csv", "Jsonl", "Parquet", "Table"]


class Table(Params):
    """Columns as inputs and labels: text through a tokenizer, numbers as they are."""

    text: Annotated[
        str | tuple[str, ...],
        Meta(
            description="column of the texts, or two for pairs; they become `input_ids`, `attention_mask` and "
            "`token_type_ids`"
        ),
    ] = ()
    tokenizer: Annotated[
        FileRef | None,
        Meta(description="a `tokenizer.json`, or the directory of a model that has one; for `text`"),
    ] = None
    length: Annotated[int, Meta(ge=1, description="tokens of each text, cut off or filled up")] = 128
    inputs: Annotated[
        dict[str, str | tuple[str, ...]],
        Meta(description="input of the model → column of numbers, or several columns side by side"),
    ] = {}
    dtype: Annotated[
        Literal["float32", "float64", "int32", "int64"], Meta(description="type of the inputs that are numbers")
    ] = "float32"
    labels: Annotated[str | None, Meta(description="column of the labels; without it there are none")] = None
    classes: Annotated[
        tuple[str, ...],
        Meta(description="texts of the label column in the order of the classes; by default all there are, sorted"),
    ] = ()

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.inputs):
            raise ValueError("give either `text`, with a `tokenizer`, or `inputs`, columns of numbers")
        if bool(self.text) != (self.tokenizer is not None):
            raise ValueError("`text` and `tokenizer` go together")
        if isinstance(self.text, tuple) and len(self.text) > 2:
            raise ValueError("`text` names one column, or two for pairs")

    def needs(self) -> Needs:
        if self.tokenizer is None:
            return Needs()
        return Needs(modules=("tokenizers",), install="pip install 'compressbuild[data]'")


class Csv(Table, kw_only=True):
    """Rows of a CSV file, with the names of the columns in its first line."""

    csv: Annotated[FileRef, Meta(description="the file, or a pattern for several")]
    delimiter: Annotated[
        str, Meta(min_length=1, max_length=1, description='what stands between columns; "\\t" for TSV')
    ] = ","
    columns: Annotated[
        tuple[str, ...], Meta(description="names of the columns, for a file whose first line is a row")
    ] = ()
    quotes: Annotated[bool, Meta(description='false: `"` is a character like any other')] = True


class Jsonl(Table, kw_only=True):
    """Rows of a JSON lines file, each an object."""

    jsonl: Annotated[FileRef, Meta(description="the file, or a pattern for several")]


class Parquet(Table, kw_only=True):
    """Rows of a Parquet file."""

    parquet: Annotated[FileRef, Meta(description="the file, or a pattern for several")]
