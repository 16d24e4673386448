"""The kind ``token-choices``: multiple-choice questions as token ids.

::

    choices.json    {"vocabulary": 49152, "questions": [{"context": [1, 17], "choices": [[3], [4, 5]],
                    "lengths": [2, 7], "answer": 0}]}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from compressbuild.api import Context, UserError

__all__ = ["Question", "TokenChoices", "read_token_choices", "validate"]

_FILE = "choices.json"


@dataclass(frozen=True, slots=True)
class Question:
    """``context``: ids, at least one; ``choices``: ids that may follow it; ``lengths``: characters of each choice;
    ``answer``: position of the right one."""

    context: list[int]
    choices: list[list[int]]
    lengths: list[int]
    answer: int


@dataclass(frozen=True, slots=True)
class TokenChoices:
    """``vocabulary``: tokens that the tokenizer knows."""

    vocabulary: int
    questions: list[Question]

    def write(self, directory: Path) -> None:
        (directory / _FILE).write_text(json.dumps(asdict(self), sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> TokenChoices:
        """ValueError if the file is not what :meth:`write` makes."""
        try:
            said = json.loads((directory / _FILE).read_text(encoding="utf-8"))
            found = cls(int(said["vocabulary"]), [Question(**each) for each in said["questions"]])
            ids = [ids for each in found.questions for ids in (each.context, *each.choices)]
            whole = all(part and all(0 <= token < found.vocabulary for token in part) for part in ids)
            fits = all(
                len(each.choices) == len(each.lengths) > each.answer >= 0 and min(each.lengths) > 0
                for each in found.questions
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the questions are damaged: {error!r}") from error
        if not found.questions or not whole or not fits:
            raise ValueError(f"{_FILE} has questions without an answer, or ids that the tokenizer does not have")
        return found


def validate(directory: Path) -> None:
    """ValueError unless the directory is an artifact of ``token-choices``."""
    TokenChoices.read(directory)


def read_token_choices(ctx: Context, name: str) -> TokenChoices:
    """The questions that a parameter names. UserError if that is an artifact of another kind."""
    if ctx.kind(name) != "token-choices":
        raise UserError(
            f"'{name}' is a {ctx.kind(name)}, where questions are needed",
            hint="name a target whose last step is 'tokenize.choices'",
        )
    return TokenChoices.read(ctx.artifact(name))
