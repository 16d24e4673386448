"""Run one plugin function by hand, as a worker would: for a plugin author's tests.

::

    from compressbuild.api.testing import run_node

    def test_scale(tmp_path, model_dir):
        node = run_node("my_plugin.scale:run", model_dir, Scale(factor=0.5), tmp_path / "out",
                        factories=("my_project.model:build",))
        assert node.facts == {"scaled": 12}
        assert (node.out / "weights.safetensors").exists()
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from .context import Context, resolve
from .params import Params
from .runner import ModelInput
from .work import WorkDataset, WorkInput, WorkRequest

__all__ = ["NodeRun", "installed_plugin", "make_context", "onnx_model", "run_node", "torch_model"]


# By name: the engine imports no model library.
_TORCH_INIT = "cbuild_torch.model.source:init"
_EXPORT, _EXPORT_PARAMS = "cbuild_torch.to_onnx.export:export", "cbuild_torch.to_onnx.export:ExportOnnx"


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What a run left: ``out``, its directory; ``facts``, what the function returned; ``progress``, its reports."""

    out: Path
    facts: dict[str, Any]
    progress: list[dict[str, Any]] = field(default_factory=list)


def make_context(
    out: Path,
    *,
    label: str = "test",
    run: str = "",
    params: Params | Mapping[str, Any] | None = None,
    subject: Path | WorkInput | None = None,
    kind: str = "",
    load: str | None = None,
    census: str | None = None,
    inputs: Mapping[str, WorkInput] | None = None,
    references: Mapping[str, str] | None = None,
    datasets: Mapping[str, str | WorkDataset] | None = None,
    factories: tuple[str, ...] = (),
    facts: Mapping[str, Any] | None = None,
    root: Path | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: list[dict[str, Any]] | None = None,
    checkpoint: Path | None = None,
) -> Context:
    """A :class:`Context` as a worker would make it; ``out`` and a scratch directory beside it are created.

    ``subject``, with its ``kind``, ``load`` (``module:function`` that makes a Runner of it) and ``census``: the input.
    ``inputs``: further ones by role. ``references``: name as a parameter has it → role. ``datasets``: name →
    ``module:loader``.
    ``progress``: a list that collects what the function reports. ``checkpoint``: a directory that outlives the run.
    """
    scratch = out.with_name(out.name + ".scratch")
    out.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    known = dict(inputs or {})
    if subject is not None:
        known["subject"] = (
            subject
            if isinstance(subject, WorkInput)
            else WorkInput(path=str(subject), kind=kind, load=load, census=census)
        )
    request = WorkRequest(
        label=label,
        run=run,
        params=_plain(params),
        params_type=f"{type(params).__module__}:{type(params).__qualname__}" if isinstance(params, Params) else None,
        inputs=known,
        references=dict(references or {}),
        datasets={
            name: entry if isinstance(entry, WorkDataset) else WorkDataset(loader=entry)
            for name, entry in (datasets or {}).items()
        },
        out=str(out),
        scratch=str(scratch),
        root=str(root or Path.cwd()),
        factories=factories,
        facts=dict(facts or {}),
        seed=seed,
        threads=threads,
        checkpoint=str(checkpoint) if checkpoint is not None else None,
    )
    reports: list[dict[str, Any]] = [] if progress is None else progress
    return Context(request, reports.append)


def run_node(
    run: str, subject: Path | WorkInput | None, params: Params | Mapping[str, Any], out: Path, **world: Any
) -> NodeRun:
    """Call ``run`` (``module:function``) once, in its scratch directory, with a context built by hand.

    ``subject``: the artifact that is its first argument, or None for a source, which is called ``f(ctx, params)``.
    ``out``: an empty or new directory. ``world``: the keywords of :func:`make_context`. What the function raises
    comes through.
    """
    reports: list[dict[str, Any]] = []
    out = out.absolute()
    world.setdefault("root", Path.cwd())
    ctx = make_context(out, run=run, params=params, subject=subject, progress=reports, **world)
    function = resolve(run)
    with _inside(ctx.scratch):
        found = function(ctx, params) if subject is None else function(ctx, ctx.artifact("subject"), params)
    return NodeRun(out, dict(found or {}), reports)


def installed_plugin(name: str) -> dict[str, Any]:
    """What ``cbuild plugins --json`` says of an installed plugin: the names that it offers, ``problems``, ``warnings``.

    LookupError if there is no plugin of that name. It asks in a process of its own, as a command would.
    """
    import subprocess
    import sys

    command = [sys.executable, "-m", "compressbuild", "plugins", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    found: dict[str, Any] | None = next((row for row in rows if row["plugin"] == name), None)
    if found is None:
        raise LookupError(f"no plugin '{name}' is installed; there are {', '.join(row['plugin'] for row in rows)}")
    return found


def torch_model(
    place: Path,
    factory: str,
    inputs: Iterable[ModelInput],
    *,
    args: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """A ``torch-model`` artifact in ``place / "torch-model"``, as a build makes it of a ``models:`` entry.

    ``factory``: ``module:function`` that returns a ``torch.nn.Module``, called with ``args``. ``inputs``: what the
    module takes, ``[ModelInput("x", ("batch", 4), "float32")]``.
    """
    declared = [[item.name, list(item.shape), item.dtype] for item in inputs]
    source = {"factory": factory, "args": dict(args or {}), "weights": None, "inputs": declared}
    return run_node(_TORCH_INIT, None, source, place / "torch-model", factories=(factory,), seed=seed).out


def onnx_model(
    place: Path,
    factory: str,
    inputs: Iterable[ModelInput],
    *,
    args: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """As :func:`torch_model`, exported: an ``onnx`` artifact in ``place / "onnx"``."""
    model = torch_model(place, factory, inputs, args=args, seed=seed)
    params: Params = resolve(_EXPORT_PARAMS)()
    return run_node(
        _EXPORT, WorkInput(path=str(model), kind="torch-model"), params, place / "onnx", factories=(factory,)
    ).out


def _plain(params: Params | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(params, Params):
        plain: dict[str, Any] = msgspec.to_builtins(params)
        return plain
    return dict(params or {})


@contextlib.contextmanager
def _inside(directory: Path) -> Iterator[None]:
    import os

    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
