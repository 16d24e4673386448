"""``cbuild affected``: against real git repositories, with submodules, pointers of LFS, and what git does not track."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest
from command import TOY_PATH, Inline
from repositories import commit, git

from compressbuild.revision import checked_out
from compressbuild.revision.git import Repository

COMPRESSFILE = """\
version: 1
vars: {salt: 1}
models: {f: {file: f.txt}, g: {file: g.txt}}
datasets: {d: {loader: "loaders:rows", files: [data]}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: "${vars.salt}"}}]}
  b: {from: a, steps: [{toy.copy: {data: d}}]}
  c: {from: g, steps: [toy.copy], gates: {length: {max: 100}}}
"""
LOADERS = """\
import os
from pathlib import Path

DATA = Path(__file__).parent / "data"


def rows():
    for name in sorted(os.listdir(DATA)):
        yield (DATA / name).read_text()
"""


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    made = Inline(tmp_path / "repository" / "project", toy=True)
    for name, text in {
        "Compressfile": COMPRESSFILE, "f.txt": "abc", "g.txt": "abcd", "loaders.py": LOADERS, "data/rows": "1 2",
        ".gitignore": "build/\ncache/\n.cbuild/\nlocal/\n*.local\n",
    }.items():  # fmt: skip
        made.write(name, text)
    git(made.root.parent, "init", "-q", "-b", "main")
    commit(made.root)
    return made


def affected(work: Inline, *words: str, ref: str = "main") -> list[str]:
    return work("affected", "--since", ref, *words).out.split()


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".cbuild" not in path.parts
    }


def test_nothing_changed(work: Inline):
    ran = work("affected", "--since", "main")
    assert (ran.out, ran.err) == ("", "")


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("f.txt", "abc", "abx", "a b"),
        ("g.txt", "abcd", "abxd", "c"),
        ("data/rows", "1 2", "1 3", "b"),
        ("loaders.py", "sorted(", "reversed(", "b"),
        ("loaders.py", "import os\n", "import os  # a comment\n", ""),
        ("Compressfile", "salt: 1", "salt: 2", "a b"),
        ("Compressfile", "max: 100", "max: 99", "c"),
        ("Compressfile", "metrics: [length]", "metrics: [length, wait]", "a b c"),
        ("Compressfile", "  c: {from: g", "  c: {description: new words, from: g", ""),
        ("Compressfile", "  c: {from: g", "  d: {from: a}\n  c: {from: g", "d"),
        ("f.txt", "abc", "abc", ""),
    ],
)
def test_what_an_edit_affects(work: Inline, file: str, old: str, new: str, found: str):
    """In the work tree, then committed on a branch."""
    work.edit(file, old, new)
    assert affected(work) == found.split()
    git(work.root, "switch", "-qc", "topic")
    if old != new:
        commit(work.root)
    assert affected(work) == found.split()
    assert affected(work, ref="HEAD") == []


def test_two_revisions_are_compared_whatever_the_tree_holds(work: Inline):
    first = git(work.root, "rev-parse", "HEAD").strip()
    work.edit("g.txt", "abcd", "xyz")
    second = commit(work.root)
    work.edit("Compressfile", "  c: {from: g", "  d: {from: a}\n  c: {from: g")
    third = commit(work.root)
    work.edit("f.txt", "abc", "abx")  # in the tree alone
    assert affected(work, "--until", second, ref=first) == ["c"]
    assert affected(work, "--until", third, ref=second) == ["d"]
    assert affected(work, "--until", third, ref=first) == ["d", "c"]
    assert affected(work, "--until", first, ref=third) == ["c"]  # d is not there
    assert affected(work, "--until", first, ref=first) == []
    assert affected(work, "--until", third, "c", ref=second) == []
    assert affected(work, ref=third) == ["a", "b", "d"]
    assert "unknown target 'd'" in work("affected", "--since", third, "--until", first, "d", code=2).err
    assert "git knows no revision 'mian'" in work("affected", "--since", first, "--until", "mian", code=2).err
    assert (work.root / "f.txt").read_text() == "abx"


def test_the_tree_and_the_repository_stay_as_they_are(work: Inline):
    work("all")
    work.edit("f.txt", "abc", "abx")
    git(work.root, "add", "f.txt")
    work.write("new.txt", "not tracked")
    before = snapshot(work.root.parent)
    assert affected(work) == ["a", "b"]
    assert snapshot(work.root.parent) == before
    assert git(work.root, "worktree", "list").count("\n") == 1


def test_a_checkout_shares_nothing_that_builds_write(work: Inline):
    work("all", "-k", code=None)
    work.write("notes.txt", "not tracked")
    with checked_out(
        work.root / "Compressfile", "main", frozenset({work.root / "build", work.root / "cache"})
    ) as found:
        assert sorted(os.listdir(found.file.parent)) == sorted(
            [".gitignore", "Compressfile", "data", "f.txt", "g.txt", "loaders.py", "notes.txt"]
        )
        place = found.top
    assert not place.exists()


def test_it_builds_what_it_lists(work: Inline):
    work("all")
    work.edit("g.txt", "abcd", "xyz")
    names = affected(work)
    assert work.json(*names).started == ["g/source", "c/toy.copy", "c/length"]
    assert work.json("all").started == []


def test_words_reasons_and_settings(work: Inline):
    work.edit("f.txt", "abc", "abx")
    assert affected(work, "b", "c") == ["b"]
    rows = [msgspec.json.decode(line) for line in work("affected", "--since", "main", "--json").out.splitlines()]
    assert rows == [{"target": "a", "differs": "f/source"}, {"target": "b", "differs": "f/source"}]
    assert "unknown target 'zz'" in work("affected", "zz", "--since", "main", code=2).err
    work.edit("f.txt", "abx", "abc")
    assert affected(work, "--set", "vars.salt=4") == []


def test_what_git_does_not_track_is_the_same_in_every_revision(work: Inline):
    work.edit("Compressfile", "files: [data]", "files: [data, local, x.local]")
    work.write("local/deep/rows", "1")
    work.write("x.local", "1")
    commit(work.root)
    assert affected(work) == []
    work.write("local/deep/rows", "2")
    assert affected(work) == []
    work.edit("data/rows", "1 2", "7")
    assert affected(work) == ["b"]


def test_revisions_that_are_not_there(work: Inline, tmp_path: Path):
    ran = work("affected", "--since", "mian", code=2)
    assert ran.err.startswith("error: git knows no revision 'mian'\n  hint: 'git branch -a'")
    assert "git knows no revision '--all'" in work("affected", "--since", "--all", code=2).err
    git(work.root, "commit", "-qm", "second", "--allow-empty")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{work.root.parent}", "shallow")
    shallow = Inline(tmp_path / "shallow" / "project", toy=True)
    assert "fetch-depth: 0" in shallow("affected", "--since", "HEAD~1", code=2).err
    alone = Inline(tmp_path / "alone", toy=True)
    alone.write("Compressfile", "version: 1\n")
    assert "is in no git repository" in alone("affected", "--since", "main", code=2).err


def test_a_revision_without_a_sound_compressfile(work: Inline):
    git(work.root, "mv", "Compressfile", "Other")
    old = commit(work.root)
    git(work.root, "mv", "Other", "Compressfile")
    work.edit("Compressfile", "from: g,", "form: g,")
    broken = commit(work.root)
    work.edit("Compressfile", "form: g,", "from: g,")
    ran = work("affected", "--since", old)
    assert ran.out.split() == ["a", "b", "c"]
    assert f"note: '{old}' has no project/Compressfile: every target is new" in ran.err
    ran = work("affected", "--since", broken)
    assert ran.out.split() == ["a", "b", "c"]
    assert "is not sound (unknown key 'form' in target 'c')" in ran.err


def test_a_missing_file_now_is_an_error(work: Inline):
    (work.root / "g.txt").unlink()
    assert "g.txt" in work("affected", "--since", "main", code=2).err


def pointer(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


def test_pointers_of_lfs(work: Inline):
    """The repository holds pointers; the work tree holds the content, as git-lfs leaves it."""
    work.write("f.txt", pointer(b"content of f"))
    work.write("g.txt", pointer(b"content of g"))
    base = commit(work.root)
    assert affected(work, ref=base) == []  # neither is fetched
    work.write("f.txt", "content of f")
    work.write("g.txt", "content of g, changed since")
    ran = work("affected", "--since", base)
    assert ran.out.split() == ["c"]
    assert "project/g.txt is a pointer of Git LFS in" in ran.err
    assert "f.txt" not in ran.err
    digest = hashlib.sha256(b"content of g").hexdigest()
    kept = work.root.parent / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    kept.parent.mkdir(parents=True)
    kept.write_text("content of g")
    ran = work("affected", "--since", base)
    assert (ran.out.split(), ran.err) == (["c"], "")
    work.write("g.txt", "content of g")
    assert affected(work, ref=base) == []


def test_submodules(work: Inline, tmp_path: Path):
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "main")
    (inner / "rows").write_text("1")
    first = commit(inner)
    git(work.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    work.edit("Compressfile", "files: [data]", "files: [data, sub/rows]")
    base = commit(work.root)
    assert affected(work, ref=base) == []
    (work.root / "sub" / "rows").write_text("2")
    commit(work.root / "sub")
    commit(work.root)
    ran = work("affected", "--since", base)
    assert (ran.out.split(), ran.err) == (["b"], "")
    (work.root / "sub" / "rows").write_text("1")
    assert affected(work, ref=base) == []
    git(work.root, "update-index", "--cacheinfo", f"160000,{'1' * 40},project/sub")
    git(work.root, "commit", "-qm", "a commit that nobody has")
    ran = work("affected", "--since", "HEAD")
    assert ran.out.split() == ["b"]
    assert "submodule project/sub is at 111111111111 in 'HEAD', which is not here" in ran.err
    assert first


def test_plugins_of_the_same_repository(work: Inline):
    """Their code is read where it is installed; that it changed is asked of git."""
    work.write(
        "tools/ownplugin.py",
        "from compressbuild.api import Technique, hookimpl\n\n\n@hookimpl\ndef compressbuild_techniques():\n"
        '    yield Technique(name="own.copy", run="ownwork:copy", consumes=("text",), produces="text")\n',
    )
    work.write(
        "tools/ownwork.py",
        'def copy(ctx, model, params):\n    (ctx.out / "value").write_text("x")\n',
    )
    work.write("tools/own-1.0.dist-info/entry_points.txt", "[compressbuild]\nown = ownplugin\n")
    work.write("tools/own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    work.edit("Compressfile", "  c: {from: g, steps: [toy.copy]", "  c: {from: g, steps: [own.copy]")
    base = commit(work.root)
    path = os.pathsep.join([TOY_PATH, str(work.root / "tools")])
    assert work("affected", "--since", base, PYTHONPATH=path).out == ""
    work.edit("tools/ownwork.py", '"x"', '"y"')
    assert work("affected", "--since", base, "--until", base, PYTHONPATH=path).out == ""
    ran = work("affected", "--since", base, "--json", PYTHONPATH=path)
    assert [msgspec.json.decode(line)["target"] for line in ran.out.splitlines()] == ["c"]
    assert "tools/ownwork.py" in ran.out
    changed = commit(work.root)
    work.edit("tools/ownwork.py", '"y"', '"x"')  # as it was at the first
    ran = work("affected", "--since", base, "--until", changed, PYTHONPATH=path)
    assert ran.out.split() == ["c"]


def test_inside_a_hook_of_git(work: Inline):
    """git tells its hooks of an index and a directory, which would mislead every other command."""
    work.edit("f.txt", "abc", "abx")
    misleading = {"GIT_INDEX_FILE": str(work.root / "no-index"), "GIT_DIR": "/nowhere", "GIT_PREFIX": "project/"}
    assert work("affected", "--since", "main", **misleading).out.split() == ["a", "b"]
    with work.world(**misleading):
        repository = Repository.around(work.root)
        assert repository.changed(repository.commit("main")) == {"project/f.txt"}
        del os.environ["GIT_DIR"]
        assert repository.changed(repository.commit("main")) == {"project/f.txt"}
