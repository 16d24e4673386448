"""Writes what the pages say of parameters: ``python tools/tables.py`` (``--check``: only names pages that are stale).

A page holds markers, each with ``<!-- end -->`` after it, and what is between them is replaced:

    <!-- parameters: TECHNIQUE -->   table of a technique's parameters
    <!-- settings: BACKEND -->       table of a backend's settings
    <!-- keys: SOURCE -->            table of the keys of an entry that names a source
    <!-- settings of parity -->      table of the settings that backends with a parity check share
    <!-- metric parameters -->       table of the parameters of all metrics
    <!-- excerpt: [KIND] NAME -->    the part of a Compressfile that ``cbuild help NAME`` prints
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from compressbuild.api import Parity
from compressbuild.registry import Registry, discover
from compressbuild.registry.pages import excerpt
from compressbuild.registry.parameters import Parameter, parameters

ROOT = Path(__file__).parents[1]
MARKED = re.compile(
    r"(?P<head><!-- (?P<what>[a-z ]+?)(?:: (?P<name>[\w. -]+?))? -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def main(arguments: list[str]) -> int:
    registry = discover(cache=None)
    stale = [page for page in pages() if regenerated(page, registry) != page.read_text(encoding="utf-8")]
    for page in stale:
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)} is stale: run 'python tools/tables.py'")
        else:
            page.write_text(regenerated(page, registry), encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


def pages() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md"))


def regenerated(page: Path, registry: Registry) -> str:
    """The page's text as it should be."""

    def body(found: re.Match[str]) -> str:
        made = generated(registry, found["what"], found["name"] or "")
        return found[0] if made is None else f"{found['head']}{made}{found['end']}"

    return MARKED.sub(body, page.read_text(encoding="utf-8"))


def generated(registry: Registry, what: str, name: str) -> str | None:
    """None for a marker of something else."""
    match what:
        case "parameters":
            return table("parameter", parameters(registry.technique(name).params))
        case "settings":
            return table("setting", parameters(registry.backend(name).settings))
        case "keys":
            return table("key", parameters(registry.source(name).params))
        case "settings of parity":
            return table("setting", parameters(Parity))
        case "metric parameters":
            return "".join(f"{line}\n" for line in of_metrics(registry))
        case "excerpt":
            families = {what: getattr(registry, f"{what}s") for what in ("technique", "backend", "source", "metric")}
            asked, _, name = name.rpartition(" ")
            kind = asked or next(what for what, known in families.items() if name in known)
            return f"```yaml\n{excerpt(registry, kind, families[kind][name])}```\n"
    return None


def table(title: str, known: tuple[Parameter, ...]) -> str:
    rows = [f"| {title} | type | default | |", "|---|---|---|---|"]
    rows += [f"| `{each.name}` | {kind(each)} | {default(each, title)} | {cell(each.description)} |" for each in known]
    return "".join(f"{row}\n" for row in rows)


def kind(parameter: Parameter) -> str:
    if parameter.fields:
        return "settings"
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    return cell(parameter.type)


def default(parameter: Parameter, title: str) -> str:
    if parameter.fields:
        page = "../backends.md" if (title, parameter.name) == ("parameter", "parity") else ""  # of a technique
        return f"see [{parameter.name}]({page}#{parameter.name})"
    if parameter.default is None:
        return "required"
    return f"`{parameter.default}`" if parameter.default else "none"


def plain(default: str | None) -> str:
    return "required" if default is None else default or "none"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def of_metrics(registry: Registry) -> Iterator[str]:
    """Metrics with the same parameters share a row."""
    yield "| metric | parameters |"
    yield "|---|---|"
    rows: dict[type, list[str]] = {}
    for name, metric in sorted(registry.metrics.items()):
        if registry.owner["metric", name] in ("llm", "metrics", "onnx", "openvino") and parameters(metric.params):
            rows.setdefault(metric.params, []).append(f"`{name}`")
    for params, names in rows.items():
        said = "<br>".join(
            f"`{each.name}` ({plain(each.default)}): {cell(each.description)}" for each in parameters(params)
        )
        yield f"| {', '.join(names)} | {said} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
