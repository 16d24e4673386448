"""The technique ``tokenize.choices``: multiple-choice questions as ids of tokens.

A context and a choice are tokenized together, and split after as many tokens as the context alone has; spaces at the
end of a context belong to the choice. So does lm-evaluation-harness (Gao et al.).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compressbuild.api import Context, UserError

from ..model.loading import load_tokenizer
from ..model.token_choices import Question, TokenChoices
from .params_choices import TokenizeChoices

__all__ = ["tokenize"]

_FORM = 'write {"context": "…", "choices": ["…", "…"], "answer": 0} in each line'


def tokenize(ctx: Context, model: Path, params: TokenizeChoices) -> dict[str, Any]:
    """Write the questions. Returns how many there are, and how many choices and tokens they have in all."""
    tokenizer = load_tokenizer(model, "the hf-model")
    try:
        lines = ctx.file(params.file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{params.file}' is no text in UTF-8: {error}", hint="convert it, or name another") from error
    questions = [
        _question(tokenizer, line, f"{params.file}:{number}", params)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not questions:
        raise UserError(f"'{params.file}' has no question", hint=_FORM)
    TokenChoices(len(tokenizer), questions).write(ctx.out)
    return {
        "questions": len(questions),
        "choices": sum(len(each.choices) for each in questions),
        "tokens": sum(len(each.context) + len(ids) for each in questions for ids in each.choices),
    }


def _question(tokenizer: Any, line: str, where: str, params: TokenizeChoices) -> Question:
    context, choices, answer = _parsed(line, where)
    bare = context.rstrip()
    gap = context[len(bare) :] + params.delimiter

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=params.special, verbose=False)["input_ids"]
        return found

    start = ids(bare)
    if not start:
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        start = [] if first is None else [first]
    if not start:
        raise UserError(f"{where}: the context is empty, and the tokenizer has no BOS", hint="write a context")
    at = len(ids(bare))
    parts = [ids(bare + gap + choice)[at:] for choice in choices]
    lost = next((choice for choice, part in zip(choices, parts, strict=True) if not part), None)
    if lost is not None:
        raise UserError(f"{where}: the choice '{lost}' has no token of its own after its context")
    return Question(start, parts, [len(choice) for choice in choices], answer)


def _parsed(line: str, where: str) -> tuple[str, list[str], int]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}", hint=_FORM) from error
    context, choices, answer = (
        (said.get(k) for k in ("context", "choices", "answer"))
        if isinstance(said, dict)
        else (
            None,
            None,
            None,
        )
    )
    if not isinstance(context, str):
        raise UserError(f"{where}: 'context' must be text", hint=_FORM)
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise UserError(f"{where}: 'choices' must be two or more texts", hint=_FORM)
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise UserError(f"{where}: 'answer' must be a position in 'choices', from 0", hint=_FORM)
    return context, choices, answer
