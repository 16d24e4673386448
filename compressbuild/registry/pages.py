"""Where a record is explained: the excerpt that its plugin ships, and its page.

An excerpt is a file ``excerpts/NAME.yaml`` beside the manifest: a part of a Compressfile that uses the technique,
backend or metric of that name; ``excerpts/source.NAME.yaml`` where a source shares its name with another record. A
metric without one gets the plain line that measures it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .registry import Plugin, Registry

__all__ = ["excerpt", "page"]

_OWN = "compressbuild"  # the distribution whose pages are docs/ of this repository
_PAGES = {
    "technique": "docs/techniques/{}.md",
    "backend": "docs/backends.md#{}",
    "metric": "docs/evidence.md#metrics",
    "destination": "docs/howto/publish.md",
    "executor": "docs/howto/other-machines.md",
    "source": "docs/sources.md#{}",
    "check": "docs/howto/advise.md",
}


def excerpt(registry: Registry, what: str, record: Any) -> str:
    """The part of a Compressfile that uses the record; empty if its plugin has none."""
    manifest = _plugin(registry, what, record.name).file
    if manifest is not None:
        for name in (f"{what}.{record.name}", record.name):
            file = Path(manifest).parent / "excerpts" / f"{name}.yaml"
            if file.is_file():
                return file.read_text(encoding="utf-8")
    if what == "metric" and not any(field.required for field in msgspec.structs.fields(record.params)):
        return f"evaluate: {{data: test, metrics: [{record.name}]}}\n"
    return ""


def page(registry: Registry, what: str, name: str) -> str:
    """The page of a record that comes with compressbuild; of another one, the documentation that its distribution
    names. Empty if there is none."""
    distribution = _plugin(registry, what, name).distribution
    if distribution == _OWN:
        return _PAGES.get(what, "").format(name)
    return _documentation(distribution) if distribution else ""


def _plugin(registry: Registry, what: str, name: str) -> Plugin:
    owner = registry.owner[what, name]
    return next(plugin for plugin in registry.plugins if plugin.name == owner)


def _documentation(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata(distribution).get_all("Project-URL") or []
    except PackageNotFoundError:  # a project's own module
        return ""
    named = {label.strip().lower(): url.strip() for label, _, url in (line.partition(",") for line in urls)}
    return next((named[label] for label in ("documentation", "homepage", "repository") if label in named), "")
