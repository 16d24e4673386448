"""The report as one HTML file that asks nothing of the network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["page"]

_HERE = Path(__file__).parent


def page(document: dict[str, Any], graph: str) -> str:
    """``document``: as :func:`compressbuild.report.document.gather` makes it. ``graph``: an svg element."""
    parts = {
        "TITLE": escape(str(document["project"])),
        "STYLE": _file("style.css"),
        "GRAPH": graph,
        "CHART": _file("vendor/chart.umd.min.js"),
        "SCRIPT": _file("report.js"),
        "DATA": _embedded(document),
    }
    pieces = _file("template.html").split("@@")  # text, name, text, name, … : what is put in is not looked at again
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _embedded(document: dict[str, Any]) -> str:
    """JSON that cannot end the script element it is in."""
    return msgspec.json.encode(document).decode().replace("<", "\\u003c")
