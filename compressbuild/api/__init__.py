"""The only room that plugins import. Standard library, msgspec and pluggy only."""

from .context import Context, Runner, UserError
from .facts import FACTS
from .hooks import hookimpl
from .needs import Needs
from .numbers import Amount, Count, Positive, Rate, Ratio, Share
from .params import DatasetRef, FileRef, FunctionRef, Label, Meta, ModelRef, Params, Scheme
from .parity import Parity
from .profile import Operator, Profile, Profiling
from .records import AnswerMetric, ArtifactMetric, Backend, Kind, Metric, Platform, RunMetric, Technique
from .stack import Stack
from .work import WorkDataset, WorkInput, WorkRequest, WorkResult

__all__ = [
    "FACTS",
    "Amount",
    "AnswerMetric",
    "ArtifactMetric",
    "Backend",
    "Context",
    "Count",
    "DatasetRef",
    "FileRef",
    "FunctionRef",
    "Kind",
    "Label",
    "Meta",
    "Metric",
    "ModelRef",
    "Needs",
    "Operator",
    "Params",
    "Parity",
    "Platform",
    "Positive",
    "Profile",
    "Profiling",
    "Rate",
    "Ratio",
    "RunMetric",
    "Runner",
    "Scheme",
    "Share",
    "Stack",
    "Technique",
    "UserError",
    "WorkDataset",
    "WorkInput",
    "WorkRequest",
    "WorkResult",
    "hookimpl",
]
