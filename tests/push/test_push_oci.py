"""``cbuild push`` to a real OCI registry on loopback: Debian's ``docker-registry``, or a ``registry`` on PATH."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Work
from servers import free_port, served

from compressbuild.build.verification import verify

requests = pytest.importorskip("requests")
PROGRAM = shutil.which("docker-registry") or shutil.which("registry")
if PROGRAM is None:
    pytest.skip("needs docker-registry (apt install docker-registry)", allow_module_level=True)

PASSWORD = "canary-oci-20c6"
HASHED = "$2b$04$bAYDM0/84hE/JA1mKQrUqe3W10NBs6MeTLd9PXMxujLrK1.15HWLe"  # by bcrypt
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""


class Server:
    def __init__(self, host: str, root: Path) -> None:
        self.host = host
        self.root = root

    def manifest(self, reference: str, name: str = "net") -> dict:
        headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        answer = requests.get(f"http://{self.host}/v2/{name}/manifests/{reference}", headers=headers, timeout=10)
        return answer.json() if answer.ok else {}

    def fetched(self, reference: str, place: Path, name: str = "net") -> Path:
        """What a client that knows ModelPack unpacks, without the card."""
        for layer in self.manifest(reference, name)["layers"]:
            path = place / layer["annotations"]["org.cncf.model.filepath"]
            if path.name != "README.md":
                path.parent.mkdir(parents=True, exist_ok=True)
                url = f"http://{self.host}/v2/{name}/blobs/{layer['digest']}"
                path.write_bytes(requests.get(url, timeout=10).content)
        return place


def running(place: Path, auth: str = "") -> Iterator[Server]:
    port = free_port()
    place.mkdir(parents=True, exist_ok=True)
    config = place / "config.yml"
    config.write_text(CONFIG.format(root=place / "data", port=port, auth=auth))
    with served([str(PROGRAM), "serve", str(config)], port, place):
        yield Server(f"127.0.0.1:{port}", place / "data")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Server]:
    yield from running(tmp_path / "registry")


def test_push_then_push_again(toys: Work, registry: Server, tmp_path: Path) -> None:
    push = ("push", "first", f"oci://{registry.host}/net:int8")
    out = toys(*push).out
    assert re.match(rf"first: pushed to oci://{registry.host}/net:int8@sha256:[0-9a-f]{{64}} \(3 of 3 files", out)
    assert not verify(registry.fetched("int8", tmp_path / "first"), "first").mismatches
    before = registry.manifest("int8")
    uploads = sorted(path.stat().st_mtime_ns for path in registry.root.rglob("data"))
    assert "nothing uploaded" in toys(*push).out
    assert sorted(path.stat().st_mtime_ns for path in registry.root.rglob("data")) == uploads
    toys("first", "--set", "vars.salt=2")
    assert "first: pushed" in toys(*push, "--set", "vars.salt=2").out
    assert registry.manifest("int8") != before
    fetched = registry.fetched("int8", tmp_path / "again")
    assert not verify(fetched, "first").mismatches
    assert (fetched / "value").read_bytes() == (toys.root / "build/first/value").read_bytes()


def test_the_layout_is_modelpack(toys: Work, registry: Server) -> None:
    toys("push", "second", f"oci://{registry.host}/net:{{target}}")
    said = registry.manifest("second")
    assert said["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert said["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    kinds = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in said["layers"]}
    assert kinds == {
        "value": "application/vnd.cncf.model.weight.v1.raw",
        **dict.fromkeys(("metrics.json", "provenance.json", "README.md"), "application/vnd.cncf.model.doc.v1.raw"),
    }
    url = f"http://{registry.host}/v2/net/blobs/{said['config']['digest']}"
    config = requests.get(url, timeout=10).json()
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in said["layers"]]}
    assert config["descriptor"]["version"] == verify(toys.root / "build/second", "second").artifact
    assert said["annotations"]["dev.compressbuild.metric.length"] == "1"


def test_damage_in_the_registry_is_never_tagged(toys: Work, registry: Server) -> None:
    """A blob that the registry has under the right digest, with wrong bytes."""
    toys("push", "first", f"oci://{registry.host}/net:a")
    digest = next(
        layer["digest"].removeprefix("sha256:")
        for layer in registry.manifest("a")["layers"]
        if layer["annotations"]["org.cncf.model.filepath"] == "value"
    )
    (registry.root / f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data").write_bytes(b"x")
    err = toys("push", "first", f"oci://{registry.host}/net:b", code=1).err
    assert "value came back with other bytes" in err
    assert registry.manifest("b") == {}


@pytest.mark.parametrize("at", [2, 5, *(pytest.param(at, marks=pytest.mark.slow) for at in (0, 1, 3, 4))])
def test_a_push_that_stops_moves_no_tag(toys: Work, registry: Server, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops before the ``at``-th request that writes."""
    push = ("push", "first", f"oci://{registry.host}/net:int8")
    toys(*push)
    before = registry.manifest("int8")
    toys("first", "--set", "vars.salt=2")
    left = [at]
    plain = requests.Session.request

    def limited(self, method: str, url: str, **more):
        if method in ("POST", "PUT"):
            left[0] -= 1
            if left[0] < 0:
                raise requests.ConnectionError("the line is cut")
        return plain(self, method, url, **more)

    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "request", limited)
        toys(*push, "--set", "vars.salt=2", code=1)
    assert registry.manifest("int8") == before
    toys(*push, "--set", "vars.salt=2")
    assert registry.manifest("int8") != before


def test_a_tag_of_somebody_else_stays(toys: Work, registry: Server) -> None:
    empty = b"{}"
    digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    base = f"http://{registry.host}/v2/net"
    place = requests.post(f"{base}/blobs/uploads/", timeout=10).headers["Location"]
    requests.put(place, params={"digest": digest}, data=empty, timeout=10).raise_for_status()
    kind = "application/vnd.oci.image.manifest.v1+json"
    blob = {"mediaType": "application/octet-stream", "digest": digest, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": blob, "layers": [blob]}
    headers = {"Content-Type": kind}
    requests.put(f"{base}/manifests/int8", data=json.dumps(manifest), headers=headers, timeout=10).raise_for_status()
    assert "no push put there" in toys("push", "first", f"oci://{registry.host}/net:int8", code=1).err
    assert registry.manifest("int8") == manifest


def test_credentials_come_from_the_environment_and_are_not_shown(toys: Work, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(f"me:{HASHED}\n")
    auth = f"auth: {{htpasswd: {{realm: test, path: {tmp_path / 'htpasswd'}}}}}"
    for server in running(tmp_path / "guarded", auth):
        push = ("push", "first", f"oci://{server.host}/net:int8")
        err = toys(*push, code=1).err
        assert "401" in err
        assert "set $OCI_USERNAME and $OCI_PASSWORD" in err
        wrong = toys(*push, code=1, OCI_USERNAME="me", OCI_PASSWORD=PASSWORD + "-wrong").text
        right = toys(*push, OCI_USERNAME="me", OCI_PASSWORD=PASSWORD).text
        assert "canary" not in wrong + right
        for path in (*toys.root.rglob("*"), *server.root.rglob("*")):
            assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()


@pytest.mark.parametrize("address", ["oci://host", "oci://host/Net:x", "oci://host/net:-x"])
def test_addresses_that_cannot_be(toys: Work, address: str) -> None:
    assert "it is no address of a registry" in toys("push", "first", address, code=1).err
