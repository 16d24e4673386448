"""The machines that a Compressfile names: reached when first asked for, described once a build."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from blake3 import blake3

from ..api.context import resolve
from ..api.executor import Executor, Machine
from ..api.needs import Needs
from ..api.params import Params
from ..digest import load_sealed, save_sealed
from ..errors import PluginError, UsageError
from ..platforms import Facts, Missing, check, lacking, probe
from ..registry import Registry
from ..registry.installed import Installed
from ..words import suggest
from .bundle import Bundle
from .session import Session, Unreachable
from .wire import Ready

__all__ = ["Machines", "worker", "workers"]

_MAGIC = b"compressbuild-machine-1"
_DIRECTORY = "directory"
"""The option of every address: where the agent keeps its files there."""
_WORKERS = "workers"
"""The option of executors that give several machines at one address, all alike."""


def workers(record: Executor, address: str) -> int:
    """How many machines an address stands for, which ``record`` takes. UsageError."""
    return int(getattr(_options(record, address)[0], _WORKERS, 1))


def _options(record: Executor, address: str) -> tuple[Params, str]:
    """Of the executor, and the directory of the agent."""
    given: dict[str, Any] = dict(parse_qsl(address.partition("?")[2], keep_blank_values=True))
    directory = given.pop(_DIRECTORY, "")
    try:
        return msgspec.convert(given, record.options, strict=False), directory
    except msgspec.ValidationError as error:
        raise UsageError(
            f"executor '{record.name}' does not take '{address}': {error}",
            hint=f"'cbuild help {record.name}' lists its options",
        ) from error


def worker(address: str, number: int) -> str:
    """The address of one of several workers, counted from 0. The first stands for the address: it says what they are,
    and measures."""
    return f"{address}#{number + 1}" if number else address


class _Known(msgspec.Struct):
    """What was last heard of a machine. ``answers``: needs, as JSON → what it lacks."""

    ready: Ready
    answers: dict[str, tuple[Missing, ...]] = {}


class Machines:
    """``state``: a directory in which to remember them. ``sandbox``: of the nodes. A method that is given an address
    connects if nothing is known of it yet.

    ``on_wait``: hears of an address, and what a scheduler has it wait for; empty once it waits no more. In any thread.
    """

    def __init__(self, registry: Registry, state: Path, sandbox: str) -> None:
        self._registry, self._state, self._sandbox = registry, state, sandbox
        self._known: dict[str, _Known | Unreachable] = {}
        self._fresh: set[str] = set()
        self._sessions: dict[str, Session] = {}
        self._bundle: Bundle | None = None
        self._lock = Lock()  # of what threads share: bundle and openings
        self._opening: dict[str, Lock] = {}
        self._stop = Event()
        self.on_wait: Callable[[str, str], None] = _say

    # -- addresses ---------------------------------------------------------------------------------------------------

    def problem(self, address: str) -> tuple[str, str | None] | None:
        """What is wrong with the text of an address: message and hint."""
        try:
            _options(self.executor(address), address)
        except (PluginError, UsageError) as error:
            return str(error), error.hint
        return None

    def executor(self, address: str) -> Executor:
        """The one that takes it. PluginError if none does, or two do."""
        scheme, separator, _ = address.partition("://")
        known = self._registry.executors.values()
        found = [each for each in known if (scheme in each.schemes if separator else each.plain)]
        what = f"'{scheme}://' addresses" if separator else "addresses without a scheme"
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(f"'{each.name}'" for each in found)
            raise PluginError(f"{what} are taken by executors {names}", hint="uninstall one of them")
        schemes = [each for record in known for each in record.schemes]
        hint = suggest(scheme, schemes, otherwise="'cbuild plugins' lists the executors")
        raise PluginError(f"no executor takes {what}", hint=hint)

    def machine(self, address: str) -> Machine:
        """The machine as its plugin gives it. PluginError, UsageError, or what the plugin raises."""
        record = self.executor(address)
        options, _ = _options(record, address)
        found: Machine = resolve(record.open)(address.partition("?")[0], options)
        return found

    # -- what a machine is -------------------------------------------------------------------------------------------

    def facts(self, address: str) -> Facts:
        """All None of a machine that cannot be reached."""
        known = self._of(address)
        if isinstance(known, Unreachable):
            return Facts.fixed({})
        ready = known.ready
        return Facts(ready.facts.get, lambda: ready.gpu_reason, lambda: ready.gpus)

    def ready(self, address: str) -> Ready | None:
        """What its agent says of it; None if it cannot be reached."""
        known = self._of(address)
        return None if isinstance(known, Unreachable) else known.ready

    @property
    def shipped(self) -> frozenset[str]:
        """Distributions whose packages are sent along."""
        modules = self._registry.installed.modules
        return frozenset(name for top in self._tops() for name in modules.get(top, ()))

    def installed(self, address: str) -> Installed:
        """What is installed there. What is shipped has the version that it has here."""
        ready, here = self.ready(address), self._registry.installed
        if ready is None:
            return Installed("", {}, {}, (), {})
        shipped = {top: here.modules[top] for top in self._tops() if top in here.modules}
        own = {_normalised(name) for name in self.shipped}
        versions = {name: version for name, version in here.versions.items() if name in own}
        return Installed("", {}, {**ready.versions, **versions}, (), {**ready.modules, **shipped})

    def check(self, address: str, needs: Needs) -> tuple[Missing, ...]:
        """What the machine lacks of ``needs``; that it cannot be reached is such a lack, too."""
        known = self._of(address)
        if isinstance(known, Unreachable):
            return (Missing(f"the machine {address}, which {known}", known.hint or ""),)
        asked = msgspec.json.encode(needs).decode()
        if needs == Needs():
            return ()
        if asked not in known.answers:
            try:
                known.answers[asked] = self.session(address).check(needs)
            except Unreachable as error:
                self._known[address] = error
                return self.check(address, needs)
            save_sealed(self._file(address), _MAGIC, known)
        return known.answers[asked]

    def dear(self, address: str) -> bool:
        """Whether it is known already, and asking it again may mean to wait in a queue."""
        known = self._known.get(address) or load_sealed(self._file(address), _MAGIC, _Known)
        return self.executor(address).queued and isinstance(known, _Known)

    def renew(self, addresses: Iterable[str]) -> bool:
        """Ask each of these machines once more; whether what was believed of one has changed."""
        changed = False
        for address in dict.fromkeys(addresses):
            if address not in self._fresh:
                before = self._known.pop(address, None)
                now = self._hear(address)
                if isinstance(now, _Known) and isinstance(before, _Known) and before.ready == now.ready:
                    # What it lacked may be there now, without a fact or version that says so.
                    now.answers.update({needs: missing for needs, missing in before.answers.items() if not missing})
                    changed = changed or len(now.answers) != len(before.answers)
                changed = changed or not _alike(before, now)
        return changed

    def _of(self, address: str) -> _Known | Unreachable:
        if address not in self._known:
            kept = load_sealed(self._file(address), _MAGIC, _Known)
            if kept is None:
                return self._hear(address)
            self._known[address] = kept
        return self._known[address]

    def _hear(self, address: str) -> _Known | Unreachable:
        try:
            found: _Known | Unreachable = _Known(self.session(address).ready)
        except Unreachable as error:
            found = error
        self._known[address] = found
        self._fresh.add(address)
        if isinstance(found, _Known):
            save_sealed(self._file(address), _MAGIC, found)
        return found

    def _file(self, address: str) -> Path:
        return self._state / blake3(address.encode()).hexdigest()[:32]

    # -- reaching it -------------------------------------------------------------------------------------------------

    def session(self, address: str) -> Session:
        """The session with a machine, or one of its workers; a new one if there is none, or the last was lost. Raises
        Unreachable."""
        with self._lock:
            opening = self._opening.setdefault(address, Lock())
        with opening:  # of this one alone: a machine that waits in a queue keeps no other waiting
            found = self._sessions.get(address)
            if found is None or found.lost is not None:
                if found is not None:
                    found.close()
                found = self._sessions[address] = self._open(address)
            return found

    def _open(self, address: str) -> Session:
        general = address.partition("#")[0]
        record = self.executor(general)
        _, directory = _options(record, general)
        missing = [lack for needs in (record.stack.needs, record.needs) for lack in check(needs, probe())]
        if missing:
            hint = "; ".join(dict.fromkeys(lack.hint for lack in missing if lack.hint))
            raise Unreachable(f"cannot be reached from here: executor '{record.name}' {lacking(missing)}", hint=hint)
        try:
            machine = self.machine(general)
        except Exception as error:  # plugin border: an executor runs its libraries
            raise Unreachable(f"cannot be reached: {error}", hint=getattr(error, "hint", None)) from error
        with self._lock:
            if self._bundle is None:
                self._bundle = Bundle(self._tops(), follow=True)
        return Session(
            machine,
            self._bundle,
            self._sandbox,
            directory,
            on_wait=lambda text: self.on_wait(address, text),
            stop=self._stop,
        )

    def give_up(self) -> None:
        """Wait no longer for machines that a scheduler has not given yet."""
        stop, self._stop = self._stop, Event()
        stop.set()

    def _tops(self) -> frozenset[str]:
        """Top-level packages of the engine and all plugins."""
        own = {"compressbuild"} | {
            plugin.module.partition(":")[0].partition(".")[0] for plugin in self._registry.plugins
        }
        return frozenset(own).union(*map(self._registry.siblings, own))

    def close(self) -> None:
        """End every session, and so all that runs there."""
        self.give_up()
        for session in list(self._sessions.values()):
            with contextlib.suppress(OSError):
                session.close()
        self._sessions.clear()


def _say(address: str, text: str) -> None:
    """Before there are events, and for commands that have none: a line, as a build prints it."""
    sys.stderr.write(f"{'waiting' if text else 'ready':9} machine {address}{f'  {text}' if text else ''}\n")
    sys.stderr.flush()


def _alike(before: _Known | Unreachable | None, now: _Known | Unreachable) -> bool:
    if isinstance(before, _Known) and isinstance(now, _Known):
        return before.ready == now.ready
    return type(before) is type(now) and str(before) == str(now)


def _normalised(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()
