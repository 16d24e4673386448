"""A model repository of the Hugging Face Hub.

A push commits to a branch of its own and reads that back. Then it commits the same to the branch that people see, in
one step; the Hub has the large files already.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection
from typing import Any, BinaryIO

from compressbuild.api import Content, Parcel, UserError

from .card import MARK, card
from .params import HuggingFace

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<branch>[\w./-]+))?/?")
_BRANCH = "cbuild-push"
_SEAL = "provenance.json"
_CARD = "README.md"


def open_place(address: str, options: HuggingFace) -> Repository:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError("it is no repository's address", hint="write hf://owner/name, or hf://owner/name@branch")
    disable_progress_bars()
    # Without the variable no token is sent: one that a login stored is not in the environment.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=os.environ.get("HF_TOKEN") or False)
    return Repository(address, api, found["repo"], found["branch"] or "main", options)


class Commit:
    """The files of a repository that a push put there, at one commit. ``names``: of those that are there."""

    def __init__(self, api: Any, repo: str, sha: str, names: Collection[str]) -> None:
        self.sha = sha
        self._api = api
        self._repo = repo
        self._names = frozenset(names)

    def names(self) -> Collection[str]:
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Downloaded afresh: what an earlier download left on this machine says nothing of the Hub."""
        with tempfile.TemporaryDirectory(prefix="cbuild-push-") as scratch:
            path = self._api.hf_hub_download(
                self._repo, name, revision=self.sha, cache_dir=scratch, force_download=True
            )
            return open(path, "rb")


class Repository:
    def __init__(self, address: str, api: Any, repo: str, branch: str, options: HuggingFace) -> None:
        self.address = address
        self._api = api
        self._repo = repo
        self._branch = branch
        self._options = options
        self._sha: str | None = None  # of the branch, when it was last looked at
        self._present: frozenset[str] = frozenset()
        self._readme: str | None = None  # the card that is there

    def current(self) -> Content | None:
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        self._sha, self._present, self._readme = None, frozenset(), None
        try:
            info = self._api.model_info(self._repo, revision=self._branch)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None
        self._sha = info.sha
        self._present = frozenset(each.rfilename for each in info.siblings or ())
        if _CARD in self._present:
            with Commit(self._api, self._repo, info.sha, ()).open(_CARD) as stream:
                self._readme = stream.read().decode(errors="replace")
        if _SEAL not in self._present:
            return None
        return self._commit(info.sha, self._present)

    def described(self, parcel: Parcel) -> bool:
        """A card that somebody else wrote stays."""
        there = self._readme
        return there is not None and (MARK not in there or there == self._card(parcel))

    def publish(self, parcel: Parcel, keep: frozenset[str], check: Callable[[Content], None]) -> str:
        ours = self._ours()
        taken = {file.name for file in parcel.files} & (self._present - ours)
        if taken:
            raise UserError(f"{min(taken)} is there, which no push put there", hint="push to another repository")
        if any(file.name == _CARD for file in parcel.files):
            raise UserError(f"the artifact has a {_CARD}, where its card belongs", hint="push it to a directory")
        self._prepare()
        sent = [file for file in parcel.files if file.name not in keep]
        gone = ours - {file.name for file in parcel.files}
        staged = self._commit_files(_BRANCH, parcel, sent, gone)
        check(self._commit(staged, {file.name for file in parcel.files} | gone))
        made = self._commit_files(self._branch, parcel, sent, gone)
        self._same(staged, made)
        self.tidy()
        return f"{self._api.endpoint}/{self._repo}/tree/{made}"

    def tidy(self) -> None:
        from huggingface_hub.errors import HfHubHTTPError

        with contextlib.suppress(HfHubHTTPError):  # there is none
            self._api.delete_branch(self._repo, branch=_BRANCH)

    def _prepare(self) -> None:
        """The repository, its branch, and a branch like it to try the commit on."""
        if self._sha is None:
            self._api.create_repo(self._repo, private=self._options.private, exist_ok=True)
            if self._branch != "main":
                self._api.create_branch(self._repo, branch=self._branch, exist_ok=True)
            self._sha = self._api.model_info(self._repo, revision=self._branch).sha
        self.tidy()
        self._api.create_branch(self._repo, branch=_BRANCH, revision=self._sha)

    def _commit_files(self, branch: str, parcel: Parcel, sent: list[Any], gone: Collection[str]) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        changes: list[Any] = [CommitOperationAdd(file.name, str(file.path)) for file in sent]
        changes += [CommitOperationDelete(name) for name in sorted(gone)]
        if not self.described(parcel):
            changes.append(CommitOperationAdd(_CARD, self._card(parcel).encode()))
        made = self._api.create_commit(
            self._repo,
            changes,
            commit_message=f"{parcel.target}: artifact {parcel.artifact[:16]}",
            revision=branch,
            parent_commit=self._sha,  # refused if somebody else pushed meanwhile
        )
        return str(made.oid)

    def _same(self, staged: str, made: str) -> None:
        trees = [
            {each.path: each.blob_id for each in self._api.list_repo_tree(self._repo, recursive=True, revision=sha)
             if hasattr(each, "blob_id")}
            for sha in (staged, made)
        ]  # fmt: skip
        if trees[0] != trees[1]:
            raise UserError("the Hub holds other files than those that were compared", hint="push again")

    def _commit(self, sha: str, present: Collection[str]) -> Commit:
        """What the seal at a commit names, of what is ``present``."""
        whole = Commit(self._api, self._repo, sha, {_SEAL})
        with whole.open(_SEAL) as stream:
            named = _named(stream.read())
        return Commit(self._api, self._repo, sha, (named | {_SEAL}) & set(present))

    def _ours(self) -> frozenset[str]:
        if self._sha is None or _SEAL not in self._present:
            return frozenset()
        return frozenset(self._commit(self._sha, self._present).names())

    def _card(self, parcel: Parcel) -> str:
        return card(parcel, self._repo, self._branch, self._options)


def _named(seal: bytes) -> frozenset[str]:
    """The files that a seal names: others in a repository are not a push's to remove."""
    try:
        said = json.loads(base64.b64decode(json.loads(seal)["payload"]))
        return frozenset(str(each["name"]) for each in said["subject"])
    except (ValueError, KeyError, TypeError):
        return frozenset()
