"""SemEval STS 2014 as batches of tokenised sentences."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

DATA = Path(__file__).parent / "data"
SETS = ("deft-forum", "deft-news", "tweet-news", "headlines", "images", "OnWN")
TAUGHT = ("headlines", "images", "OnWN")  # their sentences, without the scores, are the text for training
BATCH = 50
STEP = 8  # lengths are rounded up to a multiple of this

Feeds = dict[str, np.ndarray]


def pairs(length: int = 0) -> Iterator[tuple[Feeds, np.ndarray]]:
    """Every sentence of all pairs, by length, padded to the longest of its batch, or cut or padded to ``length``.

    ``length``: in tokens. Labels N×3 float32: which pair it is of, which of ``SETS``, and the pair's score, 0 to 5.
    """
    rows = [(number, *pair) for number, pair in enumerate(read(SETS))]
    labels = np.array([(number, SETS.index(name), score) for number, name, score, *_ in rows for _ in range(2)])
    tokens = tokenise((sentence for row in rows for sentence in row[3:]), length or 256)
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        yield padded([tokens[index] for index in chosen], length), labels[chosen].astype(np.float32)


def text(samples: int | None = None, length: int = 24) -> Iterator[tuple[Feeds, np.ndarray]]:
    """Different sentences of the sets ``TAUGHT``, cut at ``length`` tokens; the labels are zeros.

    ``samples``: so many, evenly spaced.
    """
    sentences = list(dict.fromkeys(sentence for row in read(TAUGHT) for sentence in row[2:]))
    if samples is not None:
        sentences = [sentences[index * len(sentences) // samples] for index in range(samples)]
    for start in range(0, len(sentences), BATCH):
        tokens = tokenise(sentences[start : start + BATCH], length)
        yield padded(tokens, length), np.zeros(len(tokens), np.int64)


def read(names: Iterable[str]) -> Iterator[tuple[str, float, str, str]]:
    """Set, score, and the two sentences of each pair."""
    for name in names:
        for line in (DATA / f"2014.{name}.tsv").read_text(encoding="utf-8").splitlines():
            score, one, other = line.split("\t")
            yield name, float(score), one, other


def tokenise(sentences: Iterable[str], length: int = 256) -> list[list[int]]:
    """Token ids, those of [CLS] and [SEP] included, at most ``length`` of each sentence."""
    tokenizer = Tokenizer.from_file(str(DATA / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return [found.ids for found in tokenizer.encode_batch(list(sentences))]


def padded(tokens: list[list[int]], length: int = 0) -> Feeds:
    """Ids and mask, N×L int64; L is ``length``, or the longest rounded up to a multiple of ``STEP``."""
    length = length or -(-max(map(len, tokens)) // STEP) * STEP
    ids = np.zeros((len(tokens), length), np.int64)
    mask = np.zeros_like(ids)
    for row, found in enumerate(tokens):
        ids[row, : len(found)] = found
        mask[row, : len(found)] = 1
    return {"input_ids": ids, "attention_mask": mask}
