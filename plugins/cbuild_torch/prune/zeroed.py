"""The proof of a model with zeroed weights, read from its file: nothing but zeros changed, and the right ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from compressbuild.api import UserError

from ..model.module import stored_weights
from ..model.selection import ratio_for

__all__ = ["Ranked", "check_lowest", "check_pattern", "check_zeroed", "check_zeros", "ranked"]

_HINT = "this is a fault of compressbuild, not of the model: please report it"


@dataclass(frozen=True, slots=True)
class Ranked:
    """Weights that are ranked together, and the share of them that goes."""

    names: tuple[str, ...]
    share: float


def ranked(names: Collection[str], sparsity: float, scope: str, overrides: Mapping[str, float]) -> list[Ranked]:
    """How ``scope`` and ``overrides`` group the weights."""
    own = {name: ratio_for(name, overrides) for name in names}
    alone = {name: share for name, share in own.items() if share is not None or scope == "local"}
    found = [Ranked((name,), sparsity if share is None else share) for name, share in alone.items()]
    rest = tuple(name for name in names if name not in alone)
    return [*found, Ranked(rest, sparsity)] if rest else found


@torch.no_grad()
def check_zeroed(source: Path, made: Path, names: Collection[str], what: str) -> tuple[dict[str, Tensor], ...]:
    """Both models' weights, where ``made`` differs from ``source`` in zeros of ``names`` alone; else a UserError."""
    before, after = stored_weights(source), stored_weights(made)
    for name, value in after.items():
        if name not in before:
            continue  # it was computed from others before
        same = value == before[name] if value.shape == before[name].shape else torch.zeros(1)
        if name in names:
            same = same | (value == 0)
        if not bool((same | (value != value)).all()):
            raise UserError(f"{what} changed '{name}' by more than zeros", hint=_HINT)
    return before, after


@torch.no_grad()
def check_zeros(made: Path, groups: Iterable[Ranked], what: str) -> None:
    """UserError unless each group has at least the zeros that were asked for."""
    after = stored_weights(made)
    for group in groups:
        zeros = sum(int((after[name] == 0).sum()) for name in group.names if name in after)
        count = sum(after[name].numel() for name in group.names if name in after)
        if zeros < round(group.share * count):
            raise UserError(
                f"{what} made {zeros} zeros of {count} weights in {_shown(group)}; {group.share:g} of them were asked",
                hint=_HINT,
            )


@torch.no_grad()
def check_lowest(before: Mapping[str, Tensor], after: Mapping[str, Tensor], group: Ranked, what: str) -> None:
    """UserError where more weights went than asked, or one that is larger than another that stayed."""
    pairs = [(before[name].abs(), after[name] != 0) for name in group.names if name in before]
    gone = sum(int((~kept & (old != 0)).sum()) for old, kept in pairs)
    if gone > round(group.share * sum(old.numel() for old, _ in pairs)):
        raise UserError(
            f"{what} took {gone} weights in {_shown(group)}; {group.share:g} of them were asked", hint=_HINT
        )
    largest = max((float(old[~kept].max()) for old, kept in pairs if not bool(kept.all())), default=0.0)
    least = min((float(old[kept].min()) for old, kept in pairs if bool(kept.any())), default=largest)
    if largest > least:
        raise UserError(
            f"{what} took a weight of {largest:.3g} and kept one of {least:.3g} in {_shown(group)}", hint=_HINT
        )


@torch.no_grad()
def check_pattern(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], names: Iterable[str], n: int, m: int, what: str
) -> None:
    """UserError unless of each ``m`` neighbours along axis 1 at most ``n`` are left, and those the largest."""
    for name in names:
        if name not in before:
            continue
        old, new = (each[name].movedim(1, -1).reshape(-1, m) for each in (before, after))
        kept = new != 0
        if bool((kept.sum(1) > n).any()):
            raise UserError(f"{what} left more than {n} of {m} weights in '{name}'", hint=_HINT)
        least = old.abs().masked_fill(~kept, torch.inf).amin(1)
        largest = old.abs().masked_fill(kept, 0.0).amax(1)
        if bool(((largest > least) | ((kept.sum(1) < n) & (largest > 0))).any()):
            raise UserError(f"{what} took a weight of '{name}' that is larger than one it kept", hint=_HINT)


def _shown(group: Ranked) -> str:
    return f"'{group.names[0]}'" + (f" and {len(group.names) - 1} more" if len(group.names) > 1 else "")
