"""The skill that is installed with the package: the method of an expert, for coding agents."""

from __future__ import annotations

import os

__all__ = ["NAME", "path"]

NAME = "model-compression"


def path() -> str:
    """Its file, which lies in a directory of its own as agents look for it."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.join(package, "skills", NAME, "SKILL.md")
