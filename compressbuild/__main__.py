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
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has gone; there was nothing to do anyway
            os._exit(1)
        os._exit(0)  # taking the interpreter down costs as much as all the rest
    gc.set_threshold(20_000)  # what starting makes is kept: nothing to collect yet
    from compressbuild.cli.main import main as full

    return full(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
