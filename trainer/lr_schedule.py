"""Learning rate schedules: built from the config, a function of the steps done."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, SequentialLR

from base import LR_LAMBDAS, LR_SCHEDULERS
from base.plan import Plan
from base.signature import parameters_of
from config.schema import LRSchedulerConfig
from config.units import Monitor


class LRSchedule:
    """One scheduler, or several in sequence, brought before each step to where that step belongs.

    A schedule of a known length is a function of the steps done, so a run that is resumed with another length goes on
    as if it had been planned so: the scheduler is built for the new length and brought to the step by replaying it.
    ReduceLROnPlateau follows the scores of the monitored metric instead.
    """

    def __init__(
        self,
        config: LRSchedulerConfig | Sequence[LRSchedulerConfig] | None,
        optimizer: Optimizer,
        plan: Plan,
        monitor: Monitor | None = None,
    ):
        configs = [config] if isinstance(config, LRSchedulerConfig) else list(config or [])
        self.plan = plan
        self.interval = configs[0].interval if configs else None
        self.length = plan.total_steps if self.interval == "step" else plan.num_epochs
        self.scheduler = build_scheduler(configs, optimizer, self.length, monitor) if configs else None
        self.optimizer = optimizer
        self._first_lrs = [group["lr"] for group in optimizer.param_groups]
        self._new_score: float | None = None  # of the monitored metric, not yet looked at
        self._first_advance = _order_unchecked()

    @property
    def is_plateau(self) -> bool:
        return isinstance(self.scheduler, ReduceLROnPlateau)

    def after_evaluation(self, score: float) -> None:
        """Keep the monitored metric for ReduceLROnPlateau; the others do not look at it."""
        self._new_score = score

    def before_step(self, step: int) -> None:
        """Set the learning rates of the step that follows `step` done ones: until then the last ones can be logged."""
        if self.is_plateau:
            if self._new_score is not None:
                self.scheduler.step(self._new_score)
                self._new_score = None
        elif self.scheduler is not None:
            self.advance_to(step if self.interval == "step" else self.plan.epoch_of(step))

    def advance_to(self, place: int) -> None:
        """Bring the learning rates to a step or epoch that lies ahead."""
        if self.scheduler.last_epoch < place:
            with self._first_advance:
                while self.scheduler.last_epoch < place:
                    self.scheduler.step()
            self._first_advance = contextlib.nullcontext()

    def state_dict(self) -> dict[str, Any]:
        if self.scheduler is None:
            return {}
        return {"length": self.length, "scheduler": self.scheduler.state_dict(), "new_score": self._new_score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was saved. The optimizer's state must be loaded before."""
        if self.scheduler is None:
            return
        if self.is_plateau or state["length"] == self.length:
            self.scheduler.load_state_dict(state["scheduler"])
            self._new_score = state["new_score"]
            return
        for group, first_lr in zip(self.optimizer.param_groups, self._first_lrs, strict=True):
            group["lr"] = first_lr
        self.advance_to(min(state["scheduler"]["last_epoch"], self.length))


@contextlib.contextmanager
def _order_unchecked() -> Iterator[None]:
    """For the first advance in a process, of which torch warns where the optimizer has taken no step before.

    Rightly it has not: a replay comes first, a resumed process has yet to step, and fp16 may leave out a step.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step", UserWarning)
        yield


def build_scheduler(
    configs: Sequence[LRSchedulerConfig], optimizer: Optimizer, length: int, monitor: Monitor | None
) -> LRScheduler | ReduceLROnPlateau:
    """The scheduler of a run of `length` steps or epochs; a list runs in sequence, each up to its milestone."""
    milestones = [config.milestone for config in configs[:-1]]
    starts, ends = [0, *milestones], [*milestones, length]
    schedulers = [
        _build_one(config, optimizer, max(1, end - start), monitor)
        for config, start, end in zip(configs, starts, ends, strict=True)
    ]
    return schedulers[0] if len(schedulers) == 1 else SequentialLR(optimizer, schedulers, milestones)


def _build_one(
    config: LRSchedulerConfig, optimizer: Optimizer, length: int, monitor: Monitor | None
) -> LRScheduler | ReduceLROnPlateau:
    parameters = parameters_of(LR_SCHEDULERS.find(config.type)).by_name
    args = dict(config.args)
    if "lr_lambda" in args:
        args["lr_lambda"] = _build_lr_lambda(args["lr_lambda"])
    if "total_steps" in parameters and not {"total_steps", "epochs"} & args.keys():
        args["total_steps"] = length
    if "T_max" in parameters:
        args.setdefault("T_max", length)
    if config.type == "ReduceLROnPlateau" and monitor is not None:
        args["mode"] = monitor.mode
    return LR_SCHEDULERS.build(config.type, args, optimizer=optimizer)


def _build_lr_lambda(value: Any) -> Any:
    """A registered function of the step by its name, or by {type, args}; a list of them, one a parameter group."""
    if isinstance(value, list):
        return [_build_lr_lambda(item) for item in value]
    name, args = (value, {}) if isinstance(value, str) else (value["type"], value.get("args", {}))
    function = LR_LAMBDAS.find(name)
    return lambda step: function(step, **args)
