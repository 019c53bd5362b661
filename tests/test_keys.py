"""No key of a config is taken and ignored: each changes what a run, or its evaluation, leaves behind."""

import functools

import pytest
import torch

from base import LOGGERS, ORDERS, TRAINERS
from config.reference import SECTIONS
from tests.running import PICTURES, Recorder, assert_same, evaluate, state_of, steps_saved, table_of, train
from trainer.trainer import Trainer


@TRAINERS.register
class TwiceTrainer(Trainer):
    """Takes each step several times."""

    def __init__(self, times: int = 2, **parts):
        super().__init__(**parts)
        self.times = times

    def train_step(self, batches):
        for _ in range(self.times):
            super().train_step(batches)


@LOGGERS.register
class OtherRecorder(Recorder):
    def __init__(self, folder, name: str = "other.jsonl"):
        self.path = folder / name


@ORDERS.register
def every_nth(num_samples, n: int = 2):
    return torch.arange(num_samples) * n % num_samples


BASE = (
    *PICTURES,
    *("dataset.args.size=43", "--epochs", "2", "optimizer.args.weight_decay=0.1", "trainer.keep_last=9"),
    *("lr_scheduler={type: StepLR, args: {step_size: 1}}", "metrics=[{type: top_k_accuracy, args: {k: 2}}]"),
)
FLIP = "[{type: RandomHorizontalFlip, args: {p: 1.0}}]"
STEPS = "{type: StepLR, args: {step_size: 1}"
# A value for each key, and what it takes besides for the key to count.
CASES = {
    "name": "name=other",
    "seed": "seed=1",
    "dataset.type": ["dataset.type=FakeData", "dataset.args={size: 43, image_size: [3, 8, 8], num_classes: 3}"],
    "dataset.args": "dataset.args.seed=1",
    "dataset.split_args.train": "dataset.split_args.train.size=50",
    "dataset.split_args.valid": "dataset.split_args.valid.valid_size=19",
    "dataset.split_args.test": "dataset.split_args.test.test_size=19",
    "dataset.transforms.train": f"dataset.transforms.train={FLIP}",
    "dataset.transforms.eval": f"dataset.transforms.eval={FLIP}",
    "dataset.transforms.train.0.args": "dataset.transforms.train.0.args.p=0.5",
    "dataset.transforms.eval.0.args": "dataset.transforms.eval.0.args.p=0.5",
    "dataset.batch_transforms.train": f"dataset.batch_transforms.train={FLIP}",
    "dataset.batch_transforms.eval": f"dataset.batch_transforms.eval={FLIP}",
    "dataset.batch_transforms.train.0.args": "dataset.batch_transforms.train.0.args.p=0.5",
    "dataset.batch_transforms.eval.0.args": "dataset.batch_transforms.eval.0.args.p=0.5",
    "data_loader.batch_size": "data_loader.batch_size=7",
    "data_loader.validation_split": "data_loader.validation_split=0.2",
    "data_loader.drop_last": ["data_loader.drop_last=true", "data_loader.batch_size=10"],
    "data_loader.order.type": "data_loader.order=sequential",
    "data_loader.order.args": ["data_loader.order={type: every_nth, args: {n: 3}}"],
    "model.type": ["model={type: MLP, args: {in_features: 192, out_features: 3}}", "trainer.channels_last=false"],
    "model.args": "model.args.hidden=7",
    "loss.type": "loss=MultiMarginLoss",
    "loss.args": "loss={type: CrossEntropyLoss, args: {label_smoothing: 0.2}}",
    "loss.class_weights": "loss={type: CrossEntropyLoss, class_weights: [1.0, 2.0, 3.0]}",
    "metrics.0.type": "metrics=[accuracy]",
    "metrics.0.args": "metrics.0.args.k=1",
    "metrics.0.name": "metrics.0.name=other",
    "optimizer.type": "optimizer={type: Adam, args: {lr: 0.1}}",
    "optimizer.args": "optimizer.args.nesterov=true",
    "optimizer.param_groups.0.params": "optimizer.param_groups.0.params=features.*",
    "optimizer.param_groups.0.args": "optimizer.param_groups.0.args.lr=0.2",
    "optimizer.no_decay": "optimizer.no_decay=true",
    "lr_scheduler.type": "lr_scheduler={type: ConstantLR, args: {factor: 0.5}}",
    "lr_scheduler.args": "lr_scheduler.args.gamma=0.5",
    "lr_scheduler.interval": "lr_scheduler.interval=step",
    "lr_scheduler.0.type": "lr_scheduler.1={type: ConstantLR, args: {factor: 0.5}}",
    "lr_scheduler.0.args": "lr_scheduler.1.args.gamma=0.5",
    "lr_scheduler.0.interval": ["lr_scheduler.0.interval=step", "lr_scheduler.1.interval=step"],
    "lr_scheduler.0.milestone": "lr_scheduler.0.milestone=2",
    "trainer.type": "trainer.type=TwiceTrainer",
    "trainer.args": "trainer.args.times=3",
    "trainer.epochs": "trainer.epochs=3",
    "trainer.max_steps": ["trainer.epochs=null", "trainer.max_steps=6"],
    "trainer.max_time": "trainer.max_time=0.001 seconds",
    "trainer.monitor": "trainer.monitor=min val_loss",
    "trainer.early_stop": "trainer.early_stop=1",
    "trainer.save_every": "trainer.save_every=3 steps",
    "trainer.eval_every": "trainer.eval_every=3 steps",
    "trainer.log_every": "trainer.log_every=3",
    "trainer.keep_last": "trainer.keep_last=1",
    "trainer.precision": "trainer.precision=bf16",
    "trainer.channels_last": "trainer.channels_last=false",
    "trainer.accumulate_steps": "trainer.accumulate_steps=2",
    "trainer.clip_grad_norm": "trainer.clip_grad_norm=0.1",
    "trainer.clip_grad_value": "trainer.clip_grad_value=0.01",
    "trainer.ema_decay": "trainer.ema_decay=0.5",
    "trainer.freeze": "trainer.freeze=features.*",
    "trainer.loggers": "trainer.loggers=[]",
    "trainer.loggers.0.type": "trainer.loggers=[OtherRecorder]",
    "trainer.loggers.0.args": "trainer.loggers.0.args.name=third.jsonl",
    "trainer.tensorboard": "trainer.tensorboard=true",
}
PARTS = ("model", "optimizer", "ema", "best", "step")
CONTEXT = {
    "dataset.transforms.train.0": f"dataset.transforms.train={FLIP}",
    "dataset.transforms.eval.0": f"dataset.transforms.eval={FLIP}",
    "dataset.batch_transforms.train.0": f"dataset.batch_transforms.train={FLIP}",
    "dataset.batch_transforms.eval.0": f"dataset.batch_transforms.eval={FLIP}",
    "optimizer.param_groups": "optimizer.param_groups=[{params: 'classifier.*', args: {lr: 0.3}}]",
    "lr_scheduler.0": f"lr_scheduler=[{STEPS}, milestone: 1}}, {STEPS}}}];trainer.epochs=3",
    "data_loader.order.args": "data_loader.order=every_nth",
    "trainer.args": "trainer.type=TwiceTrainer",
    "trainer.early_stop": "trainer.monitor=min val_top_k_accuracy;trainer.epochs=3",
    "trainer.loggers.0.args": "trainer.loggers=[OtherRecorder]",
}
ELSEWHERE = {
    "device": "test_utils_machine.py: there is one here",
    "data_loader.batch_size_per_device": "together/test_torchrun.py",
    "data_loader.num_workers": "test_data_loader.py: the bits are the same by promise",
    "data_loader.on_device": "test_gpu_way.py: the bits are the same by promise",
    "data_loader.fold": "test_folds.py",
    "data_loader.limit_batches": "test_trials.py",
    "data_loader.overfit_batches": "test_trials.py",
    "data_loader.skip_bad_samples": "test_bad_samples.py",
    "trainer.save_dir": "each test here sets it",
    "trainer.log_grad_norm": "test_trials.py",
    "trainer.compile": "dear/test_compiling.py: takes a minute",
    "trainer.deterministic": "test_utils_machine.py: kernels on a CPU are",
    "trainer.parallel": "together/test_torchrun.py",
    "trainer.timeout": "together/test_torchrun.py",
    "trainer.sync_batch_norm": "together/test_torchrun.py: refused on a CPU; test_cuda.py",
    "trainer.activation_checkpointing": "test_trainer_step.py: the bits are the same by promise",
    "trainer.progress": "test_utils_logs.py: the terminal",
    "trainer.init_from": "test_trainer_step.py",
    "lr_scheduler.milestone": "golden/rules.txt: refused on a lone scheduler",
    "optimizer.params": "golden/rules.txt: refused on a lone optimizer",
    "optimizer.NAME": "test_gan.py, test_own_steps.py: several optimizers",
    "lr_scheduler.NAME": "test_own_steps.py: several optimizers",
}


@functools.cache
def traces(folder, overrides, is_evaluated):
    """What a run leaves behind, without times and without its config."""
    folder.mkdir()
    run = train(folder, *BASE, *overrides)
    state = {key: value for key, value in state_of(run).items() if key in PARTS}
    best = run / "checkpoints/best.pt"
    return {
        "name": run.parent.name,
        "state": state,
        "table": table_of(run) if (run / "metrics.csv").exists() else [],
        "checkpoints": [*steps_saved(run), best.exists() and best.resolve().name],
        "logs": sorted((path.name, path.read_text()) for path in run.glob("*.jsonl")),
        "files": sorted(path.name for path in run.iterdir()),
        "scores": {**evaluate(run), "checkpoint": None} if is_evaluated else {},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


def keys():
    """Every key of the schema; of components in a list, those of the first."""
    for path, section in SECTIONS.items():
        for field in section.model_fields:
            if (*path, field) not in SECTIONS:
                yield ".".join(map(str, (*path, field)))


def test_every_key_is_tried_here_or_elsewhere():
    untried = {key for key in keys() if key not in CASES and not key.startswith(tuple(ELSEWHERE))}
    lists = {"metrics", "optimizer.param_groups"}  # which are tried by what is in them, and these by the list
    assert all(key in lists or (key.startswith("dataset.") and key.endswith(".0.type")) for key in untried)


@pytest.mark.parametrize("key", CASES)
def test_a_key_counts(key, folder):
    changes = [CASES[key]] if isinstance(CASES[key], str) else CASES[key]
    context = tuple(change for start, text in CONTEXT.items() if key.startswith(start) for change in text.split(";"))
    is_evaluated = key.endswith(("eval", "test", "eval.0.args"))
    before = traces(folder / f"before {len(context) and key} {is_evaluated}", context, is_evaluated)
    with pytest.raises(AssertionError):
        assert_same(before, traces(folder / key, (*context, *changes), is_evaluated))
