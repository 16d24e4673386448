"""What a user sees of an exception in a node: one line, a hint, and the frames of their own code."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ..api.context import UserError
from ..errors import CbuildError

__all__ = ["RAISED", "Failure", "describe"]

RAISED = "cbuild: the node's function raised"
"""The line of a node's log after which the full traceback follows."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``error``: one line. ``trace``: the plugin's and the user's frames with the whole message; None where the error
    says all. ``about``, ``change``: as of a UserError."""

    error: str
    hint: str | None = None
    trace: str | None = None
    about: str = ""
    change: Mapping[str, str] = field(default_factory=dict)


def describe(error: BaseException, *, root: str, run: str) -> Failure:
    """``root``: the project's directory; ``run``: the reference ``module:function`` that was called."""
    if isinstance(error, UserError):
        return Failure(_one_line(str(error)), error.hint, about=error.about, change=error.change)
    if isinstance(error, CbuildError):
        return Failure(_one_line(str(error)), error.hint)
    if isinstance(error, msgspec.ValidationError | msgspec.DecodeError):
        return Failure(f"{run}: {_one_line(str(error))}")
    if isinstance(error, FileNotFoundError) and (found := _beside_the_project(error, root)) is not None:
        return found
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install the distribution that provides '{error.name.partition('.')[0]}', or add it to the project"
    elif isinstance(error, SystemExit):
        hint = "a node's function returns or raises; it does not exit"
    message = _one_line(str(error))
    return Failure(
        f"{type(error).__name__}: {message}" if message else type(error).__name__, hint, _trace(error, root, run)
    )


def _beside_the_project(error: FileNotFoundError, root: str) -> Failure | None:
    """For a relative path that is right in the project's directory. Nodes run in a directory of their own."""
    name = os.fspath(error.filename) if isinstance(error.filename, str | os.PathLike) else _said(error)
    if not isinstance(name, str) or not name or os.path.isabs(name) or not os.path.exists(os.path.join(root, name)):
        return None
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root + os.sep)]
    place = f"{os.path.relpath(own[-1].filename, root)}:{own[-1].lineno} opens" if own else "it opens"
    return Failure(
        f"{place} '{name}', which is in the project's directory, but nodes run in a directory of their own",
        f"write Path(__file__).parent / '{name}' in your code",
    )


def _said(error: FileNotFoundError) -> str:
    """The name in the message alone: libraries in Rust, such as safetensors, give no ``filename``."""
    return _one_line(str(error)).partition("No such file or directory: ")[2].strip().strip("'\"")


def _one_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


def _trace(error: BaseException, root: str, run: str) -> str:
    """Frames of the plugin and of the project, as Python prints them."""
    plugin = sys.modules.get(run.partition(":")[0].partition(".")[0])
    file = getattr(plugin, "__file__", None) or ""
    is_package = os.path.basename(file) == "__init__.py"
    theirs = os.path.dirname(file) + os.sep if is_package else file
    libraries = tuple(
        os.path.abspath(each) + os.sep
        for each in {sys.prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), _engine()}
    )

    def is_shown(name: str) -> bool:
        if theirs and name.startswith(theirs):
            return True
        return name.startswith(os.path.join(root, "")) and not name.startswith(libraries)

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_shown(frame.filename)]
    lines = ["Traceback (frames of the plugin and the project; the log has all):\n"] if frames else []
    return "".join([*lines, *traceback.format_list(frames), *traceback.format_exception_only(error)]).rstrip()


def _engine() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
