"""Google Cloud Storage's XML API on loopback: ``python gcs.py PORT URL``, before a server of S3 at URL.

The two protocols share objects, ranges, lists and uploads in parts. What Google's has of its own is done here as its
documentation says: an object has a generation, a request may have a condition on it, and 0 stands for no object
(https://cloud.google.com/storage/docs/request-preconditions).
"""

from __future__ import annotations

import hashlib
import http.client
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CONDITION = "x-goog-if-generation-match"
KEPT = ("content-type", "content-length", "etag", "last-modified", "content-range", "accept-ranges")
ACCOUNT = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"
TAGS: dict[str, str] = {}
"""Generation → the entity tag by which S3 knows that version."""


def generation(etag: str) -> str:
    number = str(int(hashlib.sha256(etag.encode()).hexdigest()[:13], 16))
    TAGS[number] = etag
    return number


class Handler(BaseHTTPRequestHandler):
    server_version, protocol_version = "GCS", "HTTP/1.1"
    behind = ""

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {"Authorization": ACCOUNT}
        headers |= {name: value for name in ("range", "content-type") if (value := self.headers.get(name))}
        wanted = self.headers.get(CONDITION)
        if wanted == "0":
            headers["If-None-Match"] = "*"
        elif wanted is not None:
            headers["If-Match"] = TAGS.get(wanted, '"none"')
        elif any(name.lower().startswith(("if-match", "if-none-match")) for name in self.headers):
            self.send_error(400, "Google's writes take conditions on generations alone")
            return
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name in KEPT:
            if (value := answer.getheader(name)) and (name != "content-length" or self.command == "HEAD"):
                self.send_header(name, value)
        if etag := answer.getheader("etag"):
            self.send_header("x-goog-generation", generation(etag))
        if self.command != "HEAD":
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing but errors is worth a line."""


if __name__ == "__main__":
    Handler.behind = urlsplit(sys.argv[2]).netloc
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
