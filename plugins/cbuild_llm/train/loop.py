"""The training loop of language models. Repeatable: order and bytes follow from the seed, even after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from cbuild_kit import batch_indices
from cbuild_torch.model.checkpoint import Checkpoint, part
from cbuild_torch.model.public import check_patterns, matching
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.packing import Sample
from .params.fields import LlmTraining

__all__ = ["Loss", "train"]

Loss = Callable[[int, Tensor], Tensor]
"""(index of a window, logits R×V of its rows that count) → the sum of their losses."""

_SAVE_EVERY = 30.0  # seconds between checkpoints within an epoch; each epoch ends with one
_MEASURED = 32  # windows
_WORSE = 1.02


def train(ctx: Context, module: nn.Module, found: Sequence[Sample], loss: Loss, params: LlmTraining) -> dict[str, Any]:
    """Train in place, and leave the module in eval mode; continue a killed run of the same action where it stood.

    Returns epochs, updates, tokens that counted in an epoch, the mean loss of a token in the last one, and, in eval
    mode, that of up to 32 windows before and after; a ``concern`` if it rose. UserError if it diverged, or no weight
    changed.
    """
    run = _Run(ctx, module, found, loss, params)
    before, sums = run.measure(), _sums(run.trained)
    run.resume()
    while run.at.epoch < params.epochs:
        run.epoch()
    module.eval()
    after = run.measure()
    if all(map(torch.equal, sums, _sums(run.trained))):
        raise UserError("the training changed no weight", hint="'lr:' is too small for float32")
    facts: dict[str, Any] = {
        "epochs": params.epochs,
        "updates": params.epochs * run.per_epoch,
        "tokens": sum(len(each.rows) for each in found),
        "loss": run.at.mean,
        "loss_before": before,
        "loss_after": after,
    }
    if not after <= _WORSE * before:
        facts["concern"] = f"the loss on the training tokens rose from {before:.3g} to {after:.3g}"
        ctx.log.warning("%s; usual cause: a large 'lr:'", facts["concern"])
    return facts


@dataclass(slots=True)
class _Position:
    """Where a run stands. ``step``: updates done in this epoch. ``mean``: loss of a token in the last whole epoch."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    mean: float = math.nan


class _Run:
    """One training. Everything that decides its next step can be saved."""

    def __init__(
        self, ctx: Context, module: nn.Module, found: Sequence[Sample], loss: Loss, params: LlmTraining
    ) -> None:
        self.ctx, self.module, self.found, self.loss, self.params = ctx, module, found, loss, params
        self.trained = _trained(module, params.freeze)
        self.zeros = _zeros(module) if params.keep_zeros else {}
        self.optimizer = torch.optim.AdamW(_groups(self.trained, params.weight_decay), lr=params.lr)
        self.per_epoch = math.ceil(math.ceil(len(found) / params.batch_size) / params.accumulate)
        self.at = _Position()
        self.checkpoint = Checkpoint(ctx, "training")
        self.saved = time.monotonic()

    def epoch(self) -> None:
        """Train to the end of the current epoch, and save."""
        self.module.train()
        at = self.at
        for number, batches in enumerate(self._updates()):
            if number < at.step:
                continue  # done before this run was resumed
            self._update(batches)
            if self.checkpoint.kept and time.monotonic() - self.saved >= _SAVE_EVERY:
                self._save()
        tokens = sum(len(each.rows) for each in self.found)
        at.mean, at.total, at.step, at.epoch = at.total / tokens, 0.0, 0, at.epoch + 1
        if not math.isfinite(at.mean):
            raise UserError(f"training diverged in epoch {at.epoch}: the loss is {at.mean}", hint="try a smaller 'lr:'")
        self.ctx.log.info("epoch %d/%d: loss %.4f", at.epoch, self.params.epochs, at.mean)
        self._save()

    def _updates(self) -> Iterator[list[list[int]]]:
        """The batches of each update of this epoch: indices of windows."""
        seed = [self.ctx.seed, self.at.epoch]
        batches = [one.tolist() for one in batch_indices(len(self.found), self.params.batch_size, seed=seed)]
        for start in range(0, len(batches), self.params.accumulate):
            yield batches[start : start + self.params.accumulate]

    def _update(self, batches: list[list[int]]) -> None:
        """One step of the optimizer. Each token of all its batches weighs the same."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.lr * self._factor()
        self.optimizer.zero_grad(set_to_none=True)
        tokens = sum(len(self.found[index].rows) for chosen in batches for index in chosen)
        total = 0.0
        for chosen in batches:
            value = self._loss_of(chosen)
            (value / tokens).backward()
            total += value.item()
        if self.params.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.params.clip)
        self.optimizer.step()
        with torch.no_grad():
            for parameter, zeros in self.zeros.items():
                parameter.masked_fill_(zeros, 0.0)
        at = self.at
        at.total, at.step = at.total + total, at.step + 1
        self.ctx.progress(at.epoch + at.step / self.per_epoch, self.params.epochs, loss=total / tokens)

    def _loss_of(self, chosen: Sequence[int]) -> Tensor:
        """The sum over tokens. Shorter windows are filled up on the right, where no token that counts sees it."""
        members = [self.found[index] for index in chosen]
        length = max(len(each.ids) for each in members)
        ids = torch.stack([nn.functional.pad(each.ids, (0, length - len(each.ids))) for each in members])
        more = {}
        if any(int((each.positions == 0).sum()) > 1 for each in members):
            more["position_ids"] = torch.stack([_continued(each.positions, length) for each in members])
        logits = self.module(input_ids=ids, use_cache=False, **more).logits.float()
        parts = [self.loss(index, logits[at, self.found[index].rows]) for at, index in enumerate(chosen)]
        return torch.stack(parts).sum()

    def _factor(self) -> float:
        """Of the learning rate, now."""
        steps = self.params.epochs * self.per_epoch
        step, warmup = self.at.epoch * self.per_epoch + self.at.step, self.params.warmup * steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.params.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, steps - warmup))))

    @torch.no_grad()
    def measure(self) -> float:
        """Mean loss of a token in eval mode, on windows spread over all."""
        count = min(len(self.found), _MEASURED)
        chosen = [index * len(self.found) // count for index in range(count)]
        training = self.module.training
        self.module.eval()
        total = sum(float(self._loss_of([index])) for index in chosen)
        self.module.train(training)
        return total / sum(len(self.found[index].rows) for index in chosen)

    def _save(self) -> None:
        if not self.checkpoint.kept:
            return
        states = self.optimizer.state_dict()["state"]
        tensors = {f"module.{name}": value for name, value in self.module.named_parameters()}
        tensors |= {
            f"optimizer.{index}.{name}": value
            for index, state in states.items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        self.checkpoint.save({**tensors, "rng": torch.get_rng_state()}, asdict(self.at))
        self.saved = time.monotonic()

    @torch.no_grad()
    def resume(self) -> None:
        """Continue where a killed run of this action stood, if it left a checkpoint."""
        saved = self.checkpoint.read()
        if saved is None:
            return
        tensors, facts = saved
        for name, value in self.module.named_parameters():
            value.copy_(tensors[f"module.{name}"])
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            states.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.at = _Position(**facts)
        torch.set_rng_state(tensors["rng"])
        self.ctx.log.info("resumed after %d epochs and %d updates", self.at.epoch, self.at.step)


def _trained(module: nn.Module, freeze: Sequence[str]) -> list[nn.Parameter]:
    named = dict(module.named_parameters())
    check_patterns("freeze", freeze, named)
    for name, parameter in named.items():
        parameter.requires_grad_(not matching(name, freeze))
    found = [parameter for parameter in named.values() if parameter.requires_grad]
    if not found:
        raise UserError("nothing to train: 'freeze' names every parameter")
    return found


def _groups(trained: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [
        {"params": [each for each in trained if each.dim() > 1], "weight_decay": decay},
        {"params": [each for each in trained if each.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _zeros(module: nn.Module) -> dict[nn.Parameter, Tensor]:
    """Where weights of linear layers are zero; of those that have zeros."""
    weights = [each.weight for each in module.modules() if isinstance(each, nn.Linear)]
    return {weight: zeros for weight in weights if bool((zeros := weight.detach() == 0).any())}


def _continued(positions: Tensor, length: int) -> Tensor:
    """Filled up as if the last document went on."""
    return torch.cat([positions, positions[-1] + 1 + torch.arange(length - len(positions))])


@torch.no_grad()
def _sums(trained: Sequence[nn.Parameter]) -> list[Tensor]:
    return [torch.stack([each.sum(dtype=torch.float64), each.double().square().sum()]) for each in trained]
