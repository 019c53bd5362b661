"""Data, model and training of this project: the things to know before a long run."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from base import DATASETS
from config.load import check_config, read_config
from script import load_registries

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "config/NAME.yaml"


def run(*arguments: object) -> str:
    """What a script prints, run on the arguments as on a terminal."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_folder / "checkpoints" / "last.pt", weights_only=True)["model"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_sample_is_a_function_of_its_index(split):
    config = check_config(read_config([str(ROOT / CONFIG)], []), load_registries)
    dataset = DATASETS.build(config.dataset.type, config.dataset.args, split=split)
    assert len(dataset)
    for index in (0, len(dataset) - 1):
        torch.manual_seed(0)
        first = dataset[index]
        torch.manual_seed(0)
        assert repr(first) == repr(dataset[index])


def test_trains_and_is_evaluated(tmp_path):
    run("train.py", "-c", CONFIG, "trainer.epochs=1", f"trainer.save_dir={tmp_path}")
    assert "loss" in run("test.py", "-r", tmp_path / "NAME" / "latest")


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    run("train.py", "-c", CONFIG, "lr_scheduler=null", "trainer.epochs=2", f"trainer.save_dir={tmp_path / 'one'}")
    run("train.py", "-c", CONFIG, "lr_scheduler=null", "trainer.epochs=1", f"trainer.save_dir={tmp_path / 'two'}")
    run("train.py", "-r", tmp_path / "two" / "NAME" / "latest", "--epochs", "2")
    one, two = (weights(tmp_path / each / "NAME" / "latest") for each in ("one", "two"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
