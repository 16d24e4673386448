"""``metrics.json`` of a published target: what was measured, what could not be, gates and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..digest import read_regular
from .concerns import Concern
from .gates import Verdict
from .results import FILE
from .target import Assessment

__all__ = ["Evidence"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """``metrics``: name → what its function returned; ``unmeasured``: name → why not."""

    target: str = ""
    platform: str | None = None
    metrics: Mapping[str, dict[str, Any]] = {}
    unmeasured: Mapping[str, str] = {}
    gates: tuple[Verdict, ...] = ()
    warnings: tuple[Concern, ...] = ()

    @classmethod
    def of(cls, target: str, platform: str | None, found: Assessment) -> Evidence:
        return cls(
            target=target,
            platform=platform,
            metrics={name: dict(result) for name, result in found.metrics.items()},
            unmeasured=found.unmeasured,
            gates=found.verdicts,
            warnings=found.warnings,
        )

    @classmethod
    def read(cls, directory: Path) -> Evidence | None:
        """None if there is none, or what is there is something else: ``cbuild verify`` says what is damaged."""
        try:
            found = msgspec.json.decode(read_regular(directory / FILE), type=cls)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return found if all(map(_has_numbers, found.metrics.values())) else None

    def encoded(self) -> bytes:
        """The file's bytes: keys sorted, so that equal evidence gives equal files."""
        return (
            msgspec.json.format(msgspec.json.encode(msgspec.to_builtins(self), order="deterministic"), indent=2) + b"\n"
        )


def _has_numbers(result: Mapping[str, Any]) -> bool:
    """Whether a result holds numbers where everybody expects them."""
    spread = [result[name] for name in ("ratio_low", "ratio_high") if result.get(name) is not None]
    return all(isinstance(each, int | float) for each in (result.get("value"), result.get("ratio", 1), *spread))
