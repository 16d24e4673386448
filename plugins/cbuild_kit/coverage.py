"""How much of a model a quantizer reached: the share of the weights' bytes that are integers now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressbuild.api import Context

__all__ = ["LEAST_SHARE", "coverage", "merged"]

LEAST_SHARE = 0.5  # of the bytes: below it the file cannot be half as large


def coverage(ctx: Context, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Any]:
    """Facts: ``quantized_share``, and ``concern`` where it is below 50 %. ``unquantized`` repeats that: a later step
    may quantize the rest. Empty for a model without float weights.

    ``before``, ``after``: bytes of each float weight, in the source and in what was made of it.
    """
    total, left = sum(before.values()), sum(after.values())
    if not total:
        return {}
    share = max(0.0, 1 - left / total)
    facts: dict[str, Any] = {"quantized_share": round(share, 4)}
    if share < LEAST_SHARE:
        name, size = max(after.items(), key=lambda item: item[1])
        facts["concern"] = facts["unquantized"] = (
            f"only {share:.0%} of the weights' bytes are quantized (below {LEAST_SHARE:.0%} is a warning); "
            f"the largest in float is '{name}', {min(1.0, size / total):.0%} of all"
        )
        ctx.log.warning("%s; 'op-types:' and 'exclude:' say which are", facts["concern"])
    return facts


def merged(*facts: Mapping[str, Any]) -> dict[str, Any]:
    """All facts in one, their concerns side by side."""
    concerns = [item["concern"] for item in facts if "concern" in item]
    together = {key: value for item in facts for key, value in item.items()}
    return together | ({"concern": "; ".join(concerns)} if concerns else {})
