"""A stub of the Hugging Face Hub's HTTP API, as ``huggingface_hub`` speaks it: repositories, branches, commits, LFS.

https://huggingface.co/docs/hub/api. Only large files (``*.onnx``, ``*.bin``, ``*.safetensors``) go through LFS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

__all__ = ["Hub", "hub"]

LARGE = (".onnx", ".bin", ".safetensors", "value")


class Hub:
    """What the server holds.

    ``token``: needed to write. ``damages``: a file that comes back changed. ``left``: requests that write until it
    fails. ``busy``: after a commit to this branch somebody else commits to ``main``. ``log``: every such request.
    """

    def __init__(self) -> None:
        self.token = "hf_token"
        self.repos: dict[str, dict[str, str]] = {}  # repo → branch → commit
        self.commits: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}  # of LFS
        self.damages = ""
        self.busy = ""
        self.left = 10**9
        self.log: list[str] = []
        self.url = ""

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.repos[repo][branch]] if repo in self.repos else {}

    def commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        said = json.dumps(
            [repo, branch, len(self.commits), sorted((n, hashlib.sha1(d).hexdigest()) for n, d in files.items())]
        )
        sha = hashlib.sha1(said.encode()).hexdigest()
        self.commits[sha] = files
        self.repos[repo][branch] = sha
        return sha


class Refused(Exception):
    def __init__(self, status: int, code: str = "", text: str = "") -> None:
        self.status, self.code, self.text = status, code, text


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, Content_Type="application/json")

    def _answer(self) -> None:
        body = self._body()
        path = urlsplit(self.path).path
        try:
            if self.command not in ("GET", "HEAD"):
                self._may_write(path)
            self._route(unquote(path).strip("/").split("/"), path, body)
        except Refused as error:
            self._send(
                json.dumps({"error": error.text or error.code}).encode(),
                error.status,
                X_Error_Code=error.code,
                Content_Type="application/json",
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _may_write(self, path: str) -> None:
        hub, said = self.hub, self.headers.get("Authorization", "")
        if path.startswith("/lfs/"):  # a signed address
            hub.log.append(f"PUT {path}")
        else:
            if said != f"Bearer {hub.token}":
                raise Refused(401, text=f"no access with {said}")
            hub.log.append(f"{self.command} {path}")
        hub.left -= 1
        if hub.left < 0:
            raise Refused(400, text=f"out of order, said {said}")

    def _route(self, parts: list[str], path: str, body: bytes) -> None:
        match parts:
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._create(json.loads(body))
            case ["api", "models", owner, name, "preupload", _]:
                self._preupload(f"{owner}/{name}", json.loads(body))
            case ["api", "models", owner, name, "commit", branch]:
                self._commit(f"{owner}/{name}", branch, body)
            case ["api", "models", owner, name, "branch", branch]:
                self._branch(f"{owner}/{name}", branch, json.loads(body or b"{}"))
            case ["api", "models", owner, name, "tree", revision, *_]:
                self._tree(f"{owner}/{name}", revision)
            case ["api", "models", owner, name, *rest] if not rest or rest[0] == "revision":
                sha = self._sha(f"{owner}/{name}", rest[1] if rest else "main")
                siblings = [{"rfilename": each} for each in sorted(self.hub.commits[sha])]
                self._json({"id": f"{owner}/{name}", "sha": sha, "siblings": siblings, "private": False, "tags": []})
            case [_, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                self._batch(json.loads(body))
            case ["lfs", oid]:
                assert hashlib.sha256(body).hexdigest() == oid
                self.hub.blobs[oid] = body
                self._send(b"")
            case [owner, name, "resolve", revision, *file]:
                self._resolve(f"{owner}/{name}", revision, "/".join(file))
            case _:
                raise Refused(404, text=f"no route {path}")

    def _sha(self, repo: str, revision: str) -> str:
        if repo not in self.hub.repos:
            raise Refused(404, "RepoNotFound")
        found = self.hub.repos[repo].get(revision) or (revision if revision in self.hub.commits else None)
        if found is None:
            raise Refused(404, "RevisionNotFound")
        return found

    def _create(self, said: dict[str, str]) -> None:
        repo = f"{said.get('organization') or 'me'}/{said['name']}"
        if repo in self.hub.repos:
            raise Refused(409, text="it exists")
        self.hub.repos[repo] = {}
        self.hub.commit(repo, "main", {".gitattributes": b"*.onnx filter=lfs\n"})
        self._json({"url": f"{self.hub.url}/{repo}"})

    def _preupload(self, repo: str, said: dict[str, list[dict[str, str]]]) -> None:
        files = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular", "shouldIgnore": False}
            for f in said["files"]
        ]
        self._json({"files": files})

    def _batch(self, said: dict[str, list[dict[str, str]]]) -> None:
        objects = []
        for each in said["objects"]:
            found = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.blobs:
                found["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/{each['oid']}?X-Amz-Signature=signed-canary"}
                }
            objects.append(found)
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: str, branch: str, body: bytes) -> None:
        sha = self._sha(repo, branch)
        files = dict(self.hub.commits[sha])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    if value.get("parentCommit") not in (None, sha):
                        raise Refused(412, text="somebody else pushed meanwhile")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        made = self.hub.commit(repo, branch, files)
        if branch == self.hub.busy:
            self.hub.commit(repo, "main", {**self.hub.files(repo), "other": b"theirs"})
        self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{made}", "commitOid": made, "hookOutput": ""})

    def _branch(self, repo: str, branch: str, said: dict[str, str]) -> None:
        branches = self.hub.repos[repo]
        if self.command == "DELETE":
            if branches.pop(branch, None) is None:
                raise Refused(404, "RevisionNotFound")
        elif branch in branches:
            raise Refused(409, text="it exists")
        else:
            branches[branch] = self._sha(repo, said.get("startingPoint") or "main")
        self._json({})

    def _tree(self, repo: str, revision: str) -> None:
        files = self.hub.commits[self._sha(repo, revision)]
        self._json([
            {"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()} for n, d in files.items()
        ])  # fmt: skip

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        sha = self._sha(repo, revision)
        data = self.hub.commits[sha].get(name)
        if data is None:
            raise Refused(404, "EntryNotFound")
        tag = hashlib.sha1(data).hexdigest()
        if name == self.hub.damages:
            data = data[:-1] + bytes([data[-1] ^ 1])
        self._send(data, ETag=f'"{tag}"', X_Repo_Commit=sha, Content_Type="application/octet-stream")


@contextmanager
def hub() -> Iterator[Hub]:
    """A server of its own, on loopback."""
    found = Hub()
    handler = type("Bound", (Handler,), {"hub": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
