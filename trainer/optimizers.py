"""The optimizer of a run and its schedule; or several by name, each with parameters and a schedule of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from base.optimizer_state import load_optimizer
from base.plan import Plan
from config.schema import LRSchedulerConfig, OptimizerConfig
from config.units import Monitor
from trainer.closure import needs_closure
from trainer.lr_schedule import LRSchedule
from trainer.optimizer import build_optimizer, match_names, trainable_parameters
from trainer.schedule_check import ScheduleCheck
from utils.errors import UserError

Schedulers = LRSchedulerConfig | Sequence[LRSchedulerConfig] | None  # of one optimizer


class Optimizers(dict[str, Optimizer]):
    """Optimizers by name, one part of a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        return {name: optimizer.state_dict() for name, optimizer in self.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, optimizer in self.items():
            load_optimizer(optimizer, state[name])


class LRSchedules:
    """The schedules of several optimizers, used as one."""

    def __init__(self, schedules: Mapping[str, LRSchedule]):
        self.schedules = schedules

    @property
    def is_plateau(self) -> bool:
        """Whether one of them follows a score."""
        return any(schedule.is_plateau for schedule in self.schedules.values())

    def after_evaluation(self, score: float) -> None:
        for schedule in self.schedules.values():
            if schedule.is_plateau:
                schedule.after_evaluation(score)

    def before_step(self, step: int) -> None:
        for schedule in self.schedules.values():
            schedule.before_step(step)

    def state_dict(self) -> dict[str, Any]:
        return {name: schedule.state_dict() for name, schedule in self.schedules.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state[name])


def build_optimizers(
    config: OptimizerConfig | Mapping[str, OptimizerConfig],
    schedulers: Schedulers | Mapping[str, Schedulers],
    model: nn.Module,
    plan: Plan,
    monitor: Monitor | None,
) -> tuple[Optimizer, LRSchedule] | tuple[Optimizers, LRSchedules]:
    """What updates the weights, and its schedule. UserError for a schedule that breaks, and for parameters that no
    optimizer has, or two have.
    """

    def build(one: OptimizerConfig, its: Schedulers, key: str, its_key: str) -> tuple[Optimizer, LRSchedule]:
        ScheduleCheck(its, model, plan, monitor, key, its_key).check(one)
        optimizer = build_optimizer(one, model, key)
        return optimizer, LRSchedule(its, optimizer, plan, monitor)

    if isinstance(config, OptimizerConfig):
        return build(config, schedulers, "optimizer", "lr_scheduler")
    check_division(config, model)
    optimizers, schedules = Optimizers(), {}
    for name, one in config.items():
        has_own = isinstance(schedulers, Mapping)
        its, its_key = (schedulers.get(name), f"lr_scheduler.{name}") if has_own else (schedulers, "lr_scheduler")
        optimizers[name], schedules[name] = build(one, its, f"optimizer.{name}", its_key)
        if needs_closure(optimizers[name]):
            raise UserError(f"optimizer.{name}: {one.type} asks for the loss itself, and can only be the one optimizer")
    return optimizers, LRSchedules(schedules)


def check_division(config: Mapping[str, OptimizerConfig], model: nn.Module) -> None:
    """UserError unless each trainable parameter belongs to one of the optimizers."""
    owners: dict[str, list[str]] = {name: [] for name in trainable_parameters(model)}
    for optimizer, one in config.items():
        for name in match_names(one.params, owners, f"optimizer.{optimizer}.params"):
            owners[name].append(optimizer)
    if free := [name for name, its in owners.items() if not its]:
        remedy = "name them in the `params` of one, or in trainer.freeze"
        raise UserError(f"optimizer: none of {', '.join(config)} has {_listed(free)}: {remedy}")
    if shared := [name for name, its in owners.items() if len(its) > 1]:
        both = " and ".join(owners[shared[0]])
        same = [name for name in shared if owners[name] == owners[shared[0]]]
        raise UserError(
            f"optimizer: {both} both have {_listed(same)}: a parameter belongs to one; narrow their `params`"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def learning_rates(optimizers: Mapping[str, Optimizer]) -> dict[str, float]:
    """lr, and lr/1, lr/2, ... of further groups; of several optimizers besides lr/NAME and lr/NAME/1."""
    rates = {}
    for place, (name, optimizer) in enumerate(optimizers.items()):
        own = f"lr/{name}" if len(optimizers) > 1 else "lr"
        for i, group in enumerate(optimizer.param_groups):
            rate = float(group["lr"])
            if place == i == 0:
                rates["lr"] = rate
            rates[f"{own}/{i}" if i else own] = rate
    return rates
