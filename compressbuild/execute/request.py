"""A node with its inputs on disk → the worker's request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..api import Profiling, WorkDataset, WorkInput, WorkRequest
from ..compressfile.nodes import plain
from ..graph import Graph, Node
from ..plan import Keyer
from ..plan.expectation import expectation

__all__ = ["make_request", "preloads"]

_PROFILE = f"{Profiling.__module__}:{Profiling.__qualname__}"
"""Parameters of a profiler, whose result is a profile and no metric's."""


def make_request(
    graph: Graph,
    keyer: Keyer,
    node: Node,
    inputs: Mapping[str, Path],
    *,
    out: Path,
    scratch: Path,
    checkpoint: Path,
    ignore: tuple[str, ...],
    gpus: tuple[str, ...] | None = None,
    host: str = "",
) -> WorkRequest:
    """``inputs``: role → directory of the materialised artifact. ``ignore``: directories of the project that hold
    what the engine itself writes. ``gpus``: those that the node has for itself; None: it asked for none, and sees all.
    ``host``: the worker that it goes to, at the node's address.
    """
    spec = graph.spec
    return WorkRequest(
        label=node.position,
        run=node.run,
        params=_canonical(dict(node.params)),
        params_type=node.params_type,
        inputs={role: _input(graph, node, role, path) for role, path in inputs.items()},
        references=dict(node.references),
        datasets={name: _dataset(keyer, node, name) for name in node.datasets},
        out=str(out),
        scratch=str(scratch),
        root=str(spec.root),
        code_roots=tuple(str(spec.root / path) for path in spec.python_path),
        code_files=keyer.code_files(node),
        read_files=keyer.read_files(node),
        ignore_dirs=ignore,
        factories=tuple(f for f in (spec.models[m].factory for m in node.models) if f) + node.functions + node.carried,
        facts=keyer.facts_of(node),
        env=keyer.environment | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus is not None else {}),
        seed=node.options.seed or 0,
        threads=node.options.threads or 1,
        save_json="metrics.json" if node.role == "metric" else None,
        measures=node.role == "metric" and node.params_type != _PROFILE,
        checkpoint=str(checkpoint) if node.role == "technique" else None,
        sight=keyer.cover(node).sight(),
        isolate=node.isolate,
        host=host or node.host,
        expect=expectation(keyer, node),
        python=keyer.environments.interpreter(node.environment) if node.environment is not None else "",
        validate=kind.validate if (kind := graph.registry.kinds.get(node.kind)) is not None else None,
    )


def preloads(graph: Graph, node: Node) -> tuple[str, ...]:
    """What the node's warm parent has imported: the plugin's libraries, and the user's where user code runs."""
    own = graph.spec.preload if node.models or node.datasets or node.functions else ()
    return tuple(dict.fromkeys((*node.preload, *own)))


def _input(graph: Graph, node: Node, role: str, path: Path) -> WorkInput:
    kind = graph.nodes[node.inputs[role]].kind
    run = node.run_with.get(role)
    if run is None:
        return WorkInput(path=str(path), kind=kind)
    if run.is_census:
        return WorkInput(path=str(path), kind=kind, census=run.load)
    settings = _canonical(dict(run.settings)) if run.settings is not None else None
    return WorkInput(path=str(path), kind=kind, load=run.load, settings=settings, settings_type=run.settings_type)


def _dataset(keyer: Keyer, node: Node, name: str) -> WorkDataset:
    with_ = node.data_with.get(name)
    if with_ is not None:
        files = tuple(path for path, _ in with_.files)
        args = _canonical(dict(with_.params))
        return WorkDataset(loader=with_.load, args=args, files=files, params_type=with_.params_type, rows=with_.rows)
    data = keyer.spec.datasets[name]
    args = _canonical(plain(data.args)) if data.args is not None else {}
    return WorkDataset(loader=data.loader, args=args, files=data.files)


def _canonical(value: Any) -> Any:
    """Mappings in the order of their names. The key does not cover how they were written, so no code may see it."""
    if isinstance(value, dict):
        return {name: _canonical(value[name]) for name in sorted(value, key=lambda name: (str(type(name)), name))}
    if isinstance(value, list | tuple):
        return type(value)(map(_canonical, value))
    return value
