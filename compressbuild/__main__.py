"""The command ``cbuild``."""

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
    from compressbuild.cli.main import main as full

    return full(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
