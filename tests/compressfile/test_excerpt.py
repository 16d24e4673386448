from __future__ import annotations

import pytest

from compressbuild.compressfile.excerpt import MAX_SHOWN, render
from compressbuild.errors import CbuildError, CompressfileError, Diagnostic, Mark, UsageError


def shown(line: str, column: int, length: int) -> list[str]:
    """The two lines of the excerpt, without their gutters."""
    text = render(CompressfileError([Diagnostic("m", Mark("f", 2, column, length))], {"f": f"x\n{line}\ny"}))
    head, code, underline = text.split("\n")
    assert head == f"f:2:{column}: error: m"
    assert code.startswith("    2 | ")
    assert underline.startswith("      | ")
    return [code[8:], underline[8:]]


def test_an_error_without_a_place() -> None:
    assert render(UsageError("no such thing", hint="try another")) == "error: no such thing\n  hint: try another"
    assert render(CbuildError("broken")) == "error: broken"


def test_a_place_without_its_text() -> None:
    assert render(CbuildError("broken", mark=Mark("f", 3, 4))) == "f:3:4: error: broken"


def test_texts_can_be_given() -> None:
    error = CbuildError("broken", mark=Mark("f", 1, 3, 2), hint="fix it")
    assert render(error, {"f": "a bc d"}) == "f:1:3: error: broken\n    1 | a bc d\n      |   ^~\n  hint: fix it"


def test_several_are_counted() -> None:
    found = [Diagnostic(f"m{n}", Mark("f", n + 1, 1)) for n in range(2)]
    assert render(CompressfileError(found)) == "f:1:1: error: m0\n\nf:2:1: error: m1\n\n2 errors"
    many = [Diagnostic(f"m{n}") for n in range(MAX_SHOWN + 3)]
    text = render(CompressfileError(many))
    assert text.endswith(f"error: m{MAX_SHOWN - 1}\n\n… and 3 more\n\n{MAX_SHOWN + 3} errors")


@pytest.mark.parametrize(
    ("line", "column", "length", "code", "underline"),
    [
        ("from: x", 1, 4, "from: x", "^~~~"),
        ("\tfrom: x", 2, 4, "    from: x", "    ^~~~"),
        ("数字: x", 5, 1, "数字: x", "      ^"),
        ("a: 数字", 4, 2, "a: 数字", "   ^~~~"),
        ("e\u0301: x", 5, 1, "e\u0301: x", "   ^"),
        ("a: x   ", 4, 99, "a: x", "   ^"),
        ("a: x", 9, 1, "a: x", "    ^"),
        ("a: \x1b[31m", 4, 5, "a: �[31m", "   ^~~~~"),
        ("a: x\r", 4, 1, "a: x", "   ^"),
    ],
)
def test_underlines(line: str, column: int, length: int, code: str, underline: str) -> None:
    if line.endswith("\r"):
        line = line + "\n"
        text = render(CompressfileError([Diagnostic("m", Mark("f", 1, column, length))], {"f": line}))
        assert text == f"f:1:4: error: m\n    1 | {code}\n      | {underline}"
        return
    assert shown(line, column, length) == [code, underline]


def test_long_lines_are_cut_around_the_place() -> None:
    code, underline = shown("x" * 500 + "BAD" + "y" * 500, 501, 3)
    assert code.startswith("…x")
    assert code.endswith("y…")
    assert code[underline.index("^") : underline.rindex("~") + 1] == "BAD"
    assert len(code) <= 125


@pytest.mark.parametrize("mark", [Mark("f", 0, 1), Mark("f", 99, 1), Mark("f", 2, 1), Mark("f", 1, 99, 99)])
def test_a_place_that_is_not_there_shows_what_it_can(mark: Mark) -> None:
    assert render(CompressfileError([Diagnostic("m", mark)], {"f": "a\n\nb"})).startswith(f"{mark}: error: m")


def test_what_cannot_be_printed_is_replaced() -> None:
    assert render(UsageError("no '\udc80' \x1b]0;x\x07")) == "error: no '�' �]0;x�"
