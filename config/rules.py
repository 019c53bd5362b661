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
    for path, scheduler in _schedulers(config):
        if getattr(scheduler, "type", None) == "ReduceLROnPlateau" and config.trainer.eval_every.unit == "end":
            yield f"{path}.type", "found ReduceLROnPlateau, but trainer.eval_every is end; expected 'N epochs' there"


def _graphs(config: Config) -> Found:
    if config.trainer.compile in CUDA_GRAPH_MODES and config.trainer.accumulate_steps > 1:
        reason = "its CUDA graphs would write over gradients that are still being added up"
        message = f"found {config.trainer.compile!r} beside trainer.accumulate_steps; expected true: {reason}"
        yield "trainer.compile", message


def why_not_a_score(name: str) -> str | None:
    """Why no score can have this name, or None."""
    if name.lower().startswith("val_"):
        return "scores of the validation part begin so"
    return "it is taken in the logs" if name.lower() in TAKEN_NAMES else None


def _metric_names(config: Config) -> Found:
    names = [metric.label.lower() for metric in config.metrics]  # some file systems know no case
    for index, (name, metric) in enumerate(zip(names, config.metrics, strict=True)):
        if name in names[:index]:
            yield f"metrics.{index}", f"found {metric.label!r} a second time; expected another: give one a 'name'"
        if reason := why_not_a_score(name):
            yield f"metrics.{index}", f"found the name {metric.label!r}, but {reason}; expected another 'name'"


def _class_weights(config: Config) -> Found:
    for name in ("weight", "pos_weight"):
        if config.loss.class_weights is not None and config.loss.args.get(name) is not None:
            message = "found beside loss.class_weights, which fills in the weights too; expected one of the two"
            yield f"loss.args.{name}", message


def _schedulers(config: Config) -> Iterator[tuple[str, LRSchedulerConfig | list[LRSchedulerConfig] | None]]:
    """The schedule of each optimizer, or the one for all, with its key."""
    if isinstance(config.lr_scheduler, dict):
        yield from ((f"lr_scheduler.{name}", schedulers) for name, schedulers in config.lr_scheduler.items())
    else:
        yield "lr_scheduler", config.lr_scheduler


def _batch_sizes(config: Config) -> Found:
    sizes, given = config.data_loader, config.data_loader.model_fields_set
    if sizes.batch_size_per_device is not None and "batch_size" in given:
        message = f"found {sizes.batch_size_per_device} beside data_loader.batch_size; expected one of them"
        yield "data_loader.batch_size_per_device", message


def _limits(config: Config) -> Found:
    sizes = config.data_loader
    if sizes.limit_batches and sizes.overfit_batches:
        message = f"found {sizes.limit_batches} beside data_loader.overfit_batches; expected one of them"
        yield "data_loader.limit_batches", message


def _fold(config: Config) -> Found:
    fold, args = config.data_loader.fold, config.dataset.args
    if fold is None:
        return
    if fold.index >= fold.of:
        yield "data_loader.fold.index", f"found {fold.index}; expected less than data_loader.fold.of: {fold.of}"
    if config.data_loader.overfit_batches:
        message = "found beside data_loader.overfit_batches, which learns some samples by heart; expected one of them"
        yield "data_loader.fold", message
    for name in ("test_fraction", "test_path", "test_files"):
        if args.get(name):
            message = f"{found(args[name])} beside data_loader.fold; expected one of them: the fold is the test part"
            yield f"dataset.args.{name}", message
    if fold.group and args.get("group") not in (None, fold.group):
        message = f"{found(args['group'])}, but data_loader.fold.group is {fold.group!r}; expected one of them"
        yield "dataset.args.group", message


def _lone_scheduler(config: Config) -> Found:
    for path, scheduler in _schedulers(config):
        if not isinstance(scheduler, LRSchedulerConfig):
            continue
        if scheduler.milestone is not None:
            message = f"found {scheduler.milestone} on a lone scheduler; expected none: milestones are for lists"
            yield f"{path}.milestone", message
        if scheduler.type == "ReduceLROnPlateau" and scheduler.interval == "step":
            reason = "it is fed with the monitored metric, which each evaluation gives"
            yield f"{path}.interval", f"found 'step' on ReduceLROnPlateau; expected 'epoch': {reason}"


def _monitored_plateau(config: Config) -> Found:
    monitor = config.trainer.monitor
    for path, scheduler in _schedulers(config):
        if not isinstance(scheduler, LRSchedulerConfig) or scheduler.type != "ReduceLROnPlateau":
            continue
        mode = scheduler.args.get("mode")
        if monitor is None:
            expected = "a trainer.monitor, such as 'min val_loss'"
            yield f"{path}.type", f"found ReduceLROnPlateau, but nothing is monitored; expected {expected}"
        elif mode in ("min", "max") and mode != monitor.mode:
            message = f"{found(mode)}, but trainer.monitor is '{monitor}'; expected {monitor.mode!r}, or leave it out"
            yield f"{path}.args.mode", message


def _list_of_schedulers(config: Config) -> Found:
    for path, schedulers in _schedulers(config):
        if isinstance(schedulers, list):
            yield from _of_list(path, schedulers)


def _of_list(key: str, schedulers: list[LRSchedulerConfig]) -> Found:
    if not schedulers:
        yield key, "found []; expected null, a component, or a list of at least one"
    reached = 0
    for index, scheduler in enumerate(schedulers):
        path, milestone, first = f"{key}.{index}", scheduler.milestone, schedulers[0].interval
        if scheduler is schedulers[-1]:
            if milestone is not None:
                yield f"{path}.milestone", f"found {milestone} on the last scheduler; expected none: nothing follows it"
        elif milestone is None:
            yield f"{path}.milestone", f"missing; expected the {scheduler.interval} where the next begins"
        elif milestone <= reached:
            yield f"{path}.milestone", f"found {milestone}; expected more than the milestone before, {reached}"
        reached = max(reached, milestone or 0)
        if scheduler.interval != first:
            message = f"found {scheduler.interval!r}, but {key}.0 has {first!r}; expected the same"
            yield f"{path}.interval", message
        if scheduler.type == "ReduceLROnPlateau":
            message = "found ReduceLROnPlateau in a list; expected it alone: it follows the metric, not a plan"
            yield f"{path}.type", message


def _optimizers_by_name(config: Config) -> Found:
    if not isinstance(config.optimizer, dict):
        if config.optimizer.params is not None:
            yield "optimizer.params", f"{found(config.optimizer.params)} on a lone optimizer; expected none: it has all"
        return
    for name, optimizer in config.optimizer.items():
        if optimizer.params is None:
            yield f"optimizer.{name}.params", "missing; expected globs of the parameters that it has, such as 'head.*'"


def _schedulers_by_name(config: Config) -> Found:
    if not isinstance(config.lr_scheduler, dict):
        return
    names = list(config.optimizer) if isinstance(config.optimizer, dict) else []
    for name in (name for name in config.lr_scheduler if name not in names):
        expected = f"one of: {', '.join(names)}{did_you_mean(name, names)}" if names else "a lone scheduler"
        yield f"lr_scheduler.{name}", f"found the name {name!r}, but no optimizer has it; expected {expected}"


def _closure(config: Config) -> Found:
    """LBFGS asks for the loss and the gradients itself, several times a step."""
    trainer, lone = config.trainer, config.optimizer
    if isinstance(lone, dict):
        for name in (name for name, optimizer in lone.items() if optimizer.type == "LBFGS"):
            yield f"optimizer.{name}.type", "found LBFGS among several; expected it alone: it searches along one loss"
    elif lone.type == "LBFGS":
        reason = "LBFGS searches along gradients as they are"
        if trainer.precision == "fp16":
            yield "trainer.precision", f"found 'fp16' beside LBFGS; expected fp32 or bf16: {reason}, without a scale"
        for name in ("clip_grad_norm", "clip_grad_value"):
            if (value := getattr(trainer, name)) is not None:
                yield f"trainer.{name}", f"found {describe(value)} beside LBFGS; expected null: {reason}"


RULES: dict[Callable[[Config], Found], tuple[str, ...]] = {
    _length: ("trainer.epochs", "trainer.max_steps"),
    _monitored_metric: ("trainer.monitor", "metrics"),
    _monitored_without_validation: ("trainer.monitor", "metrics", "data_loader.validation_split"),
    _early_stop: ("trainer.early_stop", "trainer.monitor"),
    _lone_evaluation: ("trainer.early_stop", "trainer.eval_every", "lr_scheduler"),
    _graphs: ("trainer.compile", "trainer.accumulate_steps"),
    _metric_names: ("metrics",),
    _batch_sizes: ("data_loader.batch_size", "data_loader.batch_size_per_device"),
    _limits: ("data_loader.limit_batches", "data_loader.overfit_batches"),
    _fold: ("data_loader.fold", "data_loader.overfit_batches", "dataset.args"),
    _class_weights: ("loss.class_weights", "loss.args"),
    _lone_scheduler: ("lr_scheduler",),
    _monitored_plateau: ("lr_scheduler", "trainer.monitor"),
    _list_of_schedulers: ("lr_scheduler",),
    _optimizers_by_name: ("optimizer",),
    _schedulers_by_name: ("optimizer", "lr_scheduler"),
    _closure: ("optimizer", "trainer.precision", "trainer.clip_grad_norm", "trainer.clip_grad_value"),
}
