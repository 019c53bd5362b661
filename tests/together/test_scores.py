"""Scores of samples that several processes have looked at, of which some have had fewer batches than others."""

import pytest
import torch
from torchmetrics import Metric, PearsonCorrCoef

from base import METRICS
from tests.ranks import train_together
from tests.running import recorded
from tests.together.test_training import CONFIG


@METRICS.register
class Correlation(PearsonCorrCoef):
    """Of the first score of a sample and its class: its parts are put together by no sum."""

    def update(self, output, target):
        super().update(output[:, 0], target.float())


@METRICS.register
class Spread(Metric):
    """What is kept batch by batch, and within a metric of its own."""

    def __init__(self):
        super().__init__()
        self.add_state("kept", [], dist_reduce_fx=None)
        self.inner = Correlation()

    def update(self, output, target):
        self.kept.append(output[:, 0])
        self.inner.update(output, target)

    def compute(self):
        return {"deviation": torch.cat(self.kept).std(), "inner": self.inner.compute()}

    def reset(self):
        super().reset()
        self.inner.reset()


OF_LISTS = "{type: MulticlassAUROC, args: {num_classes: 3}}"
# The last batch of each epoch, and of each evaluation, is too small for four processes.
SETTINGS = (
    *(f"metrics=[accuracy, Correlation, Spread, {OF_LISTS}]", "trainer.eval_every=1 steps"),
    *("data_loader.batch_size=16", "dataset.args.size=35", "dataset.args.valid_size=18"),
)


def assert_same_scores(run, other):
    for score in ("loss", "accuracy", "Correlation", "Spread_deviation", "Spread_inner", "MulticlassAUROC"):
        for name in (score, f"val_{score}"):
            of_other, found = recorded(other, name), recorded(run, name)
            assert {step: found[step] for step in of_other} == pytest.approx(of_other, rel=1e-6, abs=1e-7), name


def test_scores_of_epochs_and_evaluations_are_those_of_one_process(tmp_path):
    one = train_together(tmp_path / "one", 1, *SETTINGS, config=CONFIG)
    assert_same_scores(train_together(tmp_path, 4, *SETTINGS, config=CONFIG), one)


def test_scores_of_an_epoch_that_other_numbers_of_processes_have_begun(tmp_path):
    settings = (*SETTINGS, "data_loader.batch_size=8", "trainer.epochs=null")
    one = train_together(tmp_path / "one", 1, *settings, "trainer.max_steps=10", config=CONFIG)
    run = train_together(tmp_path, 4, *settings, "trainer.max_steps=1", config=CONFIG)
    for max_steps, num in (2, 2), (3, 1), (10, 4):
        train_together(tmp_path, num, "-r", str(run), *settings, f"trainer.max_steps={max_steps}", config=CONFIG)
    assert_same_scores(run, one)


def test_the_public_way_to_put_states_together(tmp_path, monkeypatch):
    settings = [setting.replace("Correlation, Spread, ", "") for setting in SETTINGS]
    runs = []
    for is_public in (False, True):
        monkeypatch.setattr("utils.torch_internals.PUBLIC_ONLY", is_public)
        runs.append(train_together(tmp_path / str(is_public), 4, *settings, config=CONFIG))
    for name in ("val_MulticlassAUROC", "val_accuracy"):
        assert recorded(runs[0], name) == pytest.approx(recorded(runs[1], name), rel=1e-7)
