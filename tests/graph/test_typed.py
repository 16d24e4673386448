"""What is remembered of types and values: the same as what the types say, and only what values alone decide."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from compressbuild.api import DatasetRef, Label, Needs, Params, schemes
from compressbuild.graph import typed
from compressbuild.graph.typed import Types
from compressbuild.registry import discover


class Shape(msgspec.Struct, frozen=True):
    sizes: list[int | float] = []


class Scale(Params):
    factor: float | int | bool = 0.5
    data: DatasetRef = "train"
    shapes: dict[str, Shape] = {}
    scheme: Annotated[str, schemes("u8-affine", "s8-symmetric")] = "auto"


class Checking(msgspec.Struct, frozen=True):
    name: str = "x"

    def __post_init__(self) -> None:
        pass


class Inside(Params):
    checked: Checking | None = None


class Checked(Params):
    name: str = "x"

    def __post_init__(self) -> None:
        pass


class Needy(Params):
    def needs(self) -> Needs:
        return Needs(gpu=True)


class Labelled(Params):
    def measured_as(self) -> Label:
        return Label(name="x", unit="", direction="none")


class Colour(enum.Enum):
    RED = "red"


class Coloured(Params):
    colour: Colour = Colour.RED


class Choosing(Params):
    home: str = msgspec.field(default_factory=lambda: str(Path.home()))


@pytest.fixture(autouse=True)
def old_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "_YOUNG", 2**62)


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    return tmp_path / "params"


def opened(memo: Path, stamp: str = "plugins") -> Types:
    return Types(memo, stamp)


def asked(memo: Path, kind: type[Params], raw: dict[str, Any], stamp: str = "plugins") -> typed.Typed:
    types = opened(memo, stamp)
    found = types.typed(kind, raw)
    assert repr(types.fields(kind)) == repr(Types().fields(kind))
    assert types.save() is None
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types that made a value."""
    found: list[str] = []
    real = typed._typed

    def make(kind: type[Params], raw: dict[str, Any]) -> Any:
        found.append(kind.__name__)
        return real(kind, raw)

    monkeypatch.setattr(typed, "_typed", make)
    return found


RAW = {"factor": 1, "shapes": {"x": {"sizes": [1, 1.0]}}, "data": "test"}


def test_what_is_remembered_is_the_same(memo: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = asked(memo, Scale, RAW)
    assert [(ref.ref, ref.path, ref.value) for ref in first.refs] == [("dataset", ("data",), "test")]
    assert repr(Types().typed(Scale, RAW)) == repr(first)
    made.clear()
    monkeypatch.setattr(typed, "_fields", None)  # nor is the type asked
    types = opened(memo)
    assert repr(types.typed(Scale, RAW)) == repr(first)
    assert types.fields(Scale)["scheme"] == typed.Auto("qdq_scheme", "u8-affine", known=("u8-affine", "s8-symmetric"))
    assert made == []


def test_nobody_changes_what_is_remembered(memo: Path) -> None:
    for _ in range(3):
        found = asked(memo, Scale, RAW)
        found.values["shapes"]["x"]["sizes"].append(2)
        assert found.values["shapes"]["x"]["sizes"] == [1, 1.0, 2]


@pytest.mark.parametrize("factor", [1, 1.0, True])
def test_equal_values_of_different_types_are_not_one(memo: Path, factor: object) -> None:
    for other in (1, 1.0, True):
        asked(memo, Scale, {"factor": other})
    assert repr(asked(memo, Scale, {"factor": factor}).values["factor"]) == repr(factor)


def test_what_is_refused_is_refused_again(memo: Path) -> None:
    for _ in range(2):
        with pytest.raises(msgspec.ValidationError, match=r"\$\.factor"):
            asked(memo, Scale, {"factor": "x"})


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(Inside, {"checked": {}}), (Checked, {}), (Needy, {}), (Labelled, {}), (Choosing, {}), (Coloured, {})],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_code_of_a_type_runs_each_time(memo: Path, made: list[str], kind: type[Params], raw: dict[str, Any]) -> None:
    for _ in range(2):
        assert asked(memo, kind, raw) == Types().typed(kind, raw)
    assert made == [kind.__name__] * 4


def test_other_plugins_or_code_forget_it(memo: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked(memo, Scale, RAW)
    asked(memo, Scale, RAW, stamp="others")
    assert made == ["Scale", "Scale"]
    monkeypatch.setattr(typed, "signature", lambda path: (1, 2, 3, 4))
    asked(memo, Scale, RAW, stamp="others")
    assert made == ["Scale", "Scale", "Scale"]


def test_without_a_stamp_nothing_is_remembered(memo: Path, made: list[str]) -> None:
    for _ in range(2):
        asked(memo, Scale, RAW, stamp="")
    assert made == ["Scale", "Scale"]
    assert not memo.exists()


def test_code_younger_than_the_process_remembers_nothing(memo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "_YOUNG", 0)
    asked(memo, Scale, RAW)
    assert not memo.exists()


def test_a_damaged_file_is_no_error(memo: Path) -> None:
    asked(memo, Scale, RAW)
    whole = memo.read_bytes()
    memo.write_bytes(whole[:-3] + b"x" + whole[-2:])
    asked(memo, Scale, RAW)
    assert memo.read_bytes() == whole


def test_it_does_not_grow_without_end(memo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "_ROOM", 10)
    for factor in range(10):
        asked(memo, Scale, {"factor": factor})
    types = opened(memo)
    types.typed(Scale, {"factor": 9})
    types.typed(Scale, {"factor": 10})
    types.save()
    assert len(opened(memo)._kept.typed) == 2


def test_every_type_of_every_plugin(memo: Path) -> None:
    """With its defaults, remembered and not."""
    registry = discover()
    kinds = [record.params for record in (*registry.techniques.values(), *registry.metrics.values())]
    kinds += [record.settings for record in registry.backends.values()]
    plain, tried = Types(), 0
    for again in (False, True):
        types = opened(memo)
        for kind in kinds:
            assert repr(types.fields(kind)) == repr(plain.fields(kind))
            raw = {name: auto.value(None) for name, auto in plain.fields(kind).items() if auto is not None}
            try:
                expected = plain.typed(kind, raw)
            except msgspec.ValidationError:  # it has a parameter without a default
                continue
            assert repr(types.typed(kind, raw)) == repr(expected)
            tried += again
        types.save()
    assert tried > 50
