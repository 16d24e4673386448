"""Targets: ``from``, steps, platform, gates, evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from ..errors import Mark
from ..words import did_you_mean
from .checks import OPTIONS, Checks
from .evaluation import target_evaluation
from .gates import check_against
from .gates import gates as read_gates
from .names import NAME
from .nodes import Map, Node, Scalar
from .ranges import settled
from .spec import EvaluateSpec, GateSpec, RangeSpec, RunOptions, StepSpec, TargetSpec

__all__ = ["TARGET_KEYS", "Targets", "origins"]

TARGET_KEYS = ("from", "steps", "platform", "gates", "evaluate", "matrix", "description", "tags", *OPTIONS)
_NO_OPTIONS = RunOptions()

T = TypeVar("T")


def origins(bodies: Mapping[str, Node]) -> dict[str, str]:
    """Target → the name at which its chain of ``from`` begins: a model, where the file is sound."""
    above = {
        name: source.value
        for name, body in bodies.items()
        if isinstance(body, Map) and isinstance(source := body.get("from"), Scalar) and isinstance(source.value, str)
    }
    found = {}
    for name in above:
        at, seen = name, set[str]()
        while at in above and at not in seen:
            seen.add(at)
            at = above[at]
        found[name] = at
    return found


class Targets:
    """Reads targets. Points of one matrix share nodes; what was read from a shared node is shared too."""

    def __init__(
        self, checks: Checks, evaluate: EvaluateSpec | None = None, special: Mapping[str, EvaluateSpec] | None = None
    ) -> None:
        self._checks = checks
        self._evaluate = evaluate
        self.special = special or {}  # model → what is measured of the targets made from it
        self._read: dict[tuple[str, int], tuple[Node, object]] = {}  # the node keeps its id from being used again

    def target(self, key: Scalar, node: Node, written: Scalar, model: str = "") -> TargetSpec | None:
        """One target of the expanded file; None if it has no usable ``from``. ``written``: its key before expansion, by
        which messages call it, so that one mistake in a matrix is one message. ``model``: where its chain begins."""
        checks = self._checks
        name = str(key.value)
        what = f"target '{written.value}'"
        hint = "write {from: MODEL, steps: [...]}"
        if not isinstance(node, Map):
            checks.wrong(node, what, "a mapping", hint)
            return None
        source = platform = None
        steps: tuple[StepSpec, ...] = ()
        gates: tuple[GateSpec, ...] = ()
        evaluate = self.special.get(model)
        options, description = False, ""
        tags: tuple[str, ...] = ()
        marks: dict[str, Mark] = {}
        for entry, value in node.entries:
            word = str(entry.value)
            marks[word] = value.mark
            match word:
                case "from":
                    source = checks.reference(value, "'from'", "model", "target")
                case "steps":
                    steps = self._once("steps", value, self._steps)
                case "platform":
                    platform = checks.reference(value, "'platform'", "platform")
                case "gates":
                    gates = self._once("gates", value, lambda found: read_gates(found, checks))
                    check_against(name, gates, value, checks)
                case "evaluate":
                    base = evaluate or self._evaluate
                    evaluate = self._once(f"evaluate {model}", value, partial(self._evaluation, base))
                case "description":
                    description = self._once("description", value, self._description)
                case "tags":
                    tags = self._once("tags", value, self._tags)
                case _ if word in OPTIONS:
                    options = True
                case _:
                    checks.unknown_key(entry, TARGET_KEYS, what)
        if "from" not in marks:
            hint = "name the model or target it is made from"
            checks.missing(node, "from", TARGET_KEYS, f"{what} needs 'from'", key.mark, hint)
        if source is None:
            return None
        run = checks.options(node) if options else _NO_OPTIONS
        return TargetSpec(name, key.mark, source, steps, platform, gates, evaluate, run, marks, description, tags)

    def _once(self, what: str, node: Node, read: Callable[[Node], T]) -> T:
        known = self._read.get((what, id(node)))
        if known is None:
            known = self._read[(what, id(node))] = (node, read(node))
        result: T = known[1]  # type: ignore[assignment]
        return result

    def _evaluation(self, base: EvaluateSpec | None, node: Node) -> EvaluateSpec | None:
        return target_evaluation(node, base, self._checks)

    def _description(self, node: Node) -> str:
        return self._checks.text(node, "'description'") or ""

    def _tags(self, node: Node) -> tuple[str, ...]:
        found = []
        for text, mark in self._checks.texts(node, "'tags'"):
            if NAME.fullmatch(text):
                found.append(text)
            else:
                self._checks.add(f"'{text}' cannot be a tag", mark, "use letters, digits, '-', '_' and '.'")
        return tuple(dict.fromkeys(found))

    def _steps(self, node: Node) -> tuple[StepSpec, ...]:
        found = (self._step(item) for item in self._checks.items(node, "'steps'"))
        return tuple(step for step in found if step is not None)

    def _step(self, node: Node) -> StepSpec | None:
        """``technique`` or ``{technique: {parameter: value}, option: value}``."""
        checks = self._checks
        if not isinstance(node, Map):
            name = checks.text(node, "a step", "a technique", "e.g. export.onnx, or prune.channels: {ratio: 0.5}")
            return None if name is None else StepSpec(name, node.mark)
        techniques = [entry for entry in node.entries if entry[0].value not in OPTIONS]
        if not techniques:
            checks.add("a step without a technique", node.mark, "write e.g. 'prune.channels: {ratio: 0.5}'")
            return None
        key, value = techniques[0]
        for extra, _ in techniques[1:]:
            self._second(key, value, extra)
        params: Map | None = None
        ranges: tuple[RangeSpec, ...] = ()
        if isinstance(value, Map):
            params, ranges = settled(value, str(key.value), checks)
        elif not isinstance(value, Scalar) or value.value is not None:
            checks.wrong(value, f"the parameters of '{key.value}'", "a mapping", "write {parameter: value}")
        return StepSpec(str(key.value), key.mark, params, checks.options(node), ranges)

    def _second(self, technique: Scalar, value: Node, extra: Scalar) -> None:
        """Two keys in a step: a misspelt option, a parameter not indented, or two steps in one item."""
        word, name = str(extra.value), technique.value
        near = did_you_mean(word, OPTIONS)
        if near is not None:
            hint = f"did you mean '{near}'?"
        elif isinstance(value, Scalar) and value.value is None and "." not in word:
            hint = f"if it is a parameter of '{name}', indent it further; if a technique, start it with '- '"
        else:
            hint = "start each step with its own '- '"
        self._checks.add(f"a step has one technique, but this one has '{name}' and '{word}'", extra.mark, hint)
