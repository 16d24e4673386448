"""Completion scripts for shells: click's own, and for bash one that takes ``tag:NAME`` for a word."""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

__all__ = ["register"]


class _Bash(BashComplete):
    """bash breaks words at a colon, and replaces only what stands after it."""

    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, at = split_arg_string(os.environ["COMP_WORDS"]), int(os.environ["COMP_CWORD"])
        words = [*words[:at], words[at] if at < len(words) else ""]
        joined: list[str] = []
        glue = False
        for word in words:
            if joined and (glue or word == ":"):
                joined[-1] += word
            else:
                joined.append(word)
            glue = word == ":"
        *args, incomplete = joined
        if words[-1] == ":" or words[-2:-1] == [":"]:
            self._before = incomplete[: incomplete.rindex(":") + 1]
        return args[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._before)}"


def register() -> None:
    add_completion_class(_Bash)
