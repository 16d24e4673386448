"""Whether a quantizer knows a scheme."""

from __future__ import annotations

from collections.abc import Sequence

from compressbuild.api import UserError

__all__ = ["check_scheme"]


def check_scheme(scheme: str, known: Sequence[str]) -> None:
    """UserError unless the quantizer knows the scheme. Plans check it as well; a test may call the function itself."""
    if scheme == "auto":
        raise UserError("'scheme: auto' was not resolved", hint=f"say {' or '.join(known)}")
    if scheme not in known:
        raise UserError(f"the scheme '{scheme}' is unknown to this quantizer", hint=f"it knows {', '.join(known)}")
