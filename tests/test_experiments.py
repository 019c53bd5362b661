"""Every experiment in config/ trains for a few steps and is evaluated, on data that the tests have or make."""

from pathlib import Path

import pytest

from tests.make_data import write_cifar, write_mnist, write_pictures, write_sklearn_csv
from tests.running import evaluate, resume, rows, state_of
from train import main

CONFIGS = Path(__file__).resolve().parent.parent / "config"
STEPS = ("trainer.epochs=null", "trainer.max_steps=3", "trainer.log_every=1", "device=cpu", "data_loader.num_workers=0")
MNIST_TEST, CIFAR_TEST, PICTURES_TEST = 40, 20, 12
EXPERIMENTS = {
    "cifar10_resnet": (("dataset.args.root={folder}", "--batch-size", "16", "model.args.width=8"), CIFAR_TEST),
    "csv_binary": ((), 57),
    "csv_regression": ((), 44),
    "digits": ((), 359),
    "digits_linear": ((), 359),
    "fashion_mnist_mlp": (
        ("dataset.args.root={folder}", "--batch-size", "16", "data_loader.validation_split=20"),
        MNIST_TEST,
    ),
    "finetune": (
        ("dataset.args.root={folder}/pictures", "--batch-size", "8", "model.args.num_classes=3"),
        PICTURES_TEST,
    ),
    "image_folder": (
        ("dataset.args.root={folder}/pictures", "--batch-size", "8", "model.args.num_classes=3"),
        PICTURES_TEST,
    ),
    "mnist_lenet": (("dataset.args.root={folder}", "--batch-size", "16"), MNIST_TEST),
    "mnist_modern": (("dataset.args.root={folder}", "--batch-size", "16"), MNIST_TEST),
}


def test_no_experiment_is_forgotten():
    assert sorted(EXPERIMENTS) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with small sets in the formats that the experiments read."""
    write_mnist(tmp_path, "MNIST", num_train=80, num_test=MNIST_TEST)
    write_mnist(tmp_path, "FashionMNIST", num_train=80, num_test=MNIST_TEST)
    write_cifar(tmp_path, monkeypatch, samples_a_file=CIFAR_TEST)
    write_pictures(tmp_path / "pictures/train", num_each=10)
    write_pictures(tmp_path / "pictures/test", num_each=PICTURES_TEST // 3)
    return tmp_path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_trains_for_some_steps_and_is_evaluated(name, data):
    overrides, num_test = EXPERIMENTS[name]
    overrides = [text.format(folder=data) for text in overrides]
    config = CONFIGS / f"{name}.yaml"
    assert main(["-c", str(config), f"trainer.save_dir={data / 'saved'}", *STEPS, *overrides]) == 0
    run = (data / "saved" / name / "latest").resolve()
    (row,) = rows(run)
    state = state_of(run, "best")
    assert row["step"] == state["step"] == 3
    assert state["best"]["value"] is not None and all(value == value for value in row.values())
    assert {"config.yaml", "run.json", "train.log", "metrics.csv", "curves.png", "tensorboard", "checkpoints"} <= {
        path.name for path in run.iterdir()
    }
    results = evaluate(run)
    assert results["num_samples"] == num_test
    metrics = [metric["name"] or metric["type"] for metric in state["config"]["metrics"]]
    assert results.keys() >= {"loss", *metrics}
    assert (run / "results/predictions.csv").read_text().count("\n") == num_test + 1
    assert (run / "results/confusion_matrix.png").exists() == (name != "csv_regression")


def test_tables_of_ones_own(tmp_path):
    """What the heads of the two CSV experiments say: the path of a table and the name of its target."""
    for name, table in (("csv_regression", "diabetes"), ("csv_binary", "breast_cancer")):
        write_sklearn_csv(tmp_path / f"{table}.csv", table)
        own = (f"dataset.args.path={tmp_path / table}.csv", "dataset.args.target=target")
        save = f"trainer.save_dir={tmp_path / 'saved'}"
        assert main(["-c", str(CONFIGS / f"{name}.yaml"), save, *own, "--epochs", "2", "device=cpu"]) == 0
        run = (tmp_path / "saved" / name / "latest").resolve()
        assert [row["epoch"] for row in rows(run)] == [1, 2]
        # the same table as the one that the experiment takes by itself, by another way
        assert main(["-c", str(CONFIGS / f"{name}.yaml"), save, "--name", "b", "--epochs", "2", "device=cpu"]) == 0
        by_name = rows((tmp_path / "saved/b/latest").resolve())
        assert [row["val_loss"] for row in rows(run)] == [row["val_loss"] for row in by_name]


def test_finetune_starts_from_another_runs_weights_with_a_new_head(data, capsys):
    root = f"dataset.args.root={data}/pictures"
    arguments = ["-c", str(CONFIGS / "finetune.yaml"), f"trainer.save_dir={data / 'saved'}", root, "--batch-size", "8"]
    assert main([*arguments, *STEPS, "--name", "ten", "model.args.num_classes=10"]) == 0
    weights = state_of((data / "saved/ten/latest").resolve())["model"]
    start = f"trainer.init_from={{path: {data}/saved/ten/latest, skip_mismatched: true}}"
    assert main([*arguments, *STEPS, "--name", "three", "model.args.num_classes=3", start]) == 0
    report = "120 of 122 tensors loaded; 2 of other shape: fc.weight (10, 512) -> (3, 512), fc.bias (10,) -> (3,)"
    assert report in capsys.readouterr().out
    tuned = state_of((data / "saved/three/latest").resolve())["model"]
    assert tuned["fc.weight"].shape == (3, 512)
    assert (tuned["layer4.1.conv2.weight"] == weights["layer4.1.conv2.weight"]).all()
    resume(data / "saved/three/latest", "trainer.max_steps=4")


def test_the_default_learns(tmp_path):
    """Three epochs of config/digits.yaml: far from its 98.5 %, and far above chance."""
    short = ("--epochs", "3", "device=cpu", "trainer.tensorboard=false")
    assert main(["-c", str(CONFIGS / "digits.yaml"), f"trainer.save_dir={tmp_path}", *short]) == 0
    assert evaluate((tmp_path / "digits/latest").resolve())["accuracy"] > 0.5
