"""Configs of victoresque/pytorch-template: converted, valid, trained."""

import copy
import json

import pytest
import yaml

from config.convert import main
from config.load import check_config, document_from, read_config
from script import load_registries
from tests.make_data import write_mnist
from tests.running import rows, state_of, train

# Its MNIST example, to the letter.
MNIST = {
    "name": "Mnist_LeNet",
    "n_gpu": 1,
    "arch": {"type": "MnistModel", "args": {}},
    "data_loader": {
        "type": "MnistDataLoader",
        "args": {
            "data_dir": "data/",
            "batch_size": 128,
            "shuffle": True,
            "validation_split": 0.1,
            "num_workers": 2,
        },
    },
    "optimizer": {"type": "Adam", "args": {"lr": 0.001, "weight_decay": 0, "amsgrad": True}},
    "loss": "nll_loss",
    "metrics": ["accuracy", "top_k_acc"],
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 50, "gamma": 0.1}},
    "trainer": {
        "epochs": 100,
        "save_dir": "saved/",
        "save_period": 1,
        "verbosity": 2,
        "monitor": "min val_loss",
        "early_stop": 10,
        "tensorboard": True,
    },
}


def changed(**changes) -> dict:
    """The example with other values by their dotted keys, `__` standing for the dot; None takes a key out."""
    config = copy.deepcopy(MNIST)
    for key, value in changes.items():
        *path, last = key.split("__")
        section = config
        for part in path:
            section = section[part]
        if value is None:
            del section[last]
        else:
            section[last] = value
    return config


@pytest.fixture
def converted(tmp_path, capsys):
    """Converts a config; returns the text, which is checked to be a valid config of ours."""

    def convert(config: dict) -> str:
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert main([str(tmp_path / "config.json")]) == 0
        text = capsys.readouterr().out
        check_config(document_from(yaml.safe_load(text), "converted"))
        return text

    return convert


def test_the_mnist_example_is_converted_and_trained(tmp_path, converted):
    write_mnist(tmp_path)
    text = converted(changed(data_loader__args__data_dir=str(tmp_path), trainer__epochs=1, trainer__save_period=1))
    (tmp_path / "mine.yaml").write_text(text)
    check_config(read_config([str(tmp_path / "mine.yaml")]), load_registries)
    run = train(tmp_path, "-d", "cpu", "data_loader.batch_size=20", config=text)
    (row,) = rows(run)
    assert {"loss", "accuracy", "top_k_acc", "val_loss", "val_top_k_acc"} <= row.keys()
    config = state_of(run)["config"]
    assert config["name"] == "Mnist_LeNet" and config["optimizer"]["args"] == MNIST["optimizer"]["args"]
    assert config["lr_scheduler"]["args"] == {"step_size": 50, "gamma": 0.1}
    assert config["trainer"]["monitor"] == "min val_loss" and config["trainer"]["early_stop"] == 10
    assert "# - trainer.verbosity: 2 has no counterpart" in text


def test_own_classes_are_carried_over_and_told(converted):
    config = changed(
        arch__type="MyNet",
        arch__args={"width": 3},
        data_loader__type="MyLoader",
        loss="my_loss",
        metrics=["accuracy", "my_metric"],
        n_gpu=4,
    )
    text = converted({**config, "more": {"a": 1}})
    new = yaml.safe_load(text)
    assert new["model"] == {"type": "MyNet", "args": {"width": 3}} and new["loss"] == "my_loss"
    assert new["dataset"] == {"type": "MyLoader", "args": {"data_dir": "data/"}}
    assert new["data_loader"]["num_workers"] == 2
    for word in ("MyNet", "MyLoader", "my_loss", "my_metric", "--nproc-per-node 4", 'more: {"a": 1} has no'):
        assert any(word in line for line in text.splitlines() if line.startswith("# - "))


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"data_loader__args__validation_split": 0.0}, "monitor", "off"),
        ({"trainer__monitor": "max val_f1"}, "monitor", "off"),
        ({"trainer__monitor": "max val_top_k_acc"}, "monitor", "max val_top_k_acc"),
        ({"trainer__monitor": "off"}, "early_stop", 0),
        ({"trainer__monitor": "min"}, "monitor", "off"),
        ({"trainer__early_stop": None}, "early_stop", 0),
        ({"trainer__save_period": 5}, "save_every", "5 epochs"),
        ({"trainer__tensorboard": False}, "tensorboard", False),
        ({"trainer__save_dir": "/"}, "save_dir", "/"),
    ],
)
def test_the_keys_of_the_trainer(converted, changes, key, value):
    assert yaml.safe_load(converted(changed(**changes)))["trainer"][key] == value


def test_a_loader_that_does_not_shuffle(converted):
    config = changed(data_loader__args__shuffle=False, data_loader__args__validation_split=0.0, n_gpu=0)
    new = yaml.safe_load(converted(config))
    assert new["data_loader"]["order"] == "sequential" and new["device"] == "cpu"
    config["data_loader"]["args"]["validation_split"] = 500  # SubsetRandomSampler draws from the rest
    new = yaml.safe_load(converted(config))["data_loader"]
    assert new["validation_split"] == 500 and "order" not in new


def test_nothing_is_dropped_without_a_word(converted):
    """Also what is false, zero or null, and what a component has beside its arguments."""
    config = changed(name="내 모델 v1/2", arch__pretrained=False, optimizer__groups=[1], lr_scheduler__warmup=0)
    config["data_loader"]["pin"], config["trainer"]["amp"], config["seed"] = False, None, 0
    text = converted(config)
    assert yaml.safe_load(text)["name"] == "v1_2"
    for line in (
        *('name: "내 모델 v1/2" became v1_2', "arch.pretrained: false has", "optimizer.groups: [1] has", "seed: 0 has"),
        *("lr_scheduler.warmup: 0 has", "data_loader.pin: false has", "trainer.amp: null has"),
    ):
        assert f"\n# - {line}" in text
    assert "lr_scheduler" not in converted({**config, "lr_scheduler": {}})


def test_a_file_of_windows_and_one_with_a_key_twice(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text("\ufeff" + json.dumps(MNIST), encoding="utf-8")
    assert main([str(file)]) == 0
    file.write_text(json.dumps(MNIST)[:-1] + ', "loss": "mse_loss"}')
    assert main([str(file)]) == 2 and "the key 'loss' is there twice" in capsys.readouterr().err
    file.write_text(99_999 * "[")
    assert main([str(file)]) == 2


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"trainer": 3, "data_loader": {}}', json.dumps(changed(arch=None))])
def test_what_is_no_config_of_the_ancestor(text, tmp_path, capsys):
    (tmp_path / "config.json").write_text(text)
    assert main([str(tmp_path / "config.json")]) == 2
    out, error = capsys.readouterr()
    assert not out and str(tmp_path / "config.json") in error


def test_no_file_and_no_argument(capsys):
    assert main(["nowhere.json"]) == main([]) == 2
    assert "nowhere.json cannot be read" in capsys.readouterr().err
