"""Compiles an 8-bit LiteRT model for Arm Ethos-U with Vela: https://pypi.org/project/ethos-u-vela/."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

from ethosu.vela import vela
from ethosu.vela.errors import VelaError
from ethosu.vela.tflite import Model
from ethosu.vela.tflite.BuiltinOperator import BuiltinOperator

from compressbuild.api import Context, Runner, UserError

from .artifact import COMMANDS, NAME, copy
from .settings import EthosUSettings

__all__ = ["compile", "load"]

_OPERATORS = {value: name for name, value in vars(BuiltinOperator).items() if not name.startswith("_")}
_AREAS = ("sram", "dram", "on_chip_flash", "off_chip_flash")


def compile(ctx: Context, model: Path, settings: EthosUSettings) -> dict[str, Any]:
    """Facts: ``estimate``: what Vela computes from its model of the hardware, measured nowhere: ``ms`` of
    an inference, ``cycles`` at ``clock_mhz``, ``macs``, and KiB of each memory. ``cpu_operators``: name → how many are
    left to the microcontroller's own processor."""
    source = copy(model, ctx.scratch)
    words = [str(source), "--output-dir", str(ctx.scratch / "made"), "--accelerator-config", settings.accelerator]
    words += ["--optimise", settings.optimize.capitalize()]
    if settings.system is not None or settings.memory is not None:
        words += ["--config", "Arm/vela.ini"]
        words += ["--system-config", settings.system] if settings.system is not None else []
        words += ["--memory-mode", settings.memory] if settings.memory is not None else []
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = vela.main(words)
    except VelaError as error:
        raise UserError(f"Vela cannot compile this model: {_line(error.error_msg)}") from error
    except (Exception, SystemExit) as error:  # its reader and its compiler raise plain ones, or exit
        raise UserError(f"Vela cannot compile this model: {_line(error)} {_line(said.getvalue())}".rstrip()) from error
    finally:
        ctx.log.info("%s", said.getvalue())
    made = ctx.scratch / "made" / f"{source.stem}_vela.tflite"
    if status or not made.is_file():
        raise UserError(f"Vela cannot compile this model: {_line(said.getvalue())}")
    copy(model, ctx.out)
    (ctx.out / NAME).write_bytes(made.read_bytes())
    operators = _operators(made.read_bytes())
    streams = operators.pop(COMMANDS, 0)
    if not streams:
        raise UserError(
            f"no operator of this model runs on {settings.accelerator}: it is left with "
            + ", ".join(f"{name} ×{count}" for name, count in operators.items()),
            hint="it computes in 8-bit integers: 'quantize.tflite: {precision: int8, io: int8, data: …}'",
        )
    if operators:
        shown = ", ".join(f"{name} ×{count}" for name, count in operators.items())
        ctx.log.warning("these operators run on the processor, not on the Ethos-U: %s", shown)
    (summary,) = (ctx.scratch / "made").glob("*_summary_*.csv")
    return {"npu_parts": streams, "cpu_operators": operators, "estimate": _estimate(summary)}


def load(ctx: Context, artifact: Path, settings: EthosUSettings | None) -> Runner:
    """Nothing but a device runs it."""
    raise UserError("a model for an Ethos-U runs on its device alone", hint="its estimate is among the facts")


def _operators(content: bytes) -> dict[str, int]:
    """Name of an operator → how many there are."""
    model = Model.Model.GetRootAsModel(content, 0)
    found: Counter[str] = Counter()
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for at in range(graph.OperatorsLength()):
            code = model.OperatorCodes(graph.Operators(at).OpcodeIndex())
            custom = code.CustomCode()
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            found[custom.decode() if custom else _OPERATORS.get(builtin, f"operator {builtin}")] += 1
    return dict(sorted(found.items()))


def _estimate(summary: Path) -> dict[str, Any]:
    with summary.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    used = {f"{area}_kib": float(row.get(f"{area}_memory_used") or 0) for area in _AREAS}
    return {
        "ms": round(1e3 * float(row["inference_time"]), 6),
        "cycles": float(row["cycles_total"]),
        "clock_mhz": float(row["core_clock"]) / 1e6,
        "macs": float(row["nn_macs"]),
        **{name: round(size, 3) for name, size in used.items() if size},
    }


def _line(error: object) -> str:
    return " ".join(str(error).split())[:500]
