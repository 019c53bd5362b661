"""Every config key: its type, default and meaning. No other place gives a default to a setting."""

import re
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from .problems import nearest
from .units import Duration, Every, Monitor


class Says(NamedTuple):
    """What a key expects, in words, where its type alone doesn't say it."""

    words: str


def _refuse(is_wrong):
    """A validator that refuses the values for which `is_wrong` is true; `Says` tells what is right."""

    def check(value):
        if is_wrong(value):
            raise ValueError("not allowed")
        return value

    return AfterValidator(check)


def _written(unit: type) -> tuple[BeforeValidator, PlainSerializer]:
    """Lets a type of units.py be read from its text and written back as it."""
    return BeforeValidator(unit.parse), PlainSerializer(str)


_DEVICE_NAMES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


def is_bad_name(name: str) -> bool:
    """Whether no run may be called so: its folder is."""
    well_formed = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,99}", name) and name[-1] not in ". "
    return not well_formed or ".." in name or name.split(".")[0].strip().upper() in _DEVICE_NAMES


RunName = Annotated[
    str,
    _refuse(is_bad_name),
    Says(
        "a folder name: 1 to 100 letters, digits, '.', '_', '-' or spaces, beginning with a letter, a digit or '_', "
        "without '..', and none of Windows' device names (CON, NUL, COM1, ...)"
    ),
]
DeviceName = Annotated[
    str, Field(pattern="^(auto|cpu|cuda(:[0-9]{1,4})?|mps)$"), Says("auto, cpu, cuda, cuda:N or mps")
]
ComponentName = Annotated[
    str,
    Field(pattern="^[A-Za-z_][A-Za-z0-9_-]*$", max_length=100),
    Says("the plain name of a component (`python train.py --list` shows them; import paths are not taken)"),
]
PathText = Annotated[
    str, _refuse(lambda text: not text.strip() or "\0" in text), Says("a path (text, not empty, without NUL)")
]
MetricName = Annotated[str, Field(pattern=r"^\w[\w-]*$", max_length=100), Says("letters, digits, '_', '-'")]
ValidationSplit = Annotated[
    Annotated[float, Field(ge=0, lt=1)] | Annotated[int, Field(ge=0)],
    Says("a fraction between 0 and 1, a whole number of samples, 0 (no validation) or null"),
]
MonitorOrOff = Annotated[
    Monitor | None,
    BeforeValidator(lambda value: None if value == "off" else Monitor.parse(value)),
    PlainSerializer(lambda monitor: "off" if monitor is None else str(monitor)),
    Says("'min METRIC', 'max METRIC' (such as 'max val_accuracy') or 'off'"),
]
DurationText = Annotated[Duration, *_written(Duration), Says("a time such as '90 seconds', '30 minutes' or '8 hours'")]
SaveEvery = Annotated[Every, *_written(Every), Says("'N epochs', 'N steps', 'N minutes' (N >= 1) or 'end'")]
EvalEvery = Annotated[
    Every,
    *_written(Every),
    _refuse(lambda every: every.unit == "minute"),
    Says("'N epochs', 'N steps' (N >= 1) or 'end'"),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")  # of torch.compile: memory is used again from call to call
Args = Annotated[dict[str, Any], Field(description="Its arguments by name, checked against its signature.")]


class Section(BaseModel):
    """A mapping of the config: unknown keys are errors, types are never coerced, values never change.

    kind: of the component that `type` and `args` name, if they do: the registry of base/registries.py that knows it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    kind: ClassVar[str | None] = None


class ComponentConfig(Section):
    """A component by its registered name. A bare name in YAML means one without arguments."""

    type: ComponentName = Field(description="Its name; `python train.py --list` shows all.")
    args: Args = {}


class TransformConfig(ComponentConfig):
    kind = "transform"


class BatchTransformConfig(ComponentConfig):
    kind = "batch_transform"


class TransformsConfig(Section):
    train: list[TransformConfig] = Field([], description="Applied in this order to training data.")
    eval: list[TransformConfig] = Field([], description="Applied in this order to validation and test data.")


class BatchTransformsConfig(Section):
    train: list[BatchTransformConfig] = Field([], description="Applied in this order to training data.")
    eval: list[BatchTransformConfig] = Field([], description="Applied in this order to validation and test data.")


class SplitArgsConfig(Section):
    train: dict[str, Any] = Field({}, description="Further arguments of the training part.")
    valid: dict[str, Any] = Field({}, description="Further arguments of the validation part.")
    test: dict[str, Any] = Field({}, description="Further arguments of the test part.")


class DatasetConfig(ComponentConfig):
    kind = "dataset"
    split_args: SplitArgsConfig = Field(SplitArgsConfig(), description="Arguments by split, where it takes no `split`.")
    transforms: TransformsConfig = Field(
        TransformsConfig(), description="On one sample, in the loader's workers (torchvision.transforms.v2)."
    )
    batch_transforms: BatchTransformsConfig = Field(
        BatchTransformsConfig(), description="On a whole batch, on the device (kornia.augmentation)."
    )


class OrderConfig(ComponentConfig):
    kind = "order"


class FoldConfig(Section):
    index: int = Field(ge=0, description="Which of the folds is the test part of this run, from 0.")
    of: int = Field(ge=2, description="Into how many folds the data are divided, by `seed`, as scikit-learn does.")
    stratify: bool | Literal["auto"] = Field(
        "auto", description="Each fold has its share of each class; auto: where targets are classes."
    )
    group: str | None = Field(
        None, description="What samples have in common that stay in one fold: as `group` in `dataset.args`."
    )


class DataLoaderConfig(Section):
    batch_size: int = Field(64, ge=1, description="Samples a batch; of several processes, each takes its share of it.")
    batch_size_per_device: int | None = Field(
        None, ge=1, description="In place of `batch_size`: samples of a batch in each process."
    )
    num_workers: Annotated[int, Field(ge=0, le=512)] | Literal["auto"] = Field(
        "auto",
        description="Loader processes; auto: none where a whole batch is read at once (data in memory, without "
        "transforms of samples), else one a core, at most 4.",
    )
    on_device: bool | Literal["auto"] = Field(
        "auto",
        description="Data in memory live on the device, and batches are taken there; auto: on CUDA, where they need at "
        "most a quarter of the free memory.",
    )
    validation_split: ValidationSplit | None = Field(
        None,
        description="Part of the training set held out for validation: a fraction or a count; "
        "0: no validation; null: the dataset's own validation part.",
    )
    fold: FoldConfig | None = Field(
        None, description="One of several folds is the test part; training and validation share the others."
    )
    order: OrderConfig = Field(OrderConfig(type="shuffled"), description="The order of the training samples.")
    drop_last: bool | Literal["auto"] = Field(
        "auto",
        description="Leave out the last training batch when it is not full; auto: where that is at most 5 % of the "
        "samples, or a single one.",
    )
    limit_batches: int | None = Field(
        None, ge=1, description="At most so many batches an epoch, and samples for as many in validation: for trials."
    )
    overfit_batches: int | None = Field(
        None,
        ge=1,
        description="The same batches in each epoch, and in validation: can the model learn these by heart?",
    )
    skip_bad_samples: int = Field(0, ge=0, description="Samples that may be left out because they cannot be read.")


class ModelConfig(ComponentConfig):
    kind = "model"


class LossConfig(ComponentConfig):
    kind = "loss"
    class_weights: Literal["balanced"] | list[Annotated[Finite, Field(ge=0)]] | None = Field(
        None, description="One weight a class; balanced: inverse class frequencies of the training set."
    )


class MetricConfig(ComponentConfig):
    kind = "metric"
    name: MetricName | None = Field(None, description="Its name in logs and in `trainer.monitor`; null: its type.")

    @property
    def label(self) -> str:
        """The name it goes by in logs and in `trainer.monitor`."""
        return self.name or self.type


class ParamGroupConfig(Section):
    params: str | list[str] = Field(description="Globs of parameter names, such as `head.*`.")
    args: Args = {}


class OptimizerConfig(ComponentConfig):
    kind = "optimizer"
    params: str | list[str] | None = Field(
        None, description="Of several optimizers by name: globs of the parameters that are its own."
    )
    param_groups: list[ParamGroupConfig] = Field([], description="Own arguments for some parameters; first match wins.")
    no_decay: bool = Field(False, description="No weight decay on biases and normalisation layers.")


class LRSchedulerConfig(ComponentConfig):
    kind = "lr_scheduler"
    interval: Literal["step", "epoch"] = Field("epoch", description="When it steps.")
    milestone: int | None = Field(None, ge=1, description="In a list: when the next takes over, counted by `interval`.")


_NO_NAMES = {*OptimizerConfig.model_fields, *LRSchedulerConfig.model_fields}


def is_own_name(key: Any) -> bool:
    """Whether a key is a name for one of several optimizers, and no key of theirs, however misspelt."""
    is_name = isinstance(key, str) and re.fullmatch(r"[A-Za-z_][\w-]{0,49}", key)
    return bool(is_name) and not nearest(key, _NO_NAMES, cutoff=0.75)


# `optimizer: {generator: {type: ..., params: ...}, discriminator: ...}`, and schedules by the same names.
OwnName = Annotated[str, _refuse(lambda name: not is_own_name(name))]
OptimizersByName = Annotated[dict[OwnName, OptimizerConfig], Field(min_length=1), Says("several by name")]
LRSchedulersByName = Annotated[
    dict[OwnName, LRSchedulerConfig | list[LRSchedulerConfig] | None],
    Field(min_length=1),
    Says("such by the names of optimizers"),
]


class InitFromConfig(Section):
    path: PathText = Field(description="A run folder or checkpoint.")
    skip_mismatched: bool = Field(False, description="Leave out weights whose shape differs (a new head).")


class LoggerConfig(ComponentConfig):
    kind = "logger"


class TrainerConfig(Section):
    kind = "trainer"
    type: ComponentName = Field("Trainer", description="Trainer, or a registered subclass of it.")
    args: Args = {}
    epochs: int | None = Field(None, ge=1, description="Length of the run; this or `max_steps`.")
    max_steps: int | None = Field(None, ge=1, description="Length of the run in optimizer steps.")
    max_time: DurationText | None = Field(None, description="Save a checkpoint and stop after this time.")
    parallel: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="Of several processes: ddp, each has all weights; fsdp, each has its share of them; auto: ddp.",
    )
    sync_batch_norm: bool = Field(
        False, description="Of several processes, on CUDA: batch normalisation goes by the samples of all."
    )
    activation_checkpointing: str | list[str] = Field(
        [], description="Globs of modules whose activations are computed again in the backward pass, to save memory."
    )
    timeout: DurationText = Field(
        Duration(10, "minute"), description="Of several processes: how long one waits for another before all end."
    )
    monitor: MonitorOrOff = Field(None, description="Which checkpoint is best, by which metric.")
    early_stop: int = Field(0, ge=0, description="Stop after this many evaluations without improvement; 0: off.")
    save_dir: PathText = Field("saved", description="Where run folders are made.")
    save_every: SaveEvery = Field(
        Every(1, "epoch"),
        description="`N epochs`, `N steps`, `N minutes`, or `end`; besides, the best, and where a run stops.",
    )
    eval_every: EvalEvery = Field(Every(1, "epoch"), description="`N epochs`, `N steps`, or `end`; always at the end.")
    log_every: int = Field(10, ge=1, description="Steps between two log points.")
    keep_last: int = Field(2, ge=1, description="Newest checkpoints to keep, besides the best.")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Autocast; fp16 with a loss scaler.")
    compile: bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = Field(
        False, description="torch.compile: true, or one of its modes."
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto",
        description="Memory format of pictures and convolutions; auto: where the model can, on a CPU or with autocast.",
    )
    deterministic: bool = Field(False, description="Deterministic kernels only, at some cost in speed.")
    accumulate_steps: int = Field(1, ge=1, description="Batches an optimizer step.")
    clip_grad_norm: Finite | None = Field(None, gt=0, description="Largest norm of all gradients together.")
    clip_grad_value: Finite | None = Field(None, gt=0, description="Largest absolute gradient, after `clip_grad_norm`.")
    log_grad_norm: bool = Field(
        False, description="Log the norm of the gradients of each group of parameters, before they are clipped."
    )
    ema_decay: float | None = Field(None, gt=0, lt=1, description="Exponential average of the weights, for evaluation.")
    init_from: PathText | InitFromConfig | None = Field(
        None, description="Start from these weights (only the weights): a path, or {path, skip_mismatched}."
    )
    freeze: str | list[str] = Field([], description="Globs of parameter names that are not trained.")
    loggers: list[LoggerConfig] = Field([], description="WandB, MLflow (docs/trackers.md), or loggers of your own.")
    tensorboard: bool = Field(True, description="Write TensorBoard event files.")
    progress: bool = Field(True, description="Show a progress bar on a terminal.")


class Config(Section):
    """One experiment."""

    name: RunName = Field(description="Names the run's folder; left out: taken from the config file.")
    seed: int = Field(42, ge=0, lt=2**32, description="Decides every random number of the run.")
    device: DeviceName = Field("auto", description="auto, cpu, cuda, cuda:N or mps; auto: the best there is.")
    dataset: DatasetConfig = Field(description="What is learned from.")
    data_loader: DataLoaderConfig = Field(DataLoaderConfig(), description="How it is split and batched.")
    model: ModelConfig = Field(description="What learns.")
    loss: LossConfig = Field(description="What is made small.")
    metrics: list[MetricConfig] = Field([], description="Reported on training and validation data.")
    optimizer: OptimizerConfig | OptimizersByName = Field(
        description="How the weights change; several by name, each with the `params` that are its own."
    )
    lr_scheduler: LRSchedulerConfig | list[LRSchedulerConfig] | LRSchedulersByName | None = Field(
        None,
        description="One, or a list run one after the other, each but the last with a `milestone`. With several "
        "optimizers: for each of them, or by their names.",
    )
    trainer: TrainerConfig = Field(description="How long, how watched, how kept.")

    def for_processes(self, num_processes: int) -> "Config":
        """The same, with `batch_size_per_device` made into the batch of so many processes."""
        if (share := self.data_loader.batch_size_per_device) is None:
            return self
        sizes = {"batch_size": share * num_processes, "batch_size_per_device": None}
        return self.model_copy(update={"data_loader": self.data_loader.model_copy(update=sizes)})
