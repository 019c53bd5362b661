"""What no single key shows: keys that contradict each other, or need each other.

A rule is a function of the checked config that yields dotted paths and messages; RULES has the keys that it reads.
"""

from collections.abc import Callable, Collection, Iterator

from .problems import Path, describe, did_you_mean, found
from .schema import CUDA_GRAPH_MODES, Config, LRSchedulerConfig

Found = Iterator[tuple[str, str]]

# What stands beside the scores in metrics.csv and metrics.json; TensorBoard shows pictures as `inputs`.
TAKEN_NAMES = ("loss", "epoch", "step", "lr", "seconds", "samples_per_second", "checkpoint", "split", "num_samples",
               "intervals", "inputs")  # fmt: skip


def rule_problems(config: Config, wrong: Collection[Path]) -> Iterator[tuple[Path, str]]:
    """What the rules find: paths and messages. A rule that reads a key which is wrong in itself cannot judge."""
    for rule, keys in RULES.items():
        if not any(_begin_alike(_path(key), path) for key in keys for path in wrong):
            yield from ((_path(dotted), message) for dotted, message in rule(config))


def _begin_alike(key: Path, path: Path) -> bool:
    """Whether one of two paths leads to the other."""
    return all(a == b for a, b in zip(key, path, strict=False))


def _path(dotted: str) -> Path:
    return tuple(int(part) if part.isdigit() else part for part in dotted.split("."))


def _length(config: Config) -> Found:
    epochs, max_steps = config.trainer.epochs, config.trainer.max_steps
    if epochs is not None and max_steps is not None:
        message = f"found {max_steps} beside trainer.epochs: {epochs}; expected one of them: set the other to null"
        yield "trainer.max_steps", message
    if epochs is None and max_steps is None:
        yield "trainer.epochs", "missing; expected trainer.epochs or trainer.max_steps, a whole number >= 1"


def _monitored_metric(config: Config) -> Found:
    monitor, names = config.trainer.monitor, _score_names(config)
    allowed = [*names, *(f"val_{name}" for name in names)]
    if monitor is not None and not _is_among(monitor.metric, allowed):
        expected = f"expected one of: {', '.join(allowed)}{did_you_mean(monitor.metric, allowed)}"
        yield "trainer.monitor", f"found the metric {describe(monitor.metric)}, which is not configured; {expected}"


def _monitored_without_validation(config: Config) -> Found:
    monitor, names = config.trainer.monitor, _score_names(config)
    if config.data_loader.validation_split != 0 or monitor is None or _is_among(monitor.metric, names):
        return
    name = monitor.metric.removeprefix("val_")
    if _is_among(name, names):
        expected = f"'{monitor.mode} {name}', off, or a validation split"
        yield "trainer.monitor", f"found '{monitor}', but data_loader.validation_split is 0; expected {expected}"


def _score_names(config: Config) -> list[str]:
    return ["loss", *(metric.label for metric in config.metrics)]


def _is_among(name: str, scores: list[str]) -> bool:
    """Whether this is one of the scores, or may be one of the several values of a metric, such as f1_0."""
    return any(name == score or name.startswith(f"{score}_") for score in scores)


def _early_stop(config: Config) -> Found:
    if config.trainer.early_stop and config.trainer.monitor is None:
        expected = "0, or a trainer.monitor such as 'max val_accuracy'"
        yield "trainer.early_stop", f"found {config.trainer.early_stop}, but nothing is monitored; expected {expected}"


def _lone_evaluation(config: Config) -> Found:
    if config.trainer.early_stop and config.trainer.eval_every.unit == "end":
        yield "trainer.early_stop", f"found {config.trainer.early_stop}, but trainer.eval_every is end; expected 0"
    if getattr(config.lr_scheduler, "type", None) == "ReduceLROnPlateau" and config.trainer.eval_every.unit == "end":
        yield "lr_scheduler.type", "found ReduceLROnPlateau, but trainer.eval_every is end; expected 'N epochs' there"


def _graphs(config: Config) -> Found:
    if config.trainer.compile in CUDA_GRAPH_MODES and config.trainer.accumulate_steps > 1:
        reason = "its CUDA graphs would write over gradients that are still being added up"
        message = f"found {config.trainer.compile!r} beside trainer.accumulate_steps; expected true: {reason}"
        yield "trainer.compile", message


def _metric_names(config: Config) -> Found:
    names = [metric.label.lower() for metric in config.metrics]  # some file systems know no case
    for index, (name, metric) in enumerate(zip(names, config.metrics, strict=True)):
        if name in names[:index]:
            yield f"metrics.{index}", f"found {metric.label!r} a second time; expected another: give one a 'name'"
        if name in TAKEN_NAMES or name.startswith("val_"):
            other = "scores of the validation part begin so" if name.startswith("val_") else "it is taken in the logs"
            yield f"metrics.{index}", f"found the name {metric.label!r}, but {other}; expected another 'name'"


def _class_weights(config: Config) -> Found:
    for name in ("weight", "pos_weight"):
        if config.loss.class_weights is not None and config.loss.args.get(name) is not None:
            message = "found beside loss.class_weights, which fills in the weights too; expected one of the two"
            yield f"loss.args.{name}", message


def _lone_scheduler(config: Config) -> Found:
    scheduler = config.lr_scheduler
    if isinstance(scheduler, LRSchedulerConfig):
        if scheduler.milestone is not None:
            message = f"found {scheduler.milestone} on a lone scheduler; expected none: milestones are for lists"
            yield "lr_scheduler.milestone", message
        if scheduler.type == "ReduceLROnPlateau" and scheduler.interval == "step":
            reason = "it is fed with the monitored metric, which each evaluation gives"
            yield "lr_scheduler.interval", f"found 'step' on ReduceLROnPlateau; expected 'epoch': {reason}"


def _monitored_plateau(config: Config) -> Found:
    scheduler, monitor = config.lr_scheduler, config.trainer.monitor
    if not isinstance(scheduler, LRSchedulerConfig) or scheduler.type != "ReduceLROnPlateau":
        return
    mode = scheduler.args.get("mode")
    if monitor is None:
        expected = "a trainer.monitor, such as 'min val_loss'"
        yield "lr_scheduler.type", f"found ReduceLROnPlateau, but nothing is monitored; expected {expected}"
    elif mode in ("min", "max") and mode != monitor.mode:
        message = f"{found(mode)}, but trainer.monitor is '{monitor}'; expected {monitor.mode!r}, or leave it out"
        yield "lr_scheduler.args.mode", message


def _list_of_schedulers(config: Config) -> Found:
    schedulers = config.lr_scheduler if isinstance(config.lr_scheduler, list) else []
    if config.lr_scheduler == []:
        yield "lr_scheduler", "found []; expected null, a component, or a list of at least one"
    reached = 0
    for index, scheduler in enumerate(schedulers):
        path, milestone, first = f"lr_scheduler.{index}", scheduler.milestone, schedulers[0].interval
        if scheduler is schedulers[-1]:
            if milestone is not None:
                yield f"{path}.milestone", f"found {milestone} on the last scheduler; expected none: nothing follows it"
        elif milestone is None:
            yield f"{path}.milestone", f"missing; expected the {scheduler.interval} where the next begins"
        elif milestone <= reached:
            yield f"{path}.milestone", f"found {milestone}; expected more than the milestone before, {reached}"
        reached = max(reached, milestone or 0)
        if scheduler.interval != first:
            message = f"found {scheduler.interval!r}, but lr_scheduler.0 has {first!r}; expected the same"
            yield f"{path}.interval", message
        if scheduler.type == "ReduceLROnPlateau":
            message = "found ReduceLROnPlateau in a list; expected it alone: it follows the metric, not a plan"
            yield f"{path}.type", message


RULES: dict[Callable[[Config], Found], tuple[str, ...]] = {
    _length: ("trainer.epochs", "trainer.max_steps"),
    _monitored_metric: ("trainer.monitor", "metrics"),
    _monitored_without_validation: ("trainer.monitor", "metrics", "data_loader.validation_split"),
    _early_stop: ("trainer.early_stop", "trainer.monitor"),
    _lone_evaluation: ("trainer.early_stop", "trainer.eval_every", "lr_scheduler"),
    _graphs: ("trainer.compile", "trainer.accumulate_steps"),
    _metric_names: ("metrics",),
    _class_weights: ("loss.class_weights", "loss.args"),
    _lone_scheduler: ("lr_scheduler",),
    _monitored_plateau: ("lr_scheduler", "trainer.monitor"),
    _list_of_schedulers: ("lr_scheduler",),
}
