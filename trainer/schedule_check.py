"""The whole schedule, before a run begins: it breaks nowhere, and what the config says of a rate counts."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from base import LR_SCHEDULERS
from base.plan import Plan
from base.signature import parameters_of
from config.problems import found
from config.schema import LRSchedulerConfig, OptimizerConfig
from config.units import Monitor
from trainer.lr_schedule import LRSchedule
from trainer.optimizer import build_optimizer
from utils.errors import UserError, is_torchs

logger = logging.getLogger(__name__)


class ScheduleCheck:
    """Replays the learning rates of a run on optimizers of their own: some 10 us a step.

    optimizer_key, key: of the optimizer and its schedule in the config, for messages.
    """

    def __init__(
        self,
        schedulers: LRSchedulerConfig | Sequence[LRSchedulerConfig] | None,
        model: nn.Module,
        plan: Plan,
        monitor: Monitor | None,
        optimizer_key: str = "optimizer",
        key: str = "lr_scheduler",
    ):
        self.optimizer_key, self.key = optimizer_key, key
        self.schedulers = [schedulers] if isinstance(schedulers, LRSchedulerConfig) else list(schedulers or [])
        self.model = model
        self.plan = plan
        self.monitor = monitor
        self.name = " and ".join(scheduler.type for scheduler in self.schedulers)

    def check(self, optimizer: OptimizerConfig) -> None:
        """UserError where the schedule breaks or gives a rate that is none, or for an argument that it overwrites."""
        if not self.schedulers:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of torch, that the optimizer takes no steps
            self._check(optimizer)

    def _check(self, optimizer: OptimizerConfig) -> None:
        seen = set()
        for place, rates in enumerate(self._replay(optimizer, "lr")):
            seen.add(tuple(rates))
            if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
                raise UserError(
                    f"{self.key}: {self.name} gives the learning rate {', '.join(map(str, map(float, rates)))} at "
                    f"{self.schedulers[0].interval} {place}; expected numbers >= 0"
                )
        if place and len(seen) == 1:
            logger.warning("%s: %s leaves the learning rate as it is in this whole run", self.key, self.name)
        self._warn_of_late_milestones()
        for path, key, value, changed in _changed_one_by_one(optimizer):
            if not self._differ(optimizer, changed, key):
                raise UserError(f"{self.optimizer_key}.{path}.{key}: {found(value)}, but {self._remedy(key)}")

    def _differ(self, optimizer: OptimizerConfig, changed: OptimizerConfig, key: str) -> bool:
        """Whether an option ever differs between two optimizers; True where the other is refused: then it counts."""
        replays = (self._replay(config, key) for config in (optimizer, changed))
        try:
            return any(first != second for first, second in zip(*replays, strict=True))
        except UserError:
            return True

    def _replay(self, optimizer: OptimizerConfig, key: str) -> Iterator[list[Any]]:
        """An option of each group of parameters, at every place of the schedule."""
        built = build_optimizer(optimizer, self.model, self.optimizer_key)
        place = 0
        try:
            schedule = LRSchedule(self.schedulers, built, self.plan, self.monitor)
            for place in range(1 if schedule.is_plateau else schedule.length):
                schedule.advance_to(place)
                yield [group.get(key) for group in built.param_groups]
        except Exception as error:
            if not is_torchs(error):
                raise
            where = f"breaks at {self.schedulers[0].interval} {place} of {schedule.length}"
            raise UserError(f"{self.key}: {self.name} {where}: {error}") from error

    def _warn_of_late_milestones(self) -> None:
        """What follows the end of the run never begins: a short trial of a long plan, or a mistake."""
        unit = self.schedulers[0].interval
        length = self.plan.total_steps if unit == "step" else self.plan.num_epochs
        milestones = [scheduler.milestone for scheduler in self.schedulers[:-1]]
        if milestones and milestones[-1] >= length:
            place = f"{self.key}.{len(milestones) - 1}.milestone: {milestones[-1]}"
            logger.warning(
                "%s is not before the end of the run (%d %ss): what follows never begins", place, length, unit
            )

    def _remedy(self, key: str) -> str:
        meant = "momentum" if key == "betas" else key
        arguments = [
            f"{self.key}.{f'{i}.' if len(self.schedulers) > 1 else ''}args.{name}"
            for i, scheduler in enumerate(self.schedulers)
            for name in parameters_of(LR_SCHEDULERS.find(scheduler.type)).by_name
            if meant in name and name != "lr_lambda"
        ]
        instead = f"leave it out, and set {' or '.join(arguments)}" if arguments else "leave it out"
        return f"{self.name} sets it, whatever it is: {instead}"


def _changed_one_by_one(optimizer: OptimizerConfig) -> Iterator[tuple[str, str, Any, OptimizerConfig]]:
    """Each number among the arguments: where it stands, its key and value, and a config that has another one there."""
    for key, value in optimizer.args.items():
        if (other := _other(value)) is not None:
            yield "args", key, value, optimizer.model_copy(update={"args": {**optimizer.args, key: other}})
    for i, group in enumerate(optimizer.param_groups):
        for key, value in group.args.items():
            if (other := _other(value)) is not None:
                changed = group.model_copy(update={"args": {**group.args, key: other}})
                groups = [*optimizer.param_groups[:i], changed, *optimizer.param_groups[i + 1 :]]
                path = f"param_groups.{i}.args"
                yield path, key, value, optimizer.model_copy(update={"param_groups": groups})


def _other(value: Any) -> Any:
    """Another number, or other numbers; None for what is no number."""
    if isinstance(value, (list, tuple)):
        others = [_other(item) for item in value]
        return None if None in others else others
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value / 2 or 0.5
