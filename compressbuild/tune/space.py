"""What is searched: the ranges of a target and of the targets that it is made from, each with where it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from ..api import Params
from ..compressfile.load import TOP_KEYS, shown
from ..compressfile.nodes import Map, Seq
from ..compressfile.overrides import apply
from ..compressfile.problems import Problems
from ..compressfile.ranges import VALUE, is_range
from ..compressfile.reader import read
from ..compressfile.spec import RangeSpec
from ..compressfile.text import decode
from ..errors import CompressfileError, Diagnostic, Mark, UsageError
from ..project import Project
from ..words import suggest

__all__ = ["Axis", "Point", "Space", "Written", "identity", "located", "setting", "written"]

Point = Mapping[str, Any]
"""Path of a range → the value chosen."""

_DIGITS = 4  # of a number that is searched: more tell trials apart that no metric does


class Written(msgspec.Struct, frozen=True):
    """A range in the text. ``path``: as ``--set`` takes it. ``target``: where the key of its target stands."""

    path: str
    target: Mark
    node: Map


class Axis(msgspec.Struct, frozen=True):
    """A range of the search. ``label``: what tables call it. ``whole``: whole numbers only."""

    label: str
    range: RangeSpec
    whole: bool = False

    def values(self) -> list[Any] | None:
        """Every value, where they can be counted."""
        found, step = self.range, self.range.step or (1 if self.whole else None)
        if found.choices:
            return list(found.choices)
        if step is None or found.low is None or found.high is None:
            return None
        count = math.floor((found.high - found.low) / step + 1e-9) + 1
        return [self.rounded(found.low + number * step) for number in range(count)]

    def rounded(self, value: float) -> float:
        """A number as it is written to the Compressfile: few digits, and inside the range."""
        assert self.range.low is not None
        assert self.range.high is not None
        if self.whole:
            return round(value)
        near = round(value, 12) if self.range.step is not None else float(f"{value:.{_DIGITS}g}")
        return min(max(near, float(self.range.low)), float(self.range.high))

    def holds(self, value: Any) -> bool:
        """Whether a value that was tried before is still in the range."""
        if self.range.choices:
            return any(type(value) is type(other) and value == other for other in self.range.choices)
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        counted = self.values()
        if counted is not None:
            return value in counted
        return bool(self.range.low is not None and self.range.high is not None
                    and self.range.low <= value <= self.range.high)  # fmt: skip


class Space:
    """``axes``: path → axis, in the order in which the steps run."""

    def __init__(self, axes: Mapping[str, Axis]) -> None:
        self.axes = axes

    @classmethod
    def of(cls, path: Path, name: str, overrides: Sequence[str], cache: Path | None) -> Space:
        """UsageError if the target is unknown or has no range."""
        ranges = written(path, overrides)
        with closing(Project(path, overrides, cache=cache)) as project:
            spec = project.spec
            if name not in spec.targets:
                raise UsageError(
                    f"unknown target '{name}'", hint=suggest(name, spec.targets, otherwise="see 'cbuild list'")
                )
            chain = [name]
            while (source := spec.targets[chain[0]].source) in spec.targets:
                chain.insert(0, source)
            by_mark = {w.node.mark: w.path for w in ranges}
            found: dict[str, tuple[str, str, RangeSpec]] = {}
            for target in chain:
                for step in spec.targets[target].steps:
                    for one in step.ranges:
                        if one.mark not in by_mark:
                            message = f"the range of parameter '{one.parameter}' stands in a variable"
                            hint = "write {search: …} or {choose: …} in the step itself"
                            raise CompressfileError([Diagnostic(message, one.mark, hint)], dict(spec.texts))
                        found.setdefault(by_mark[one.mark], (target, step.technique, one))
            if not found:
                hint = "declare one: 'ratio: {search: [0.1, 0.7]}' or 'scheme: {choose: [a, b]}'"
                message = f"target '{name}' has no range to search"
                raise CompressfileError([Diagnostic(message, spec.targets[name].mark, hint)], dict(spec.texts))
            labels = _labels([(one.parameter, technique, target) for target, technique, one in found.values()])
            axes, problems = {}, list[Diagnostic]()
            for (at, (_, technique, one)), label in zip(found.items(), labels, strict=True):
                record = project.registry.techniques.get(technique)
                axes[at] = Axis(label, one, record is not None and _whole(one, record.params, problems))
            if problems:
                raise CompressfileError(problems, dict(spec.texts))
            return cls(axes)

    @property
    def marks(self) -> dict[str, Mark]:
        return {path: axis.range.mark for path, axis in self.axes.items()}

    def settings(self, point: Point) -> list[str]:
        """What ``--set`` takes to build the point."""
        return [setting(path, point[path]) for path in self.axes]

    def first(self) -> Point:
        return {
            path: axis.range.choices[0] if axis.range.choices else axis.rounded(axis.range.low or 0)
            for path, axis in self.axes.items()
        }

    def ends(self) -> Iterator[tuple[Any, Point]]:
        """Each end of a range and each choice, with a point that has it: what the parameter must accept."""
        first = self.first()
        for path, axis in self.axes.items():
            wanted = axis.range.choices or (axis.rounded(axis.range.low or 0), axis.rounded(axis.range.high or 0))
            yield from ((value, {**first, path: value}) for value in wanted)

    def every(self, most: int) -> list[Point] | None:
        """Every point, the last axis fastest, where there are at most so many."""
        lists = [axis.values() if _countable(axis, most) else None for axis in self.axes.values()]
        if any(values is None for values in lists):
            return None
        counted = [values for values in lists if values is not None]
        if math.prod(map(len, counted)) > most:
            return None
        return [dict(zip(self.axes, values, strict=True)) for values in product(*counted)]

    def holds(self, point: Point) -> bool:
        return point.keys() == self.axes.keys() and all(axis.holds(point[path]) for path, axis in self.axes.items())

    def said(self, point: Point) -> dict[str, Any]:
        """A point by the labels of its axes."""
        return {axis.label: point[path] for path, axis in self.axes.items()}


def written(path: Path, overrides: Sequence[str]) -> list[Written]:
    """The ranges in the steps of a Compressfile. What is wrong with the file is for those who read it whole."""
    file = shown(path)
    try:
        data = path.read_bytes()
    except OSError:  # opening the project says it
        return []
    text = decode(data, file)
    problems = Problems({file: text})
    root = read(text, file, problems)
    if root is not None:
        root = apply(root, overrides, TOP_KEYS, problems)
    problems.check()
    targets = root.get("targets") if isinstance(root, Map) else None
    return list(_written(targets)) if isinstance(targets, Map) else []


def _written(targets: Map) -> Iterator[Written]:
    for key, body in targets.entries:
        steps = body.get("steps") if isinstance(body, Map) else None
        for number, step in enumerate(steps.items if isinstance(steps, Seq) else ()):
            for technique, params in step.entries if isinstance(step, Map) else ():
                for parameter, node in params.entries if isinstance(params, Map) else ():
                    if isinstance(node, Map) and is_range(node):
                        at = f"targets.{key.value}.steps.{number}.{technique.value}.{parameter.value}"
                        yield Written(at, key.mark, node)


@contextmanager
def located(marks: Mapping[str, Mark], value: Any = None) -> Iterator[None]:
    """An error at a value that the search chose is said at the range it is of. ``marks``: path → that place.
    ``value``: to be named there."""
    places = {f"--set {path}.{VALUE}": mark for path, mark in marks.items()}
    try:
        yield
    except CompressfileError as error:
        found = []
        for one in error.diagnostics:
            place = places.get(one.mark.file) if one.mark is not None else None
            if place is not None:
                said = one.message if value is None else f"{one.message} (the range has {value})"
                one = Diagnostic(said, place, one.hint)
            found.append(one)
        raise CompressfileError(dict.fromkeys(found), error.texts) from None


def identity(point: Point) -> str:
    """Equal for equal points; 1, 1.0 and true differ."""
    return json.dumps(dict(point), sort_keys=True)


def setting(path: str, value: Any) -> str:
    """What ``--set`` takes to give a range its value."""
    return f"{path}.{VALUE}={json.dumps(value, ensure_ascii=False)}"


def _countable(axis: Axis, most: int) -> bool:
    """Whether it has at most so many values, without making them."""
    found, step = axis.range, axis.range.step or (1 if axis.whole else None)
    if found.choices:
        return len(found.choices) <= most
    return step is not None and found.low is not None and found.high is not None and (
        (found.high - found.low) / step < most
    )  # fmt: skip


def _labels(names: list[tuple[str, str, str]]) -> list[str]:
    """The parameter; with its technique, its target and a number as far as others are called the same."""
    found: list[str] = []
    for parameter, technique, target in names:
        words = (parameter, f"{technique}.{parameter}", f"{target}/{technique}.{parameter}")
        for depth, word in enumerate(words):
            same = [n for n in names if (n[0], f"{n[1]}.{n[0]}", f"{n[2]}/{n[1]}.{n[0]}")[depth] == word]
            if len(same) == 1:
                break
        count = found.count(word) + sum(label.startswith(f"{word}#") for label in found)
        found.append(f"{word}#{count + 1}" if count else word)
    return found


def _whole(one: RangeSpec, kind: type[Params], problems: list[Diagnostic]) -> bool:
    """Whether the parameter takes whole numbers only. A problem is added if it takes no numbers, or an end is not
    whole."""
    if one.choices:
        return False
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    kinds = {leaf for field in info.fields if field.encode_name == one.parameter for leaf in _leaves(field.type)}
    if not kinds or msgspec.inspect.FloatType in kinds:  # the graph says which parameters there are
        return False
    ends = (one.low, one.high, *([one.step] if one.step is not None else []))
    if msgspec.inspect.IntType not in kinds:
        message = f"parameter '{one.parameter}' takes no numbers to search"
        problems.append(Diagnostic(message, one.mark, "write {choose: [a, b]}"))
    elif not all(isinstance(end, int) for end in ends):
        message = f"parameter '{one.parameter}' takes whole numbers only"
        problems.append(Diagnostic(message, one.mark, "write the ends and the step without a point"))
    return True


def _leaves(info: Any) -> Iterator[type]:
    if isinstance(info, msgspec.inspect.Metadata):
        yield from _leaves(info.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for option in info.types:
            yield from _leaves(option)
    else:
        yield type(info)
