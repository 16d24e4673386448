"""A project with a plugin whose two techniques need two versions of one package, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from command import Work
from installed import install
from wheels import locked, repacked, wheel

from compressbuild.environment.uv import find_uv

MANIFEST = """
from compressbuild.api import Backend, Environment, RunMetric, Stack, Technique, hookimpl

STACKS = {
    name: Stack(
        modules=("tinytool",), tools=("tinytool",), preload=("tinytool",),
        environment=Environment(name=name, requirements=f"twotools:locks/{name}.txt"),
    )
    for name in ("old", "new")
}


@hookimpl
def compressbuild_techniques():
    for name, stack in STACKS.items():
        yield Technique(
            name=f"tool.{name}", run=f"twotools.{name}:stamp", consumes=("text",), produces="text", stack=stack
        )


@hookimpl
def compressbuild_backends():
    for name, stack in STACKS.items():
        yield Backend(
            name=f"run-{name}", compile=f"twotools.{name}:stamp", load="twotools.running:load", consumes=("text",),
            produces="text", stack=stack, run_facts=(),
        )


@hookimpl
def compressbuild_metrics():
    yield RunMetric(name="generation", run="twotools.running:generation", exclusive=False)
"""
RUNNING = """
class Runner:
    inputs = ()

    def __call__(self, feeds):
        import tinytool

        return {"version": float(tinytool.VERSION)}

    def describe(self):
        return {}


def load(ctx, artifact, settings):
    return Runner()


def generation(ctx, subject, params):
    found = {"value": ctx.runner("subject")({})["version"]}
    return found | ({"baseline": ctx.runner("baseline")({})["version"]} if ctx.has("baseline") else {})
"""
FUNCTION = """
import os
from pathlib import Path


def stamp(ctx, model: Path, params) -> dict:
    import sys

    import tinytool

    text = next(model.iterdir()).read_text()
    (ctx.out / "value").write_text(f"{text} {tinytool.VERSION}")
    print("prefix", sys.prefix, "click", _found("click"), "PYTHONPATH" in os.environ)
    import ctypes

    getenv = ctypes.CDLL(None).getenv  # what a library that is no Python sees
    getenv.restype = ctypes.c_char_p
    print("devices", os.environ.get("CUDA_VISIBLE_DEVICES"), getenv(b"CUDA_VISIBLE_DEVICES"))
    return {"tool": tinytool.VERSION}


def _found(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
"""
COMPRESSFILE = """version: 1
models:
  m: {file: f.txt, kind: text}
targets:
  both: {from: m, steps: [tool.old, tool.new]}
  older: {from: m, steps: [tool.old]}
  plain: {from: m, steps: [toy.copy]}
"""


DIGESTS: dict[str, str] = {}
"""Text of a lock → the name of its environment's directory, as cbuild once said: asking again takes a process."""


class TwoTools(Work):
    """``shelf``: the directory of wheels; nothing else is installed from."""

    def __init__(self, root: Path, shelf: Path) -> None:
        super().__init__(root, toy=True)
        self.shelf = shelf
        self.site = root.parent / "site"
        if not self.site.exists():
            package = self.site / "twotools"
            (package / "locks").mkdir(parents=True)
            (package / "__init__.py").write_text("")
            (package / "manifest.py").write_text(MANIFEST)
            (package / "running.py").write_text(RUNNING)
            for name, version in (("old", "1.0"), ("new", "2.0")):
                (package / f"{name}.py").write_text(FUNCTION)
                self.lock(name, version)
            install(self.site, "twotools", "1.0", {"twotools": "twotools.manifest"})
            self.write("Compressfile", COMPRESSFILE)
            self.write("f.txt", "abc")

    def lock(self, name: str, version: str) -> None:
        """Write the lock of environment ``name``: ``tinytool`` in a version, and what a worker imports."""
        wheels = [*self.shelf.glob(f"tinytool-{version}-*"), *self.shelf.glob("msgspec-*")]
        (self.site / "twotools" / "locks" / f"{name}.txt").write_text(locked(wheels))

    def environment(self, **more: str) -> dict[str, str]:
        found = super().environment()
        found["PYTHONPATH"] = f"{self.site}{os.pathsep}{found['PYTHONPATH']}"
        found |= {"UV_FIND_LINKS": str(self.shelf), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(self.root.parent / "uv")}
        return found | more

    def duplicate(self, root: Path) -> TwoTools:
        """The project with its cache and its plugin, elsewhere."""
        subprocess.run(["cp", "-a", str(self.root.parent), str(root)], check=True)
        return TwoTools(root / self.root.name, self.shelf)

    def place(self, name: str) -> Path:
        """The directory of environment ``name`` of the plugin's lock, made or not."""
        lock = (self.site / "twotools" / "locks" / f"{name}.txt").read_text()
        if lock not in DIGESTS:
            DIGESTS[lock] = Path(json.loads(self("env", "list", "--json").out)[name]["directory"]).name
        return self.root / "cache" / "env" / DIGESTS[lock]

    def uv(self, script: str) -> dict[str, str]:
        """Variables with which ``uv`` is a program that first does what ``script`` says."""
        folder = self.root.parent / "programs"
        folder.mkdir(exist_ok=True)
        (folder / "uv").write_text(f'#!/bin/sh\n{script}\nexec "{find_uv()}" "$@"\n')
        (folder / "uv").chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{self.environment()['PATH']}"}


def shelf(directory: Path) -> Path:
    """Wheels of three versions of ``tinytool``, and of msgspec as it is installed here."""
    for version in ("1.0", "2.0", "3.0"):
        wheel(directory, "tinytool", version, {"tinytool/__init__.py": f'VERSION = "{version}"\n'.encode()})
    repacked(directory, "msgspec")
    return directory
