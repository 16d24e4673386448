"""An executor that runs nodes in this process, for tests of what the engine decides."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from compressbuild.api import Context, WorkRequest, WorkResult
from compressbuild.api.context import resolve
from compressbuild.execute.executor import Finished, Happening, Started


class InlineExecutor:
    """Remembers the labels of what it ran in ``ran``."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._done: list[Happening] = []

    def start(self, token: int, request: WorkRequest, *, preload, log, timeout, memory) -> None:
        self.ran.append(request.label)
        self._done.append(Started(token, os.getpid()))
        ctx = Context(request, lambda values: None)
        try:
            params = ctx.params()
            subject = [Path(request.inputs["subject"].path)] if "subject" in request.inputs else []
            facts = resolve(request.run)(ctx, *subject, params) or {}
            if request.save_json:
                (ctx.out / request.save_json).write_bytes(msgspec.json.encode(facts, order="sorted"))
                facts = {}
            self._done.append(Finished(token, WorkResult(ok=True, facts=facts), "ok"))
        except Exception as error:  # noqa: BLE001  as the worker's border does
            self._done.append(Finished(token, WorkResult(ok=False, error=str(error)), "raised", str(error)))

    def wait(self, timeout: float | None = None) -> list[Happening]:
        done, self._done = self._done, []
        return done

    def cancel(self, token: int) -> None: ...

    def close(self) -> None: ...
