"""The Spec: what a Compressfile says, with variables and matrices expanded, types checked, names resolved.

Parameters of steps, platforms and metrics stay located nodes, because only the plugin that owns them knows their types.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..api.part import Rows
from ..errors import Mark
from .nodes import Map, Scalar

__all__ = [
    "HISTORY",
    "RETRIED",
    "DatasetSpec",
    "EnvironmentSpec",
    "EvaluateSpec",
    "GateSpec",
    "InputSpec",
    "MetricUse",
    "ModelSpec",
    "PlatformSpec",
    "PublishSpec",
    "RangeSpec",
    "RemoteSpec",
    "RetrySpec",
    "RunOptions",
    "Spec",
    "StepSpec",
    "TargetSpec",
]

HISTORY = "history"
"""What a gate's ``against`` says for the target's own record. No target is called so: it is a command."""


class RetrySpec(msgspec.Struct, frozen=True):
    """How often a node starts once more, by the cause of its failure."""

    unavailable: int = 0
    crashed: int = 0
    memory: int = 0
    timeout: int = 0


RETRIED = RetrySpec.__struct_fields__
"""Causes after which a node may be retried. One that raised would raise again."""


class RunOptions(msgspec.Struct, frozen=True):
    """How a node is run. None: as the file's ``defaults`` say, else no limit / one thread / seed 0."""

    timeout: float | None = None  # seconds
    memory: int | None = None  # bytes
    threads: int | None = None
    seed: int | None = None
    gpus: int | None = None
    retries: RetrySpec | None = None


class InputSpec(msgspec.Struct, frozen=True):
    """A named model input: ``shape`` of ints and axis names (a name is a dynamic axis), numpy ``dtype``."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


class ModelSpec(msgspec.Struct, frozen=True):
    """A source model: a factory of the user's (``factory``, ``weights``), a ``file`` (with ``files`` beside it), or a
    plugin's ``source``, whose ``settings`` are all keys of the entry."""

    name: str
    mark: Mark
    factory: str | None = None
    args: Map | None = None
    weights: str | None = None
    file: str | None = None
    kind: str | None = None
    inputs: tuple[InputSpec, ...] = ()
    files: tuple[str, ...] = ()
    source: str | None = None
    settings: Map | None = None
    marks: Mapping[str, Mark] = {}  # key written → where its value stands


class DatasetSpec(msgspec.Struct, frozen=True):
    """A ``loader`` of the user's, or a plugin's ``source``, whose ``settings`` are all keys of the entry but ``split``.
    ``rows``: those that the dataset has of its source."""

    name: str
    mark: Mark
    loader: str = ""
    args: Map | None = None
    files: tuple[str, ...] = ()
    source: str | None = None
    settings: Map | None = None
    rows: Rows = Rows()
    marks: Mapping[str, Mark] = {}


class PlatformSpec(msgspec.Struct, frozen=True):
    """``settings``: every key beside ``backend``, ``like``, ``requires`` and ``host``, typed by the backend.
    ``requires``: fact → wanted value. ``like``: a platform of the catalogue, which fills in the rest; then ``backend``
    is empty. ``host``: the address of the machine that compiles and runs for it; empty: as the file's."""

    name: str
    mark: Mark
    backend: str
    settings: Map
    requires: Map | None = None
    like: str | None = None
    marks: Mapping[str, Mark] = {}
    host: str = ""


class EnvironmentSpec(msgspec.Struct, frozen=True):
    """What replaces the lock and the versions of Python that a plugin declares for an environment; None: nothing.
    ``requirements``: relative to the root."""

    mark: Mark | None = None
    requirements: str | None = None
    python: str | None = None


class RangeSpec(msgspec.Struct, frozen=True):
    """A parameter that ``cbuild tune`` chooses: from ``low`` to ``high``, or one of ``choices``. ``mark``: where the
    range is written. ``open``: it has no value, so what uses it cannot be built."""

    parameter: str
    mark: Mark
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    open: bool = False


class StepSpec(msgspec.Struct, frozen=True):
    """``params``: as builds use them; ``ranges``: of those that were written as one."""

    technique: str
    mark: Mark
    params: Map | None = None
    options: RunOptions = RunOptions()
    ranges: tuple[RangeSpec, ...] = ()


class GateSpec(msgspec.Struct, frozen=True):
    """Limits on one metric. ``max_drop``/``max_ratio``/``min_ratio``/``max_class_drop`` compare with ``against``, a
    target or model. ``min_class``: for the worst class; ``max_class_drop``: for the one that falls most.

    ``max_drop``: how far the value may fall (in the metric's unit) below ``against``. ``inconclusive`` and
    ``unmeasured``: ``fail`` or ``allow``. ``against`` may be HISTORY: what this target itself was published with, the
    ``last`` or the ``best`` as ``record`` says. ``units``: limit → ``B`` or ``s``, where it is written as a size or
    time.
    """

    metric: str
    mark: Mark
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    max_ratio: float | None = None
    min_ratio: float | None = None
    min_class: float | None = None
    max_class_drop: float | None = None
    against: str | None = None
    record: str = "last"
    inconclusive: str = "fail"
    unmeasured: str = "fail"
    units: Mapping[str, str] = {}


class MetricUse(msgspec.Struct, frozen=True):
    """``label``: what its result is called: as its parameter ``name`` says, or else as the metric."""

    name: str
    mark: Mark
    params: Map | None = None

    @property
    def label(self) -> str:
        own = self.params.get("name") if self.params is not None else None
        return own.value if isinstance(own, Scalar) and isinstance(own.value, str) else self.name


class EvaluateSpec(msgspec.Struct, frozen=True):
    """What is measured of each target. ``baseline``: the target that ratios are shown against."""

    mark: Mark
    data: str | None = None
    metrics: tuple[MetricUse, ...] = ()
    baseline: str | None = None
    options: RunOptions = RunOptions()


class TargetSpec(msgspec.Struct, frozen=True):
    """``evaluate``: None means the file's own; an EvaluateSpec with no metrics switches it off. ``description`` and
    ``tags`` are for people, and in no key."""

    name: str
    mark: Mark
    source: str  # "from": a model or another target
    steps: tuple[StepSpec, ...] = ()
    platform: str | None = None
    gates: tuple[GateSpec, ...] = ()
    evaluate: EvaluateSpec | None = None
    options: RunOptions = RunOptions()  # for its compile node
    marks: Mapping[str, Mark] = {}  # "from", "platform", …
    description: str = ""
    tags: tuple[str, ...] = ()


class PublishSpec(msgspec.Struct, frozen=True):
    """Where ``targets`` (all of them, if it names none) can be pushed. ``options``: every key beside ``to`` and
    ``targets``, typed by the destination."""

    name: str
    mark: Mark
    to: str
    targets: tuple[str, ...]
    options: Map
    marks: Mapping[str, Mark] = {}


class RemoteSpec(msgspec.Struct, frozen=True):
    """Where results are shared. ``url``: empty for nowhere; ``trust``: paths of public keys; ``timeout``: seconds that
    a small request may take."""

    url: str = ""
    trust: tuple[str, ...] = ()
    read_only: bool = False
    timeout: float = 10.0
    mark: Mark | None = None


class Spec(msgspec.Struct, frozen=True):
    """A whole Compressfile. ``text``: as read, for error excerpts. ``root``: its directory, absolute."""

    path: Path
    root: Path
    text: str
    version: int
    models: Mapping[str, ModelSpec]
    datasets: Mapping[str, DatasetSpec]
    platforms: Mapping[str, PlatformSpec]
    targets: Mapping[str, TargetSpec]
    groups: Mapping[str, tuple[str, ...]]
    evaluate: EvaluateSpec | None = None
    publish: Mapping[str, PublishSpec] = {}
    defaults: RunOptions = RunOptions()
    env: tuple[str, ...] = ()  # environment variables that nodes may see; their values join the keys
    cache: str = "cache"
    remote: RemoteSpec = RemoteSpec()
    python_path: tuple[str, ...] = (".",)
    preload: tuple[str, ...] = ()  # modules imported once, before workers of the user's code are forked
    texts: Mapping[str, str] = {}  # file of a Mark → its text: the file, each --set
    outside: tuple[str, ...] = ()  # places outside the root that paths may lead to
    sandbox: str = "auto"  # of the workers; in no key
    sandbox_mark: Mark | None = None
    environments: Mapping[str, EnvironmentSpec] = {}
    host: str = ""  # the address of the machine that runs the nodes; empty: this one
    host_mark: Mark | None = None

    @property
    def hosts(self) -> frozenset[str]:
        """The addresses of all machines that it names."""
        return frozenset(filter(None, (self.host, *(platform.host for platform in self.platforms.values()))))
