"""YAML's own syntax errors in the words of this project, at the place that helps most."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ..errors import Mark
from .problems import Problems

__all__ = ["explain"]

# (part of libyaml's words, ours, hint)
_KNOWN = (
    (
        "mapping values are not allowed",
        "a ': ' that does not belong here",
        "check the indentation; quote text that holds ': '",
    ),
    ("cannot start any token", "a value cannot start with this character", "quote the text"),
    ("unexpected end of stream", "a quote that is never closed", "close the quote"),
    ("unclosed bracket", "a bracket that is never closed", "close it"),
    ("could not find expected ':'", "expected 'key: value'", "check the indentation, or add ':'"),
    (
        "did not find expected ',' or '}'",
        "expected ',' or '}'",
        "close the mapping with '}', or put a ',' between its entries",
    ),
    (
        "did not find expected ',' or ']'",
        "expected ',' or ']'",
        "close the list with ']', or put a ',' between its items",
    ),
    (
        "did not find expected key",
        "expected a key here",
        "check the indentation of this line and of those above it",
    ),
    (
        "did not find expected '-' indicator",
        "expected a '- item' here",
        "start each item of the list with '- ', in one column",
    ),
    ("did not find expected node content", "expected a value here", "check for a comma or bracket too many"),
    (
        "block sequence entries are not allowed",
        "a list item '-' cannot stand here",
        "put the list on its own lines below the key",
    ),
    ("expected alphabetic or numeric character", "'*' or '&' starts an alias or anchor", 'quote text such as "*"'),
    ("did not find expected <document start>", "text after the end of the document", "check the indentation"),
)
_BARE_REFERENCE = re.compile(r"(?:^|[\[{,:-]) *\$\{")


def explain(error: yaml.YAMLError, text: str, file: str, problems: Problems) -> None:
    """Add the one diagnostic that ``error`` is worth."""
    problem = str(getattr(error, "problem", None) or str(error).split("\n")[0])
    at: Any = getattr(error, "problem_mark", None)
    context: Any = getattr(error, "context_mark", None)
    lines = text.split("\n")
    at_end = at is None or not "".join(lines[at.line :])[at.column :].strip()
    if context is not None and at_end:
        at = context  # the quote or bracket that was opened, not the end of the file
        if "expected ','" in problem:
            problem = "unclosed bracket"
    line, column = (at.line, at.column) if at is not None else (0, 0)
    message, hint = next(
        ((said, hint) for words, said, hint in _KNOWN if words in problem), (problem, "see yaml.org for the syntax")
    )
    if line < len(lines) and _BARE_REFERENCE.search(lines[line]) and "expected" in problem:
        hint = 'inside { } and [ ], quote references: "${vars.NAME}"'
    elif "expected ','" in problem and context is not None:
        hint = f"{hint} (opened on line {context.line + 1})"
    problems.add(f"YAML syntax: {message}", Mark(file, line + 1, column + 1), hint)
