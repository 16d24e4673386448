"""Every target of a runtime answers in a fresh environment with that runtime alone, from a copy in another place.

    python examples/smollm2/elsewhere.py [TARGET …]

Exits with 1 if one of them does not know the capital of Japan. It needs pip and a package index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = {
    "genai-int4": ["onnxruntime-genai"],
    "openvino-int4": ["openvino-genai"],
    "gguf-q4": ["cyllama"],
    "rtn-int4": ["torch", "transformers", "compressed-tensors"],
    "auto-round-int4": ["torch", "transformers", "compressed-tensors"],
}
# The source leads by 1.1 or more in every token of its answer. Asked for the capital of France, it leads by 0.08 only
# in the first token ("The" before "L" and "La"), so that 4 bits decide it.
QUESTION, ANSWER = "Name the capital of Japan.", "Tokyo"


def ask(target: str, place: Path) -> str:
    moved = place / "moved"
    shutil.copytree(HERE / "build" / target, moved)
    home = place / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = str(home / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check"]
    constraints = str(HERE.parents[1] / "constraints.txt")
    subprocess.run([*install, "-c", constraints, *PACKAGES[target]], check=True)
    shutil.copy(HERE / "chat.py", place)
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "HF_HUB_OFFLINE": "1"}
    command = [python, "-I", str(place / "chat.py"), str(moved), QUESTION]
    return subprocess.run(command, check=True, cwd=place, env=environment, capture_output=True, text=True).stdout


def main() -> int:
    wrong = 0
    for target in sys.argv[1:] or ["genai-int4", "openvino-int4", "gguf-q4"]:
        with tempfile.TemporaryDirectory() as place:
            answer = ask(target, Path(place)).strip().splitlines()[-1]
        wrong += ANSWER not in answer
        print(f"{target}: {answer}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
