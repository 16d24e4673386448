"""The only room that plugins import. Standard library, msgspec and pluggy only."""

from importlib import import_module
from typing import TYPE_CHECKING

from .census import Census, Macs, Weight
from .context import Context, UserError
from .destination import Content, Destination, Parcel, ParcelFile, Remote
from .environment import Environment
from .executor import Executor, Link, Machine, QueuedLink
from .facts import FACTS
from .needs import Needs
from .numbers import Amount, Count, Positive, Rate, Ratio, Share, parsed_size
from .params import DatasetRef, FileRef, FunctionRef, Label, Meta, ModelRef, Narrow, Params, schemes
from .parity import Parity, ParityCheck
from .part import Rows
from .preview import Preview, Previewing, Sample
from .profile import Operator, Profile, Profiling
from .records import AnswerMetric, ArtifactMetric, Backend, Check, Kind, Metric, Platform, RunMetric, Source, Technique
from .runner import ModelInput, Runner
from .stack import Stack
from .traits import TRAITS
from .version import VERSION
from .work import WorkDataset, WorkExpect, WorkInput, WorkRequest, WorkResult, WorkSight

if TYPE_CHECKING:
    from .hooks import hookimpl
    from .process import ProcessLink

__all__ = [
    "FACTS",
    "TRAITS",
    "VERSION",
    "Amount",
    "AnswerMetric",
    "ArtifactMetric",
    "Backend",
    "Census",
    "Check",
    "Content",
    "Context",
    "Count",
    "DatasetRef",
    "Destination",
    "Environment",
    "Executor",
    "FileRef",
    "FunctionRef",
    "Kind",
    "Label",
    "Link",
    "Machine",
    "Macs",
    "Meta",
    "Metric",
    "ModelInput",
    "ModelRef",
    "Narrow",
    "Needs",
    "Operator",
    "Params",
    "Parcel",
    "ParcelFile",
    "Parity",
    "ParityCheck",
    "Platform",
    "Positive",
    "Preview",
    "Previewing",
    "ProcessLink",
    "Profile",
    "Profiling",
    "QueuedLink",
    "Rate",
    "Ratio",
    "Remote",
    "Rows",
    "RunMetric",
    "Runner",
    "Sample",
    "Share",
    "Source",
    "Stack",
    "Technique",
    "UserError",
    "Weight",
    "WorkDataset",
    "WorkExpect",
    "WorkInput",
    "WorkRequest",
    "WorkResult",
    "WorkSight",
    "hookimpl",
    "parsed_size",
    "schemes",
]


_LAZY = {"hookimpl": "hooks", "ProcessLink": "process"}
"""Name → module. ``hookimpl`` needs pluggy, which manifests alone use, and a link subprocess; code that only reads
parameters imports neither."""


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
