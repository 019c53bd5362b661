"""How outputs are read: by the loss and by what the targets are, not by a guess from shapes."""

import pytest
import torch

from base import LOSSES
from base.target_kind import TargetKind
from config.schema import LossConfig
from model.answers import NoAnswerError, answers_of

WHOLE, NUMBERS = torch.tensor([0, 1]), torch.tensor([0.5, 2.0])
TWO = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
ONE = torch.tensor([[0.3], [-2.0]])


def read(loss, output, target, classes=None, **args):
    answers = answers_of(LossConfig(type=loss, args=args), output, TargetKind.of(target), classes)
    return answers, *answers.read(output)


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "NLLLoss"])
def test_scores_of_classes_are_probabilities(loss):
    output = TWO.log_softmax(dim=1) if loss == "NLLLoss" else TWO
    answers, predicted, scores = read(loss, output, WHOLE, ["cat", "dog"])
    assert answers.kind == "classes" and answers.are_probabilities and predicted.tolist() == [1, 0]
    torch.testing.assert_close(scores, TWO.softmax(dim=1))


def test_margins_are_no_probabilities():
    answers, predicted, scores = read("MultiMarginLoss", TWO, WHOLE, ["cat", "dog"])
    assert not answers.are_probabilities and torch.equal(scores, TWO) and predicted.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("loss", "output", "second"),
    [
        ("BCEWithLogitsLoss", ONE, ONE.sigmoid()),
        ("BCELoss", ONE.sigmoid(), ONE.sigmoid()),
        ("SoftMarginLoss", ONE[:, 0], ONE.sigmoid()),
        ("MSELoss", torch.tensor([[0.6], [0.4]]), torch.tensor([[0.6], [0.4]])),
    ],
)
def test_one_output_for_two_classes(loss, output, second):
    answers, predicted, scores = read(loss, output, torch.tensor([[1.0], [0.0]]), ["good", "ill"])
    assert (answers.kind, answers.names, predicted.tolist()) == ("classes", ["good", "ill"], [1, 0])
    torch.testing.assert_close(scores, torch.cat([1 - second, second], dim=1))


def test_a_tiny_probability_keeps_its_digits():
    _, _, scores = read("BCEWithLogitsLoss", torch.tensor([[50.0]]), torch.tensor([[1.0]]))
    assert scores[0, 0].item() == pytest.approx(1.928749847963918e-22)


def test_two_outputs_may_be_two_numbers():
    answers, values, _ = read("MSELoss", TWO, torch.tensor([[1, 2], [3, 4]]))
    assert answers.kind == "values" and torch.equal(values, TWO)


def test_counts_are_told_as_counts():
    _, values, _ = read("PoissonNLLLoss", ONE, ONE)
    torch.testing.assert_close(values, ONE.exp())
    assert torch.equal(read("PoissonNLLLoss", ONE, ONE, log_input=False)[1], ONE)


def test_shares_are_no_labels():
    """As the pixels of an autoencoder with BCEWithLogitsLoss are."""
    answers, values, _ = read("BCEWithLogitsLoss", TWO, torch.tensor([[0.2, 0.9], [0.0, 1.0]]))
    assert answers.kind == "values" and torch.equal(values, TWO.sigmoid())
    assert read("BCEWithLogitsLoss", TWO, None)[0].kind == "values"
    assert read("BCEWithLogitsLoss", TWO, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))[0].kind == "labels"


def own(output, target):
    return (output - target).mean()


def test_own_losses_are_read_by_their_targets(monkeypatch):
    monkeypatch.setitem(LOSSES.users, "own", own)
    assert read("own", TWO, WHOLE)[0].kind == "classes"
    assert read("own", TWO, TWO)[0].kind == "values"
    assert read("own", ONE, NUMBERS)[0].kind == "values"
    assert read("own", ONE, WHOLE, ["good", "ill"])[0].kind == "classes"
    with pytest.raises(NoAnswerError, match="nothing says how 2 outputs a sample answer targets of shape"):
        read("own", TWO, NUMBERS)  # a mean and a variance, or quantiles
    monkeypatch.setattr(own, "takes_margins", True, raising=False)
    assert torch.equal(read("own", TWO, WHOLE)[2], TWO)


@pytest.mark.parametrize(
    ("loss", "output", "target"),
    [("TripletMarginLoss", TWO, None), ("CrossEntropyLoss", torch.zeros(2, 3, 4), WHOLE), ("MSELoss", (TWO,), TWO)],
)
def test_what_no_row_can_hold(loss, output, target):
    with pytest.raises(NoAnswerError):
        read(loss, output, target)
