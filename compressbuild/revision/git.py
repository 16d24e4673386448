"""The questions put to git. Nothing here writes to the user's tree, index or references."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..errors import UsageError

__all__ = ["Repository"]

# What a hook's git sets: it would lead other commands to the hook's index and directory.
_LOCAL = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
)


class Repository:
    """A git work tree."""

    def __init__(self, top: Path) -> None:
        self.top = top

    @classmethod
    def around(cls, directory: Path) -> Repository:
        """The one that ``directory`` lies in. UsageError if there is none, or no git."""
        found = _run(directory, "rev-parse", "--show-toplevel")
        if found.returncode:
            said = os.fsdecode(found.stderr).strip().removeprefix("fatal: ")
            raise UsageError(f"{directory} is in no git repository: {said}", hint="a revision is one of git")
        return cls(Path(os.fsdecode(found.stdout.rstrip(b"\n"))))

    def commit(self, ref: str) -> str:
        """The commit that ``ref`` names."""
        found = _run(self.top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        if found.returncode == 0:
            return found.stdout.decode().strip()
        shallow = self.ask("rev-parse", "--is-shallow-repository").strip() == "true"
        hint = (
            "this clone is shallow: fetch the rest with 'git fetch --unshallow' (actions/checkout: fetch-depth: 0)"
            if shallow
            else "'git branch -a' and 'git tag' list names; 'git fetch' gets new ones"
        )
        raise UsageError(f"git knows no revision '{ref}'", hint=hint)

    def has(self, commit: str) -> bool:
        return _run(self.top, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def write_out(self, commit: str, into: Path, index: Path) -> None:
        """Write a commit's files below ``into``, with an index of its own. Files of Git LFS are written as pointers:
        nothing is fetched."""
        env = {"GIT_INDEX_FILE": str(index), "GIT_LFS_SKIP_SMUDGE": "1"}
        self.ask("read-tree", commit, env=env)
        into.mkdir(parents=True, exist_ok=True)
        self.ask("checkout-index", "--all", "--force", f"--prefix={into}/", env=env)

    def submodules(self, commit: str) -> dict[str, str]:
        """Path → the commit that is wanted there."""
        found = {}
        for entry in self.ask("ls-tree", "-r", "-z", commit).split("\0"):
            about, _, path = entry.partition("\t")
            if about.startswith("160000 "):
                found[path] = about.split()[2]
        return found

    def pointers(self, commit: str) -> list[str]:
        """Files that hold no more than where Git LFS keeps their content, or mention it."""
        found = _run(self.top, "grep", "-l", "-z", "-F", "version https://git-lfs.github.com/spec/", commit)
        names = os.fsdecode(found.stdout).split("\0")
        return [name.removeprefix(f"{commit}:") for name in names if name]

    def lfs_object(self, digest: str) -> Path:
        """Where Git LFS keeps content by its SHA-256."""
        place = f"lfs/objects/{digest[:2]}/{digest[2:4]}/{digest}"
        return self.top / self.ask("rev-parse", "--git-path", place).rstrip("\n")

    def others(self) -> list[str]:
        """What git does not track, ignored or not. A directory without tracked files is one entry."""
        found = self.ask("ls-files", "--others", "--directory", "--no-empty-directory", "-z")
        return [path.rstrip("/") for path in found.split("\0") if path]

    def changed(self, commit: str, end: str | None = None) -> frozenset[str]:
        """Tracked files that differ between a commit and the work tree or the commit ``end``, from the top."""
        commits = (commit,) if end is None else (commit, end)
        return frozenset(self.ask("diff", "--name-only", "--no-renames", "-z", *commits, "--").split("\0")) - {""}

    def ask(self, *args: str, env: dict[str, str] | None = None) -> str:
        found = _run(self.top, *args, env=env)
        if found.returncode:
            said = os.fsdecode(found.stderr).strip() or f"exit status {found.returncode}"
            raise UsageError(f"git {args[0]} failed in {self.top}: {said}")
        return os.fsdecode(found.stdout)


def _run(directory: Path, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    plain = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    try:
        return subprocess.run(
            ["git", "-C", str(directory), *args],
            env={**plain, "GIT_OPTIONAL_LOCKS": "0", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", hint="install git; a revision is one of git") from None
