"""The command ``cbuild``."""

import _signal  # type: ignore[import-not-found]
import os
import sys


def _end(number: int, frame: object) -> None:
    os._exit(128 + number)


# First of all, with what is loaded already: nothing is begun, so Ctrl-C ends the process, and no traceback says where
# Python was. Not for whoever imports main(), nor where it is ignored (nohup).
_ours = os.path.basename(sys.argv[0]).startswith("cbuild") or __name__ == "__main__"
if _ours and _signal.getsignal(2) is _signal.default_int_handler:
    _signal.signal(2, _end)

import gc  # noqa: E402

from compressbuild import interrupts  # noqa: E402


def main() -> int:
    """Run the command line; the exit status."""
    from compressbuild import noop

    interrupts.catch()
    try:
        if any(word[:2] == "-C" for word in sys.argv):
            from compressbuild.place import enter

            sys.argv[1:] = enter(sys.argv[1:])
        return _run(noop.check(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command was reached, or after it
        os._exit(interrupts.status())


def _run(known: "tuple[str, str] | None") -> int:
    """Print the answer of the no-op, if there is one; else run the command line."""
    _open_streams()
    if known is not None:
        _leave(0, *known)
    gc.set_threshold(1_000_000)  # what starting makes is kept: nothing to collect yet
    from compressbuild.cli.main import main as full
    from compressbuild.cli.streams import Output

    output = Output()
    status = output.conclude(full(sys.argv[1:]))
    interrupts.leave()
    if "compressbuild.build.run" not in sys.modules:
        _leave(status)
    return status


def _leave(status: int, text: str = "", found: str = "") -> None:
    """End a process that only read. Taking the interpreter down, module by module, costs a tenth of a listing.
    ``found``: the Compressfile, if it was found above."""
    try:
        if found:
            from compressbuild.place import note

            sys.stderr.write(note(found))
        sys.stdout.write(text)
        sys.stdout.flush()
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):  # the reader has gone, as the status already says
        status = status or 1
    except OSError as error:
        status = status or 1
        try:
            os.write(2, f"cbuild: error: standard output: {error.strerror}\n".encode())
        except OSError:  # nobody can read it
            status = status or 1
    os._exit(status)


def _open_streams() -> None:
    """A closed standard stream is one that nobody wants; else the next file to be opened would take its place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
