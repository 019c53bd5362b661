"""Every experiment in config/ trains for a few steps and is evaluated, on data that the tests have or make."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from config.schema import ComponentConfig
from model.build import build_model
from tests.make_data import (
    write_cifar,
    write_mnist,
    write_pictures,
    write_reviews,
    write_spoken_digits,
    write_text,
)
from tests.running import evaluate, resume, rows, state_of
from train import main

CONFIGS = Path(__file__).resolve().parent.parent / "config"
STEPS = ("trainer.epochs=null", "trainer.max_steps=3", "trainer.log_every=1", "device=cpu", "data_loader.num_workers=0")
MNIST_TEST, CIFAR_TEST, PICTURES_TEST, SOUNDS_TEST = 40, 20, 12, 11
ROOT, SMALL = "dataset.args.root={folder}", ("--batch-size", "16")
THREE = ("dataset.args.root={folder}/pictures", "--batch-size", "8", "model.args.num_classes=3")
PLAY, WINDOWS_TEST = ("dataset.args.path={folder}/play.txt", "dataset.args.test_fraction=0.2"), 7
EXPERIMENTS = {
    "cifar10_fast": ((ROOT, *SMALL, "model.args.widths=[4, 8, 8]"), CIFAR_TEST),
    "cifar10_resnet": ((ROOT, *SMALL, "model.args.width=8"), CIFAR_TEST),
    "csv_binary": ((), 56),
    "csv_multiclass": ((), 19),
    "csv_regression": ((), 47),
    "digits": ((), 359),
    "digits_linear": ((), 359),
    "fashion_mnist_mlp": ((ROOT, *SMALL, "data_loader.validation_split=20"), MNIST_TEST),
    "finetune": (THREE, PICTURES_TEST),
    "image_folder": (THREE, PICTURES_TEST),
    "linear_regression": ((), 200),
    "mnist_autoencoder": ((ROOT, *SMALL, "model.args.hidden=16"), MNIST_TEST),
    "mnist_gan": ((ROOT, *SMALL, "model.args.width=4"), MNIST_TEST),
    "mnist_lenet": ((ROOT, *SMALL), MNIST_TEST),
    "mnist_modern": ((ROOT, *SMALL), MNIST_TEST),
    "mnist_vae": ((ROOT, *SMALL, "model.args.hidden=16"), MNIST_TEST),
    "segmentation_shapes": (("dataset.args.size=60", "model.args.widths=[4, 4]"), 12),
    "shape_kinds": (("dataset.args.size=60", "model.args.width=4", "--batch-size", "8"), 12),
    "shakespeare_gpt": ((*PLAY, "lr_scheduler=null", "model.args.width=16"), WINDOWS_TEST),
    "shakespeare_lstm": ((*PLAY, "model.args.width=16"), WINDOWS_TEST),
    "simclr": ((ROOT, *SMALL, "model.args.width=4"), MNIST_TEST),
    "simclr_labels": ((ROOT, *SMALL, "data_loader.validation_split=20", "trainer.init_from=null"), MNIST_TEST),
    "spoken_digits": (("dataset.args.root={folder}/spoken_digits", "--batch-size", "8"), SOUNDS_TEST),
    "text_classification": (("dataset.args.path={folder}/texts.tsv", *SMALL), 43),
}
WITHOUT_CLASSES = ("regression", "kinds")
WITHOUT_ROWS = (
    "shakespeare",
    "segmentation",
    "mnist_autoencoder",
    "mnist_gan",
    "mnist_vae",
    "simclr",
)  # not one output a sample
FROZEN_AS_DRAWN = ("finetune", "simclr_labels")  # without weights to start from, as they are here
DRAWN = {"digits", "csv_regression"}  # one of classes and one of numbers


def test_no_experiment_is_forgotten():
    assert sorted(EXPERIMENTS) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with small sets in the formats that the experiments read."""
    write_mnist(tmp_path, "MNIST", num_train=80, num_test=MNIST_TEST)
    write_mnist(tmp_path, "FashionMNIST", num_train=80, num_test=MNIST_TEST)
    write_cifar(tmp_path, monkeypatch, samples_a_file=CIFAR_TEST)
    write_text(tmp_path / "play.txt", num_characters=2000)
    write_spoken_digits(tmp_path / "spoken_digits", num_each=8)
    write_reviews(tmp_path / "texts.tsv", header="target\ttext\n")
    write_pictures(tmp_path / "pictures/train", num_each=10)
    write_pictures(tmp_path / "pictures/test", num_each=PICTURES_TEST // 3)
    return tmp_path


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.draws) if name in DRAWN else name for name in EXPERIMENTS]
)
def test_an_experiment_trains_for_some_steps_and_is_evaluated(name, data, caplog):
    overrides, num_test = EXPERIMENTS[name]
    overrides = [text.format(folder=data) for text in overrides]
    config = CONFIGS / f"{name}.yaml"
    assert main(["-c", str(config), f"trainer.save_dir={data / 'saved'}", *STEPS, *overrides]) == 0
    run = (data / "saved" / name / "latest").resolve()
    assert ("stay as they were drawn" in caplog.text) == (name in FROZEN_AS_DRAWN)
    (row,) = rows(run)
    state = state_of(run)
    assert row["step"] == state["step"] == 3 and all(value == value for value in row.values())
    if state["config"]["trainer"]["monitor"] != "off":
        assert state["best"]["value"] is not None and state_of(run, "best")["step"] == 3
    files = {"config.yaml", "run.json", "train.log", "metrics.csv", "curves.png", "tensorboard", "checkpoints"}
    assert files <= {path.name for path in run.iterdir()}
    results = evaluate(run)
    assert results["num_samples"] == num_test
    metrics = [metric["name"] or metric["type"] for metric in state["config"]["metrics"]]
    assert all(any(name.startswith(metric) for name in results) for metric in ["loss", *metrics])  # some by label
    has_rows = not name.startswith(WITHOUT_ROWS) or name == "simclr_labels"
    assert not has_rows or (run / "results/predictions.csv").read_text().count("\n") == num_test + 1
    assert (run / "results/confusion_matrix.png").exists() == (has_rows and not name.endswith(WITHOUT_CLASSES))


def finetune(data, *overrides):
    arguments = ("--batch-size", "8", f"trainer.save_dir={data}/saved", f"dataset.args.root={data}/pictures")
    return main(["-c", str(CONFIGS / "finetune.yaml"), *STEPS, *arguments, *overrides])


def test_finetune_starts_from_the_librarys_weights_with_a_new_head(data, monkeypatch, capsys, caplog):
    monkeypatch.setenv("TORCH_HOME", str(data))
    cached = data / "hub/checkpoints" / Path(ResNet18_Weights.DEFAULT.url).name  # as if downloaded before
    cached.parent.mkdir(parents=True)
    made = resnet18(num_classes=1000).state_dict()
    torch.save(made, cached)
    assert finetune(data, "model.args.weights=DEFAULT", "trainer.max_steps=1") == 0
    assert "model.args.weights=DEFAULT: 120 of 122 tensors loaded; 2 of other shape: fc" in capsys.readouterr().out
    assert "stay as they were drawn" not in caplog.text
    run = (data / "saved/finetune/latest").resolve()
    tuned = state_of(run)["model"]
    assert tuned["fc.weight"].shape == (3, 512)
    assert all((tuned[name] == made[name]).all() for name in ("conv1.weight", "layer3.1.conv2.weight"))
    difference = (tuned["layer4.1.conv2.weight"] - made["layer4.1.conv2.weight"]).abs().max()
    assert 0 < difference < 1e-3
    head, same_head = (
        build_model(ComponentConfig(type="resnet18", args={"num_classes": 3, "weights": weights}), 1, False).fc.weight
        for weights in (None, "DEFAULT")
    )
    assert (head == same_head).all()
    cached.unlink()  # neither resuming nor evaluation asks for it
    resume(run, "trainer.max_steps=2")
    evaluate(run)


@pytest.mark.parametrize("head", ["", ", num_classes: 3"])
def test_weights_that_cannot_be_had(head, data, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(data))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    assert finetune(data, f"model={{type: resnet18, args: {{weights: DEFAULT{head}}}}}") == 2
    error = capsys.readouterr().err
    assert "could not be downloaded" in error and "no network" in error and f"{data}/hub/checkpoints" in error
    assert finetune(data, f"model={{type: resnet18, args: {{weights: IMAGENET{head}}}}}") == 2
    assert "found 'IMAGENET' (text); expected one of IMAGENET1K_V1, DEFAULT or null" in capsys.readouterr().err


def test_the_default_learns(tmp_path):
    """Three epochs of config/digits.yaml: far from its 98.5 %, and far above chance."""
    short = ("--epochs", "3", "device=cpu", "trainer.tensorboard=false")
    assert main(["-c", str(CONFIGS / "digits.yaml"), f"trainer.save_dir={tmp_path}", *short]) == 0
    assert evaluate((tmp_path / "digits/latest").resolve())["accuracy"] > 0.5
