"""Signals that end a command: the first is obeyed, tidily; what follows is ignored while that goes on.

Uses nothing that is not loaded already, as the no-op does.
"""

import _signal  # type: ignore[import-not-found]

ENDING = (1, 2, 3, 15)  # SIGHUP (a closed terminal), SIGINT, SIGQUIT, SIGTERM

_came = 0  # the signal, once one came
_due = False  # it came while held, and is not raised yet
_held = 0


def catch() -> None:
    """Raise KeyboardInterrupt when one of them comes, in the main thread. Those that were ignored stay so (nohup)."""
    for number in ENDING:
        if _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, _handle)


def _handle(number: int, frame: object) -> None:
    global _came, _due
    if _came:
        return
    _came = number
    _due = bool(_held)
    if not _held:
        raise KeyboardInterrupt


class Held:
    """What is begun in its block is finished; a signal that came meanwhile is raised after it."""

    def __enter__(self) -> None:
        global _held
        _held += 1

    def __exit__(self, *exception: object) -> None:
        global _held, _due
        _held -= 1
        if _due and not _held:
            _due = False
            raise KeyboardInterrupt


def leave() -> None:
    """The command is done: a signal that comes now changes nothing, also while the interpreter is taken down, which
    puts back the default of each signal that has a handler."""
    global _came
    _came = _came or -1
    for number in ENDING:
        if _signal.getsignal(number) is _handle:
            _signal.signal(number, _signal.SIG_IGN)


def status() -> int:
    """The exit status of a command that was ended by a signal, as a shell would give it."""
    return 128 + (_came if _came > 0 else 2)
