"""What people type: from a directory below, with ``-C``, with a slip, by tag; and what a newcomer reads first."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from command import CBUILD, Work

from compressbuild import place
from compressbuild.api import Needs
from compressbuild.platforms import Facts, check, install_line

NOTE = "using ../../Compressfile; paths in messages start at its directory\n"


def below(work: Work, *parts: str) -> Work:
    """The same project, seen from a directory in it."""
    return type(work)(work.root.joinpath(*parts), toy=True)


def test_the_compressfile_is_found_above(toys: Work):
    deep = below(toys, "src", "deep")
    ran = deep("list")
    assert ran.err == NOTE
    assert ran.out == toys("list").out
    assert "src" not in os.listdir(toys.root / "build")
    toys.edit("Compressfile", "salt: 1", "salt: 5")
    assert deep("all").err == NOTE
    assert deep("verify").out == toys("verify").out
    deep("graph", "--format", "dot", "-o", "drawn.dot")
    assert (deep.root / "drawn.dot").exists()
    assert sorted(os.listdir(deep.root)) == ["drawn.dot"]
    toys.edit("Compressfile", "toy.copy", "toy.coppy")
    assert "\n../../Compressfile:9:" in "\n" + deep("list", code=2).err


def test_a_file_that_is_named_is_not_searched_for(toys: Work):
    deep = below(toys, "src")
    assert "there is no Compress" in deep("list", "-f", "Compress", code=2).err
    assert deep("list", "-f", "../Compressfile").err == ""
    deep.write("Compressfile", "version: 1\n")
    assert "first" not in deep("list").out


def test_the_search_ends_at_a_repository(toys: Work):
    inner = below(toys, "vendored", "repository")
    (inner.root / ".git").mkdir()
    ran = inner("list", code=2)
    assert f"no directory above has one either, up to {inner.root}; " in ran.err
    deeper = below(toys, "vendored", "repository", "x")
    assert f"up to {inner.root}; " in deeper("list", code=2).err


def test_another_directory(toys: Work, tmp_path: Path):
    outside = type(toys)(tmp_path / "elsewhere", toy=True)
    assert outside("-C", "../toys", "list").out == toys("list").out
    assert outside("list", "-C../toys").out == toys("list").out
    assert outside("graph", "--format", "dot", "-o", "x.dot", "-C", "../toys").err.startswith("wrote x.dot")
    assert (toys.root / "x.dot").exists()
    assert "-C: cannot enter 'nowhere': No such file" in outside("-C", "nowhere", "list", code=2).err


def test_the_no_op_knows_where_it_is(built: Work, tmp_path: Path):
    """In processes: a second ``all`` from below does nothing and says which file it read; a relative cache counts."""
    work = Work(tmp_path / "toys", toy=True)
    for name in ("f.txt", "Compressfile"):
        work.write(name, (built.root / name).read_bytes())
    deep = below(work, "src", "deep")
    assert "published" in work("all").out
    assert "nothing to do" in deep("all").out
    again = deep("all")
    assert again.err == NOTE
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(deep.root)
        assert place.above() == "../../"
        root, path, asked = __import__("compressbuild.noop", fromlist=["noop"]).locate(["all"])
        assert (root, asked) == ("../../", ["all", "", "src/deep"])
        assert Path(path).exists()
    assert "nothing to do" in work("all", "-C", "src/deep").out
    assert "built" in work("all", "--cache-dir", "c").out
    assert "nothing to do" in work("all", "--cache-dir", "c").out
    assert "built" in deep("all", "--cache-dir", "c").out
    assert (deep.root / "c").is_dir()
    assert "built" in work("all", "--cache-dir", "c", "-C", "src").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shwo", "first"], "unknown target or command 'shwo'\n  hint: did you mean 'cbuild show'?"),
        (["bulid"], "unknown target or command 'bulid'\n  hint: did you mean 'cbuild build'?"),
        (["fist"], "unknown target 'fist'\n  hint: did you mean 'first'?"),
        (["why", "shwo"], "unknown target 'shwo'"),
        (["first", "shwo"], "unknown target 'shwo'"),
        (["all", "--remeasur"], "Did you mean '--remeasure'?"),
        (["reprot", "--format", "md"], "did you mean 'cbuild report'?"),
        (["show", "first", "--jsn"], "'--json'"),
        (["cache", "stat"], "Did you mean 'stats'?"),
        (["tag:smal"], "no target has the tag 'smal'\n  hint: did you mean 'tag:small'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_slips(toys: Work, words: list[str], said: str):
    toys.edit("Compressfile", "    from: first\n", "    from: first\n    tags: [small]\n")
    ran = toys(*words, code=2)
    assert said in ran.err
    assert ran.out == ""


def test_a_slip_where_there_is_no_compressfile(bare: Work):
    assert bare("bulid", code=2).err == "error: unknown command 'bulid'\n  hint: did you mean 'cbuild build'?\n"
    assert bare("cpu-int8", code=2).err.startswith("error: there is no Compressfile\n")


def test_tags_and_descriptions(toys: Work):
    assert "nothing to do" in toys("all").out
    toys.edit(
        "Compressfile", "    from: first\n", "    from: first\n    tags: [small, edge]\n    description: For phones.\n"
    )
    toys.edit("Compressfile", "    from: second\n", '    from: second\n    tags: [edge, "n${n}"]\n')
    toys.edit("Compressfile", '["third-*"]', '["tag:n2", first]')
    assert "nothing to do" in toys("all").out
    planned = msgspec.json.decode(toys("-n", "tag:edge", "--json").out.splitlines()[-1])
    assert planned["targets"] == ["second", "third-1", "third-2"]
    planned = msgspec.json.decode(toys("-n", "both", "--json").out.splitlines()[-1])
    assert planned["targets"] == ["first", "third-2"]
    shown = toys("list").out
    assert "tag:small  tag:edge  # For phones." in shown
    row = msgspec.json.decode(toys("list", "--json").out.splitlines()[1])
    assert (row["description"], row["tags"]) == ("For phones.", ["small", "edge"])
    assert "For phones." in toys("show", "second").out
    report = msgspec.json.decode(toys("report", "--format", "json").out)
    assert report["targets"][1]["tags"] == ["small", "edge"]


def test_a_first_dry_run_sums_up_each_target(toys: Work, tmp_path: Path):
    fresh = type(toys)(tmp_path / "fresh", toy=True)
    for name in ("f.txt", "Compressfile"):
        fresh.write(name, (toys.root / name).read_bytes())
    lines = fresh("-n", "all").out.splitlines()
    at = lines.index("targets, with the nodes that each adds:")
    assert lines[at + 1].split() == ["first", "4", "f", "→", "toy.mix;", "measures", "length,", "wait"]
    assert lines[at + 2].endswith("first → toy.copy; measures length, wait; gates length")
    added = sum(int(line.split()[1]) for line in lines[at + 1 : at + 5])
    assert lines[-1].endswith(f"(of {added} nodes, 4 targets)")
    assert "that each adds" not in toys("-n", "all", "--set", "vars.salt=9").out  # the model is in the cache


def test_one_line_installs_all_that_is_missing():
    facts = Facts.fixed({"os": "Linux"})

    def lacks(hint: str, **more: tuple[str, ...]) -> tuple[object, ...]:
        return check(Needs(modules=("no_such_package",), install=hint, **more), facts)

    wanted = [
        lacks("pip install 'compressbuild[b,a]'"),
        lacks("pip install 'compressbuild[a,c]', on a Mac"),
        lacks("pip install other (or other-gpu)"),
        lacks("pip install 'compressbuild[no]'", system=("Darwin",)),
        (),
    ]
    assert install_line(wanted) == "pip install 'compressbuild[a,b,c]' other"
    assert install_line([()]) is None


def test_doctor_fits_a_screen_where_nothing_is_installed(tmp_path: Path):
    """A real environment without any model library: one whose search path holds only what the engine needs."""
    hidden = "torch onnx onnxruntime openvino nncf numpy executorch coremltools tensorrt tensorrt_rtx safetensors PIL"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {hidden.split()!r}: raise ModuleNotFoundError(name)\n"
        f"for name in {hidden.split()!r}: sys.modules[name] = None\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([CBUILD, "doctor"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    rows = [line[at : at + 80] for line in ran.stdout.splitlines() for at in range(0, len(line) or 1, 80)]
    assert len(rows) <= 28, ran.stdout  # fourteen backends, each with its line
    assert re.search(r"^onnxruntime +needs onnxruntime, numpy$", ran.stdout, re.MULTILINE)
    (line,) = [line for line in ran.stdout.splitlines() if "pip install" in line]
    for extra in ("torch", "onnx", "openvino", "executorch", "coreml", "nncf", "metrics"):
        assert extra in line
