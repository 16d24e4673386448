"""Who the client of a registry tells its password: the registry, and a token service that it may trust."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("requests")
from cbuild_push.registry import PASSWORD, USER, Registry

from compressbuild.api import UserError

BASIC = "Basic " + b64encode(b"me:secret-canary").decode()


class Handler(BaseHTTPRequestHandler):
    """A registry whose blobs want a token, and a service that gives one for a name and a password."""

    realm = ""
    seen: list[tuple[str, str | None]] = []

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        said = self.headers.get("Authorization")
        self.seen.append((self.path.partition("?")[0], said))
        if self.path.startswith("/token"):
            self._send(200 if said == BASIC else 401, {"token": "t0ken"})
        elif said == "Bearer t0ken":
            self._send(200, {})
        else:
            self._send(401, {"errors": [{"code": "DENIED", "message": f"no, {said}"}]})

    def _send(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("WWW-Authenticate", f'Bearer realm="{self.realm}",service="s",scope="repository:net:pull"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Bound", (Handler,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    host = f"127.0.0.1:{server.server_address[1]}"
    handler.realm = f"http://{host}/token"
    try:
        yield host, handler
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER, "me")
    monkeypatch.setenv(PASSWORD, "secret-canary")


def test_a_token_is_asked_for_once() -> None:
    with serving() as (host, handler):
        registry = Registry(host, "net", plain=False)
        assert registry.manifest("a") == (b"{}", True)
        assert registry.manifest("b") == (b"{}", True)
    assert handler.seen == [
        ("/v2/net/manifests/a", None),
        ("/token", BASIC),
        ("/v2/net/manifests/a", "Bearer t0ken"),
        ("/v2/net/manifests/b", "Bearer t0ken"),
    ]


def test_a_service_elsewhere_without_tls_gets_no_password() -> None:
    with serving() as (host, handler), serving() as (_, other):
        handler.realm = other.realm
        with pytest.raises(UserError) as caught:
            Registry(host, "net", plain=False).manifest("a")
    assert [said for path, said in other.seen if path == "/token"] == [None]
    assert "DENIED" in str(caught.value)
    assert "canary" not in str(caught.value)
