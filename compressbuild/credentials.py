"""Credentials stay out of what is printed: a library's error may quote what it was given."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["hidden"]

_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|KEY|AUTH|SESSION|CONNECTION_STRING", re.IGNORECASE)
_SHORTEST = 6  # letters: a shorter value is part of many words
_QUERY = re.compile(r"(\w+://[^\s'\"<>?]+)\?[^\s'\"<>]+")
_USER = re.compile(r"(\w+://)[^\s/@'\"]+:[^\s/@'\"]+@")
_HEADER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE)


def hidden(text: str, environ: Mapping[str, str]) -> str:
    """``text`` on one line, without the values of variables that look like credentials, and without signed queries."""
    found = {value: name for name, value in environ.items() if _NAME.search(name) and len(value) >= _SHORTEST}
    for value in sorted(found, key=len, reverse=True):
        text = text.replace(value, f"${found[value]}")
    text = _HEADER.sub(r"\1 …", _USER.sub(r"\1…@", _QUERY.sub(r"\1?…", text)))
    return " ".join(text.split())
