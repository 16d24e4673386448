"""A server before another, which refuses some requests: what a store does that is overloaded, or half out of order."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["flaky"]

HOP = {"connection", "content-length", "keep-alive", "server", "date", "transfer-encoding"}


@contextlib.contextmanager
def flaky(url: str, status: Callable[[str, str], int]) -> Iterator[str]:
    """The address of a server that passes requests on to ``url``. ``status``: given a method and a path, 0, or the
    status with which the request is refused, or a negative one: it is passed on, and then answered so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            refused = status(self.command, self.path)
            if refused > 0:
                self.answer(refused, {}, b"")
                return
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            got = connection.getresponse()
            data = got.read()
            connection.close()
            if refused:
                self.answer(-refused, {}, b"")
                return
            length = got.getheader("content-length") if self.command == "HEAD" else None
            self.answer(got.status, dict(got.getheaders()), data, length)

        def answer(self, code: int, headers: dict[str, str], data: bytes, length: str | None = None) -> None:
            self.send_response_only(code)
            for name, value in headers.items():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("content-length", length or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

        def log_message(self, format: str, *arguments: object) -> None:
            """The tests look at what comes of it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
