"""A job and the stream to its program: in the queue at first, then at work, then gone."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from threading import Lock

from compressbuild.api import ProcessLink, UserError

from . import keeper
from .queue import Place, Silent, cancel, look
from .words import HOPELESS, hint, last_word

__all__ = ["MARK", "Job"]

MARK = b"cbuild-slurm-1"
"""What the program's first line begins with. What a prolog prints stands before it, and is passed over."""
_NOISE = 1 << 16  # bytes that a prolog may print
_UNHEARD = 60.0  # seconds in which slurmctld may leave open whether it has the job
_SOON, _LATER = 0.5, 20.0  # seconds between two looks at the queue, at first and at most: each costs slurmctld some
_SURE = 2  # looks that find a hopeless reason unchanged: the first one is a guess


class Job(ProcessLink):
    """``command``: of ``srun``; ``token``: the job's comment; ``patience``: seconds in the queue, 0 for no limit."""

    def __init__(self, command: list[str], environment: dict[str, str], token: str, patience: float) -> None:
        lifeline, self._lifeline = os.pipe()
        try:
            kept = [sys.executable, "-I", keeper.__file__, str(lifeline), *command]
            super().__init__(kept, environment=environment, directory="/", descriptors=[lifeline])
        except UserError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self.job = self.node = ""
        self._environment, self._token, self._patience = environment, token, patience
        self._began = self._heard = time.monotonic()
        self._next, self._pause = self._began + _SOON, _SOON
        self._place: Place | None = None
        self._trouble = ""
        self._text = b""
        self._runs = False
        self._hopeless = 0
        self._closing = Lock()

    # -- in the queue ------------------------------------------------------------------------------------------------

    def waiting(self) -> str | None:
        """What it waits for; None once the program runs. UserError if it will never run."""
        if self._runs or self._greeted():
            return None
        now = time.monotonic()
        if now >= self._next:
            self._look()
            self._pause = min(self._pause * 1.5, _LATER)
            self._next = time.monotonic() + self._pause
        if self._place is None and now - self._heard > _UNHEARD:
            self._give_up(self._trouble or "slurmctld did not take the job", "'scontrol ping' says whether it answers")
        if self._hopeless >= _SURE and self._place is not None:
            self._give_up(f"job {self._place.job} can never start ({self._place.reason})", HOPELESS[self._place.reason])
        if self._patience and now - self._began > self._patience:
            text = f"{self._shown()} after {self._patience / 60:g} min"
            self._give_up(text, "build again later, ask for less, or let 'wait' be longer")
        return self._shown()

    def _greeted(self) -> bool:
        """Takes what comes up to the program's first line."""
        while select.select([self.stdout], [], [], 0)[0]:
            char = self.stdout.read(1)
            if not char:
                why = self.fault()
                self.close()
                raise UserError(why, hint=hint(why))
            self._text += char
            if char == b"\n":
                _, found, rest = self._text.rpartition(MARK)
                if found:
                    self.job, self.node = [*rest.decode(errors="replace").split(), "", ""][:2]
                    self._runs = True
                    return True
            if len(self._text) > _NOISE:
                self._give_up("what a prolog prints there is too long", "let it print nothing")
        return False

    def _look(self) -> None:
        try:
            found = look(self._token, self._environment)
        except Silent as error:
            self._trouble = str(error)
            return
        self._trouble = ""
        stays = found is not None and found == self._place and found.reason in HOPELESS and found.state == "PENDING"
        self._hopeless = self._hopeless + 1 if stays else 0
        self._place = found
        if found is not None:
            self._heard = time.monotonic()
            self.job = found.job

    def _shown(self) -> str:
        if self._trouble:
            return f"Slurm does not answer: {self._trouble}"
        if self._place is None:
            return ""
        reason = f" ({self._place.reason})" if self._place.reason not in ("", "None") else ""
        return f"job {self._place.job} is {self._place.state.lower()}{reason}"

    def _give_up(self, why: str, next_step: str | None) -> None:
        self.close()
        raise UserError(why, hint=next_step or hint(why))

    # -- its end -----------------------------------------------------------------------------------------------------

    def fault(self) -> str:
        """What Slurm or the program said last."""
        self.ended()
        where = f"job {self.job} on {self.node}: " if self.node else ""
        return where + (last_word(self.errors()) or f"srun ended (exit status {self.process.poll()})")

    def close(self) -> None:
        """The program sees the end of its input and ends, and the job with it; one that still waits is cancelled."""
        with self._closing:
            if self._lifeline < 0:
                return
            with contextlib.suppress(OSError):
                self.stdin.close()
            if not self.ended(None if self._runs else 0):
                with contextlib.suppress(OSError):
                    os.write(self._lifeline, b"!")
                if not self.ended(3 * keeper.GRACE):
                    self.process.kill()
                    self.process.wait()
                if self.job:
                    with contextlib.suppress(Silent):  # then slurmctld hears of it from the node
                        cancel(self.job, self._environment)
            os.close(self._lifeline)
            self._lifeline = -1
