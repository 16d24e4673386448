"""A client of an OCI registry: blobs and manifests by digest, tags, and the two ways to prove who one is.

https://github.com/opencontainers/distribution-spec. The libraries for it read a whole blob into memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from compressbuild.api import UserError

if TYPE_CHECKING:
    import requests

__all__ = ["MANIFEST", "USER", "Registry"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
USER, PASSWORD = "OCI_USERNAME", "OCI_PASSWORD"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LIMIT = 8 << 20  # bytes of the largest manifest that is read
_SECONDS = (10, 300)  # to connect, and between two parts of an answer


class Registry:
    """One repository of a registry. ``plain``: over HTTP, as always on loopback."""

    def __init__(self, host: str, repository: str, *, plain: bool) -> None:
        import requests

        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        self.base = f"{'http' if plain or name in _LOOPBACK else 'https'}://{host}/v2/{repository}/"
        self._host = host
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc: credentials come from the two variables
        self._session.proxies.update(requests.utils.get_environ_proxies(self.base))
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
        self._proof: str | None = None

    def manifest(self, reference: str) -> tuple[bytes, bool]:
        """The bytes of a manifest, by tag or digest, and whether it is there."""
        answer = self._ask("GET", f"manifests/{reference}", headers={"Accept": MANIFEST}, missing=True)
        if answer.status_code == 404:
            return b"", False
        return answer.content[:_LIMIT], True

    def put_manifest(self, reference: str, data: bytes) -> None:
        self._ask("PUT", f"manifests/{reference}", data=data, headers={"Content-Type": MANIFEST})

    def has(self, digest: str, size: int) -> bool:
        answer = self._ask("HEAD", f"blobs/{digest}", missing=True)
        return answer.status_code == 200 and answer.headers.get("Content-Length") == str(size)

    def blob(self, digest: str) -> Any:
        """A stream of the bytes, as they are."""
        answer = self._ask("GET", f"blobs/{digest}", headers={"Accept-Encoding": "identity"}, stream=True)
        answer.raw.decode_content = False
        return answer.raw

    def upload(self, digest: str, content: Path | bytes) -> None:
        started = self._ask("POST", "blobs/uploads/")
        place = urljoin(started.url, started.headers["Location"])
        place += ("&" if urlsplit(place).query else "?") + urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(content, bytes):
            self._ask("PUT", place, data=content, headers=headers)
        else:
            with content.open("rb") as stream:
                self._ask("PUT", place, data=stream, headers=headers)

    def _ask(self, method: str, path: str, *, missing: bool = False, **more: Any) -> requests.Response:
        """An answer that is no error. ``missing``: 404 is none either."""
        url = urljoin(self.base, path)
        answer = self._send(method, url, more)
        if answer.status_code == 401 and self._prove(answer):
            if hasattr(more.get("data"), "seek"):
                more["data"].seek(0)
            answer = self._send(method, url, more)
        if answer.ok or (missing and answer.status_code == 404):
            return answer
        raise _refused(method, answer)

    def _send(self, method: str, url: str, more: Mapping[str, Any]) -> requests.Response:
        headers = dict(more.get("headers", {}))
        if self._proof and urlsplit(url).netloc == self._host:
            headers["Authorization"] = self._proof
        return self._session.request(method, url, **{**more, "headers": headers}, timeout=_SECONDS)

    def _prove(self, answer: requests.Response) -> bool:
        """Do what the registry's challenge asks for. False if there is nothing new to say."""
        import requests

        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
        known = (user, password) if user and password else None
        before, self._proof = self._proof, None
        if scheme.lower() == "basic" and known:
            self._proof = requests.auth._basic_auth_str(*known)
        elif scheme.lower() == "bearer" and "realm" in said:
            realm = urlsplit(said["realm"])
            trusted = realm.scheme == "https" or realm.netloc == self._host
            asked = {name: said[name] for name in ("service", "scope") if name in said}
            token = self._session.get(said["realm"], params=asked, auth=known if trusted else None, timeout=_SECONDS)
            if token.ok:
                found = token.json()
                self._proof = f"Bearer {found.get('token') or found.get('access_token')}"
        return self._proof is not None and self._proof != before


def _refused(method: str, answer: requests.Response) -> UserError:
    """What the registry says; its address without the query, which may be a signature."""
    try:
        said = "; ".join(f"{each['code']}: {each['message']}" for each in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        said = answer.reason
    parts = urlsplit(answer.url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    denied = answer.status_code in (401, 403)
    hint = f"set ${USER} and ${PASSWORD}" if denied else "see what the registry's log says, then push again"
    return UserError(f"{method} {place} was answered with {answer.status_code} ({said})", hint=hint)
