"""Parameters that differ in value or type never share a key, and a key depends on nothing around the build."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import TOY_PATH
from sweeps import Tally, tallied, tries

from compressbuild.plan import Keyer

Record = Callable[[str, object], None]
TEXTS = ("", "0", "1", "true", "null", "a", "a:b", "s1:a", "é", "e\u0301", "\ud800", "\0", "l1:i1:", "-0.0")
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.1, 0.1 + 0.2, 0.3, 1e308, 5e-324, float("inf"), float("-inf"), 2.0**53)
INTS = (0, 1, -1, 127, 128, 255, 256, -128, -129, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63))


def drawn(rng: random.Random, depth: int = 0) -> object:
    """A parameter's value, from a small world: neighbours and namesakes abound."""
    match rng.randrange(9 if depth < 3 else 6):
        case 0:
            return rng.choice((None, True, False))
        case 1:
            return rng.choice(INTS) if rng.random() < 0.5 else rng.randrange(-(1 << 40), 1 << 40)
        case 2:
            return rng.choice(FLOATS) if rng.random() < 0.5 else rng.random()
        case 3:
            return rng.choice(TEXTS) + rng.choice(TEXTS)
        case 4:
            return str(rng.randrange(1 << 20))
        case 5:
            return float(rng.randrange(1 << 20))
        case 6:
            return [drawn(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 7:
            return tuple(drawn(rng, depth + 1) for _ in range(rng.randrange(4)))
        case _:
            return {rng.choice(TEXTS): drawn(rng, depth + 1) for _ in range(rng.randrange(4))}


def identity(value: object) -> str:
    """What a value is, written without the code under test."""
    match value:
        case float():
            return "float " + struct.pack("<d", value).hex()
        case list() | tuple():
            return f"{type(value).__name__}({', '.join(map(identity, value))})"
        case dict():
            return f"dict({', '.join(sorted(f'{name!a}={identity(item)}' for name, item in value.items()))})"
        case _:
            return f"{type(value).__name__} {value!a}"


def no_two_share_a_key(tally: Tally, count: int, key: Callable[[dict[str, object]], str]) -> None:
    """``count`` different values. Of each, 40 bytes are kept."""
    seen: dict[bytes, bytes] = {}
    while len(seen) < count and tally.in_time and not tally.failed:
        value = drawn(tally.rng)
        who = hashlib.blake2b(identity(value).encode(), digest_size=16).digest()
        found = bytes.fromhex(key({"parameters": {"p": value}}))
        if seen.setdefault(found, who) != who:
            with tally.case(identity(value)):
                raise AssertionError("it has the key of another value")
        elif who[0] == 0:  # one in 256, as all would double the memory: equal values have one key
            again = dict(reversed(value.items())) if isinstance(value, dict) else value
            with tally.case(identity(value)):
                assert bytes.fromhex(key({"parameters": {"p": again}})) == found, "it has two keys"
    tally.tried = len(seen)


def test_values_do_not_share_keys(record_property: Record) -> None:
    with tallied(record_property) as tally:
        no_two_share_a_key(tally, 20_000, Keyer.key)


@pytest.mark.slow
def test_a_million_values_do_not_share_keys(record_property: Record) -> None:
    with tallied(record_property) as tally:
        no_two_share_a_key(tally, tries(1_000_000), Keyer.key)


def one_bracket(parts: object) -> str:
    return ascii(parts).replace(",)", "]").replace("(", "[").replace(")", "]")


def numbers_for_booleans(parts: object) -> str:
    return ascii(parts).replace("True", "1")


@pytest.mark.parametrize("confused", [one_bracket, numbers_for_booleans])
def test_the_sweep_sees_keys_that_confuse_types(confused: Callable[[object], str]) -> None:
    tally = Tally(1)
    no_two_share_a_key(tally, 20_000, lambda parts: hashlib.sha256(confused(parts).encode()).hexdigest())
    assert tally.failed


TEXT = """version: 1
models: {m: {file: f.txt}}
datasets: {d: {loader: code.data:load, args: {z: 1, a: [0.1, é], m: {y: 1, x: 2}}, files: [data]}}
evaluate: {metrics: [length], baseline: a}
targets:
  a: {from: m, steps: [{toy.copy: {data: d, note: "é"}}]}
  b: {from: a, steps: [{toy.mix: {salt: 3}}]}
"""
PRINT = """
import sys
from toyproject import Toy
from pathlib import Path
opened = Toy(Path(sys.argv[1])).open()
for index in opened.graph.order:
    node = opened.graph.nodes[index]
    print(node.name, opened.keyer.key(opened.keyer.parts(node, {"subject": "0" * 64})))
assert not opened.keyer.problems
opened.close()
"""
PLAIN = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
AROUND: list[dict[str, str]] = [
    {"PYTHONHASHSEED": "1"},
    {"LC_ALL": "C", "TZ": "Pacific/Kiritimati"},
    {"PYTHONHASHSEED": "4294967295"},
    {"LC_ALL": "POSIX"},
    {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    {"TZ": "America/St_Johns"},
    {"HOME": "/", "TMPDIR": "/tmp", "USER": "nobody"},
    {"PYTHONOPTIMIZE": "1"},
]


def written(root: Path) -> Path:
    """The same project; its files are made in another order than they are listed."""
    (root / "code").mkdir(parents=True)
    (root / "data").mkdir()
    for name in ("é", "b", "A", "a"):
        (root / "data" / name).write_text(name, encoding="utf-8")
    (root / "f.txt").write_text("abc")
    (root / "code" / "__init__.py").write_text("")
    (root / "code" / "data.py").write_text("def load(z, a, m):\n    return [z, *a]\n", encoding="utf-8")
    (root / "Compressfile").write_text(TEXT, encoding="utf-8")
    return root


def keys(root: Path, around: dict[str, str]) -> list[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": TOY_PATH, **PLAIN, **around}
    ran = subprocess.run(
        [sys.executable, "-c", PRINT, str(root)], env=environment, capture_output=True, text=True, cwd="/", check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def same_everywhere(tmp_path: Path, around: list[dict[str, str]]) -> None:
    want = keys(written(tmp_path / "first"), {})
    assert len(set(want)) == 4  # the metrics of both targets are given the same input
    for number, each in enumerate(around):
        assert keys(written(tmp_path / "another place" / f"№ {number}"), each) == want, each


def test_what_is_around_a_build_is_in_no_key(tmp_path: Path) -> None:
    same_everywhere(tmp_path, AROUND[:2])


@pytest.mark.slow
def test_what_is_around_a_build_is_in_no_key_long(tmp_path: Path, record_property: Record) -> None:
    record_property("tried", len(AROUND))
    same_everywhere(tmp_path, AROUND)
