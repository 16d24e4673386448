"""The build systems that are measured."""

from .data import Dvc, Snakemake
from .ours import Compressbuild
from .python import Doit, Redun, Scons
from .system import Make, Ninja
from .tool import Tool

TOOLS: tuple[type[Tool], ...] = (Compressbuild, Ninja, Make, Doit, Scons, Redun, Snakemake, Dvc)
__all__ = ["TOOLS", "Tool"]
