"""What no single key shows: keys that contradict each other, or need each other."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from .layers import Document, value_at
from .problems import Path, Problem, describe, did_you_mean, dotted, found
from .units import Monitor

Get = Callable[..., Any]  # get("trainer", "epochs"): the value, None where it is left out, or raises _UndecidedError
Found = Iterator[tuple[Path, str]]


class _UndecidedError(Exception):
    """A rule looks at a value that is wrong in itself, so it cannot judge."""


def rule_problems(document: Document, bad_paths: set[Path]) -> list[Problem]:
    """What the rules find; a rule that needs one of the bad paths is left out."""

    def get(*path: str | int) -> Any:
        if any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in bad_paths):
            raise _UndecidedError
        try:
            return value_at(document.data, path)
        except (KeyError, TypeError):  # left out, or the mapping around it is null
            return None

    problems = []
    for rule in RULES:
        try:
            for path, message in rule(get):
                problems.append(Problem(document.origin(path), path, message))
        except _UndecidedError:
            continue
    return problems


def _length(get: Get) -> Found:
    epochs, max_steps = get("trainer", "epochs"), get("trainer", "max_steps")
    if epochs is not None and max_steps is not None:
        yield (
            ("trainer", "max_steps"),
            f"found {max_steps} beside trainer.epochs: {epochs}; expected one of them: set the other to null",
        )
    if epochs is None and max_steps is None:
        yield (
            ("trainer", "epochs"),
            "missing; expected trainer.epochs or trainer.max_steps, a whole number >= 1",
        )


def _monitor(get: Get) -> Monitor | None:
    text = get("trainer", "monitor")
    return None if text in (None, "off") else Monitor.parse(text)


def _metric_names(get: Get) -> list[str]:
    return [metric.get("name") or metric["type"] for metric in get("metrics") or []]


def _monitored_metric(get: Get) -> Found:
    monitor = _monitor(get)
    if monitor is None:
        return
    names = ["loss", *_metric_names(get)]
    allowed = [*names, *(f"val_{name}" for name in names)]
    if monitor.metric not in allowed:
        yield (
            ("trainer", "monitor"),
            f"found the metric {describe(monitor.metric)}, which is not configured; "
            f"expected one of: {', '.join(allowed)}{did_you_mean(monitor.metric, allowed)}",
        )
    elif monitor.metric not in names:
        split = get("data_loader", "validation_split")
        if split is not None and split == 0:
            yield (
                ("trainer", "monitor"),
                f"found '{monitor}', but data_loader.validation_split is 0; "
                f"expected '{monitor.mode} {monitor.metric.removeprefix('val_')}', off, or a validation split",
            )


def _early_stop(get: Get) -> Found:
    if get("trainer", "early_stop") and _monitor(get) is None:
        yield (
            ("trainer", "early_stop"),
            f"found {get('trainer', 'early_stop')}, but nothing is monitored; expected 0, or a "
            "trainer.monitor such as 'max val_accuracy'",
        )


def _two_metrics(get: Get) -> Found:
    names = _metric_names(get)
    for name, count in Counter(names).items():
        if count > 1:
            second = len(names) - 1 - names[::-1].index(name)
            yield (
                ("metrics", second),
                f"found {name!r} {count} times; expected different names: give one a 'name'",
            )
    if "loss" in names:
        yield (
            ("metrics", names.index("loss")),
            "found the name 'loss', which the loss has; expected another 'name'",
        )


def _class_weights(get: Get) -> Found:
    if get("loss", "class_weights") is None:
        return
    for name in ("weight", "pos_weight"):
        if get("loss", "args", name) is not None:
            yield (
                ("loss", "args", name),
                "found beside loss.class_weights, which fills in the weights too; expected one of the two",
            )


def _schedulers(get: Get) -> list[tuple[Path, dict[str, Any]]]:
    value = get("lr_scheduler")
    if isinstance(value, list):
        return [(("lr_scheduler", index), item) for index, item in enumerate(value)]
    return [] if value is None else [(("lr_scheduler",), value)]


def _plateau(get: Get) -> Found:
    schedulers = _schedulers(get)
    for path, scheduler in schedulers:
        if scheduler["type"] != "ReduceLROnPlateau":
            continue
        if path != ("lr_scheduler",):
            yield (
                (*path, "type"),
                "found ReduceLROnPlateau in a list; expected it alone: it follows the metric, not a plan",
            )
        if scheduler.get("interval", "epoch") == "step":
            yield (
                (*path, "interval"),
                "found 'step' on ReduceLROnPlateau; expected 'epoch': it is fed with the monitored metric, "
                "which each evaluation gives",
            )
        yield from _plateau_monitor(get, path, scheduler)


def _plateau_monitor(get: Get, path: Path, scheduler: dict[str, Any]) -> Found:
    monitor = _monitor(get)
    mode = (scheduler.get("args") or {}).get("mode")
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


def _milestones(get: Get) -> Found:
    schedulers = _schedulers(get)
    if isinstance(get("lr_scheduler"), dict):
        ((path, scheduler),) = schedulers
        if scheduler.get("milestone") is not None:
            yield (
                (*path, "milestone"),
                f"found {scheduler['milestone']} on a lone scheduler; expected none: milestones are for lists",
            )
        return
    last_milestone = 0
    for number, (path, scheduler) in enumerate(schedulers, 1):
        milestone = scheduler.get("milestone")
        if number == len(schedulers):
            if milestone is not None:
                yield (
                    (*path, "milestone"),
                    f"found {milestone} on the last scheduler; expected none: nothing follows it",
                )
        elif milestone is None:
            yield (
                (*path, "milestone"),
                f"missing; expected the {scheduler.get('interval', 'epoch')} where the next begins",
            )
        elif milestone <= last_milestone:
            yield (
                (*path, "milestone"),
                f"found {milestone}; expected more than the milestone before, {last_milestone}",
            )
        last_milestone = max(last_milestone, milestone or 0)


def _intervals(get: Get) -> Found:
    first, *others = [scheduler.get("interval", "epoch") for _, scheduler in _schedulers(get)] or [None]
    for index, interval in enumerate(others, 1):
        if interval != first:
            path = ("lr_scheduler", index, "interval")
            yield (
                path,
                f"found {interval!r}, but {dotted(('lr_scheduler', 0))} has {first!r}; expected the same",
            )


def _empty_schedule(get: Get) -> Found:
    if get("lr_scheduler") == []:
        yield ("lr_scheduler",), "found []; expected null, a component, or a list of at least one"


RULES = (
    _length,
    _monitored_metric,
    _early_stop,
    _two_metrics,
    _class_weights,
    _plateau,
    _milestones,
    _intervals,
    _empty_schedule,
)
