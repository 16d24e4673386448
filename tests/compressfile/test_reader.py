from __future__ import annotations

import pytest
import yaml

from compressbuild.compressfile import reader
from compressbuild.compressfile.nodes import Map, Node, Scalar, Seq, plain
from compressbuild.compressfile.problems import Problems
from compressbuild.compressfile.reader import MAX_DEPTH, read
from compressbuild.compressfile.text import decode
from compressbuild.errors import CompressfileError, Mark


def good(text: str) -> Node:
    problems = Problems()
    node = read(text, "f", problems)
    problems.check()
    assert node is not None
    return node


def test_values_keep_their_types() -> None:
    text = "[null, true, false, 0, -7, 1.5, 1e-3, 2E+2, -0.0, text, 'q', \"1\", '', y, n, a b, 10m, 4GiB, 1.2.3, -x]"
    assert plain(good(text)) == [
        *[None, True, False, 0, -7, 1.5, 0.001, 200.0, -0.0, "text", "q", "1", "", "y", "n"],
        *["a b", "10m", "4GiB", "1.2.3", "-x"],
    ]


def test_an_accepted_value_is_what_every_yaml_reader_makes_of_it() -> None:
    # 1e-3 and 2E+2 are floats in YAML 1.2 and JSON but text in YAML 1.1, the one exception.
    values = ["null", "true", "false", "0", "-7", "1.5", "-0.0", "text", "y", "10m", "nul", "infinity", "0.1.2", "1-2"]
    for value in values:
        assert plain(good(value)) == yaml.safe_load(value)


def test_a_value_without_text_is_null() -> None:
    assert plain(good("a:\nb: x\n")) == {"a": None, "b": "x"}


def test_block_scalars() -> None:
    assert plain(good("a: |\n  one\n  two\nb: >\n  one\n  two\n")) == {"a": "one\ntwo\n", "b": "one two\n"}


def test_order_is_kept() -> None:
    assert list(plain(good("{z: 1, a: 2, m: 3}"))) == ["z", "a", "m"]


def test_marks() -> None:
    node = good("steps:\n  - prune: {ratio: 'half'}\n  - export.onnx\n")
    assert isinstance(node, Map)
    assert node.key_mark("steps") == Mark("f", 1, 1, 5)
    steps = node.get("steps")
    assert isinstance(steps, Seq)
    assert steps.mark == Mark("f", 2, 3, 1)
    prune = steps.items[0]
    assert isinstance(prune, Map)
    assert prune.mark == Mark("f", 2, 5, 5)
    params = prune.get("prune")
    assert isinstance(params, Map)
    assert params.mark == Mark("f", 2, 12, 15)
    assert params.get("ratio") == Scalar("half", Mark("f", 2, 20, 6), quoted=True)
    assert steps.items[1] == Scalar("export.onnx", Mark("f", 3, 5, 11))


def test_marks_count_characters_not_bytes() -> None:
    node = good("{größe: 1, b: 数, c: 3}")
    assert isinstance(node, Map)
    assert node.get("c") == Scalar(3, Mark("f", 1, 21, 1))


def test_windows_line_ends_and_byte_order_mark() -> None:
    assert plain(good(decode(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "f"))) == {"a": 1, "b": 2}


def test_depth_limit_is_exact() -> None:
    assert good("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(CompressfileError, match="nested more than 32"):
        good("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_deep_nesting_neither_recurses_nor_takes_long() -> None:
    for opening in ("[", "{a: ", "- "):
        with pytest.raises(CompressfileError):
            good(opening * 20_000)


def test_all_that_can_be_stepped_over_is_reported_at_once() -> None:
    problems = Problems()
    read("a: yes\nb: &x 1\nc: *x\na: 012\n", "f", problems)
    with pytest.raises(CompressfileError) as caught:
        problems.check()
    assert [str(found.mark) for found in caught.value.diagnostics] == ["f:1:4", "f:2:4", "f:3:4", "f:4:1", "f:4:4"]


def test_the_pure_python_parser_gives_the_same_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [1, {b: 'c'}]\nd:\n  - x\n  - y: |\n      z\n"
    node = good(text)
    monkeypatch.setattr(reader, "_Loader", yaml.SafeLoader)
    assert good(text) == node


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a: \xc3", b"\xef\xbb\xbf\xff", b"a\nb\xe9"])
def test_invalid_utf8(data: bytes) -> None:
    with pytest.raises(CompressfileError, match="not valid UTF-8") as caught:
        decode(data, "f")
    assert caught.value.diagnostics[0].mark is not None


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(CompressfileError, match="not valid Unicode"):
        good("a: \udc80")
