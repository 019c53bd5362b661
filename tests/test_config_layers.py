"""Overlays, overrides and short forms: what lies over what, and where each value is said to come from."""

import pytest

from config.layers import SHORT_FORMS
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
def read(tmp_path):
    """Write the texts to a.yaml, b.yaml, ... and read them with overrides; paths in origins lose their folder."""

    def read(*texts, overrides=()):
        files = [tmp_path / f"{'abc'[number]}.yaml" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return read_config([str(file) for file in files], overrides)

    return read


def origin(document, *path):
    return str(document.origin(path)).rpartition("/")[2]


def problems(document):
    with pytest.raises(ConfigError) as caught:
        check_config(document)
    return str(caught.value).splitlines()


def test_a_bare_name_is_a_component_without_arguments(read):
    config = check_config(read(BASE))
    assert (config.dataset.type, config.dataset.args) == ("Digits", {})
    assert [metric.type for metric in config.metrics] == ["accuracy", "top_k_accuracy"]


def test_mappings_merge(read):
    document = read(BASE, "data_loader: {batch_size: 8}\noptimizer: {args: {lr: 0.5}}\n")
    assert document.data["data_loader"] == {"batch_size": 8, "num_workers": 0}
    assert document.data["optimizer"] == {"type": "AdamW", "args": {"lr": 0.5, "weight_decay": 0.1}}
    assert origin(document, "optimizer", "args", "lr") == "b.yaml:2"
    assert origin(document, "optimizer", "args", "weight_decay") == "a.yaml:8"


def test_lists_replace(read):
    document = read(BASE, "model: {args: {hidden: [8]}}\nmetrics: [accuracy]\n")
    assert document.data["model"]["args"] == {"hidden": [8], "dropout": 0.1}
    assert document.data["metrics"] == [{"type": "accuracy"}]
    assert ("metrics", 1, "type") not in document.origins


def test_a_component_whose_type_changes_is_replaced_whole(read):
    document = read(BASE, "optimizer: {type: SGD}\nlr_scheduler: {type: ExponentialLR, args: {gamma: 0.9}}\n")
    assert document.data["optimizer"] == {"type": "SGD"}
    assert document.data["lr_scheduler"] == {"type": "ExponentialLR", "args": {"gamma": 0.9}}
    assert ("optimizer", "args", "lr") not in document.origins


def test_a_bare_name_of_the_same_type_keeps_the_arguments(read):
    assert read(BASE, "optimizer: AdamW\n").data["optimizer"]["args"] == {"lr": 1e-3, "weight_decay": 0.1}
    assert read(BASE, "optimizer: SGD\n").data["optimizer"] == {"type": "SGD"}


def test_the_type_of_the_trainer_is_only_a_setting(read):
    document = read(BASE, "trainer: {type: MyTrainer}\n")
    assert document.data["trainer"] == {"epochs": 2, "freeze": [], "type": "MyTrainer"}


def test_null_replaces_and_a_mapping_replaces_null(read):
    assert read(BASE, "lr_scheduler: null\n").data["lr_scheduler"] is None
    assert read(BASE, "lr_scheduler:\n", "lr_scheduler: StepLR\n").data["lr_scheduler"] == {"type": "StepLR"}


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("optimizer.args.lr=3e-4", ("optimizer", "args", "lr"), 3e-4),
        ("optimizer.args={lr: 1}", ("optimizer", "args"), {"lr": 1, "weight_decay": 0.1}),
        ("optimizer={type: SGD, args: {lr: 0.1}}", ("optimizer",), {"type": "SGD", "args": {"lr": 0.1}}),
        ("optimizer=SGD", ("optimizer",), {"type": "SGD"}), ("optimizer.type=SGD", ("optimizer",), {"type": "SGD"}),
        ("optimizer.type=AdamW", ("optimizer", "args"), {"lr": 1e-3, "weight_decay": 0.1}),
        ("metrics.1.args.k=5", ("metrics", 1), {"type": "top_k_accuracy", "args": {"k": 5}}),
        ("metrics.0=MeanSquaredError", ("metrics", 0), {"type": "MeanSquaredError"}),
        ("metrics.1.type=accuracy", ("metrics", 1), {"type": "accuracy"}),
        ("metrics=[accuracy]", ("metrics",), [{"type": "accuracy"}]),
        ("model.args.hidden.1=16", ("model", "args", "hidden"), [64, 16]),
        ("model.args.hidden=[1, 2, 3]", ("model", "args", "hidden"), [1, 2, 3]),
        ("trainer.monitor=max val_accuracy", ("trainer", "monitor"), "max val_accuracy"),
        ("dataset.transforms.eval=[Resize]", ("dataset", "transforms", "eval"), [{"type": "Resize"}]),
        ("dataset.args.split.deep=on", ("dataset", "args"), {"split": {"deep": "on"}}),
        ("lr_scheduler=null", ("lr_scheduler",), None), ("lr_scheduler=", ("lr_scheduler",), None),
        ("name='a=b'", ("name",), "a=b"), (" seed =7", ("seed",), 7),
        ("--lr 0.25", ("optimizer", "args", "lr"), 0.25), ("--batch-size 128", ("data_loader", "batch_size"), 128),
        ("--epochs 9", ("trainer", "epochs"), 9), ("--name 2024", ("name",), "2024"),
        ("--device cuda:1", ("device",), "cuda:1"),
    ],
)  # fmt: skip
def test_overrides(read, override, path, value):
    document = read(BASE, overrides=[override])
    found = document.data
    for key in path:
        found = found[key]
    assert found == value
    assert document.problems == []


def test_every_short_form_has_a_key_of_the_config(read):
    overrides = [f"{option} {'cpu' if option == '--device' else 7}" for option in SHORT_FORMS]
    config = check_config(read(BASE, overrides=overrides))
    assert (config.optimizer.args["lr"], config.data_loader.batch_size, config.trainer.epochs) == (7, 7, 7)
    assert (config.seed, config.name, config.device) == (7, "7", "cpu")


def test_later_overrides_win_and_name_themselves(read):
    document = read(BASE, "seed: 3\n", overrides=["seed=4", "--seed 5", "data_loader={drop_last: false}"])
    assert document.data["seed"] == 5
    assert origin(document, "seed") == "--seed 5"
    assert origin(document, "data_loader", "drop_last") == "data_loader={drop_last: false}"
    assert origin(document, "data_loader", "batch_size") == "a.yaml:2"


def test_an_override_that_cannot_be_printed_is_escaped(read):
    assert problems(read(BASE, overrides=["seed=\x1b[31m"])) == [
        "'seed=\\x1b[31m': seed: a character that YAML does not allow"
    ]
    assert problems(read(BASE, overrides=["seed=\udcff"])) == ["'seed=\\udcff': seed: not UTF-8 text"]


def test_an_override_without_end_is_refused(read):
    (told,) = problems(read(BASE, overrides=["a" + ".a" * 100_000 + "=1"]))
    assert "nested deeper than 50 levels" in told and len(told) < 1000


def test_the_last_of_several_settings_of_one_component_counts(read):
    """What an earlier type left behind is gone, whichever way the type changed."""
    document = read(BASE, "optimizer: SGD\n", overrides=["optimizer.args.lr=3", "optimizer.type=AdamW"])
    assert document.data["optimizer"] == {"type": "AdamW"}
    assert origin(document, "optimizer") == "optimizer.type=AdamW"


def test_bad_overrides_and_files_are_told_together(read):
    document = read(BASE + "sed: 1\n", "seed: 1\nseed: 2\n", overrides=["lr", "metrics.9=x", "device=tpu"])
    told = [line.rpartition("/")[2].partition(": ")[0] for line in problems(document)]
    assert told == ["a.yaml:11", "b.yaml:2", "device=tpu", "lr", "metrics.9=x"]


def test_the_name_comes_from_the_first_file_unless_given(read):
    assert check_config(read(BASE, "seed: 1\n")).name == "a"
    assert check_config(read(BASE, "name: mine\n")).name == "mine"
    assert check_config(read(BASE, overrides=["name=other"])).name == "other"


def test_a_stored_config_takes_overrides(read):
    config = check_config(read(BASE))
    document = document_from(config.model_dump(), "last.pt", ["--device cpu", "trainer.epochs=3"])
    again = check_config(document)
    assert again.trainer.epochs == 3
    assert again == config.model_copy(
        update={"device": "cpu", "trainer": config.trainer.model_copy(update={"epochs": 3})}
    )
    assert origin(document, "model", "args") == "last.pt"


def self_containing():
    data = {}
    data["a"] = [data]
    return data


def wide_by_sharing():
    data = []
    for _ in range(40):
        data = [data, data]
    return {"a": data}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "it is not a mapping"), (None, "it is not a mapping"), ({1: 2}, "it has a key that is not text"),
        ({"a": {None: 2}}, "it has a key that is not text"), ({"a": object()}, "it holds an object (object)"),
        ({"a": (1, 2)}, "it holds an object (tuple)"),
        ({"a": list(range(20_000))}, "it is nested too deep or too large"),
        (self_containing(), "it is nested too deep or too large"),
        (wide_by_sharing(), "it is nested too deep or too large"),
    ],
)  # fmt: skip
def test_a_stored_config_that_is_no_plain_data_is_refused(data, reason):
    with pytest.raises(ConfigError) as caught:
        document_from(data, "last.pt")
    assert str(caught.value) == f"last.pt: the config in it cannot be used: {reason}"
