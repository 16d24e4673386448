"""Prepare and build the example: ``python examples/smollm2/run.py [OPTION OF CBUILD …]``. Exits with 77 where the model
cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import prepare

if __name__ == "__main__":
    code = prepare.main()
    if code == 0:
        command = [sys.executable, "-m", "compressbuild", "all", "-k", *sys.argv[1:]]
        code = subprocess.run(command, cwd=Path(__file__).parent, env=dict(os.environ)).returncode
    sys.exit(code)
