"""What the agent says of its machine, and whether that is what a node's key was made for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from blake3 import blake3

from ..api.facts import FACTS
from ..api.work import WorkExpect
from ..digest import file_digest
from ..errors import CbuildError
from ..machines.wire import Ready
from ..platforms import Facts, probe
from ..registry.installed import Installed, scan

__all__ = ["Host", "identity"]

_IDENTITIES = (
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "proc/device-tree/serial-number",
    "sys/devices/soc0/serial_number",
)


def identity(root: Path = Path("/"), node: str = "") -> str:
    """An id of this machine, the same after a restart. Two boards of one image differ by their serial numbers, nodes of
    a cluster that were installed from one by the name ``node``, which an executor gives in $CBUILD_NODE. It is a
    digest, for the machine-id is not to be shown to others (machine-id(5))."""
    found = []
    for name in _IDENTITIES:
        try:
            found.append((root / name).read_bytes().strip(b"\0\n "))
        except OSError:  # not of this kind of machine
            found.append(b"")
    if not any(found):
        found.append(os.uname().nodename.encode())
    if node:
        found.append(node.encode())
    return blake3(b"cbuild host\0" + b"\0".join(found)).hexdigest()[:16]


class Host:
    """``code``: the directories of code that was shipped."""

    def __init__(self, code: tuple[str, ...]) -> None:
        self._code = code
        self._installed: Installed = scan()
        self._digests: dict[str, str | None] = {}
        self.id = identity(node=os.environ.get("CBUILD_NODE", ""))

    def ready(self) -> Ready:
        facts = probe()
        return Ready(
            host=self.id,
            python=_python(),
            facts={name: facts.get(name) for name in FACTS},
            versions=dict(self._installed.versions),
            modules=dict(self._installed.modules),
            gpus=facts.gpus,
            gpu_reason=facts.gpu_reason if facts.get("gpu.name") is None else "",
        )

    def differs(self, expect: WorkExpect) -> str | None:
        """What is not as the node's key says, in one line."""
        if expect.python and expect.python != _python():
            return f"Python is {_python()} there, not {expect.python}"
        facts = probe()
        for name, wanted in expect.facts.items():
            found = self._fact(facts, name)
            if found != wanted:
                return f"{name} is {_shown(found)} there, not {_shown(wanted)}"
        if not self._installed.current():
            self._installed = scan()
        versions = self._installed.tool_versions(expect.tools)
        for name, version in expect.tools.items():
            if versions.get(name) != version:
                return f"{name} is {versions.get(name) or 'not installed'} there, not {version or 'absent'}"
        for path, digest in expect.plugin_code.items():
            if self._digest(path) != digest:
                return f"{path} is other code there than the key covers"
        return None

    def _fact(self, facts: Facts, name: str) -> Any:
        if name == "host":
            return self.id
        try:
            return facts.get(name)
        except CbuildError:  # a fact that this version does not know
            return None

    def _digest(self, path: str) -> str | None:
        """Of a shipped file, wherever Python would find it: the first directory that has it counts."""
        if path not in self._digests:
            full = next((p for each in self._code if os.path.isfile(p := os.path.join(each, path))), None)
            self._digests[path] = file_digest(full) if full is not None else None
        return self._digests[path]


def _python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)
