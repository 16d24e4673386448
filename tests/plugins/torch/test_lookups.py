from __future__ import annotations

import pytest
import torch
from cbuild_torch.model.lookups import table_rows
from torch import Tensor, nn

from compressbuild.api import ModelInput

NAMES = ("ids", "kinds", "mask")
INPUTS = tuple(ModelInput(name, ("batch", "length"), "int64") for name in NAMES)


class Embeds(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.words, self.kinds, self.bag = nn.Embedding(50, 4), nn.Embedding(2, 4), nn.EmbeddingBag(40, 4)

    def forward(self, ids: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        if self.how == "layer":
            x = self.words(ids)
        elif self.how == "cast and cut":
            x = self.words(ids.int()[:, :2].unsqueeze(0))[0]
        elif self.how == "indexed":
            x = self.words.weight[ids]
        elif self.how == "selected":
            x = self.words.weight.index_select(0, ids.reshape(-1))[None]
        elif self.how == "twice":
            x = self.words(ids) + self.kinds(ids)
        elif self.how == "bag":
            return self.bag(ids) * mask.sum()
        else:  # computed with
            x = self.words(ids % 7)
        return (x.sum(1) + self.kinds(kinds).sum(1)) * mask.sum()


@pytest.mark.parametrize(
    ("how", "rows"),
    [
        ("layer", {"ids": 50, "kinds": 2}),
        ("cast and cut", {"ids": 50, "kinds": 2}),
        ("indexed", {"ids": 50, "kinds": 2}),
        ("selected", {"ids": 50, "kinds": 2}),
        ("twice", {"ids": 2, "kinds": 2}),
        ("bag", {"ids": 40}),
        ("computed with", {"kinds": 2}),
    ],
)
def test_rows_of_the_tables_that_inputs_index(how: str, rows: dict[str, int]) -> None:
    feeds = {name: torch.ones(2, 4, dtype=torch.int64) for name in NAMES}
    assert table_rows(Embeds(how).eval(), INPUTS, feeds) == rows


def test_a_model_without_whole_numbers() -> None:
    assert table_rows(nn.Linear(4, 2), [ModelInput("x", ("batch", 4), "float32")], {"x": torch.ones(2, 4)}) == {}
