"""One node, in a process of its own: set up its environment, call its function, answer.

Forked by the warm parent (:mod:`.zygote`). The process ends with the node: nothing that user code does to it matters
to the next one.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import math
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

import msgspec

from ..api.context import Context, UserError, resolve
from ..api.rows import FORM, rows_fault
from ..api.work import WorkRequest, WorkResult
from . import procfs
from .failure import RAISED, describe
from .guard import Guard
from .protocol import Outcome, Report, Sandbox, frame, json_value

__all__ = ["main", "run_node"]

_LARGEST_FACTS = 8 << 20  # bytes; every look-up of the result reads them
_REPORT_EVERY = 0.1  # seconds between two progress messages of a node


def main(request: WorkRequest, log: int, results: int, parent: int, sandbox: Sandbox) -> NoReturn:
    """The life of a forked child. ``log``, ``results``: descriptors to write to; ``parent``: the warm parent's pid."""
    status = 0
    try:
        _detach(log, parent)
        _furnish(request)
        result = run_node(request, _reporter(results), sandbox)
        _write_all(results, frame(Outcome(result)))
    except BaseException:  # noqa: BLE001  the process border: whatever it is, the log is the only place left for it
        traceback.print_exc()
        status = 70
    finally:
        # No interpreter shutdown: it would run the warm parent's exit handlers, and costs longer than many nodes do.
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        procfs.flush_c_streams()
        os._exit(status)


def _detach(log: int, parent: int) -> None:
    """Leave the warm parent's session, follow it in death, be the kernel's first choice when memory runs out."""
    os.setsid()
    procfs.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(70)
    procfs.name_process("cbuild-worker")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    faulthandler.enable(file=2)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    except OSError as error:
        if sys.platform == "linux":
            print(f"cbuild: cannot volunteer for the OOM killer: {error}", file=sys.stderr)


def _stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _furnish(request: WorkRequest) -> None:
    """Working directory, environment, import path, logging and seed."""
    for directory in (request.out, request.scratch):
        os.makedirs(directory, exist_ok=True)
    os.chdir(request.scratch)
    os.environ.update(dict.fromkeys(("TMPDIR", "HOME", "PWD"), request.scratch))
    os.environ.update(
        dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(request.threads))
    )
    os.environ.update(request.env)
    if tempfile := sys.modules.get("tempfile"):
        vars(tempfile)["tempdir"] = None  # forget what the warm parent may have settled on
    sys.dont_write_bytecode = True
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("cbuild").setLevel(logging.INFO)
    random.seed(request.seed)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _reporter(results: int) -> Callable[[dict[str, Any]], None]:
    """``ctx.progress``'s other end: at most ten messages a second, and always the last one."""
    sent = 0.0

    def report(values: dict[str, Any]) -> None:
        nonlocal sent
        now = time.monotonic()
        done, total = float(values.pop("done")), float(values.pop("total"))
        if now - sent < _REPORT_EVERY and (done < total or total == 0):
            return
        sent = now
        _write_all(results, frame(Report(done, total, {name: _shown(value) for name, value in values.items()})))

    return report


def _shown(value: Any) -> float | str:
    """A value beside a progress bar: a number where it is one (0-d arrays and tensors too), else its text."""
    try:
        if callable(getattr(value, "item", None)):
            value = value.item()
        return value if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return str(value)


def run_node(
    request: WorkRequest,
    report: Callable[[dict[str, Any]], None],
    sandbox: Sandbox = Sandbox(),  # noqa: B008
) -> WorkResult:
    """Call the node's function in this process; never raises. Expects the process to end afterwards."""
    started = time.monotonic()
    guard = Guard(request, sandbox)
    try:
        facts = _call(request, report, guard)
    except BaseException as error:  # noqa: BLE001  the plugin border: whatever it raises is the node's failure
        print(RAISED, file=sys.stderr)
        traceback.print_exc()
        failure = describe(guard.explain(error), root=request.root, run=request.run)
        return WorkResult(
            ok=False,
            error=failure.error,
            hint=failure.hint,
            trace=failure.trace,
            about=failure.about,
            change=dict(failure.change),
            seconds=time.monotonic() - started,
            peak_rss=procfs.peak_rss(),
        )
    return WorkResult(
        ok=True,
        seconds=time.monotonic() - started,
        peak_rss=procfs.peak_rss(),
        facts=facts,
        sandbox=guard.confined.name,
    )


def _call(request: WorkRequest, report: Callable[[dict[str, Any]], None], guard: Guard) -> dict[str, Any]:
    sys.path[:0] = request.code_roots
    importlib.invalidate_caches()
    guard.watch()
    context = Context(request, report)
    function = resolve(request.run)
    params = context.params()
    subject = (context.artifact("subject"),) if context.has("subject") else ()
    returned = function(context, *subject, params)
    facts = _plain_facts(returned, request.run)
    guard.check()
    if request.measures:
        _check_value(returned, facts, request.run)
        _check_rows(facts, request.run)
    if request.save_json is not None:
        _save(Path(request.out, request.save_json), facts)
    if request.validate is not None:
        try:
            resolve(request.validate)(Path(request.out))
        except ValueError as error:
            raise UserError(f"its output is not valid: {error}") from error
    return facts


def _plain_facts(returned: Any, run: str) -> dict[str, Any]:
    """What a function returned, as JSON gives it back; numpy scalars become numbers, NaN becomes null."""
    if returned is None:
        return {}
    if not isinstance(returned, dict):
        raise UserError(
            f"{run} returned a {type(returned).__name__}",
            hint="it may return a dict of facts with JSON values, or None",
        )
    try:
        encoded = msgspec.json.encode(returned, enc_hook=json_value, order="deterministic")
    except TypeError as error:
        raise UserError(f"{run} returned facts that are not JSON: {error}") from error
    if len(encoded) > _LARGEST_FACTS:
        size, most = len(encoded) / (1 << 20), _LARGEST_FACTS >> 20
        raise UserError(
            f"{run} returned {size:.3g} MiB of facts, and at most {most} MiB are kept",
            hint="facts are a few numbers worth showing: write the rest to a file in ctx.out",
        )
    return msgspec.json.decode(encoded, type=dict[str, Any])


def _check_value(returned: Any, facts: Mapping[str, Any], run: str) -> None:
    """A metric without a finite value would pass for one that nobody can compare."""
    value = facts.get("value")
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return
    if "value" not in facts:
        raise UserError(f"{run} returned no 'value'", hint="a metric returns a dict with at least 'value', a number")
    raise UserError(
        f"{run} returned the value {returned['value']!r}, which is not finite"[:300],
        hint="look for NaN or infinity in the model's outputs and in the labels; constant outputs have no correlation",
    )


def _check_rows(facts: Mapping[str, Any], run: str) -> None:
    """Gates, warnings and the report read ``per_class`` of every metric."""
    fault = rows_fault(facts.get("per_class", {}))
    if fault is not None:
        raise UserError(f"{run} returned {fault}", hint=FORM)


def _save(path: Path, facts: dict[str, Any]) -> None:
    """Equal facts give equal bytes: keys sorted, one form of white space."""
    text = msgspec.json.format(msgspec.json.encode(facts, order="deterministic"), indent=2)
    path.write_bytes(text + b"\n")
