"""The sources ``csv``, ``jsonl`` and ``parquet``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cbuild_kit import is_unlabelled
from opened import opened, whole

from compressbuild.api import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film"]


def write_tokenizer(folder: Path, *, padding: bool = True) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    if padding:
        (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}}))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "model")
    write_tokenizer(tmp_path / "bare", padding=False)
    (tmp_path / "reviews.csv").write_text('review,stars,a,b\ngood film,5,1,2.5\n"bad, bad film",1,2,3\n')
    (tmp_path / "plain.tsv").write_text('5\tgood "film\n1\tbad\n')
    rows = [{"review": "good", "kind": "pos", "v": [1, 2]}, {"review": "bad", "kind": "neg", "v": [3, 4]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "broken.jsonl").write_text('{"review": "good"}\n{"review": \n')
    (tmp_path / "uneven.csv").write_text("a,b\n1,2\n1,2,3\n")
    return tmp_path


def test_text_of_a_csv_file(place: Path) -> None:
    keys = {"csv": "reviews.csv", "text": "review", "labels": "stars", "tokenizer": "model", "length": 6}
    inputs, labels = whole(opened(place, "csv", **keys))
    assert inputs["input_ids"].tolist() == [[2, 4, 6, 3, 0, 0], [2, 5, 1, 5, 6, 3]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]
    assert labels.tolist() == [5, 1]


def test_pairs_are_told_apart(place: Path) -> None:
    inputs, labels = whole(
        opened(place, "jsonl", jsonl="rows.jsonl", text=["review", "kind"], tokenizer="model/tokenizer.json", length=5)
    )
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1]] * 2
    assert is_unlabelled(labels)


def test_numbers(place: Path) -> None:
    inputs, _ = whole(opened(place, "csv", csv="reviews.csv", inputs={"x": ["a", "b"], "y": "a"}))
    assert inputs["x"].tolist() == [[1, 2.5], [2, 3]]
    assert inputs["y"].tolist() == [1, 2]
    lists, _ = whole(opened(place, "jsonl", jsonl="rows.jsonl", inputs={"v": "v"}, dtype="int64"))
    assert lists["v"].tolist() == [[1, 2], [3, 4]]


def test_a_text_of_one_token(place: Path) -> None:
    keys: dict[str, Any] = {"csv": "reviews.csv", "text": "review", "tokenizer": "model", "length": 3}
    assert whole(opened(place, "csv", **keys))[0]["input_ids"].tolist() == [[2, 4, 3], [2, 5, 3]]


def test_labels_that_are_texts(place: Path) -> None:
    keys: dict[str, Any] = {"jsonl": "rows.jsonl", "text": "review", "tokenizer": "model", "labels": "kind"}
    assert whole(opened(place, "jsonl", **keys))[1].tolist() == [1, 0]
    assert whole(opened(place, "jsonl", **keys, classes=["pos", "neg"]))[1].tolist() == [0, 1]


def test_a_file_without_a_header(place: Path) -> None:
    keys = {"csv": "plain.tsv", "delimiter": "\t", "columns": ["score", "text"], "quotes": False, "text": "text"}
    inputs, labels = whole(opened(place, "csv", **keys, labels="score", tokenizer="model", length=5))
    assert inputs["input_ids"].tolist() == [[2, 4, 1, 6, 3], [2, 5, 3, 0, 0]]
    assert labels.tolist() == [5, 1]


def test_several_files(place: Path) -> None:
    (place / "more").mkdir()
    for number in range(3):
        (place / "more" / f"{number}.csv").write_text(f"a\n{number}\n")
    for pattern in ("more", "more/*.csv"):
        inputs, _ = whole(opened(place, "csv", csv=pattern, inputs={"x": "a"}))
        assert inputs["x"].tolist() == [0, 1, 2]


def test_parquet(place: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"review": ["good", "bad"], "kind": ["pos", "neg"], "a": [1.5, 2.5]})
    parquet.write_table(table, place / "rows.parquet")
    keys: dict[str, Any] = {"parquet": "rows.parquet", "labels": "kind"}
    inputs, labels = whole(opened(place, "parquet", **keys, text="review", tokenizer="model", length=3))
    assert inputs["input_ids"].tolist() == [[2, 4, 3], [2, 5, 3]]
    assert labels.tolist() == [1, 0]
    assert whole(opened(place, "parquet", **keys, inputs={"x": "a"}))[0]["x"].tolist() == [1.5, 2.5]
    with pytest.raises(UserError, match=r"'rows\.parquet' has no column 'b'"):
        opened(place, "parquet", parquet="rows.parquet", inputs={"x": "b"})


@pytest.mark.parametrize(
    ("source", "keys", "message", "hint"),
    [
        ("csv", {"csv": "reviews.csv", "inputs": {"x": "c"}}, "'reviews.csv' has no column 'c'", "review"),
        (
            "csv",
            {"csv": "reviews.csv", "inputs": {"x": "review"}},
            "csv:2: column 'review' is 'good film', not",
            "",
        ),
        (
            "csv",
            {"csv": "uneven.csv", "inputs": {"x": "a"}},
            "uneven.csv:3: 3 columns, and the file has 2",
            "delimiter",
        ),
        ("jsonl", {"jsonl": "broken.jsonl", "inputs": {"x": "a"}}, "broken.jsonl:1' has no column 'a'", "review"),
        ("jsonl", {"jsonl": "broken.jsonl", "text": "review", "tokenizer": "model"}, "broken.jsonl:2: this is not", ""),
        (
            "csv",
            {"csv": "reviews.csv", "text": "review", "tokenizer": "bare"},
            "no token to fill texts up",
            "pad_token",
        ),
        (
            "csv",
            {"csv": "reviews.csv", "text": "review", "tokenizer": "more"},
            "has no tokenizer.json",
            "AutoTokenizer",
        ),
        (
            "csv",
            {"csv": "reviews.csv", "text": "review", "tokenizer": "model", "labels": "stars", "classes": ["1", "4"]},
            "reviews.csv:2: the label '5' is none of the 'classes'",
            "its classes: 1, 4",
        ),
        ("csv", {"csv": "reviews.csv", "text": "review", "tokenizer": "model", "length": 2}, "no room for a text", ""),
    ],
)
def test_what_is_wrong_is_named(place: Path, source: str, keys: dict[str, Any], message: str, hint: str) -> None:
    (place / "more").mkdir()
    with pytest.raises(UserError) as caught:
        opened(place, source, **keys)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give either `text`"),
        ({"text": "a"}, "`text` and `tokenizer` go together"),
        ({"text": ["a", "b", "c"], "tokenizer": "model"}, "one column, or two"),
    ],
)
def test_keys_that_do_not_go_together(place: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        opened(place, "csv", csv="reviews.csv", **keys)


def test_nothing_is_made_of_nothing(place: Path) -> None:
    (place / "empty.csv").write_text("a,b\n")
    with pytest.raises(UserError, match=r"'empty\.csv' has no rows"):
        opened(place, "csv", csv="empty.csv", inputs={"x": "a"})
    assert np.size(opened(place, "csv", csv="reviews.csv", inputs={"x": "a"})[0][1]) == 0
