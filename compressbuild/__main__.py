"""The command ``cbuild``."""

import gc
import os
import sys


def main() -> int:
    """Run the command line; the exit status."""
    from compressbuild import noop

    text = noop.check(sys.argv[1:])
    if text is not None:
        try:
            sys.stdout.write(text)
        except BrokenPipeError:  # the reader has gone; there was nothing to do anyway
            os._exit(1)
        _leave(0)
    gc.set_threshold(200_000)  # what starting makes is kept: nothing to collect yet
    from compressbuild.cli.main import main as full

    status = full(sys.argv[1:])
    if "compressbuild.build.run" not in sys.modules:
        _leave(status)
    return status


def _leave(status: int) -> None:
    """End a process that only read. Taking the interpreter down, module by module, costs a tenth of a listing."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):  # the reader has gone, as the status already says
        status = status or 1
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
