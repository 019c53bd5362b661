"""What no single key shows: keys that contradict each other, or need each other.

A rule is a function of the checked config that yields paths and messages. To add one, write it and enter it in RULES.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from .problems import Path, describe, did_you_mean, found
from .schema import Config, LRSchedulerConfig, Section

Found = Iterator[tuple[Path, str]]


def rule_problems(config: Config, broken: Collection[Path]) -> Found:
    """What the rules find: paths and messages. A rule that looks at a broken path cannot judge, and says no more."""
    for rule in RULES:
        try:
            yield from rule(_Readable(config, broken))
        except _BrokenError:
            continue


class _BrokenError(Exception):
    """A rule looks at a key that is wrong in itself."""


class _Readable:
    """A section of a config like itself, but for its broken keys: looking at one raises _BrokenError."""

    def __init__(self, section: Section, broken: Collection[Path], path: Path = ()) -> None:
        self._section, self._broken, self._path = section, broken, path

    def __getattr__(self, key: str) -> Any:
        path = (*self._path, key)
        if path in self._broken:
            raise _BrokenError
        value = getattr(self._section, key)
        return _Readable(value, self._broken, path) if isinstance(value, Section) else value


def _length(config: Config) -> Found:
    epochs, max_steps = config.trainer.epochs, config.trainer.max_steps
    if epochs is not None and max_steps is not None:
        message = f"found {max_steps} beside trainer.epochs: {epochs}; expected one of them: set the other to null"
        yield ("trainer", "max_steps"), message
    if epochs is None and max_steps is None:
        yield ("trainer", "epochs"), "missing; expected trainer.epochs or trainer.max_steps, a whole number >= 1"


def _monitored_metric(config: Config) -> Found:
    monitor = config.trainer.monitor
    if monitor is None:
        return
    names = ["loss", *(metric.label for metric in config.metrics)]
    allowed = [*names, *(f"val_{name}" for name in names)]
    if monitor.metric not in allowed:
        yield (
            ("trainer", "monitor"),
            f"found the metric {describe(monitor.metric)}, which is not configured; "
            f"expected one of: {', '.join(allowed)}{did_you_mean(monitor.metric, allowed)}",
        )
    elif monitor.metric not in names and config.data_loader.validation_split == 0:
        yield (
            ("trainer", "monitor"),
            f"found '{monitor}', but data_loader.validation_split is 0; "
            f"expected '{monitor.mode} {monitor.metric.removeprefix('val_')}', off, or a validation split",
        )


def _early_stop(config: Config) -> Found:
    if config.trainer.early_stop and config.trainer.monitor is None:
        yield (
            ("trainer", "early_stop"),
            f"found {config.trainer.early_stop}, but nothing is monitored; expected 0, or a "
            "trainer.monitor such as 'max val_accuracy'",
        )


def _metric_names(config: Config) -> Found:
    names = [metric.label for metric in config.metrics]
    for name, count in Counter(names).items():
        if count > 1:
            last = len(names) - 1 - names[::-1].index(name)
            yield ("metrics", last), f"found {name!r} {count} times; expected different names: give one a 'name'"
    if "loss" in names:
        yield ("metrics", names.index("loss")), "found the name 'loss', which the loss has; expected another 'name'"


def _class_weights(config: Config) -> Found:
    if config.loss.class_weights is None:
        return
    for name in ("weight", "pos_weight"):
        if config.loss.args.get(name) is not None:
            yield (
                ("loss", "args", name),
                "found beside loss.class_weights, which fills in the weights too; expected one of the two",
            )


def _schedulers(config: Config) -> list[tuple[Path, LRSchedulerConfig]]:
    value = config.lr_scheduler
    if isinstance(value, list):
        return [(("lr_scheduler", index), scheduler) for index, scheduler in enumerate(value)]
    return [] if value is None else [(("lr_scheduler",), value)]


def _plateau(config: Config) -> Found:
    for path, scheduler in _schedulers(config):
        if scheduler.type != "ReduceLROnPlateau":
            continue
        if path != ("lr_scheduler",):
            message = "found ReduceLROnPlateau in a list; expected it alone: it follows the metric, not a plan"
            yield (*path, "type"), message
        if scheduler.interval == "step":
            yield (
                (*path, "interval"),
                "found 'step' on ReduceLROnPlateau; expected 'epoch': it is fed with the monitored metric, "
                "which each evaluation gives",
            )
        monitor, mode = config.trainer.monitor, scheduler.args.get("mode")
        if monitor is None:
            yield (
                (*path, "type"),
                "found ReduceLROnPlateau, but nothing is monitored; expected a trainer.monitor, such as 'min val_loss'",
            )
        elif mode in ("min", "max") and mode != monitor.mode:
            yield (
                (*path, "args", "mode"),
                f"{found(mode)}, but trainer.monitor is '{monitor}'; expected {monitor.mode!r}, or leave it out",
            )


def _milestones(config: Config) -> Found:
    schedulers = _schedulers(config)
    reached = 0
    for number, (path, scheduler) in enumerate(schedulers, 1):
        path, milestone = (*path, "milestone"), scheduler.milestone
        if number == len(schedulers):
            if milestone is not None:
                is_lone = not isinstance(config.lr_scheduler, list)
                where = "a lone scheduler" if is_lone else "the last scheduler"
                reason = "milestones are for lists" if is_lone else "nothing follows it"
                yield path, f"found {milestone} on {where}; expected none: {reason}"
        elif milestone is None:
            yield path, f"missing; expected the {scheduler.interval} where the next begins"
        elif milestone <= reached:
            yield path, f"found {milestone}; expected more than the milestone before, {reached}"
        reached = max(reached, milestone or 0)


def _intervals(config: Config) -> Found:
    schedulers = _schedulers(config)
    for path, scheduler in schedulers[1:]:
        first = schedulers[0][1].interval
        if scheduler.interval != first:
            message = f"found {scheduler.interval!r}, but lr_scheduler.0 has {first!r}; expected the same"
            yield (*path, "interval"), message


def _empty_schedule(config: Config) -> Found:
    if config.lr_scheduler == []:
        yield ("lr_scheduler",), "found []; expected null, a component, or a list of at least one"


RULES = (
    _length,
    _monitored_metric,
    _early_stop,
    _metric_names,
    _class_weights,
    _plateau,
    _milestones,
    _intervals,
    _empty_schedule,
)
