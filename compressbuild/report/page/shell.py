"""The frame of every page: head, style, content security policy."""

from __future__ import annotations

from html import escape
from pathlib import Path

__all__ = ["asset", "filled", "shell"]

_HERE = Path(__file__).parent
_NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'"
_SCRIPTS = f"{_NO_SCRIPTS}; script-src 'unsafe-inline'; img-src data:"


def shell(title: str, body: str, scripts: str = "") -> str:
    """``body``: HTML of the page; ``scripts``: script elements to end with. Without any the page may run none."""
    return filled(
        asset("shell.html"),
        {
            "TITLE": escape(title),
            "POLICY": _SCRIPTS if scripts else _NO_SCRIPTS,
            "STYLE": filled(asset("style.css"), {"DARK": asset("dark.css").strip()}),
            "BODY": body,
            "SCRIPTS": scripts,
        },
    )


def filled(text: str, parts: dict[str, str]) -> str:
    """``@@NAME@@`` replaced by its part. What is put in is not searched again."""
    pieces = text.split("@@")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
