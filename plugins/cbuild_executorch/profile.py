"""ExecuTorch's event tracer (ETDump): time of each instruction of a program, and of the operators of its delegates."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cbuild_kit.profiled import Run, answer, feeds
from executorch.devtools.etdump.schema_flatcc import PROFILE_EVENT_ENUM, ETDumpFlatCC, ProfileEvent
from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.schema import DelegateCall, KernelCall

from compressbuild.api import Context, Profiling, UserError

from .artifact import PROGRAM
from .runner import ProgramRunner
from .settings import ExecuTorchSettings

__all__ = ["Rows", "profile"]

_CHUNK = 100  # runs whose events are read at a time
_CALLS = (PROFILE_EVENT_ENUM.OPERATOR_CALL.value, PROFILE_EVENT_ENUM.DELEGATE_CALL.value)
_NUMBER = re.compile(r" #\d+$")
Instruction = tuple[int, int]  # chain, index in it


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Rows are the program's instructions, by the kernel that they call, and the operators of each delegate, by the
    name that it gives them; of one type they are numbered in the order in which they run. A delegate's own row is what
    its call takes beside its operators. XNNPACK counts whole microseconds."""
    settings = ctx.settings("subject") or ExecuTorchSettings()
    runner = ProgramRunner(artifact, settings.threads, trace=True)
    arrays, batch = feeds(runner.inputs, params)
    rows = Rows(_called((artifact / PROGRAM).read_bytes()))
    file = ctx.scratch / "events.etdp"
    for _ in range(params.warmup):
        runner(arrays)
    runner.write_events(file)  # and forget those of loading and of warming up
    runs: list[Run] = []
    while len(runs) < params.repeats:
        took = []
        for _ in range(min(_CHUNK, params.repeats - len(runs))):
            start = time.perf_counter()
            runner(arrays)
            took.append(1e6 * (time.perf_counter() - start))
        runner.write_events(file)
        runs += rows.runs(deserialize_from_etdump_flatcc(file.read_bytes()), took)
        ctx.progress(len(runs), params.repeats)
    return answer(runs, batch, runner.describe())


def _called(program: bytes) -> dict[Instruction, str]:
    """What each instruction of a program calls: the operator of a kernel, the name of a delegate's backend."""
    (plan,) = deserialize_pte_binary(program).program.execution_plan
    found: dict[Instruction, str] = {}
    for at, chain in enumerate(plan.chains):
        for index, instruction in enumerate(chain.instructions):
            match instruction.instr_args:
                case KernelCall(op_index=op):
                    operator = plan.operators[op]
                    found[at, index] = f"{operator.name}.{operator.overload}".rstrip(".")
                case DelegateCall(delegate_index=delegate):
                    found[at, index] = plan.delegates[delegate].id
    return found


class Rows:
    """Events → rows of a profile. ``called``: what each instruction calls."""

    def __init__(self, called: Mapping[Instruction, str]) -> None:
        self._called = called
        self._keys: dict[tuple[Instruction, str], tuple[str, str]] = {}  # instruction, part → name, type
        self._count: Counter[str] = Counter()  # of each type

    def runs(self, dump: ETDumpFlatCC, took: Sequence[float]) -> list[Run]:
        """``took``: microseconds of each run. UserError if the runtime kept no events of them."""
        seen = [
            [event.profile_event for event in data.events or [] if event.profile_event is not None]
            for data in dump.run_data
            if data.name == "Execute"
        ]
        if len(seen) != len(took) or not all(any(event.name in _CALLS for event in events) for events in seen):
            raise UserError(
                "this build of ExecuTorch cannot profile: it records no events",
                hint="it was built without its event tracer: install the wheel from PyPI, which has it",
            )
        return [Run(us, self._operators(events)) for us, events in zip(took, seen, strict=True)]

    def _operators(self, events: Sequence[ProfileEvent]) -> dict[tuple[str, str], tuple[float, int]]:
        """A call's event comes after those of what it called. Other events, as a kernel's own within its call, are of
        time that has a row already."""
        found: dict[tuple[str, str], tuple[float, int]] = {}
        inside = 0.0  # of the call that comes next
        for event in events:
            part, us = event.delegate_debug_id_str or "", (event.end_time - event.start_time) / 1000
            if part:
                inside, own = inside + us, us
            elif event.name in _CALLS:
                inside, own = 0.0, max(0.0, us - inside)
            else:
                continue
            key = self._key((event.chain_index, event.instruction_id), part)
            before, calls = found.get(key, (0.0, 0))
            found[key] = before + own, calls + 1
        return found

    def _key(self, instruction: Instruction, part: str) -> tuple[str, str]:
        """A delegate numbers its own operators, ``Add (ND) #1``; a program may have several delegates."""
        key = self._keys.get((instruction, part))
        if key is None:
            op = _NUMBER.sub("", part) or self._called[instruction]
            self._count[op] += 1
            key = self._keys[instruction, part] = f"{op} #{self._count[op]}", op
        return key
