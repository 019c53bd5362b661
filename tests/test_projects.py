"""Real projects, as users write them, in one copy of the template: each learns, is evaluated, and is killed.

tests/projects/NAME/ holds the files of a project, to be laid over the template.
"""

import csv
import json
import random
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.forks import forked
from tests.make_data import write_discs, write_plants, write_reviews
from tests.running import assert_same_end, rows, state_of

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = sorted(path for path in (ROOT / "tests/projects").iterdir() if path.is_dir())

# Kills its own process, without a word, as a machine that loses its power would.
KILLER = """
import os
import signal

from base import LOGGERS


@LOGGERS.register
class Killer:
    def __init__(self, folder): ...

    def log(self, step, scores):
        if str(step) == os.environ["KILL_AT_STEP"]:
            os.kill(os.getpid(), signal.SIGKILL)

    def flush(self): ...

    def close(self): ...
"""


class Clone(NamedTuple):
    """A copy of the template with the projects in it."""

    folder: Path

    def run(self, script: str, *arguments: object, kill_at: int = 0, code: int = 0) -> str:
        """Run train or test to this exit code; returns what it printed. kill_at: the step that it ends in."""
        return forked(f"{script}.py", *arguments, folder=self.folder, code=code, KILL_AT_STEP=str(kill_at)).stdout

    def train(self, name: str, *arguments: object, **options: int) -> Path:
        """Train config/NAME.yaml as a new run; returns its folder, which is the newest also where it was killed."""
        before = set(self.folder.glob(f"saved/{name}/*-*"))
        every = ("-d", "cpu", "trainer.save_every=3 steps", "trainer.log_every=1", "trainer.loggers=[Killer]")
        self.run("train", "-c", f"config/{name}.yaml", *every, "trainer.tensorboard=false", *arguments, **options)
        (run,) = set(self.folder.glob(f"saved/{name}/*-*")) - before
        return run

    def predictions(self, run: Path, split: str, *arguments: object) -> list[dict[str, str]]:
        """predictions.csv of a part of the data."""
        self.run("test", "-r", run, "--split", split, *arguments)
        folder = run / ("test" if split == "test" else f"test-{split}")
        return list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone") / "project"
    ignored = shutil.ignore_patterns("saved", ".git", "tests", "benchmarks", "data", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=ignored)
    for project in PROJECTS:
        shutil.copytree(project, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "trainer/killer.py").write_text(KILLER)
    (folder / "data").mkdir()
    write_reviews(folder / "data/reviews.tsv")
    write_reviews(folder / "data/opinions.tsv", header="target\ttext\n")
    write_discs(folder / "data/discs")
    write_plants(folder / "data/plants.csv")
    return Clone(folder)


def trained(clone: Clone, name: str) -> tuple[Path, dict[str, float]]:
    """Train a project, evaluate it on its test part, kill another run of it: the run, and its test scores.

    The other run reads with two processes, then without, and must end with the same bits.
    """
    run = clone.train(name, "data_loader.num_workers=0")
    clone.run("test", "-r", run)
    step = random.Random(name).randrange(4, state_of(run)["step"])  # the first is saved at step 3
    other = clone.train(name, "data_loader.num_workers=2", kill_at=step, code=-9)
    clone.run("train", "-r", other, "data_loader.num_workers=0")
    assert_same_end(run, other)
    return run, json.loads((run / "test/metrics.json").read_text())


def test_padded_text(clone):
    run, scores = trained(clone, "reviews")
    assert scores["accuracy"] > 0.9
    state = state_of(run)
    words = state["data"]["preprocessing"]["words"]
    assert state["model"]["embedding.weight"].shape[0] == len(words) + 2 and not any("rare" in word for word in words)
    (clone.folder / "data/new.tsv").write_text(
        "good\tunheard-of words good-1 good-2 good-3 good-4\nbad\tbad-1 bad-2\n" * 30
    )
    new = clone.predictions(run, "test", "dataset.args.path=data/new.tsv")
    assert new and all(row["prediction"] == row["target"] for row in new)


def test_texts_of_a_table(clone):
    _, scores = trained(clone, "opinions")
    assert scores["accuracy"] > 0.9


def test_segmentation_with_masks_that_move_with_their_pictures(clone):
    run, scores = trained(clone, "discs")
    assert scores["MeanIoU"] > 0.99
    assert rows(run)[-1]["loss"] < 0.01  # of training, where pictures are flipped and cut


def test_two_views_without_a_target(clone):
    run, scores = trained(clone, "bars")
    assert rows(run)[0]["val_other_is_nearest"] < scores["other_is_nearest"] > 0.8


def test_multi_label(clone):
    run, scores = trained(clone, "tags")
    assert scores["accuracy"] == pytest.approx(scores["share_of_right_tags"]) and scores["accuracy"] > 0.85
    assert scores["MultilabelF1Score"] > 0.85 and scores["exact_match"] < scores["accuracy"]
    assert state_of(run)["data"]["facts"] == {"num_classes": 4, "out_features": 4, "in_features": 12}


def test_regression_with_three_outputs(clone):
    run, scores = trained(clone, "plants")
    assert all(scores[f"R2Score_{output}"] > 0.95 for output in range(3))  # 0.99 is what the noise allows
    predictions = clone.predictions(run, "test")  # in the units of the table
    errors = [abs(float(row[f"prediction_{i}"]) - float(row[f"target_{i}"])) for row in predictions for i in range(3)]
    assert sum(errors) / len(errors) == pytest.approx(scores["mean_absolute_error"], rel=1e-4)
    table = (clone.folder / "data/plants.csv").read_text().splitlines()
    assert any(float(line.split(",")[6]) == pytest.approx(float(predictions[0]["target_1"])) for line in table[1:])


def test_autoencoder(clone):
    run, scores = trained(clone, "waves")
    assert scores["loss"] < 0.6 * rows(run)[0]["loss"]


def test_samples_mixed(clone):
    run, scores = trained(clone, "digits_mixed")
    assert scores["accuracy"] > 0.7
    assert rows(run)[-1]["loss"] > rows(run)[-1]["val_loss"]  # of targets that are mixed, it is never near 0


def test_groups(clone):
    by_share, scores = trained(clone, "voices")
    assert scores["accuracy"] > 0.95
    for run in (by_share, clone.train("voices", "data_loader.validation_split=100")):
        speakers = {
            part: {row["sample"].split("(")[1] for row in clone.predictions(run, part)} for part in ("train", "valid")
        }
        assert not speakers["train"] & speakers["valid"] and len(speakers["train"] | speakers["valid"]) == 40
        assert 6 <= len(speakers["valid"]) <= 10


def test_gan_with_two_optimizers_in_fp16(clone):
    run, scores = trained(clone, "points")
    assert scores["distance"] < 1 < rows(run)[0]["distance"]  # made points come to lie where the real ones are
    state = state_of(run)
    assert state["optimizer"].keys() == state["lr_scheduler"].keys() == {"generator", "discriminator"}
    rates = {name: optimizer["param_groups"][0]["lr"] for name, optimizer in state["optimizer"].items()}
    assert rates["generator"] < 1e-4 and rates["discriminator"] == 2e-2
    row = rows(run)[-1]
    assert row["loss"] == pytest.approx(row["loss_real"] + row["loss_fake"], rel=1e-3) and row["generator_loss"] > 0


def test_vae_with_named_losses(clone):
    run, scores = trained(clone, "digits_vae")
    assert scores["loss"] == pytest.approx(scores["loss_reconstruction"] + scores["loss_kl"], rel=1e-6)
    assert scores["pixel_error"] < 0.22 < rows(run)[0]["pixel_error"]
    best = min(rows(run), key=lambda row: row["val_loss_reconstruction"])
    assert scores["step"] == best["step"]


def test_noisy_labels_with_a_memory_by_sample(clone):
    run, scores = trained(clone, "mislabelled")
    assert scores["accuracy"] > 0.95 and rows(run)[-1]["accuracy"] < 0.75  # of true labels, and of those given
    averages = state_of(run)["memory"]["averages"]
    was_trained_on = averages.sum(dim=1) > 0
    assert averages.shape == (480, 3) and was_trained_on.sum() > 0.85 * 480
    plain = clone.train("mislabelled", "trainer.type=Trainer")
    clone.run("test", "-r", plain)
    assert json.loads((plain / "test/metrics.json").read_text())["accuracy"] < scores["accuracy"]
