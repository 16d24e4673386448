"""The records that plugins return. Plain data: nothing here imports or runs a plugin's heavy code.

``run``, ``load``, ``init`` and ``validate`` are ``"module:function"`` strings, imported in a worker only.
``stack``: the software that these functions run on. ``needs``: what they take of the host besides.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .needs import Needs
from .params import Params
from .record import RecordMeta
from .stack import Stack

__all__ = [
    "AnswerMetric",
    "ArtifactMetric",
    "Backend",
    "Check",
    "Kind",
    "Metric",
    "Platform",
    "RunMetric",
    "Source",
    "Technique",
]


class Kind(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """A kind of artifact: what its directory must hold, and how it is loaded and run.

    ``files``: glob patterns that must each match at least one file. ``validate``: optional ``f(dir: Path) -> None``
    that raises ValueError. ``load``: optional ``f(ctx, dir: Path, settings: None) -> Runner`` that runs an artifact of
    this kind with no backend (the reference runtime). ``suffixes``: file suffixes that a model source of
    this kind has. ``init``: optional ``f(ctx, params: dict)`` that fills ``ctx.out`` from a model factory.
    ``carries_code``: loading it runs the user's factory, so that code is in the key of each consumer. ``profile``:
    optional profiler of the reference runtime, as a backend's. ``census``: optional ``f(ctx, dir: Path) -> Census``,
    for metrics that count. ``loading``: lines of Python that load what lies in ``directory`` and run it, without
    compressbuild; for people. The first of ``files`` in it becomes the file's name, ``<name>`` the compile setting
    ``name``, and ``<name:a=b>`` too, but ``b`` where that is ``a``. ``open``: optional
    ``f(dir: Path, factory, trusted) -> object``, what a program works with. ``factory``: None, or the function that the
    program gives; ``trusted``: names of the factories of installed sources.
    """

    name: str
    files: tuple[str, ...]
    summary: str = ""
    validate: str | None = None
    load: str | None = None
    suffixes: tuple[str, ...] = ()
    init: str | None = None
    carries_code: bool = False
    profile: str | None = None
    census: str | None = None
    loading: str = ""
    open: str | None = None
    stack: Stack = Stack()
    needs: Needs = Needs()
    version: int = 1


class Source(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """What a model or a dataset can be read from, beside factories, model files and loaders.

    ``{npz: data.npz, labels: y}`` uses the source ``npz``. ``params``: the keys of the entry; the one that is called as
    the source must be among them.

    ``of``: ``model`` or ``dataset``. A dataset's ``run``: ``f(ctx, params, rows: Rows) -> iterable`` of batches
    ``(inputs, labels)``; labels N×0 say that there are none. A model's ``run``: ``f(ctx, params) -> dict | None``
    fills ``ctx.out`` with an artifact of kind ``produces``. ``factory``: for a kind that carries code, the function
    that loading these artifacts calls. ``companions``: optional ``f(ctx, params)`` that fills ``ctx.out`` with files to
    be published beside every artifact made of the model: a tokenizer, a configuration. ``isolate``: its files are of a
    format that could run code, so they are read in the strictest sandbox that the machine has.
    """

    name: str
    of: str
    run: str
    params: type[Params]
    produces: str | None = None
    factory: str | None = None
    companions: str | None = None
    isolate: bool = False
    version: int = 1
    stack: Stack = Stack()
    needs: Needs = Needs()
    summary: str = ""


class Technique(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """Turns an artifact into an artifact. ``run``: ``f(ctx, model: Path, params) -> dict | None``.

    The function reads the directory ``model``, fills the directory ``ctx.out`` and may return facts
    worth showing (``{"sparsity": 0.5}``, JSON values), which the action result keeps.
    ``consumes``: kinds accepted; ``produces``: kind made (None: the kind consumed).
    ``nondeterministic``: why two runs may differ; empty means that equal keys give equal bytes.
    ``traits``: what it does, in the words of ``compressbuild.api.TRAITS``; checks of ``cbuild advise`` ask for them.
    ``preview``: of a technique that answers what its parameter ``data`` holds, sample by sample, for metrics: optional
    ``f(ctx, params: Previewing) -> dict``, the fields of a Preview, for reports.
    """

    name: str
    run: str
    params: type[Params] = Params
    version: int = 1
    consumes: tuple[str, ...] = ()
    produces: str | None = None
    stack: Stack = Stack()
    needs: Needs = Needs()
    nondeterministic: str = ""
    traits: tuple[str, ...] = ()
    preview: str | None = None


class Backend(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """Compiles an artifact for a platform, and can load and run what it compiled.

    ``compile``: ``f(ctx, model: Path, settings) -> dict | None`` fills ``ctx.out``. ``load``:
    ``f(ctx, artifact: Path, settings) -> Runner``. ``settings``: a Params struct, the keys of a platform beside
    ``backend`` and ``requires``. ``compile_needs`` / ``run_needs``: what each takes beside the stack. A backend that
    compiles here but cannot run here cross-compiles. ``compile_facts``: names of probed facts the compiled bytes
    depend on (``cpu.isa``, ``gpu.sm``); ``run_facts``: those that measurements depend on. ``qdq_scheme``: how int8
    models for it are quantized, a name that quantizers know: ``u8-affine``, ``s8-symmetric``, or its own.
    ``saturates``: its kernels add two products of 8 bits in 16 on x86-64 without VNNI, so weights for it need 7 bits
    there (see :data:`Narrow`). ``sparse``: it has kernels that skip zeros in a pattern of N in M. ``profile``:
    optional ``f(ctx, artifact: Path, params: Profiling) -> dict``, the fields of a Profile, for ``cbuild profile``;
    ``ctx.settings("subject")`` are the platform's.
    ``priority``: ``cbuild init`` takes the runtime with the highest of those that can run here.
    """

    name: str
    compile: str
    load: str
    settings: type[Params] = Params
    consumes: tuple[str, ...] = ("onnx",)
    produces: str = "engine"
    version: int = 1
    qdq_scheme: str = "u8-affine"
    saturates: bool = False
    sparse: bool = False
    stack: Stack = Stack()
    compile_needs: Needs = Needs()
    run_needs: Needs = Needs()
    compile_facts: tuple[str, ...] = ()
    run_facts: tuple[str, ...] = ("cpu.model", "cpu.isa")
    nondeterministic: str = ""
    summary: str = ""
    profile: str | None = None
    priority: int = 0


class Metric(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """The fields that all metrics share.

    A plugin yields an :class:`ArtifactMetric`, :class:`AnswerMetric` or :class:`RunMetric`.

    ``run``: ``f(ctx, subject: Path, params) -> dict``, with at least ``{"value": number}``. ``direction``: ``lower``,
    ``higher`` or ``none`` is better.

    ``role``: ``quality`` (how good the answers are), ``cost`` (what the artifact takes: time, bytes, arithmetic) or
    ``detail`` (neither). ``priority``: of several metrics of a role, the higher is shown first. The metric of quality
    with the highest priority, and the one of cost with the highest above 0, decide which target to ship.

    ``per_class``: the result has ``per_class``, and the baseline is measured too, so that a class that collapsed is
    seen. ``source``: where the definition comes from.

    ``judges``: what ``cbuild init`` measures with it: ``classes``, where samples are labelled with classes, or
    ``outputs``, where they are not. ``limit``: the gate that it then writes, as a Compressfile has it; empty:
    ``max-drop`` against the baseline.
    """

    name: str
    run: str
    params: type[Params] = Params
    unit: str = ""
    direction: str = "none"
    role: str = "detail"
    priority: int = 0
    per_class: bool = False
    version: int = 1
    stack: Stack = Stack()
    needs: Needs = Needs()
    summary: str = ""
    source: str = ""
    judges: str = ""
    limit: dict[str, Any] = {}


class ArtifactMetric(Metric, frozen=True, kw_only=True):
    """Reads the files of an artifact, without running it.

    ``of``: ``artifact``, what is published, or ``model``, the artifact before it was compiled. ``kinds``: kinds that it
    can read (empty: any). ``census``: it counts, through ``ctx.census("subject")``, any kind that has a census.
    ``unasked``: measured, without being asked for, of every target that anything is measured of
    and that it can read; for the report alone, so not in tables, history and ``metrics.json``.
    """

    of: str = "artifact"
    kinds: tuple[str, ...] = ()
    census: bool = False
    unasked: bool = False


class AnswerMetric(Metric, frozen=True, kw_only=True):
    """Reads a target's answers on the evaluation data.

    ``via``: the technique that makes them, once per target, of what ``evaluate.data`` holds. A parameter of the metric
    that the technique has too is handed to it. ``paired``: also reads the baseline's answers, as
    ``ctx.artifact("baseline")``; without a baseline it is not measured. ``examples``: a technique that makes what
    ``via`` predicts on, its input ``examples``. Its subject is the model that the metric's parameter ``surrogate``
    names, or else the closest ancestor of the target that it consumes. ``origin``: kinds, of a metric that compares
    two models: ``via`` then reads the model before it was compiled and, as its input ``origin``, the first of such a
    kind that it was made from. Where they are one it is not measured.
    """

    via: str
    examples: str | None = None
    origin: tuple[str, ...] = ()
    paired: bool = False


class RunMetric(Metric, frozen=True, kw_only=True):
    """Runs the artifact, through ``ctx.runner("subject")``; the baseline, if any, through ``ctx.runner("baseline")``.

    ``kinds``: kinds of artifact that it can run (empty: any). ``model``: of a metric that also reads the artifact
    before it was compiled, as ``ctx.artifact("model")``, the kinds that this may be. ``census``: it counts that
    artifact, through ``ctx.census("model")``, if its kind has a census. ``exclusive``: it measures, so nothing else
    may run meanwhile, and two results may differ.
    """

    kinds: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    census: bool = False
    exclusive: bool = True


class Platform(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """Common hardware, for the catalogue: ``platforms: {mine: {like: NAME}}``, or NAME in a target.

    ``settings``: of the backend, as a Compressfile would write them. ``requires``: facts that the host must have to
    build for it.
    """

    name: str
    backend: str
    summary: str = ""
    settings: dict[str, Any] = {}
    requires: dict[str, Any] = {}


class Check(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """A question that ``cbuild advise`` puts to each target. ``run``: ``f(seen: Seen) -> Iterable[Advice]``.

    The types are those of ``compressbuild.api.advice``. The function is pure, and ``cbuild advise`` calls it in its own
    process: its module imports the standard library and ``compressbuild.api`` only. ``reference``: where the advice
    comes from, for those that do not say it. ``priority``: the advice with the highest comes first.
    """

    name: str
    run: str
    reference: str
    summary: str = ""
    priority: int = 0
    version: int = 1
