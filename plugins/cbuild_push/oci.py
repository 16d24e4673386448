"""An OCI registry. An artifact is a manifest in the layout of CNCF ModelPack, with a layer for each file.

https://github.com/modelpack/model-spec. Layers and manifest are pushed by digest and read back; then the tag moves,
in one step.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO, cast

from compressbuild.api import Content, Parcel, UserError

from .params import Oci
from .registry import MANIFEST, Registry

_ADDRESS = re.compile(
    r"oci://(?P<host>[\w.-]+(:\d+)?|\[[0-9a-f:]+\](:\d+)?)/(?P<name>[a-z0-9]+([._/-]+[a-z0-9]+)*)(:(?P<tag>[\w][\w.-]{0,127}))?"
)
_TYPE = "application/vnd.cncf.model"
_PATH, _TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"
_SEAL, _CARD = "provenance.json", "README.md"
_DOCS = (_SEAL, "metrics.json", _CARD)


def open_place(address: str, options: Oci) -> Tag:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError("it is no address of a registry", hint="write oci://host/name:tag, in lower case")
    registry = Registry(found["host"], found["name"], plain=options.plain_http)
    return Tag(address, registry, found["tag"] or "latest")


class Layers:
    """The files that a manifest names."""

    def __init__(self, registry: Registry, manifest: Mapping[str, Any]) -> None:
        self._registry = registry
        self.digests: dict[str, str] = {}
        for layer in manifest.get("layers", ()):
            notes = layer.get("annotations") or {}
            name = notes.get(_PATH) or notes.get(_TITLE)
            if name:
                self.digests[name] = layer["digest"]

    def names(self) -> Collection[str]:
        return self.digests.keys() - {_CARD}

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._registry.blob(self.digests[name]))


class Tag:
    def __init__(self, address: str, registry: Registry, tag: str) -> None:
        self.address = address
        self._registry = registry
        self._tag = tag
        self._there = b""  # the manifest that the tag names

    def current(self) -> Content | None:
        self._there, found = self._registry.manifest(self._tag)
        if not found:
            return None
        layers = Layers(self._registry, json.loads(self._there))
        if _SEAL not in layers.digests:
            raise UserError("the tag names something that no push put there", hint="push to another tag")
        return layers

    def described(self, parcel: Parcel) -> bool:
        return self._there == _manifest(parcel)

    def publish(self, parcel: Parcel, keep: frozenset[str], check: Callable[[Content], None]) -> str:
        if any(file.name == _CARD for file in parcel.files):
            raise UserError(f"the artifact has a {_CARD}, where its card belongs", hint="push it to a directory")
        for file in parcel.files:
            digest = f"sha256:{file.sha256}"
            if file.name not in keep and not self._registry.has(digest, file.size):
                self._registry.upload(digest, file.path)
        for data in (parcel.card.encode(), _config(parcel)):
            if not self._registry.has(_digest(data), len(data)):
                self._registry.upload(_digest(data), data)
        manifest = _manifest(parcel)
        name = _digest(manifest)
        self._registry.put_manifest(name, manifest)
        back, found = self._registry.manifest(name)
        if not found or back != manifest:
            raise UserError("the manifest came back with other bytes", hint="push again")
        check(Layers(self._registry, json.loads(back)))
        self._registry.put_manifest(self._tag, manifest)
        return f"{self.address}@{name}"

    def tidy(self) -> None:
        """Blobs that no manifest names are the registry's to collect."""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _config(parcel: Parcel) -> bytes:
    """It holds no time: equal artifacts have equal manifests."""
    layers = [f"sha256:{file.sha256}" for file in parcel.files]
    return _json(
        {
            "descriptor": {"name": parcel.target, "title": parcel.target, "version": parcel.artifact},
            "modelfs": {"type": "layers", "diffIds": [*layers, _digest(parcel.card.encode())]},
            "config": {"format": parcel.kind},
        }
    )


def _manifest(parcel: Parcel) -> bytes:
    config, card = _config(parcel), parcel.card.encode()
    layers = [_layer(file.name, f"sha256:{file.sha256}", file.size) for file in parcel.files]
    notes = {
        _TITLE: parcel.target,
        "org.opencontainers.image.description": f"{parcel.kind}, built by compressbuild",
        "dev.compressbuild.artifact": parcel.artifact,
        **{f"dev.compressbuild.{name}": value for name, value in parcel.labels.items()},
        **{f"dev.compressbuild.metric.{name}": repr(value) for name, value in parcel.metrics.items()},
    }
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": f"{_TYPE}.manifest.v1+json",
            "config": {
                "mediaType": f"{_TYPE}.config.v1+json", "digest": _digest(config), "size": len(config),
            },
            "layers": [*layers, _layer(_CARD, _digest(card), len(card))],
            "annotations": notes,
        }
    )  # fmt: skip


def _layer(name: str, digest: str, size: int) -> dict[str, Any]:
    kind = "doc" if name in _DOCS else "weight.config" if name.endswith(".json") else "weight"
    return {
        "mediaType": f"{_TYPE}.{kind}.v1.raw",
        "digest": digest,
        "size": size,
        "annotations": {_PATH: name, _TITLE: name},
    }
