"""``evaluate:`` what is measured of each target, for the file and for single targets."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from .checks import OPTIONS, Checks, Reference
from .nodes import Broken, Map, Node, Scalar
from .spec import EvaluateSpec, MetricUse

__all__ = ["EVALUATE_KEYS", "evaluation", "file_evaluation", "target_evaluation"]

EVALUATE_KEYS = ("data", "metrics", "baseline", *OPTIONS)


def target_evaluation(node: Node, base: EvaluateSpec | None, checks: Checks) -> EvaluateSpec | None:
    """A target's own: ``false``, or a mapping whose keys replace those of ``base``, the file's or its model's."""
    if isinstance(node, Scalar) and node.value is False:
        return EvaluateSpec(node.mark)
    if not isinstance(node, Map):
        hint = "leave it out to evaluate as the file says"
        checks.wrong(node, "'evaluate' of a target", "false or a mapping", hint)
        return None
    return evaluation(node, base, checks)


def file_evaluation(node: Node, checks: Checks) -> tuple[EvaluateSpec | None, dict[str, EvaluateSpec]]:
    """The file's own, and that of each model it names under ``models``: for the targets that are made from it."""
    shared = evaluation(node, None, checks, (*EVALUATE_KEYS, "models"))
    inner = node.get("models") if isinstance(node, Map) else None
    found = checks.mapping(inner, "'models' of 'evaluate'") if inner is not None else None
    special: dict[str, EvaluateSpec] = {}
    for key, value in found.entries if found is not None else ():
        checks.references.append(Reference(str(key.value), key.mark, ("model",)))
        own = evaluation(value, shared, checks)
        if own is not None:
            special[str(key.value)] = own
    return shared, special


def evaluation(
    node: Node, base: EvaluateSpec | None, checks: Checks, keys: Sequence[str] = EVALUATE_KEYS
) -> EvaluateSpec | None:
    """An ``evaluate`` mapping; keys that it does not give are those of ``base``."""
    found = checks.mapping(node, "'evaluate'", keys)
    if found is None:
        return None
    result = replace(base, mark=found.mark) if base is not None else EvaluateSpec(found.mark)
    for key, value in found.entries:
        if key.value == "data":
            result = replace(result, data=checks.reference(value, "'data'", "dataset"))
        elif key.value == "baseline":
            result = replace(result, baseline=checks.reference(value, "'baseline'", "target", "model"))
        elif key.value == "metrics":
            result = replace(result, metrics=_metrics(value, checks))
    given = checks.options(found)
    options = {name: getattr(given, name) for name in OPTIONS if getattr(given, name) is not None}
    return replace(result, options=replace(result.options, **options))


def _metrics(node: Node, checks: Checks) -> tuple[MetricUse, ...]:
    """``metric`` or ``{metric: {parameter: value}}``, each once."""
    uses: dict[str, MetricUse] = {}
    for item in checks.items(node, "'metrics'"):
        use = _metric(item, checks)
        if use is not None and uses.setdefault(use.label, use) is not use:
            hint = "keep one" if use.label == use.name else "give each another name"
            checks.add(f"metric '{use.label}' is listed twice", use.mark, hint)
    return tuple(uses.values())


def _metric(node: Node, checks: Checks) -> MetricUse | None:
    if not isinstance(node, Map):
        name = checks.text(node, "a metric", "a name or {name: {parameter: value}}", "e.g. top1")
        return None if name is None else MetricUse(name, node.mark)
    if len(node.entries) != 1:
        if not any(isinstance(value, Broken) for _, value in node.entries):
            checks.add(
                f"a metric with parameters is a mapping of one key, not {len(node.entries)}",
                node.mark,
                "write {latency: {batch: 8}}",
            )
        return None
    ((key, value),) = node.entries
    return MetricUse(str(key.value), key.mark, checks.mapping(value, f"the parameters of '{key.value}'"))
