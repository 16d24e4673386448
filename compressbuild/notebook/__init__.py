"""The Python API for notebooks and scripts. Results print as text, and show as tables and plots in a notebook."""

from .calls import build, compare, load, plan, why
from .results import Compared, Planned, Reasons, Report, Targets

__all__ = ["Compared", "Planned", "Reasons", "Report", "Targets", "build", "compare", "load", "plan", "why"]
