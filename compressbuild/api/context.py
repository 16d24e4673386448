"""What a plugin function is given: :class:`Context`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .census import Census
from .params import Params
from .runner import Runner
from .work import WorkRequest

__all__ = ["Context", "UserError"]


class UserError(Exception):
    """Raised by a plugin for what the user can fix. It is shown as one line with its hint, without a traceback.

    For ``cbuild advise``: ``about``, a word by which checks know what is wrong, such as ``empty-data``; ``change``,
    parameter → value as a Compressfile writes it, with which it would work: of the step, of one before it, or of the
    platform. The first that one of them has is offered as a patch.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, about: str = "", change: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.hint, self.about = hint, str(about)
        self.change = {str(name): str(value) for name, value in (change or {}).items()}  # a number is written so, too


def resolve(reference: str) -> Any:
    """Import ``module:attr.attr``; UserError if it is not there."""
    module_name, _, attributes = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UserError(
                f"cannot import '{module_name}' ({reference})",
                hint="the reference may be misspelt, or the module outside the project",
            ) from error
        raise
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise UserError(
                f"'{module_name}' has no '{attributes}'", hint=f"check the spelling of the reference {reference}"
            )
        found = getattr(found, attribute)
    return found


class Context:
    """The world of one node: where to read, where to write, how to report.

    ``out``: an empty directory to fill. ``scratch``: the working directory, for temporary files, removed afterwards.
    ``seed``, ``threads``: the values in the key; use them, not your own. ``facts``: the probed platform facts that the
    record declared. ``log``: a logger that writes to the node's log.
    """

    def __init__(self, request: WorkRequest, report: Callable[[dict[str, Any]], None]) -> None:
        import logging

        self._request = request
        self._report = report
        self.out = Path(request.out)
        self.scratch = Path(request.scratch)
        self.seed = request.seed
        self.threads = request.threads
        self.facts: Mapping[str, Any] = request.facts
        self.factories: tuple[str, ...] = request.factories
        self.log = logging.getLogger("cbuild")

    @property
    def checkpoint(self) -> Path | None:
        """A directory of this very action that outlives a killed or failed run, and goes when the action succeeds.

        What lies there must lead to the same bytes as a run without it. None if none is kept.
        """
        if self._request.checkpoint is None:
            return None
        path = Path(self._request.checkpoint)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def progress(self, done: float, total: float, **values: float | str) -> None:
        """Say how far the work is: ``ctx.progress(epoch, epochs, loss=0.3)``. Cheap; call it as often as you like.
        ``total``: 0 if it is unknown."""
        self._report({"done": done, "total": total, **values})

    def _role(self, name: str) -> str:
        role = self._request.references.get(name, name)
        if role not in self._request.inputs:
            known = ", ".join(sorted({*self._request.inputs, *self._request.references})) or "none"
            raise KeyError(f"this node has no input '{name}' (it has: {known})")
        return role

    def has(self, name: str) -> bool:
        """Whether an input (``subject``, ``baseline``, a ModelRef's value) is there."""
        return self._request.references.get(name, name) in self._request.inputs

    def artifact(self, name: str) -> Path:
        """Directory of an input: ``subject``, ``baseline``, or the value of a ModelRef parameter."""
        return Path(self._request.inputs[self._role(name)].path)

    def kind(self, name: str) -> str:
        """Kind of an input."""
        return self._request.inputs[self._role(name)].kind

    def runner(self, name: str) -> Runner:
        """Load an input through its backend, or through its kind's reference runtime."""
        entry = self._request.inputs[self._role(name)]
        if entry.load is None:
            raise UserError(
                f"nothing can run '{name}', an artifact of kind '{entry.kind}'",
                hint="a technique or a compiler reads its subject from ctx.artifact(…), with its kind's library: "
                "cbuild_torch.model.public, cbuild_onnx.model.public; only metrics are given a runner of it",
            )
        runner: Runner = resolve(entry.load)(self, Path(entry.path), self.settings(name))
        return runner

    def census(self, name: str) -> Census:
        """An input's weights, arithmetic and traffic, as its kind counts them. For records with ``census=True``."""
        entry = self._request.inputs[self._role(name)]
        if entry.census is None:
            raise UserError(
                f"nothing counts the weights and operators of kind '{entry.kind}' here",
                hint="give the kind's record a 'census', and the metric's census=True",
            )
        found: Census = resolve(entry.census)(self, Path(entry.path))
        return found

    def settings(self, name: str) -> Any:
        """The settings of the platform that an input was compiled for, typed; None where it was not compiled."""
        entry = self._request.inputs[self._role(name)]
        if entry.settings_type is None:
            return entry.settings
        return msgspec.convert(entry.settings or {}, resolve(entry.settings_type))

    def dataset(self, name: str | None = None) -> Any:
        """What the user's loader, or a source, returns: an iterable of batches ``(inputs, labels)``.

        ``inputs``: an array N×…, or a mapping input name → array; ``labels``: an array N×… . ``name``: the value of a
        DatasetRef parameter; None: the only dataset of this node.
        """
        datasets = self._request.datasets
        if name is None:
            (name,) = datasets
        entry = datasets[name]
        if entry.params_type is not None:
            return resolve(entry.loader)(self, msgspec.convert(entry.args, resolve(entry.params_type)), entry.rows)
        return resolve(entry.loader)(**entry.args)

    def function(self, reference: str) -> Callable[..., Any]:
        """Import a FunctionRef parameter."""
        found: Callable[..., Any] = resolve(reference)
        return found

    def file(self, path: str) -> Path:
        """Absolute path of a FileRef parameter."""
        return Path(self._request.root, path)

    def factory(self, reference: str) -> Callable[..., Any]:
        """The user's model factory. Only factories that the Compressfile declares for this node are imported:
        a name that came out of a cached artifact is never trusted."""
        if reference not in self.factories:
            raise UserError(f"the artifact names a factory '{reference}' that this target does not declare")
        found: Callable[..., Any] = resolve(reference)
        return found

    def params(self, kind: type[Params] | None = None) -> Any:
        """This node's parameters, typed."""
        kind = kind or (resolve(self._request.params_type) if self._request.params_type else None)
        return msgspec.convert(self._request.params, kind) if kind else dict(self._request.params)
