"""The command ``cbuild``."""

import sys


def main() -> int:
    """Run the command line; the exit status."""
    from compressbuild import noop

    text = noop.check(sys.argv[1:])
    if text is not None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return 0
    from compressbuild.cli.main import main as full

    return full(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
