"""Wrong keys and values, and keys that contradict each other: what is told, and where."""

import pytest

from config.load import check_config, read_config
from config.problems import ConfigError
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


UNKNOWN = {
    "sed=1": "sed: unknown key; did you mean 'seed'?",
    "trainer.Epochs=1": "trainer.Epochs: unknown key; did you mean 'epochs'?",
    "data_loader.bach_size=3": "data_loader.bach_size: unknown key; did you mean 'batch_size'?",
    "dataset.transforms.trian=[]": "dataset.transforms.trian: unknown key; did you mean 'train'?",
    "optimizer.lr=1": "optimizer.lr: unknown key; expected one of: type, args, param_groups, no_decay; "
    "an argument of the component goes under 'optimizer.args'",
    "metrics.0.k=1": "metrics.0.k: unknown key; expected one of: type, args, name; "
    "an argument of the component goes under 'metrics.0.args'",
    "batch_size=3": "batch_size: unknown key; expected one of: name, seed, device, dataset, data_loader, model, loss, "
    "metrics, optimizer, lr_scheduler, trainer; did you mean 'data_loader.batch_size'?",
    "lr_scheduler={type: StepLR, inteval: step}": "lr_scheduler.inteval: unknown key; did you mean 'interval'?",
    "lr_scheduler=[{type: StepLR, inteval: step}]": "lr_scheduler.0.inteval: unknown key; did you mean 'interval'?",
    "trainer.init_from={pth: x, path: y}": "trainer.init_from.pth: unknown key; did you mean 'path'?",
    "optimizer.param_groups=[{param: x, params: y}]": "optimizer.param_groups.0.param: unknown key; "
    "did you mean 'params'?",
}


@pytest.mark.parametrize("override", UNKNOWN)
def test_unknown_keys_at_any_depth(tmp_path, override):
    assert check(tmp_path, override) == [f"{override}: {UNKNOWN[override]}"]


COMPONENT = "a component: its name, or {type: NAME, args: {...}}"
PATH = "a path (text, not empty, without NUL)"
WRONG = {
    "seed=x": "seed: found 'x' (text); expected a whole number >= 0 and < 4294967296",
    "seed=1.5": "seed: found 1.5 (a number); expected a whole number >= 0 and < 4294967296",
    "seed=true": "seed: found true; expected a whole number >= 0 and < 4294967296",
    "seed=-1": "seed: found -1 (a whole number); expected a whole number >= 0 and < 4294967296",
    "seed=null": "seed: found null; expected a whole number >= 0 and < 4294967296",
    "name=3": "name: found 3 (a whole number); expected a folder name",
    "device=tpu": "device: found 'tpu' (text); expected auto, cpu, cuda, cuda:N or mps",
    "device=cuda:x": "device: found 'cuda:x' (text); expected auto, cpu, cuda, cuda:N or mps",
    "model=3": f"model: found 3 (a whole number); expected {COMPONENT}",
    "model=[LeNet]": f"model: found [...] (a list); expected {COMPONENT}",
    "model.args=[1]": "model.args: found [...] (a list); expected a mapping",
    "model.type=torch.nn.Linear": "model.type: found 'torch.nn.Linear' (text); expected the plain name of a component "
    "(`python train.py --list` shows them; import paths are not taken)",
    "metrics=accuracy": "metrics: found 'accuracy' (text); expected a list of components",
    "metrics=[3]": f"metrics.0: found 3 (a whole number); expected {COMPONENT}",
    "metrics=[{type: 3}]": "metrics.0.type: found 3 (a whole number); expected the plain name of a component",
    "data_loader=3": "data_loader: found 3 (a whole number); expected a mapping with batch_size, num_workers, "
    "validation_split, drop_last",
    "data_loader.batch_size=0": "data_loader.batch_size: found 0 (a whole number); expected a whole number >= 1",
    "data_loader.batch_size=64.0": "data_loader.batch_size: found 64.0 (a number); expected a whole number >= 1",
    "data_loader.num_workers=atuo": "data_loader.num_workers: found 'atuo' (text); "
    "expected a whole number >= 0 or 'auto'; did you mean 'auto'?",
    "data_loader.num_workers=-1": "data_loader.num_workers: found -1 (a whole number); "
    "expected a whole number >= 0 or 'auto'",
    "data_loader.drop_last=yes": "data_loader.drop_last: found 'yes' (text); expected true or false",
    **{
        f"data_loader.validation_split={text}": f"data_loader.validation_split: found {words}; expected a fraction "
        "between 0 and 1, a whole number of samples, 0 (no validation) or null"
        for text, words in (
            ("1.0", "1.0 (a number)"),
            ("-0.1", "-0.1 (a number)"),
            ("-3", "-3 (a whole number)"),
            (".nan", ".nan (a number)"),
            ("true", "true"),
            ("10%", "'10%' (text)"),
        )
    },
    "loss.class_weights=balance": "loss.class_weights: found 'balance' (text); expected 'balanced' or "
    "a list (a number >= 0 each) or null; did you mean 'balanced'?",
    "loss.class_weights=[1, x]": "loss.class_weights.1: found 'x' (text); expected a number >= 0",
    "lr_scheduler=3": f"lr_scheduler: found 3 (a whole number); expected {COMPONENT} or a list of components or null",
    "lr_scheduler={type: StepLR, interval: batch}": "lr_scheduler.interval: found 'batch' (text); "
    "expected 'step' or 'epoch'",
    "optimizer.no_decay=1": "optimizer.no_decay: found 1 (a whole number); expected true or false",
    "optimizer.param_groups=[{params: 3}]": "optimizer.param_groups.0.params: found 3 (a whole number); "
    "expected text or a list (text each); put it in quotes",
    "trainer=3": "trainer: found 3 (a whole number); expected a mapping with type, args, epochs",
    "trainer.epochs=0": "trainer.epochs: found 0 (a whole number); expected a whole number >= 1 or null",
    "trainer.epochs=ten": "trainer.epochs: found 'ten' (text); expected a whole number >= 1 or null",
    "trainer.epochs=2.0": "trainer.epochs: found 2.0 (a number); expected a whole number >= 1 or null",
    "trainer.max_time=8h": "trainer.max_time: found '8h' (text); "
    "expected a time such as '90 seconds', '30 minutes' or '8 hours' or null",
    "trainer.max_time=30": "trainer.max_time: found 30 (a whole number); "
    "expected a time such as '90 seconds', '30 minutes' or '8 hours' or null",
    **{
        f"trainer.monitor={text}": f"trainer.monitor: found {words}; "
        "expected 'min METRIC', 'max METRIC' (such as 'max val_accuracy') or 'off'"
        for text, words in (
            ("val_loss", "'val_loss' (text)"),
            ("maximum val_loss", "'maximum val_loss' (text)"),
            ("max a b", "'max a b' (text)"),
            ("false", "false"),
        )
    },
    "trainer.early_stop=-1": "trainer.early_stop: found -1 (a whole number); expected a whole number >= 0",
    "trainer.save_dir=''": f"trainer.save_dir: found '' (text); expected {PATH}",
    "trainer.save_dir=3": f"trainer.save_dir: found 3 (a whole number); expected {PATH}; put it in quotes",
    "trainer.save_every=0 steps": "trainer.save_every: found '0 steps' (text); "
    "expected 'N epochs', 'N steps' or 'N minutes', N >= 1",
    "trainer.save_every=5": "trainer.save_every: found 5 (a whole number); "
    "expected 'N epochs', 'N steps' or 'N minutes', N >= 1",
    "trainer.eval_every=5 minutes": "trainer.eval_every: found '5 minutes' (text); "
    "expected 'N epochs' or 'N steps', N >= 1",
    "trainer.log_every=0": "trainer.log_every: found 0 (a whole number); expected a whole number >= 1",
    "trainer.keep_last=0": "trainer.keep_last: found 0 (a whole number); expected a whole number >= 1",
    "trainer.precision=fp8": "trainer.precision: found 'fp8' (text); expected 'fp32', 'bf16' or 'fp16'",
    "trainer.compile=max-autotun": "trainer.compile: found 'max-autotun' (text); expected true or false or 'default', "
    "'reduce-overhead', 'max-autotune' or 'max-autotune-no-cudagraphs'; did you mean 'max-autotune'?",
    "trainer.accumulate_steps=0": "trainer.accumulate_steps: found 0 (a whole number); expected a whole number >= 1",
    "trainer.clip_grad_norm=0": "trainer.clip_grad_norm: found 0 (a whole number); expected a number > 0 or null",
    "trainer.clip_grad_value=-1.0": "trainer.clip_grad_value: found -1.0 (a number); expected a number > 0 or null",
    "trainer.ema_decay=1": "trainer.ema_decay: found 1 (a whole number); expected a number > 0 and < 1 or null",
    "trainer.ema_decay=0.0": "trainer.ema_decay: found 0.0 (a number); expected a number > 0 and < 1 or null",
    "trainer.init_from={path: 3}": f"trainer.init_from.path: found 3 (a whole number); expected {PATH}; "
    "put it in quotes",
    "trainer.freeze=3": "trainer.freeze: found 3 (a whole number); expected text or a list (text each); "
    "put it in quotes",
    "trainer.freeze=[1]": "trainer.freeze.0: found 1 (a whole number); expected text; put it in quotes",
    "trainer.tensorboard=on": "trainer.tensorboard: found 'on' (text); expected true or false",
}  # fmt: skip


@pytest.mark.parametrize("override", WRONG)
def test_wrong_values(tmp_path, override):
    (line,) = check(tmp_path, override)
    assert line.startswith(f"{override}: {WRONG[override]}")


def test_a_value_of_a_file_is_told_with_its_line(tmp_path):
    text = GOOD.replace("epochs: 2", "epochs: ten\n  sav_dir: x")
    assert check(tmp_path, text=text) == [
        "x.yaml:9: trainer.epochs: found 'ten' (text); expected a whole number >= 1 or null",
        "x.yaml:10: trainer.sav_dir: unknown key; did you mean 'save_dir'?",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dataset: Digits", f"x.yaml:1: dataset: missing; expected {COMPONENT}"),
        ("model: LeNet", f"x.yaml:1: model: missing; expected {COMPONENT}"),
        ("loss: CrossEntropyLoss", f"x.yaml:1: loss: missing; expected {COMPONENT}"),
        ("optimizer: {type: AdamW, args: {lr: 1e-3}}", f"x.yaml:1: optimizer: missing; expected {COMPONENT}"),
        ("  epochs: 2", "x.yaml:8: trainer: found null; expected a mapping with type, args, epochs"),
        ("trainer:\n  epochs: 2", "x.yaml:1: trainer: missing; expected a mapping with type, args, epochs"),
        ("type: AdamW, ", "x.yaml:7: optimizer.type: missing; expected the plain name of a component"),
    ],
)
def test_a_missing_key_names_the_mapping_that_lacks_it(tmp_path, line, message):
    (told,) = check(tmp_path, text=GOOD.replace(line, ""))
    assert told.startswith(message)


def test_everything_is_told_at_once_in_the_order_of_the_file(tmp_path):
    text = GOOD.replace("batch_size: 32", "batch_size: none").replace("lr: 1e-3}", "lr: 1e-3}, lr: 2")
    text = text.replace("epochs: 2", "epochs: 2\n  epochs: 3\n  max_steps: 4\n  early_stop: 3\n  precision: bf61")
    told = check(tmp_path, "sed=1", text=text)
    assert [line.split(": ")[:2] for line in told] == [
        ["x.yaml:3", "data_loader.batch_size"],
        ["x.yaml:7", "optimizer.lr"],
        ["x.yaml:10", "trainer.epochs"],
        ["x.yaml:11", "trainer.max_steps"],
        ["x.yaml:12", "trainer.early_stop"],
        ["x.yaml:13", "trainer.precision"],
        ["sed=1", "sed"],
    ]


GOOD_NAMES = ("a", "digits_lenet", "v1.2", "two words", "a" * 100, "_x", "CONsole", "2024", "nul1")
BAD_NAMES = ("", "-x", " a", "a ", ".hidden", "a..b", "..", "a/b", "/a", "a\\\\b", "a\\tb", "a\\nb", "a\\0b", "a\\x7f",
             "a:b", "ä", "a" * 101, "a" * 300, "CON", "nul", "aux.txt", "COM1", "lpt9.x", "end.",
             "~", "a*", "$HOME", "%s")  # fmt: skip


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_run_names(tmp_path, name):
    assert check(tmp_path, f'name="{name}"') == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_run_names(tmp_path, name):
    (line,) = check(tmp_path, f'name="{name}"')
    assert "expected a folder name: 1 to 100 letters, digits, '.', '_', '-' or spaces, beginning with" in line


def test_save_dir_may_be_any_path_without_nul(tmp_path):
    assert check(tmp_path, "trainer.save_dir=../some where/ä") == []
    (line,) = check(tmp_path, 'trainer.save_dir="a\\0b"')
    assert line.endswith(f"found 'a\\x00b' (text); expected {PATH}")


PLATEAU = "lr_scheduler={type: ReduceLROnPlateau%s}"
RULES = {
    ("trainer.max_steps=5",): "trainer.max_steps: found 5 beside trainer.epochs: 2; "
    "expected one of them: set the other to null",
    ("trainer.epochs=null",): "trainer.epochs: missing; expected trainer.epochs or trainer.max_steps, "
    "a whole number >= 1",
    ("trainer.monitor=max val_acuracy",): "trainer.monitor: found the metric 'val_acuracy', which is not configured; "
    "expected one of: loss, accuracy, val_loss, val_accuracy; did you mean 'val_accuracy'?",
    ("metrics=[]", "trainer.monitor=max accuracy"): "trainer.monitor: found the metric 'accuracy', "
    "which is not configured; expected one of: loss, val_loss",
    ("data_loader.validation_split=0", "trainer.monitor=max val_accuracy"): "trainer.monitor: found "
    "'max val_accuracy', but data_loader.validation_split is 0; expected 'max accuracy', off, or a validation split",
    ("trainer.early_stop=3",): "trainer.early_stop: found 3, but nothing is monitored; expected 0, "
    "or a trainer.monitor such as 'max val_accuracy'",
    ("metrics=[accuracy, accuracy]",): "metrics.1: found 'accuracy' 2 times; "
    "expected different names: give one a 'name'",
    ("metrics=[accuracy, {type: F1Score, name: accuracy}]",): "metrics.1: found 'accuracy' 2 times; "
    "expected different names: give one a 'name'",
    ("metrics=[{type: F1Score, name: loss}]",): "metrics.0: found the name 'loss', which the loss has; "
    "expected another 'name'",
    ("loss.class_weights=balanced", "loss.args={weight: [1, 2]}"): "loss.args.weight: found beside "
    "loss.class_weights, which fills in the weights too; expected one of the two",
    ("loss.class_weights=[1, 2]", "loss.args={pos_weight: [2]}"): "loss.args.pos_weight: found beside "
    "loss.class_weights, which fills in the weights too; expected one of the two",
    ("trainer.monitor=min val_loss", PLATEAU % ", interval: step"): "lr_scheduler.interval: found 'step' on "
    "ReduceLROnPlateau; expected 'epoch': it is fed with the monitored metric, which each evaluation gives",
    (PLATEAU % "",): "lr_scheduler.type: found ReduceLROnPlateau, but nothing is monitored; "
    "expected a trainer.monitor, such as 'min val_loss'",
    ("trainer.monitor=max accuracy", PLATEAU % ", args: {mode: min}"): "lr_scheduler.args.mode: found 'min' (text), "
    "but trainer.monitor is 'max accuracy'; expected 'max', or leave it out",
    ("trainer.monitor=min val_loss", "lr_scheduler=[{type: LinearLR, milestone: 1}, ReduceLROnPlateau]"):
    "lr_scheduler.1.type: found ReduceLROnPlateau in a list; expected it alone: it follows the metric, not a plan",
    ("lr_scheduler={type: StepLR, milestone: 3}",): "lr_scheduler.milestone: found 3 on a lone scheduler; "
    "expected none: milestones are for lists",
    ("lr_scheduler=[StepLR, StepLR]",): "lr_scheduler.0.milestone: missing; "
    "expected the epoch where the next begins",
    ("lr_scheduler=[{type: LinearLR, interval: step}, {type: StepLR, interval: step}]",):
    "lr_scheduler.0.milestone: missing; expected the step where the next begins",
    ("lr_scheduler=[{type: LinearLR, milestone: 3}, {type: StepLR, milestone: 3}, StepLR]",):
    "lr_scheduler.1.milestone: found 3; expected more than the milestone before, 3",
    ("lr_scheduler=[{type: LinearLR, milestone: 3}, {type: StepLR, milestone: 5}]",):
    "lr_scheduler.1.milestone: found 5 on the last scheduler; expected none: nothing follows it",
    ("lr_scheduler=[{type: LinearLR, milestone: 3, interval: step}, StepLR]",):
    "lr_scheduler.1.interval: found 'epoch', but lr_scheduler.0 has 'step'; expected the same",
    ("lr_scheduler=[]",): "lr_scheduler: found []; expected null, a component, or a list of at least one",
}  # fmt: skip


@pytest.mark.parametrize("overrides", RULES, ids=" ".join)
def test_keys_that_contradict_each_other(tmp_path, overrides):
    (line,) = check(tmp_path, *overrides)
    origin = next((text for text in overrides[::-1] if line.startswith(f"{text}: ")), "x.yaml:6")
    assert line == f"{origin}: {RULES[overrides]}"


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.epochs=null", "trainer.max_steps=5"),
        ("trainer.monitor=off",),
        ("trainer.monitor=max val_accuracy", "trainer.early_stop=3"),
        ("data_loader.validation_split=0", "trainer.monitor=min loss"),
        ("data_loader.validation_split=100",),
        ("trainer.monitor=max val_top3", "metrics=[accuracy, {type: top_k_accuracy, name: top3, args: {k: 3}}]"),
        ("trainer.monitor=max accuracy", PLATEAU % ", args: {mode: max}"),
        ("lr_scheduler=[{type: LinearLR, milestone: 3}, StepLR]",),
        ("lr_scheduler=[StepLR]",),
        ("loss.class_weights=[1, 2.5]",),
        ("trainer.compile=max-autotune",),
        ("trainer.init_from=saved/x", "trainer.max_time=1.5 hours", "trainer.save_every=10 minutes"),
        ("trainer.init_from={path: saved/x, skip_mismatched: true}",),
        ("optimizer.param_groups=[{params: 'head.*', args: {lr: 1}}, {params: [a, b]}]",),
    ],
    ids=" ".join,
)
def test_what_goes_together(tmp_path, overrides):
    assert check(tmp_path, *overrides) == []


@pytest.mark.parametrize(
    ("line", "num_problems"),
    [
        ("epohcs: 3", 1),  # so nothing is said of missing epochs
        ("epochs: ten", 1),
        ("epochs: ten\n  max_steps: 3", 1),
        ("epochs: 3\n  monitor: max\n  early_stop: 3", 1),
        ("epochs: 3\n  moniter: max val_loss\n  early_stop: 3", 1),
        ("epochs: 3\n  monitor: max val_f1\nmetrics: [3]", 2),  # metrics is there twice
        ("epochs: 3\nlr_scheduler: [{type: 3}, 4]", 2),
    ],
)
def test_a_value_that_is_wrong_in_itself_is_not_judged_by_the_rules(tmp_path, line, num_problems):
    assert len(check(tmp_path, text=GOOD.replace("epochs: 2", line))) == num_problems


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("1 epoch", Every(1, "epoch"), "1 epoch"),
        ("1 epochs", Every(1, "epoch"), "1 epoch"),
        ("500 steps", Every(500, "step"), "500 steps"),
        ("10  minutes", Every(10, "minute"), "10 minutes"),
    ],
)
def test_every(text, value, written):
    assert Every.parse(text) == value
    assert str(value) == written


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("90 seconds", 90, "90 seconds"),
        ("1 minute", 60, "1 minute"),
        ("1.5 hours", 5400, "1.5 hours"),
        ("2 days", 172_800, "2 days"),
    ],
)
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
