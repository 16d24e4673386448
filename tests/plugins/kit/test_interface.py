from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cbuild_kit.interface import Interface, size_ranges

from compressbuild.api import ModelInput, UserError

TOKENS = (ModelInput("ids", ("batch", "tokens"), "int64"), ModelInput("mask", ("batch", "tokens"), "float32"))


def test_sizes_are_ranges_or_numbers() -> None:
    assert size_ranges(TOKENS, {"tokens": 16}) == {"batch": (1, 64), "tokens": (16, 16)}
    assert size_ranges(TOKENS, {"batch": [2, 8], "tokens": [1, 4]}) == {"batch": (2, 8), "tokens": (1, 4)}
    assert size_ranges((ModelInput("x", (1, 3), "float32"),), {}) == {}
    with pytest.raises(UserError, match="axis 'tokens' of input 'ids' must be bounded") as caught:
        size_ranges(TOKENS, {})
    assert "'sizes: {tokens: [1, 128]}'" in str(caught.value.hint)
    with pytest.raises(UserError, match="no input has an axis 'token'"):
        size_ranges(TOKENS, {"tokens": 3, "token": 4})
    with pytest.raises(UserError, match="'batch' is from 8 to 1"):
        size_ranges(TOKENS, {"tokens": 3, "batch": [8, 1]})


def test_an_interface_comes_back_as_written(tmp_path: Path) -> None:
    made = Interface.of(TOKENS, ("logits",), {"batch": (1, 4), "tokens": (16, 16)})
    assert made.inputs[0].shape == ("batch", 16)
    assert made.sizes == {"batch": (1, 4)}
    made.write(tmp_path)
    assert Interface.read(tmp_path) == made
    (tmp_path / "interface.json").write_text('{"inputs": [{}]}')
    with pytest.raises(ValueError, match=r"interface.json is damaged: KeyError"):
        Interface.read(tmp_path)


def test_what_does_not_fit_is_refused() -> None:
    made = Interface.of(TOKENS[:1], ("logits",), {"batch": (1, 4), "tokens": (2, 2)})
    good = np.zeros((4, 2), np.int64)
    assert made.checked({"ids": good, "other": 1}, "it")["ids"] is good
    for feeds, message, hint in (
        ({}, "no value for input 'ids'", None),
        ({"ids": good.astype(np.int32)}, r"it expects ids: int64 \[batch, 2\], not int32 \[4, 2\]", None),
        ({"ids": good[0]}, r"not int64 \[2\]", None),
        ({"ids": np.zeros((4, 3), np.int64)}, r"not int64 \[4, 3\]", None),
        ({"ids": np.zeros((5, 2), np.int64)}, r"not int64 \[5, 2\]", "'batch' was compiled for 1 to 4; see 'sizes:'"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            made.checked(feeds, "it")
        assert caught.value.hint == hint
