"""Every config key, and another value for it."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from config.compare import SAFE_TO_CHANGE
from config.schema import Config

# Another value for each key, as it is typed on the command line; `test_torture` fails when the schema has a key more.
CHANGES = {
    "name": "other",
    "seed": "8",
    "device": "auto",
    "dataset.type": "Digits",
    "dataset.args": "{size: 77}",
    "dataset.split_args.train": "{size: 77}",
    "dataset.split_args.valid": "{size: 77}",
    "dataset.split_args.test": "{size: 77}",
    "dataset.transforms.train": "[]",
    "dataset.transforms.eval": "[RandomHorizontalFlip]",
    "dataset.batch_transforms.train": "[]",
    "dataset.batch_transforms.eval": "[]",
    "data_loader.batch_size": "4",
    "data_loader.num_workers": "2",
    "data_loader.validation_split": "0.2",
    "data_loader.drop_last": "true",
    "data_loader.skip_bad_samples": "3",
    "model.type": "LeNet",
    "model.args": "{width: 9}",
    "loss.type": "MultiMarginLoss",
    "loss.args": "{label_smoothing: 0.2}",
    "loss.class_weights": "[1, 2, 3]",
    "metrics": "[accuracy, top_k_accuracy]",
    "optimizer.type": "SGD",
    "optimizer.args": "{lr: 0.1}",
    "optimizer.param_groups": "[{params: layers.0.*, args: {lr: 0.1}}]",
    "optimizer.no_decay": "false",
    "lr_scheduler": "{type: StepLR, args: {step_size: 1}}",
    "trainer.type": "GentleTrainer",
    "trainer.args": "{patience: 1}",
    "trainer.epochs": "4",
    "trainer.max_steps": "13",
    "trainer.max_time": "1 hour",
    "trainer.monitor": "max val_accuracy",
    "trainer.early_stop": "8",
    "trainer.save_dir": "elsewhere",
    "trainer.save_every": "2 steps",
    "trainer.eval_every": "2 steps",
    "trainer.log_every": "2",
    "trainer.keep_last": "3",
    "trainer.precision": "fp32",
    "trainer.compile": "true",
    "trainer.channels_last": "true",
    "trainer.deterministic": "true",
    "trainer.accumulate_steps": "2",
    "trainer.clip_grad_norm": "2.0",
    "trainer.clip_grad_value": "2.0",
    "trainer.ema_decay": "0.8",
    "trainer.init_from": "saved/torture/latest",
    "trainer.freeze": "[layers.0.*]",
    "trainer.loggers": "[]",
    "trainer.tensorboard": "false",
    "trainer.progress": "true",
}
# What another key must say for a change to be a config at all.
BESIDES = {
    "trainer.max_steps": ["trainer.epochs=null"],
    "trainer.args": ["trainer.type=GentleTrainer"],
}


def keys_of(section: type[BaseModel] = Config, before: str = "") -> Iterator[str]:
    """Every key of the schema by its dotted path; lists and free mappings are one key each."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys_of(kind, f"{before}{name}.")
        else:
            yield before + name


def is_safe(key: str) -> bool:
    return key in SAFE_TO_CHANGE
