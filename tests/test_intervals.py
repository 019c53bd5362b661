"""Intervals of scores: they hold what they promise, are the same each time, and are told where there are none."""

from functools import partial

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy

from base import LOSSES
from base.batch import Batch, Forward
from base.score_sums import ScoreSums
from config.schema import LossConfig, MetricConfig
from model.build_loss import build_loss
from model.build_metrics import build_metrics
from model.sample_losses import losses_by_sample
from tests.running import evaluate, train
from trainer import intervals as module
from trainer.intervals import Samples


def intervals_of(output, target, *metrics, loss="CrossEntropyLoss", seed=0, batch_size=64, target_scale=None, **args):
    """The scores of samples seen in batches, and their Intervals."""
    loss_fn = build_loss(LossConfig(type=loss, args=args))
    sums = ScoreSums(build_metrics([MetricConfig(**metric) for metric in metrics]))
    sums.reset()
    samples = Samples(sums.metrics, partial(losses_by_sample, loss_fn, target_scale))
    for indices in torch.arange(len(target)).split(batch_size):
        batch = Batch(indices, None)
        result = Forward(None, output[indices], target[indices], *loss_fn(output[indices], target[indices]))
        sums.update(result, batch)
        samples.visit(batch, result)
    samples.put_together()
    scores = sums.compute()
    return scores, samples.intervals(scores, seed)


def drawn(size, seed):
    """Scores of three classes that are right in about two of three cases."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (size,), generator=generator)
    output = torch.randn(size, 3, generator=generator)
    output[torch.arange(size), target] += 1.5
    return output, target


F1 = {"type": "MulticlassF1Score", "args": {"num_classes": 3}}
AUROC = {"type": "MulticlassAUROC", "args": {"num_classes": 3}}
ACCURACY = {"type": "accuracy"}


def test_nineteen_of_twenty_hold_the_truth(monkeypatch):
    monkeypatch.setattr(module, "MOST_RESAMPLES", 200)
    truth, _ = intervals_of(*drawn(100_000, 0), ACCURACY, batch_size=100_000)
    tries, held = 200, {"loss": 0, "accuracy": 0}
    for seed in range(1, 1 + tries):
        _, found = intervals_of(*drawn(200, seed), ACCURACY, seed=seed, batch_size=200)
        for name, (low, high) in found.bounds.items():
            held[name] += low <= truth[name] <= high
    assert all(0.91 < number / tries < 0.98 for number in held.values()), held


def test_intervals_are_the_same_each_time_and_narrow_with_the_samples(monkeypatch):
    monkeypatch.setattr(module, "MOST_RESAMPLES", 100)
    scores, few = intervals_of(*drawn(100, 1), ACCURACY, F1, AUROC)
    for name, bounds in intervals_of(*drawn(100, 1), ACCURACY, F1, AUROC, batch_size=100)[1].bounds.items():
        assert bounds == pytest.approx(few.bounds[name])
    assert intervals_of(*drawn(100, 1), ACCURACY, F1, AUROC, seed=1)[1].bounds != few.bounds
    _, many = intervals_of(*drawn(1600, 1), ACCURACY, F1, AUROC)
    assert few.bounds.keys() == many.bounds.keys() == scores.keys() and not few.reasons
    for name, (low, high) in few.bounds.items():
        assert low < scores[name] < high
        assert 0.15 < numpy.diff(many.bounds[name]).item() / (high - low) < 0.4


@pytest.mark.parametrize(
    ("loss", "args"),
    [
        ("CrossEntropyLoss", {"label_smoothing": 0.1}), ("CrossEntropyLoss", {"ignore_index": 1}),
        ("cross_entropy", {"reduction": "sum"}), ("MultiMarginLoss", {}), ("nll_loss", {}),
    ],
)  # fmt: skip
def test_the_losses_of_samples_put_together_are_the_loss(loss, args):
    output, target = drawn(70, 0)
    scores, found = intervals_of(output.log_softmax(dim=1), target, loss=loss, batch_size=20, **args)
    assert found.bounds["loss"][0] < scores["loss"] < found.bounds["loss"][1]


def test_a_loss_of_standardised_targets_and_one_in_parts(monkeypatch):
    def in_parts(output, target):
        return {"near": (output - target).abs().mean(), "far": (output - target).square().mean()}

    monkeypatch.setitem(LOSSES.users, "in_parts", in_parts)
    output, target = torch.randn(2, 50, 1, generator=torch.Generator().manual_seed(0))
    scores, found = intervals_of(output, target, loss="in_parts")
    assert found.bounds.keys() == scores.keys() == {"loss", "loss_near", "loss_far"}

    scale = torch.tensor(500.0), torch.tensor(20.0)
    loss_fn = build_loss(LossConfig(type="MSELoss"))
    in_own_unit = (each * scale[1] + scale[0] for each in (output, target))
    sums, weights = losses_by_sample(loss_fn, scale, *in_own_unit, torch.arange(50))["loss"]
    assert (sums.sum() / weights.sum()).item() == pytest.approx(loss_fn(output, target)[0].item(), rel=1e-4)


def test_what_has_no_interval_is_told(monkeypatch, tmp_path, capsys):
    def contrast(output, target):
        return (output @ output.T).square().mean()  # of all pairs in a batch

    monkeypatch.setitem(LOSSES.users, "contrast", contrast)
    output, target = drawn(60, 0)
    target[target == 2] = 0
    target[0] = 2  # in a third of the resamples there is none
    _, found = intervals_of(output, target, AUROC, ACCURACY, loss="contrast")
    assert found.bounds.keys() == {"accuracy"} and found.reasons["loss"] == "it is no mean over samples"
    assert "a class has few samples" in found.reasons["MulticlassAUROC"]

    def for_some(output, target):
        parts = {"all": cross_entropy(output, target), "first": output.square().mean()}
        return parts if 2 in target else {"all": parts["all"]}

    monkeypatch.setitem(LOSSES.users, "for_some", for_some)
    scores, found = intervals_of(output, target, loss="for_some")
    assert "loss_first" in scores and found.bounds.keys() == {"loss_all"}
    assert found.reasons["loss_first"] == "not all samples have it"

    _, of_perfect = intervals_of(torch.eye(3)[target] * 9, target, ACCURACY)
    assert of_perfect.bounds.keys() == set() and "the same in nearly all" in of_perfect.reasons["accuracy"]

    monkeypatch.setattr(module, "MOST_KEPT", 100)
    run = train(tmp_path, "metrics=[accuracy, {type: MulticlassF1Score, args: {num_classes: 3}}]")
    assert evaluate(run, "trainer.precision=bf16")["intervals"].keys() == {"loss", "accuracy"}
    assert "MulticlassF1Score has no interval: the outputs take more than" in capsys.readouterr().out
