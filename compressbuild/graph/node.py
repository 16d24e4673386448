"""What the graph is made of: nodes, how their inputs are run, and what each target asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ..api import Metric, Rows
from ..compressfile.nodes import Map
from ..compressfile.spec import GateSpec, RunOptions, TargetSpec
from ..errors import Mark
from ..platforms import Missing

__all__ = ["DataWith", "GatePlan", "MetricPlan", "Node", "Role", "RunWith", "TargetPlan"]

Role = Literal["source", "import", "technique", "compile", "metric"]


class RunWith(msgspec.Struct, frozen=True):
    """How an input artifact is loaded and run: a backend's ``load`` with the platform's settings, or its kind's."""

    load: str
    owner: str  # "backend onnxruntime" or "kind torch-model", for the key and for messages
    version: int
    settings: Mapping[str, Any] | None = None
    settings_type: str | None = None
    tools: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    host: str = ""  # the address of the machine that compiled it, which runs it
    environment: str | None = None  # that its functions run in
    is_census: bool = False  # ``load`` is the kind's census: the input is counted, not run


class DataWith(msgspec.Struct, frozen=True):
    """How a plugin's source opens a dataset: ``load(ctx, params, rows)``. ``files``: what it reads, with where that is
    written."""

    load: str
    owner: str  # "source npz"
    version: int
    params: Mapping[str, Any]
    params_type: str
    rows: Rows
    files: tuple[tuple[str, Mark], ...] = ()
    tools: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    environment: str | None = None


class Node(msgspec.Struct, frozen=True):
    """One step resolved in the DAG. Two equal steps on equal inputs are one node.

    ``inputs``: role → node index. ``models``: the sources whose factory code loading its inputs runs.
    ``references``: name written in a parameter → role of the input.
    ``datasets``: names of datasets it opens; ``data_with``: how, of those that no loader
    of the user's opens. ``carried``: functions of plugins that loading its inputs calls.
    ``isolate``: it reads a file whose format can hold more than data. ``missing``: what its host lacks to run it.
    ``host``: the address of the machine that it runs on; empty: this one.
    ``environment``: the Python environment that it runs in; None for the engine's.
    ``position``: ``target/step``, where it was first written.
    """

    index: int
    position: str
    role: Role
    name: str
    version: int
    run: str
    kind: str
    mark: Mark
    params: Mapping[str, Any] = {}
    params_type: str | None = None
    key_params: Mapping[str, Any] = {}
    inputs: Mapping[str, int] = {}
    references: Mapping[str, str] = {}
    run_with: Mapping[str, RunWith] = {}
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    data_with: Mapping[str, DataWith] = {}
    carried: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    options: RunOptions = RunOptions()
    nondeterministic: str = ""
    exclusive: bool = False
    isolate: bool = False
    missing: tuple[Missing, ...] = ()
    host: str = ""
    environment: str | None = None


class Ask(msgspec.Struct, frozen=True):
    """A measurement that a command wants, whatever the Compressfile says. ``metric``: its record, installed or not;
    ``of``: the target; ``beside``: the target or model that it is measured alternately with.

    ``params``: None for those that the target's ``evaluate`` has. ``alone``: nothing else of the target is measured.
    ``samples``: not the metric is wanted, but a preview of these samples that it judges, by number.
    """

    metric: Metric
    of: str
    beside: str | None = None
    params: Map | None = None
    alone: bool = False
    samples: tuple[int, ...] = ()


class MetricPlan(msgspec.Struct, frozen=True):
    """One metric of one target: the node that measures it, or why nothing can. ``record``: as it is called here."""

    name: str
    unit: str
    direction: str
    node: int | None
    reason: str = ""
    role: str = "detail"
    priority: int = 0
    record: Metric | None = None


class GatePlan(msgspec.Struct, frozen=True):
    """A gate with the nodes it reads: the target's value, and the value of ``against``."""

    spec: GateSpec
    metric: MetricPlan
    against: MetricPlan | None = None


class TargetPlan(msgspec.Struct, frozen=True):
    """What a target asks for. ``artifact``: the node whose output is published; ``model``: the one before compiling.
    ``compared``: metrics of the baseline, by name, that the target's own are seen beside. ``details``: what the report
    shows of it besides. ``asked``: one for each Ask. ``companions``: the node whose files are published beside it."""

    spec: TargetSpec
    artifact: int
    model: int
    metrics: tuple[MetricPlan, ...]
    gates: tuple[GatePlan, ...]
    baseline: str | None
    missing: tuple[Missing, ...]
    compared: tuple[MetricPlan, ...] = ()
    details: tuple[MetricPlan, ...] = ()
    asked: tuple[MetricPlan, ...] = ()
    companions: int | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def nodes(self) -> tuple[int, ...]:
        """Every node whose result the target reads itself."""
        wanted = [self.artifact, self.model, *([self.companions] if self.companions is not None else [])]
        wanted += [m.node for m in (*self.metrics, *self.compared, *self.details, *self.asked) if m.node is not None]
        for gate in self.gates:
            wanted += [m.node for m in (gate.metric, gate.against) if m is not None and m.node is not None]
        return tuple(dict.fromkeys(wanted))
