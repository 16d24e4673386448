"""The addresses of machines that a Compressfile names: whether an executor takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CompressfileError, Diagnostic
from .draft import Draft

if TYPE_CHECKING:
    from ..machines.machines import Machines

__all__ = ["check_hosts"]


def check_hosts(draft: Draft, machines: Machines | None) -> None:
    """Raises CompressfileError with all that are wrong: of such a machine nothing can be asked."""
    spec = draft.spec
    written = {(spec.host, spec.host_mark)} | {(p.host, p.marks.get("host")) for p in spec.platforms.values()}
    problems = []
    for address, mark in sorted((each for each in written if each[0]), key=str):
        wrong = machines.problem(address) if machines is not None else None
        if wrong is not None:
            problems.append(Diagnostic(wrong[0], mark, wrong[1]))
    if problems:
        raise CompressfileError(problems, dict(spec.texts))
