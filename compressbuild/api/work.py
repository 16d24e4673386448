"""A worker's request and its answer: plain data that crosses the process border as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from .part import Rows

__all__ = ["WorkDataset", "WorkExpect", "WorkInput", "WorkRequest", "WorkResult", "WorkSight"]


class WorkInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input artifact. ``path``: its directory, absolute. ``load``: ``module:function`` that makes a Runner of it
    (a backend's or its kind's), with ``settings`` of type ``settings_type`` (``module:Class``). ``census``: the
    kind's, of an input that is counted."""

    path: str
    kind: str
    load: str | None = None
    census: str | None = None
    settings: dict[str, Any] | None = None
    settings_type: str | None = None


class WorkDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset: ``loader(**args)`` is imported from the user's project. ``files``: the files it may read.

    With ``params_type`` it is a plugin's source: ``loader(ctx, params, rows)``, with ``args`` as parameters of that
    type (``module:Class``)."""

    loader: str
    args: dict[str, Any] = {}
    files: tuple[str, ...] = ()
    params_type: str | None = None
    rows: Rows = Rows()


class WorkSight(msgspec.Struct, frozen=True, kw_only=True):
    """What the action key covers on disk, by absolute paths. ``files``: listed ones and code; ``trees``: listed
    directories, with all below; ``folders``: those that a glob looks through, whose files' names count."""

    files: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


class WorkExpect(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine that runs the node must be, since the action key says so.

    ``facts``: platform facts, and ``host``, the id of the machine, of a measurement; ``tools``: distribution → version,
    None if it is not installed; ``plugin_code``: file of a plugin, from the directory that holds its package → digest;
    ``python``: its version, or empty for any.
    """

    facts: dict[str, Any] = {}
    tools: dict[str, str | None] = {}
    plugin_code: dict[str, str] = {}
    python: str = ""


class WorkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One node to run: ``run(ctx, inputs["subject"], params)``.

    ``inputs``: by role: ``subject`` is the first argument (absent for a source), the others are found through the
    reference (``artifact``/``runner``). ``references``: name as written in a parameter → role in ``inputs``.
    ``code_roots``: directories put first on ``sys.path`` (the project). ``code_files``: project files (relative to
    ``root``) that the action key covers; ``read_files``: listed data files. Project code or files
    read beyond these fail the node, for the key would not cover them. ``factories``: the only factories a loader may
    call. ``save_json``: file name in ``out`` where the dict that the function returned is written (metrics), or None:
    it is only reported. ``measures``: its ``value`` must be a finite number.
    ``validate``: ``module:function`` of the kind, called with ``out`` at the end. ``checkpoint``: see ``Context``.
    ``sight``: all that the node may read beside its inputs; None: nobody said, so the kernel keeps it from nothing.
    ``host``: the address of the machine that runs it; empty: this one. ``expect``: what that machine must be.
    ``isolate``: it parses a file of a format that could run code, so it takes the strictest sandbox that there is.
    ``python``: the interpreter of the environment that it runs in; empty for the engine's own.
    """

    label: str
    run: str
    params: dict[str, Any]
    params_type: str | None = None
    inputs: dict[str, WorkInput] = {}
    references: dict[str, str] = {}
    datasets: dict[str, WorkDataset] = {}
    out: str
    scratch: str
    root: str
    code_roots: tuple[str, ...] = ()
    code_files: tuple[str, ...] = ()
    read_files: tuple[str, ...] = ()
    ignore_dirs: tuple[str, ...] = ()
    factories: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
    env: dict[str, str] = {}
    seed: int = 0
    threads: int = 1
    save_json: str | None = None
    measures: bool = False
    validate: str | None = None
    checkpoint: str | None = None
    sight: WorkSight | None = None
    isolate: bool = False
    host: str = ""
    expect: WorkExpect | None = None
    python: str = ""


class WorkResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. ``error``: one line; ``hint``: what may help; ``trace``: the user's part of the traceback.
    ``about``, ``change``: as of a UserError.

    ``facts``: what the function returned. ``seconds``: wall time; ``peak_rss``: bytes (VmHWM).
    ``sandbox``: what kept it from other files: ``bubblewrap``, ``landlock``, both, or ``none``.
    """

    ok: bool
    error: str | None = None
    hint: str | None = None
    trace: str | None = None
    about: str = ""
    change: dict[str, str] = {}
    facts: dict[str, Any] = {}
    seconds: float = 0.0
    peak_rss: int = 0
    sandbox: str = "none"
