"""Digests of real source trees: what changes them, what does not, and what a wrong reference is told."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.closure import CodeClosure, CodeIndex, code_digest_of_plugin
from compressbuild.closure.syntax import parse, tree_digest
from compressbuild.digest import StatCache

PROJECT = {
    "digits/__init__.py": "",
    "digits/model.py": """
        import math
        from . import layers
        from .blocks.residual import Block

        def build(width: int = 8):
            '''A residual network.'''
            return layers.stack(Block, math.ceil(width))
    """,
    "digits/layers.py": "def stack(block, width):\n    return [block(width)]\n",
    "digits/blocks/__init__.py": "from digits.sizes import WIDTH\n",
    "digits/blocks/residual.py": "class Block:\n    def __init__(self, width):\n        self.width = width\n",
    "digits/sizes.py": "WIDTH = 8\n",
    "digits/unrelated.py": "x = 1\n",
    "other.py": "y = 2\n",
}
FILES = (
    "digits/__init__.py",
    "digits/blocks/__init__.py",
    "digits/blocks/residual.py",
    "digits/layers.py",
    "digits/model.py",
    "digits/sizes.py",
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "project", PROJECT)


def closure(root: Path, reference: str = "digits.model:build", **files: str) -> CodeClosure:
    write(root, {name.replace("__", "/") + ".py": text for name, text in files.items()})
    return CodeIndex([root]).closure(reference)


def files_of(root: Path, text: str, *others: str, reference: str = "a:f") -> tuple[str, ...]:
    """The closure's files where ``a.py`` is ``text`` and defines ``f``, and ``others`` are files of one line each."""
    write(root, {"a.py": text + "\ndef f(): pass\n", **{name: f"# {name}\n" for name in others}})
    found = CodeIndex([root]).closure(reference)
    assert found.missing == ()
    return found.files


# -- what joins a closure --------------------------------------------------------------------------------------------


def test_the_closure_of_a_package(project: Path) -> None:
    found = closure(project)
    assert found.files == FILES
    assert found.paths == tuple(str(project / file) for file in FILES)
    assert (found.missing, found.external) == ((), ())
    assert len(found.digest) == 64


P_Q = ["p/__init__.py", "p/q.py"]
P_QR = ["p/__init__.py", "p/q/__init__.py", "p/q/r.py"]
GUARDED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b\nelse:\n    import c"


@pytest.mark.parametrize(
    ("text", "others", "joined"),
    [
        ("import b", ["b.py", "c.py"], ["b.py"]),
        ("import p.q.r", [*P_QR, "p/s.py"], P_QR),
        ("import p.q as x", P_Q, P_Q),
        ("from p import q", ["p/__init__.py", "p/q.py", "p/r.py"], P_Q),
        ("from p.q import anything", P_Q, P_Q),
        ("from n import m", ["n/m.py"], ["n/m.py"]),
        ("from b import *", ["b.py"], ["b.py"]),
        ("def g():\n    import b", ["b.py"], ["b.py"]),
        ("try:\n    import b\nexcept ImportError:\n    import c", ["b.py", "c.py"], ["b.py", "c.py"]),
        ("import importlib\nimportlib.import_module('p.q')", P_Q, P_Q),
        ("from importlib import import_module\nimport_module('b')", ["b.py"], ["b.py"]),
        ("import importlib\nimportlib.import_module('.q', 'p')", P_Q, P_Q),
        ("__import__('b')", ["b.py"], ["b.py"]),
        (GUARDED, ["b.py", "c.py"], ["c.py"]),
        ("import typing\nif not typing.TYPE_CHECKING:\n    import b\nelse:\n    import c", ["b.py", "c.py"], ["b.py"]),
        ("import os, json, nowhere", ["b.py"], []),
        ("import json", ["json/__init__.py"], ["json/__init__.py"]),
    ],
)  # fmt: skip
def test_imports_that_are_followed(tmp_path: Path, text: str, others: list[str], joined: list[str]) -> None:
    assert files_of(tmp_path, text, *others) == tuple(sorted(["a.py", *joined]))


def test_a_star_import_loads_the_submodules_that_all_names(tmp_path: Path) -> None:
    write(tmp_path, {"p/__init__.py": "__all__ = ['q']\n__all__ += ['r']", "p/q.py": "", "p/r.py": "", "p/s.py": ""})
    assert files_of(tmp_path, "from p import *") == ("a.py", "p/__init__.py", "p/q.py", "p/r.py")


def test_relative_imports_from_every_depth(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "p/__init__.py": "",
            "p/top.py": "",
            "p/q/__init__.py": "from .. import top\n",
            "p/q/r.py": "from . import s\nfrom ..other import thing\nfrom ....beyond import x\ndef f(): pass\n",
            "p/q/s.py": "",
            "p/other.py": "",
            "p/no.py": "",
        },
    )
    found = CodeIndex([tmp_path]).closure("p.q.r:f")
    assert found.files == ("p/__init__.py", "p/other.py", "p/q/__init__.py", "p/q/r.py", "p/q/s.py", "p/top.py")


def test_cycles_end(tmp_path: Path) -> None:
    write(tmp_path, {"b.py": "import c", "c.py": "import a, b"})
    assert files_of(tmp_path, "import b") == ("a.py", "b.py", "c.py")


def test_a_package_comes_before_a_module_of_its_name(tmp_path: Path) -> None:
    assert files_of(tmp_path, "import p", "p.py", "p/__init__.py") == ("a.py", "p/__init__.py")


def test_the_first_root_comes_first_and_files_are_told_from_the_base(tmp_path: Path) -> None:
    write(tmp_path, {"src/a.py": "import b, c\ndef f(): pass", "lib/b.py": "", "src/b.py": "", "lib/c.py": ""})
    index = CodeIndex([tmp_path / "src", tmp_path / "lib"], base=tmp_path)
    assert index.closure("a:f").files == ("lib/c.py", "src/a.py", "src/b.py")


def test_extension_modules_count_by_their_bytes(tmp_path: Path) -> None:
    binary = tmp_path / f"fast{EXTENSION_SUFFIXES[0]}"
    binary.write_bytes(b"\x7fELF one")
    before = closure(tmp_path, "a:f", a="import fast\ndef f(): pass")
    assert before.files == ("a.py", binary.name)
    binary.write_bytes(b"\x7fELF two")
    assert closure(tmp_path, "a:f").digest != before.digest


def test_nothing_is_imported(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "import b\nraise SystemExit('imported')\ndef f(): pass", "b.py": "raise SystemExit"})
    found = CodeIndex([tmp_path]).closure("a:f")
    assert found.files == ("a.py", "b.py")
    assert "b" not in sys.modules


# -- what changes the digest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("digits/unrelated.py", "x = 2\n"),
        ("other.py", "raise SystemExit\n"),
        ("digits/layers.py", "# a comment\ndef stack(\n  block, width  # what\n):\n\n    return [ block( width ), ]\n"),
        ("digits/sizes.py", "\n\n\nWIDTH = (  8  )\n"),
        ("digits/sizes.py", "WIDTH = 0x8;\n"),
        ("digits/new.py", "z = 3\n"),
    ],
)  # fmt: skip
def test_edits_that_mean_nothing_here(project: Path, name: str, text: str) -> None:
    before = closure(project)
    write(project, {name: text})
    after = closure(project)
    assert (after.digest, after.files) == (before.digest, before.files)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("digits/layers.py", "def stack(block, size):\n    return [block(size)]\n"),
        ("digits/layers.py", "def stack(block, width):\n    '''Now documented.'''\n    return [block(width)]\n"),
        ("digits/layers.py", "def stack(block, width):\n    return [block(width), block(width)]\n"),
        ("digits/sizes.py", "WIDTH = 9\n"),
        ("digits/sizes.py", "WIDTH = 8.0\n"),
        ("digits/sizes.py", "WIDTH = '8'\n"),
        ("digits/sizes.py", "WIDTH = True\n"),
        ("digits/sizes.py", "WIDTH = 8\nWIDTH\n"),
        ("digits/sizes.py", "import other\nWIDTH = 8\n"),
        ("digits/__init__.py", "import sys\n"),
        ("digits/blocks/__init__.py", "from digits.sizes import WIDTH as W\n"),
    ],
)
def test_edits_that_count(project: Path, name: str, text: str) -> None:
    before = closure(project)
    write(project, {name: text})
    assert closure(project).digest not in ("", before.digest)


def test_moving_the_project_changes_nothing(project: Path, tmp_path: Path) -> None:
    before = closure(project)
    project.rename(tmp_path / "elsewhere")
    after = closure(tmp_path / "elsewhere")
    assert (after.digest, after.files) == (before.digest, before.files)


def test_renaming_a_module_counts(project: Path) -> None:
    before = closure(project)
    (project / "digits/layers.py").rename(project / "digits/strata.py")
    text = (project / "digits/model.py").read_text().replace("layers", "strata")
    assert closure(project, digits__model=text).digest != before.digest


def test_removing_code_between_files_counts(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "import b\ndef f(): pass\n", "b.py": "x = 1\n"})
    before = CodeIndex([tmp_path]).closure("a:f").digest
    write(tmp_path, {"a.py": "import b\ndef f(): pass\nx = 1\n", "b.py": ""})
    assert CodeIndex([tmp_path]).closure("a:f").digest != before


def test_the_appearance_of_a_module_is_foretold(tmp_path: Path) -> None:
    text = "try:\n    from . import fast\nexcept ImportError: pass\ndef f(): pass"
    write(tmp_path, {"p/__init__.py": "", "p/a.py": text})
    before = closure(tmp_path, "p.a:f")
    assert str(tmp_path / "p/fast.py") in before.absent
    after = closure(tmp_path, "p.a:f", p__fast="")
    assert after.files == ("p/__init__.py", "p/a.py", "p/fast.py")
    assert after.digest != before.digest
    assert str(tmp_path / "p/fast.py") not in after.absent


def test_an_installed_library_could_be_shadowed(tmp_path: Path) -> None:
    found = closure(tmp_path, "a:f", a="import msgspec, json\ndef f(): pass")
    assert found.external == ("msgspec",)
    names = ("a/__init__.py", "json.py", "json/__init__.py", "msgspec.py", "msgspec/__init__.py")
    assert sorted(found.absent) == sorted(str(tmp_path / name) for name in names)
    assert closure(tmp_path, "a:f", msgspec="x = 1").files == ("a.py", "msgspec.py")


def test_a_directory_does_not_shadow_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "msgspec").mkdir()
    (tmp_path / "msgspec" / "json.py").write_text("")
    found = closure(tmp_path, "a:f", a="import msgspec.json\ndef f(): pass")
    assert (found.files, found.external) == (("a.py",), ("msgspec",))


# -- properties of the tree digest -------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "long_name"])
ATOMS = st.one_of(
    NAMES,
    st.integers(0, 10**30).map(str),
    st.floats(0, allow_nan=False, allow_infinity=False).map(repr),
    st.text(max_size=8).map(repr),
    st.binary(max_size=8).map(repr),
    st.sampled_from(["None", "True", "...", "2j"]),
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "and", "<", "is"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.tuples(NAMES, inner).map(lambda t: f"{t[0]}({t[1]}, key={t[1]})"),
        inner.map(lambda item: f"(lambda a: {item})"),
    ),
    max_leaves=12,
)


def digest_of(source: str) -> str:
    import ast
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tree_digest(ast.parse(source))


@given(st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_layout_never_counts(expressions: list[str]) -> None:
    import ast

    plain = "".join(f"x{i} = {e}\n" for i, e in enumerate(expressions))
    spread = "# header\n" + "".join(f"\n\nx{i}  =  (  # why\n   {e}\n)\n" for i, e in enumerate(expressions))
    assert digest_of(spread) == digest_of(plain) == digest_of(ast.unparse(ast.parse(plain)))


@given(EXPRESSIONS, EXPRESSIONS)
def test_meaning_always_counts(one: str, two: str) -> None:
    import ast
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        equal = ast.dump(ast.parse(one)) == ast.dump(ast.parse(two))
    assert (digest_of(one) == digest_of(two)) == equal


def test_deep_and_long_code(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": f"x = {' + '.join(['1'] * 900)}\ny = {hex(10**6000)}\ndef f(): pass\n"})
    assert len(CodeIndex([tmp_path]).closure("a:f").digest) == 64


def test_the_digest_is_the_same_in_another_process(project: Path) -> None:
    script = (
        "import sys, pathlib\nfrom compressbuild.closure import CodeIndex\n"
        "print(CodeIndex([pathlib.Path(sys.argv[1])]).closure('digits.model:build').digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(project)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert done.stdout.strip() == closure(project).digest


# -- wrong references --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("digits.modle:build", "no module 'digits/modle.py'", "did you mean 'digits.model'?"),
        ("digit.model:build", "no module 'digit'", "did you mean 'digits.model'?"),
        ("digits.blocks.residul:B", "no module 'digits/blocks/residul.py'", "did you mean 'digits.blocks.residual'?"),
        ("digits.model:biuld", "'digits/model.py' defines no 'biuld'", "did you mean 'digits.model:build'?"),
        ("digits.model:zzz", "'digits/model.py' defines no 'zzz'", None),
        ("digits.model.build:x", "'digits.model' is a module, not a package", None),
    ],
)
def test_wrong_references(project: Path, reference: str, message: str, hint: str | None) -> None:
    found = closure(project, reference)
    assert [(p.message, p.hint) for p in found.missing] == [(f"'{reference}': {message}", hint)]
    assert found.digest == ""


@pytest.mark.parametrize("reference", ["digits.model", "digits..model:build", "digits/model.py:build", "digits.model:"])
def test_what_is_no_reference(project: Path, reference: str) -> None:
    (problem,) = closure(project, reference).missing
    assert problem.message == f"'{reference}' is not 'module:function'"


@pytest.mark.parametrize(
    "text",
    [
        "def f(): pass",
        "async def f(): pass",
        "class f: pass",
        "f = 1",
        "f: int = 1",
        "(f, g) = 1, 2",
        "from b import f",
        "from b import g as f",
        "import f.g",
        "if x:\n    f = 1\nelse:\n    f = 2",
        "try:\n    from b import f\nexcept ImportError:\n    f = None",
        "for f in []: pass",
        "with open('x') as f: pass",
        "print(f := 1)",
        "def init():\n    global f\n    f = 1",
        "from b import *",
        "def __getattr__(name): return name",
        "globals()['f'] = 1",
        "import sys\nsys.modules[__name__] = object()",
    ],
)
def test_ways_to_define_a_name(tmp_path: Path, text: str) -> None:
    assert closure(tmp_path, "a:f", a=text).missing == ()


@pytest.mark.parametrize(
    "text",
    [
        "def g():\n    f = 1",
        "class g:\n    f = 1",
        "[f for f in []]",
        "lambda f: f",
        "x.f = 1",
        "f",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import f",
    ],
)
def test_names_that_are_not_defined(tmp_path: Path, text: str) -> None:
    (problem,) = closure(tmp_path, "a:f", a=text).missing
    assert problem.message == "'a:f': 'a.py' defines no 'f'"


def test_a_directory_is_no_module(tmp_path: Path) -> None:
    (problem,) = closure(tmp_path, "n:f", n__m="").missing
    assert problem.message == "'n:f': 'n' is a directory of modules, not a module"


@pytest.mark.parametrize(
    ("source", "line"),
    [(b"x = 1\ndef f(:\n", 2), (b"\nx = '\xff'\n", 2), (b"x = 1\0\n", 1), (b"(" * 500 + b")" * 500, 1)],
)
def test_code_that_does_not_parse_is_located(tmp_path: Path, source: bytes, line: int) -> None:
    (tmp_path / "b.py").write_bytes(source)
    found = closure(tmp_path, "a:f", a="import b\ndef f(): pass")
    (problem,) = found.missing
    assert problem.message.startswith("Python cannot read this file: ")
    assert problem.mark is not None
    assert (problem.mark.file, problem.mark.line) == ("b.py", line)
    assert found.digest == ""


def test_code_that_cannot_be_read_is_located(tmp_path: Path) -> None:
    (tmp_path / "b.py").mkdir()
    (problem,) = closure(tmp_path, "a:f", a="import b\ndef f(): pass").missing
    assert problem.mark is not None
    assert problem.mark.file == "b.py"


# -- installed code ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin and its helper in a source tree, another plugin in site-packages; all on the path."""
    write(
        tmp_path / "tree",
        {
            "cb_one/__init__.py": "from compressbuild.api import hookimpl\n",
            "cb_one/prune.py": "import cb_help.arrays\nimport cb_far.stuff\nfrom .common import x\ndef run(): pass\n",
            "cb_one/common.py": "x = 1\n",
            "cb_one/distill.py": "def run(): pass\n",
            "cb_help/__init__.py": "",
            "cb_help/arrays.py": "z = 1\n",
        },
    )
    write(
        tmp_path / "site-packages",
        {
            "cb_far/__init__.py": "raise SystemExit('imported')\n",
            "cb_far/stuff.py": "from . import more\nimport cb_near\ndef run(): pass\n",
            "cb_far/more.py": "m = 1\n",
            "cb_near.py": "n = 1\n",
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.syspath_prepend(str(tmp_path / "tree"))
    return tmp_path


ONE = ("cb_help/__init__.py", "cb_help/arrays.py", "cb_one/__init__.py", "cb_one/common.py", "cb_one/prune.py")


def test_a_plugin_in_a_source_tree(trees: Path) -> None:
    found = code_digest_of_plugin("cb_one.prune:run")
    assert found.files == ONE
    assert found.external == ("cb_far",)  # not the engine: its format version is in every key
    write(trees / "tree", {"cb_one/distill.py": "def run(): return 1\n"})
    assert code_digest_of_plugin("cb_one.prune:run").digest == found.digest
    write(trees / "tree", {"cb_help/arrays.py": "z = 2\n"})
    assert code_digest_of_plugin("cb_one.prune:run").digest != found.digest


def test_a_plugin_in_site_packages(trees: Path) -> None:
    found = code_digest_of_plugin("cb_far.stuff:run")
    assert found.files == ("cb_far/__init__.py", "cb_far/more.py", "cb_far/stuff.py")
    assert found.external == ("cb_near",)
    assert not {"cb_far", "cb_near"} & set(sys.modules)
    write(trees / "site-packages", {"cb_far/more.py": "m = 2\n"})
    assert code_digest_of_plugin("cb_far.stuff:run").digest != found.digest


def test_user_code_follows_editable_installs_and_not_libraries(trees: Path) -> None:
    found = closure(trees / "project", "a:f", a="import cb_one.prune, cb_far.stuff\ndef f(): pass")
    assert found.files == ("a.py",)
    assert found.paths == tuple(sorted(str(trees / p) for p in ("project/a.py", *(f"tree/{name}" for name in ONE))))
    assert found.external == ("cb_far",)
    write(trees / "tree", {"cb_one/common.py": "x = 2\n"})
    assert closure(trees / "project", "a:f").digest != found.digest


def test_a_reference_into_a_library(trees: Path) -> None:
    found = closure(trees / "project", "cb_far.stuff:run")
    assert (found.files, found.external, found.missing) == ((), ("cb_far",), ())
    assert len(found.digest) == 64
    (problem,) = closure(trees / "project", "cb_far.stuff:rnu").missing
    assert problem.hint == "did you mean 'cb_far.stuff:run'?"


def test_the_projects_code_may_not_be_the_engines(tmp_path: Path) -> None:
    """An engine in the project's own directory is not user code: editing it costs no retraining."""
    write(tmp_path, {"compressbuild/__init__.py": "", "compressbuild/api.py": ""})
    assert files_of(tmp_path, "from compressbuild.api import Params") == ("a.py",)


def test_first_party_plugins_have_digests() -> None:
    from compressbuild.registry import discover

    registry = discover()
    index = CodeIndex(())
    found = {t.run: index.plugin(t.run) for t in registry.techniques.values()}
    assert all("compressbuild" not in file for c in found.values() for file in c.files)
    for reference, one in found.items():
        assert one.missing == (), reference


# -- the cost ----------------------------------------------------------------------------------------------------------


class CountingMemo:
    def __init__(self, cache: StatCache) -> None:
        self.cache = cache
        self.asked: list[str] = []
        self.parsed: list[str] = []

    def digest(self, path: str | os.PathLike[str]) -> str:
        return self.cache.digest(path)

    def memo(self, path: str | os.PathLike[str], column: str, compute: object) -> object:
        self.asked.append(os.path.basename(path))

        def counted(p: Path) -> object:
            self.parsed.append(p.name)
            return parse(p)

        assert compute is parse
        return self.cache.memo(path, column, counted)


def test_a_file_is_parsed_once_and_a_reference_walked_once(project: Path, tmp_path: Path) -> None:
    for name in PROJECT:
        os.utime(project / name, ns=(10**18, 10**18))
    memo = CountingMemo(StatCache(tmp_path / "stat", project))
    index = CodeIndex([project], memo)
    first = index.closure("digits.model:build")
    assert sorted(memo.parsed) == sorted(Path(f).name for f in FILES)
    assert all(index.closure("digits.model:build") is first for _ in range(10_000))
    index.closure("digits.layers:stack")
    assert len(memo.asked) == len(FILES)
    memo.cache.save()

    again = CountingMemo(StatCache(tmp_path / "stat", project))
    assert CodeIndex([project], again).closure("digits.model:build") == first
    assert again.parsed == []
    write(project, {"digits/sizes.py": "WIDTH = 10\n"})
    edited = CountingMemo(StatCache(tmp_path / "stat", project))
    assert CodeIndex([project], edited).closure("digits.model:build").digest != first.digest
    assert edited.parsed == ["sizes.py"]
