"""The training loop. Repeatable: order and bytes follow from the seed, even after a kill and a resume."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from cbuild_kit import batch_indices
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.calling import caller
from ..model.checkpoint import Checkpoint, part
from ..model.description import ModelDescription
from ..model.objective import Loss, Samples, read_samples, task_loss
from .companion import Companion
from .optimizers import make_optimizer, rate_factor, trained_parameters
from .params import Training
from .progress import Fingerprint, measured_loss, worse

__all__ = ["Loss", "Samples", "optimise", "read_samples", "task_loss", "updates_per_epoch"]

_SAVE_EVERY = 30.0  # seconds between checkpoints within an epoch; each epoch ends with one


def updates_per_epoch(count: int, params: Training) -> int:
    """How many steps the optimizer takes in an epoch of ``count`` samples."""
    batches = sum(1 for _ in batch_indices(count, params.batch_size, drop_single=True))
    return math.ceil(batches / params.accumulate)


def optimise(
    ctx: Context,
    module: nn.Module,
    description: ModelDescription,
    samples: Samples,
    params: Training,
    loss: Loss,
    *,
    companion: Companion | None = None,
    stage: str = "training",
    within: tuple[int, int] | None = None,
    judged: bool = False,
) -> dict[str, Any]:
    """Train ``module`` in place and leave it in eval mode; continue a killed run of the same action where it stood.

    ``stage``: name of this training among those of the action; ``within``: which step it is of how many, for the
    progress shown. ``judged``: the loss may only fall, so the loss before is measured too, unless it is the user's
    own. Returns facts: epochs, steps, the last epoch's mean loss, with a validation dataset the loss on it of the
    weights kept, and a ``concern`` if the loss rose. UserError if no weight changed.
    """
    run = _Run(ctx, module, description, samples, params, loss, companion or Companion(), stage, within)
    before = Fingerprint(run.trained)
    measure = partial(measured_loss, module, run.call, samples, loss, params.batch_size)
    loss_before = measure() if judged and params.loss is None else None
    run.resume()
    while not run.done:
        run.epoch()
    module.eval()
    facts = run.finish()
    before.check(facts["steps"])
    return facts if loss_before is None else {**facts, **worse(ctx, loss_before, measure())}


@dataclass(slots=True)
class _Position:
    """Where a run stands. ``step``: updates done in this epoch. ``best``: lowest loss on the validation data, and
    ``waited``: epochs since. ``mean``: mean loss of the last whole epoch."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    mean: float = math.nan
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0


class _Run:
    """One training. Everything that decides its next step can be saved."""

    def __init__(
        self,
        ctx: Context,
        module: nn.Module,
        description: ModelDescription,
        samples: Samples,
        params: Training,
        loss: Loss,
        companion: Companion,
        stage: str,
        within: tuple[int, int] | None,
    ) -> None:
        self.ctx, self.module, self.samples, self.params, self.loss = ctx, module, samples, params, loss
        self.companion = companion
        self.call = caller(module, description.inputs)
        self.masks = _masks(module, description) if params.keep_zeros else {}
        self.trained = trained_parameters(module, params, companion.modules())
        self.optimizer = make_optimizer(self.trained, params, companion.groups())
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.per_epoch = updates_per_epoch(len(samples), params)
        self.factor = rate_factor(params, self.per_epoch)
        self.validation = _validation(ctx, params, description)
        self.within = within
        self.at = _Position()
        self.best: dict[str, Tensor] = {}
        self.checkpoint = Checkpoint(ctx, stage)
        self.saved = time.monotonic()

    @property
    def done(self) -> bool:
        patience = self.params.patience
        return self.at.epoch >= self.params.epochs or (patience is not None and self.at.waited >= patience)

    def epoch(self) -> None:
        """Train to the end of the current epoch, validate, save."""
        self.module.train()
        for number, batches in enumerate(self._groups()):
            if number < self.at.step:
                continue  # done before this run was resumed
            self._update(batches)
            if self.checkpoint.kept and time.monotonic() - self.saved >= _SAVE_EVERY:
                self._save()
        at = self.at
        if at.step != self.per_epoch:
            raise UserError(
                f"epoch {at.epoch + 1} of the training ended after {at.step} of {self.per_epoch} steps",
                hint="this is a fault of compressbuild, not of the model: please report it",
            )
        at.mean, at.total, at.step, at.epoch = at.total / self.per_epoch, 0.0, 0, at.epoch + 1
        if not math.isfinite(at.mean):
            raise UserError(
                f"training diverged in epoch {at.epoch}: the loss is {at.mean}",
                hint="try a smaller 'lr:' or 'clip: 1'",
            )
        said = self._validate()
        rate = self.optimizer.param_groups[0]["lr"]
        self.ctx.log.info("epoch %d/%d: loss %.4f%s, lr %.3g", at.epoch, self.params.epochs, at.mean, said, rate)
        self._save()

    def _groups(self) -> Iterator[list[Tensor]]:
        """The batches of each update of this epoch: indices of samples."""
        params, seed = self.params, [self.ctx.seed, self.at.epoch]
        order = batch_indices(len(self.samples), params.batch_size, seed=seed, drop_single=True)
        group: list[Tensor] = []
        for indices in order:
            group.append(torch.from_numpy(indices))
            if len(group) == params.accumulate:
                yield group
                group = []
        if group:
            yield group

    def _update(self, batches: list[Tensor]) -> None:
        at, update = self.at, self.at.epoch * self.per_epoch + self.at.step
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(update)
        self.optimizer.zero_grad(set_to_none=True)
        self.companion.before(update)
        size = sum(len(chosen) for chosen in batches)
        mean = 0.0
        for chosen in batches:
            value = self.loss(self.call(self.samples.feeds(chosen)), chosen)
            if len(batches) > 1:
                value = value * (len(chosen) / size)
            value.backward()
            mean += value.item()
        self.companion.between()
        if self.params.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.params.clip)
        self.optimizer.step()
        _apply(self.masks)
        self.companion.after()
        at.total, at.step = at.total + mean, at.step + 1
        self._progress(at.epoch + at.step / self.per_epoch, at.total / at.step)

    def _progress(self, done: float, loss: float) -> None:
        known = {"validation": self.at.best} if math.isfinite(self.at.best) else {}
        if self.within is not None:
            step, steps = self.within
            self.ctx.progress(step + done / self.params.epochs, steps, loss=loss, **known)
        else:
            self.ctx.progress(done, self.params.epochs, loss=loss, **known)

    def _validate(self) -> str:
        """Measure the epoch's weights and remember the best. Returns text for the log."""
        if self.validation is None:
            return ""
        samples, loss = self.validation
        self.module.eval()
        total = 0.0
        with torch.no_grad(), self.companion.evaluating():
            for indices in batch_indices(len(samples), self.params.batch_size):
                chosen = torch.from_numpy(indices)
                total += loss(self.call(samples.feeds(chosen)), chosen).item() * len(chosen)
        found = total / len(samples)
        at = self.at
        if not self.companion.settled(at.epoch * self.per_epoch):
            return f", validation {found:.4f}"
        if found < at.best - self.params.min_delta:
            at.best, at.best_epoch, at.waited = found, at.epoch, 0
            self.best = {name: value.detach().clone() for name, value in _tensors(self.module).items()}
        else:
            at.waited += 1
        return f", validation {found:.4f} (best {at.best:.4f})"

    def finish(self) -> dict[str, Any]:
        """Take the best weights, if epochs were compared."""
        facts: dict[str, Any] = {"epochs": self.at.epoch, "steps": self.at.epoch * self.per_epoch, "loss": self.at.mean}
        if self.best:
            with torch.no_grad():
                for name, tensor in _tensors(self.module).items():
                    tensor.copy_(self.best[name])
            facts |= {"validation_loss": self.at.best, "best_epoch": self.at.best_epoch}
        if self.at.epoch < self.params.epochs:
            self.ctx.log.info("stopped early: no better for %d epochs", self.at.waited)
            self._progress(self.params.epochs, self.at.mean)
        return facts

    def _extra(self) -> list[Tensor]:
        """What is trained beside the module: the companion's parameters."""
        own = {id(value) for value in self.module.parameters()}
        return [p for group in self.optimizer.param_groups for p in group["params"] if id(p) not in own]

    def _save(self) -> None:
        if not self.checkpoint.kept:
            return
        states = self.optimizer.state_dict()["state"]
        tensors = {
            **{f"module.{name}": value for name, value in _tensors(self.module).items()},
            **{f"best.{name}": value for name, value in self.best.items()},
            **{f"companion.{name}": value for name, value in self.companion.state().items()},
            **{
                f"optimizer.{index}.{name}": value
                for index, state in states.items()
                for name, value in state.items()
                if isinstance(value, Tensor)
            },
            "rng": torch.get_rng_state(),
        }
        tensors |= {f"extra.{index}": value for index, value in enumerate(self._extra())}
        self.checkpoint.save(tensors, asdict(self.at))
        self.saved = time.monotonic()

    @torch.no_grad()
    def resume(self) -> None:
        """Continue where a killed run of this action stood, if it left a checkpoint."""
        found = self.checkpoint.read()
        if found is None:
            return
        tensors, facts = found
        for name, value in _tensors(self.module).items():
            value.copy_(tensors[f"module.{name}"])
        for index, value in enumerate(self._extra()):
            value.copy_(tensors[f"extra.{index}"])
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            states.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.best = part(tensors, "best.")
        self.companion.restore(part(tensors, "companion."))
        self.at = _Position(**facts)
        torch.set_rng_state(tensors["rng"])
        self.ctx.log.info("resumed after %d epochs and %d steps", self.at.epoch, self.at.step)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, also those that a state dict leaves out."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _validation(ctx: Context, params: Training, description: ModelDescription) -> tuple[Samples, Loss] | None:
    if params.validation is None:
        if params.patience is not None:
            raise UserError("'patience' needs validation data", hint="add 'validation: DATASET'")
        return None
    samples = read_samples(ctx, params.validation, description.inputs)
    return samples, task_loss(ctx, params, samples)


def _masks(module: nn.Module, description: ModelDescription) -> dict[nn.Parameter, Tensor]:
    """Of each parameter that pruning left sparse: where its zeros are."""
    sparse = description.sparse
    return {parameter: parameter.detach() == 0 for name, parameter in module.named_parameters() if name in sparse}


@torch.no_grad()
def _apply(masks: Mapping[nn.Parameter, Tensor]) -> None:
    for parameter, zeros in masks.items():
        parameter.masked_fill_(zeros, 0.0)
