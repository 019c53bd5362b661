"""Wrong keys and values, and keys that contradict each other: what is told, and where."""

import pytest

from config.load import check_config, read_config
from config.problems import ConfigError, dotted
from config.reference import SECTIONS
from config.schema import Config
from config.units import Duration, Every, Monitor

GOOD = """\
name: good
dataset: Digits
data_loader: {batch_size: 32, validation_split: 0.1}
model: LeNet
loss: CrossEntropyLoss
metrics: [accuracy]
optimizer: {type: AdamW, args: {lr: 1e-3}}
trainer:
  epochs: 2
"""


def check(tmp_path, *overrides, text=GOOD):
    """The problems of a config, one line each, without the file's folder."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    try:
        check_config(read_config([str(path)], overrides))
    except ConfigError as error:
        return str(error).replace(f"{tmp_path}/", "").splitlines()
    return []


def test_the_shortest_config_is_good_and_everything_else_has_a_default(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    config = check_config(read_config([str(path)]))
    assert isinstance(config, Config)
    trainer = config.trainer
    assert (config.seed, config.device, config.lr_scheduler) == (42, "auto", None)
    assert (trainer.type, trainer.max_steps, trainer.max_time, trainer.monitor) == ("Trainer", None, None, None)
    assert (trainer.save_every, trainer.eval_every) == (Every(1, "epoch"), Every(1, "epoch"))
    assert (trainer.save_dir, trainer.keep_last, trainer.log_every, trainer.early_stop) == ("saved", 2, 10, 0)
    assert (trainer.precision, trainer.compile, trainer.accumulate_steps) == ("fp32", False, 1)
    assert (trainer.tensorboard, trainer.progress, trainer.deterministic) == (True, True, False)
    assert config.data_loader.drop_last and config.data_loader.num_workers == "auto"


def test_a_key_that_is_wrong_in_itself_leaves_the_others_judged(tmp_path):
    keys = {(*path, key) for path, section in SECTIONS.items() if 0 not in path for key in section.model_fields}
    assert len(keys) > 60
    for key in keys:
        told = "\n".join(check(tmp_path, "trainer.early_stop=3", f"{dotted(key)}=[[]]"))
        assert f": {dotted(key)}" in told
        judged = key not in {("trainer",), ("trainer", "monitor"), ("trainer", "early_stop")}
        assert ("nothing is monitored" in told) == judged, key


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("1 epoch", Every(1, "epoch"), "1 epoch"), ("1 epochs", Every(1, "epoch"), "1 epoch"),
        ("500 steps", Every(500, "step"), "500 steps"), ("10  minutes", Every(10, "minute"), "10 minutes"),
    ],
)  # fmt: skip
def test_every(text, value, written):
    assert Every.parse(text) == value
    assert str(value) == written


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("90 seconds", 90, "90 seconds"), ("1 minute", 60, "1 minute"), ("1.5 hours", 5400, "1.5 hours"),
        ("2 days", 172_800, "2 days"),
    ],
)  # fmt: skip
def test_duration(text, seconds, written):
    assert Duration.parse(text).seconds == seconds
    assert str(Duration.parse(text)) == written


@pytest.mark.parametrize(
    "text", ["", "1", "epoch", "-1 epochs", "0 steps", "1 parsec", "1epoch", "٣ steps", 3, None, "9" * 40 + " steps"]
)
def test_what_no_count_and_unit_is(text):
    for words in (Every, Duration):
        with pytest.raises(ValueError):
            words.parse(text)


def test_monitor():
    assert Monitor.parse("max val_accuracy") == Monitor("max", "val_accuracy")
    assert str(Monitor("min", "loss")) == "min loss"
