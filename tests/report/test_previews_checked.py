"""What a plugin says that samples are goes into a page, so it is checked first."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from cbuild_kit.previews import png
from toyproject import Toy

from compressbuild.report.data import flipped
from compressbuild.report.page.pages import page

BLACK = np.zeros((8, 8), np.uint8)
PICTURE = base64.b64encode(png(BLACK)).decode()


def known(root: Path, result: Any) -> Any:
    toy = Toy(root)
    toy.write("Compressfile", "version: 1\nmodels: {m: {file: f.txt}}\ntargets: {a: {from: m}}\n")
    with mock.patch.object(flipped, "asked", return_value={"a": result}):
        return flipped.known_samples(toy.open(), [])["a"]


def test_pictures_and_text(tmp_path: Path) -> None:
    rows = [{"sample": 3, "image": PICTURE}, {"sample": 5, "text": "x" * 3000}, {"sample": 7}]
    found = known(tmp_path, {"value": 2, "samples": rows})
    assert found == {"3": {"image": PICTURE}, "5": {"text": "x" * 2000}, "7": {}}
    assert known(tmp_path, None) is None
    assert known(tmp_path, "needs numpy") == "needs numpy"


@pytest.mark.parametrize(
    "image",
    [
        PICTURE + '"><script>',
        "data:image/svg+xml;base64," + PICTURE,
        base64.b64encode(b"<svg onload='alert(1)'/>").decode(),
        base64.b64encode(png(BLACK) + b"x" * 50_000).decode(),
    ],
)
def test_what_is_no_small_picture_is_named(tmp_path: Path, image: str) -> None:
    said = known(tmp_path, {"value": 1, "samples": [{"sample": 3, "image": image}]})
    assert said == "the preview of sample 3 is no small PNG file"


@pytest.mark.parametrize(
    "result", [{}, {"value": 1, "samples": [{"sample": "a"}]}, {"value": 1, "samples": [{"html": ""}]}]
)
def test_what_is_no_preview_is_named(tmp_path: Path, result: dict[str, Any]) -> None:
    assert known(tmp_path, result).startswith("the preview of the samples is not one: ")


def test_a_report_holds_so_many_pictures() -> None:
    """The first targets keep theirs; of the others the page names the command that shows them."""
    rows = [{"sample": n, "way": "lost", "label": 1, "first": 1, "second": 2, "image": "A" * 40_000} for n in range(40)]
    samples = {"metric": "top1", "counts": {"lost": 40, "won": 0}, "rows": rows, "looked": True, "said": None}
    names = [f"t{i}" for i in range(5)]
    plain: dict[str, Any] = {"metrics": {}, "breakdowns": [], "baseline": "base"}
    targets = [{**plain, "name": name, "flipped": samples} for name in names]
    text = page({"project": "p", "targets": [*targets, {**plain, "name": "none"}], "nodes": []}, "<svg></svg>")
    found = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["targets"]
    assert len(text) < 4_500_000
    said = [target["flipped"] and target["flipped"]["said"] for target in found]
    left = "this page has many pictures already; 'cbuild compare base t{} --format html' shows these"
    assert said == [None, None, *(left.format(i) for i in (2, 3, 4)), None]
