"""Overlays, overrides and short forms: what lies over what, and where each value is said to come from."""

import functools

import pytest

from config.layers import walk
from config.load import check_config, document_from, read_config
from config.problems import ConfigError

BASE = """\
dataset: Digits
data_loader: {batch_size: 32, num_workers: 0}
model: {type: MLP, args: {hidden: [64, 32], dropout: 0.1}}
loss: CrossEntropyLoss
metrics: [accuracy, {type: top_k_accuracy, args: {k: 3}}]
optimizer:
  type: AdamW
  args: {lr: 1e-3, weight_decay: 0.1}
lr_scheduler: {type: StepLR, args: {step_size: 2}, interval: step}
trainer: {epochs: 2, freeze: []}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write BASE and the texts to a.yaml, b.yaml, ... and read them with overrides."""
    monkeypatch.chdir(tmp_path)

    def read(*texts, overrides=(), base=BASE):
        files = ["a.yaml", "b.yaml", "c.yaml"][: 1 + len(texts)]
        for file, text in zip(files, [base, *texts], strict=True):
            (tmp_path / file).write_text(text)
        return read_config(files, overrides)

    return read


def value_at(document, path):
    assert document.problems == []
    # Every value that is left has an origin, and nothing else has; the name is that of the file.
    assert {*document.origins, ("name",)} == {path for path, _ in walk(document.data)}
    value = document.data
    for key in path.split("."):
        value = value[int(key) if isinstance(value, list) else key]
    return value


def problems(document):
    with pytest.raises(ConfigError) as caught:
        check_config(document)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("overlay", "path", "value"),
    [
        ("data_loader: {batch_size: 8}", "data_loader", {"batch_size": 8, "num_workers": 0}),
        ("optimizer: {args: {lr: 0.5}}", "optimizer", {"type": "AdamW", "args": {"lr": 0.5, "weight_decay": 0.1}}),
        ("model: {args: {hidden: [8]}}", "model.args", {"hidden": [8], "dropout": 0.1}),
        ("metrics: [accuracy]", "metrics", [{"type": "accuracy"}]),
        ("lr_scheduler: null", "lr_scheduler", None),
        ("model: {args: {}}", "model", {"type": "MLP", "args": {}}),  # which merged would change nothing
        # A component of another type has other arguments; what else there is under `trainer` is not the component's.
        ("trainer: {type: MyTrainer}", "trainer", {"epochs": 2, "freeze": [], "type": "MyTrainer"}),
        # A component of another type is replaced whole; one of the same type keeps its arguments.
        ("optimizer: {type: SGD}", "optimizer", {"type": "SGD"}), ("optimizer: SGD", "optimizer", {"type": "SGD"}),
        ("lr_scheduler: {type: ExponentialLR, args: {gamma: 0.9}}", "lr_scheduler",
         {"type": "ExponentialLR", "args": {"gamma": 0.9}}),
        ("optimizer: AdamW", "optimizer.args", {"lr": 1e-3, "weight_decay": 0.1}),
    ],
)  # fmt: skip
def test_overlays(read, overlay, path, value):
    assert value_at(read(overlay), path) == value


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("optimizer.args.lr=3e-4", "optimizer.args.lr", 3e-4),
        ("optimizer.args={lr: 1}", "optimizer.args", {"lr": 1, "weight_decay": 0.1}),
        ("optimizer={type: SGD, args: {lr: 0.1}}", "optimizer", {"type": "SGD", "args": {"lr": 0.1}}),
        ("optimizer=SGD", "optimizer", {"type": "SGD"}), ("optimizer.type=SGD", "optimizer", {"type": "SGD"}),
        ("optimizer.type=AdamW", "optimizer.args", {"lr": 1e-3, "weight_decay": 0.1}),
        ("metrics.1.args.k=5", "metrics.1", {"type": "top_k_accuracy", "args": {"k": 5}}),
        ("metrics.0=MeanSquaredError", "metrics.0", {"type": "MeanSquaredError"}),
        ("metrics.1.type=accuracy", "metrics.1", {"type": "accuracy"}),
        ("metrics=[accuracy]", "metrics", [{"type": "accuracy"}]), ("optimizer.args={}", "optimizer.args", {}),
        ("data_loader={}", "data_loader", {}),
        ("model.args.hidden.1=16", "model.args.hidden", [64, 16]),
        ("model.args.hidden=[1, 2, 3]", "model.args.hidden", [1, 2, 3]),
        ("trainer.monitor=max val_accuracy", "trainer.monitor", "max val_accuracy"),
        ("dataset.transforms.eval=[Resize]", "dataset.transforms.eval", [{"type": "Resize"}]),
        ("dataset.args.split.deep=on", "dataset.args", {"split": {"deep": "on"}}),
        ("lr_scheduler=null", "lr_scheduler", None),
        ("name='a=b'", "name", "a=b"), ("name='a\n\n b'", "name", "a\nb"), (" seed =7", "seed", 7),
        ("--lr 0.25", "optimizer.args.lr", 0.25), ("--batch-size 128", "data_loader.batch_size", 128),
        ("--epochs 9", "trainer.epochs", 9), ("--seed 7", "seed", 7), ("--name 2024", "name", "2024"),
        ("--device cuda:1", "device", "cuda:1"),
    ],
)  # fmt: skip
def test_overrides(read, override, path, value):
    assert value_at(read(overrides=[override]), path) == value


def test_later_overrides_win_and_every_value_names_its_origin(read):
    document = read(
        "seed: 3\noptimizer: {args: {lr: 0.5}}\n", overrides=["seed=4", "--seed 5", "data_loader={drop_last: false}"]
    )
    assert value_at(document, "seed") == 5
    origins = {
        "seed": "--seed 5",
        "data_loader.drop_last": "data_loader={drop_last: false}",
        "data_loader": "a.yaml:2",
        "data_loader.batch_size": "a.yaml:2",
        "optimizer.args.lr": "b.yaml:2",
        "optimizer.args.weight_decay": "a.yaml:8",
    }
    assert {path: str(document.origin(tuple(path.split(".")))) for path in origins} == origins


def test_the_last_of_several_settings_of_one_component_counts(read):
    """What an earlier type left behind is gone, whichever way the type changed."""
    document = read("optimizer: {type: SGD, args: {momentum: 0.9}}\n", overrides=["optimizer.type=AdamW"])
    assert value_at(document, "optimizer") == {"type": "AdamW"}
    assert str(document.origin(("optimizer",))) == "optimizer.type=AdamW"
    assert value_at(read("lr_scheduler:\n", "lr_scheduler: StepLR\n"), "lr_scheduler") == {"type": "StepLR"}
    for new, left in (("Trainer", {"args": {"a": 1}}), ("Other", {})):
        document = read("trainer: {args: {a: 1}}\n", overrides=[f"trainer.type={new}"])
        assert value_at(document, "trainer") == {"epochs": 2, "freeze": [], "type": new, **left}
    two_models = ["model={type: MLP, args: {dropout: 0.5}}", "model={type: LeNet, args: {num_classes: 3}}"]
    check_config(
        read(overrides=[*two_models, "metrics=[a, b]", "metrics=[accuracy]", "--lr 3", "optimizer.args={lr: 4}"])
    )


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ("--lr 3", "optimizer.type=SGD", "optimizer.args.lr"),
        ("optimizer.args.lr=3", "optimizer=SGD", "optimizer.args.lr"),
        ("lr_scheduler.args.step_size=3", "lr_scheduler=null", "lr_scheduler.args.step_size"),
        ("trainer.args.a=1", "trainer.type=Other", "trainer.args.a"),
    ],
)
def test_an_override_that_a_later_one_takes_away_is_told(read, first, second, key):
    message = f"{first}: {key}: has no effect, as '{second}' comes after it: give it after that"
    assert message in problems(read(overrides=[first, second]))


def test_an_override_is_told_in_one_short_printable_line(read):
    character = "'seed=\\x1b[31m': seed: a character that YAML does not allow"
    assert problems(read(overrides=["seed=\x1b[31m"])) == [character]
    assert problems(read(overrides=["seed=\udcff"])) == ["'seed=\\udcff': seed: not UTF-8 text"]
    (told,) = problems(read(overrides=["a" + ".a" * 100_000 + "=1"]))
    assert "nested deeper than 50 levels" in told and len(told) < 1000


def test_bad_overrides_and_files_are_told_together(read):
    document = read("seed: 1\nseed: 2\n", overrides=["lr", "metrics.9=x", "device=tpu"], base=BASE + "sed: 1\n")
    told = [line.partition(": ")[0] for line in problems(document)]
    assert told == ["a.yaml:11", "b.yaml:2", "device=tpu", "lr", "metrics.9=x"]


def test_the_name_comes_from_the_first_file_unless_given(read):
    assert check_config(read("seed: 1\n")).name == "a"
    assert check_config(read("name: mine\n")).name == "mine"
    assert check_config(read(overrides=["name=other"])).name == "other"


def test_a_stored_config_takes_overrides(read):
    config = check_config(read())
    assert (config.dataset.type, config.dataset.args) == ("Digits", {})  # a bare name has no arguments
    document = document_from(config.model_dump(), "last.pt", ["--device cpu", "trainer.epochs=3"])
    trainer = config.trainer.model_copy(update={"epochs": 3})
    assert check_config(document) == config.model_copy(update={"device": "cpu", "trainer": trainer})
    assert str(document.origin(("model", "args"))) == "last.pt"


HOLDS_ITSELF = {}
HOLDS_ITSELF["a"] = [HOLDS_ITSELF]
WIDE_BY_SHARING = {"a": functools.reduce(lambda data, _: [data, data], range(40), [])}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "it is not a mapping"), (None, "it is not a mapping"), ({1: 2}, "it has a key that is not text"),
        ({"a": {None: 2}}, "it has a key that is not text"), ({"a": object()}, "it holds an object (object)"),
        ({"a": (1, 2)}, "it holds an object (tuple)"),
        ({"a": list(range(20_000))}, "it is nested too deep or too large"),
        (HOLDS_ITSELF, "it is nested too deep or too large"), (WIDE_BY_SHARING, "it is nested too deep or too large"),
    ],
)  # fmt: skip
def test_a_stored_config_that_is_no_plain_data_is_refused(data, reason):
    with pytest.raises(ConfigError) as caught:
        document_from(data, "last.pt")
    assert str(caught.value) == f"last.pt: the config in it cannot be used: {reason}"
