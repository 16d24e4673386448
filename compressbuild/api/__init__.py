"""The only room that plugins import. Standard library, msgspec and pluggy only."""

from .context import Context, Runner, UserError
from .facts import FACTS
from .hooks import hookimpl
from .needs import Needs
from .numbers import Amount, Count, Positive, Rate, Ratio, Share
from .params import DatasetRef, FileRef, FunctionRef, Meta, ModelRef, Params, Scheme
from .parity import Parity, ParityCheck
from .profile import Operator, Profile, Profiling
from .records import Backend, Kind, Metric, Platform, Technique
from .work import WorkDataset, WorkInput, WorkRequest, WorkResult

__all__ = [
    "FACTS",
    "Amount",
    "Backend",
    "Context",
    "Count",
    "DatasetRef",
    "FileRef",
    "FunctionRef",
    "Kind",
    "Meta",
    "Metric",
    "ModelRef",
    "Needs",
    "Operator",
    "Params",
    "Parity",
    "ParityCheck",
    "Platform",
    "Positive",
    "Profile",
    "Profiling",
    "Rate",
    "Ratio",
    "Runner",
    "Scheme",
    "Share",
    "Technique",
    "UserError",
    "WorkDataset",
    "WorkInput",
    "WorkRequest",
    "WorkResult",
    "hookimpl",
]
