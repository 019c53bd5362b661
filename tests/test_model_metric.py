"""Metrics over uneven batches equal scikit-learn's on the whole, and their state survives a checkpoint."""

import copy
import math

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics

from base import LOSSES, METRICS
from base.batch import Batch, Forward
from base.score_sums import ScoreSums
from config.schema import LossConfig, MetricConfig
from model.build_metrics import build_metrics
from tests.gpu import DEVICE, never_waiting_for_the_gpu
from utils.errors import UserError

N, C = 103, 5
GENERATOR = torch.Generator().manual_seed(0)
CLASSES = torch.randint(C, (N,), generator=GENERATOR)
LOGITS = torch.randn(N, C, generator=GENERATOR) + torch.nn.functional.one_hot(CLASSES, C)
BEST = LOGITS.argmax(dim=1)
BINARY = torch.randint(2, (N, 1), generator=GENERATOR).float()
LOGIT = torch.randn(N, 1, generator=GENERATOR) + BINARY
SURE = torch.rand(N, 1, generator=GENERATOR) * 0.9 + 0.05  # all mean 1; who takes them for probabilities cuts at 0.5
REAL = torch.randn(N, 1, generator=GENERATOR)
GUESS = REAL + torch.randn(N, 1, generator=GENERATOR)
LABELS = torch.randint(2, (N, 3), generator=GENERATOR).float()
LABEL_LOGITS = torch.randn(N, 3, generator=GENERATOR) + LABELS

BATCH_SIZES = [1, 32, N]


def make(*metrics, loss_type=None):
    components = [MetricConfig(type=m) if isinstance(m, str) else MetricConfig(**m) for m in metrics]
    return ScoreSums(build_metrics(components, LossConfig(type=loss_type) if loss_type else None))


def metric(name, label=None, **args):
    return {"type": name, "args": args, "name": label}


def take(sums, output, target):
    sums.update(Forward(None, output, target, torch.zeros(())), Batch(torch.arange(len(target)), None))


def scores_of(sums):
    """What the metrics come to, without the loss."""
    return {name: value for name, value in sums.compute().items() if name != "loss"}


def feed(sums, output, target, batch_size=32):
    for first in range(0, len(target), batch_size):
        take(sums, output[first : first + batch_size], target[first : first + batch_size])
    return scores_of(sums)


PROBABILITIES = torch.softmax(LOGITS.double(), dim=1).numpy()
CASES = [  # metric, output, target, what scikit-learn says of the whole
    (metric("accuracy"), LOGITS, CLASSES, sk.accuracy_score(CLASSES, BEST)),
    (metric("accuracy"), LOGIT, BINARY, sk.accuracy_score(BINARY, LOGIT > 0)),
    (metric("accuracy"), LOGIT[:, 0], BINARY[:, 0], sk.accuracy_score(BINARY, LOGIT > 0)),
    (metric("accuracy"), LABEL_LOGITS, LABELS, 1 - sk.hamming_loss(LABELS, LABEL_LOGITS > 0)),
    (metric("exact_match"), LABEL_LOGITS, LABELS, sk.accuracy_score(LABELS, LABEL_LOGITS > 0)),
    (metric("top_k_accuracy", k=2), LOGITS, CLASSES, sk.top_k_accuracy_score(CLASSES, LOGITS, k=2)),
    (metric("top_k_accuracy"), LOGITS, CLASSES, 1.0),
    (metric("log_loss"), LOGITS, CLASSES, sk.log_loss(CLASSES, PROBABILITIES)),
    (metric("mean_absolute_error"), GUESS, REAL, sk.mean_absolute_error(REAL, GUESS)),
    (metric("mean_squared_error"), GUESS, REAL, sk.mean_squared_error(REAL, GUESS)),
    (metric("mean_squared_error"), GUESS[:, 0], REAL[:, 0], sk.mean_squared_error(REAL, GUESS)),
    (metric("MulticlassF1Score", num_classes=C), LOGITS, CLASSES, sk.f1_score(CLASSES, BEST, average="macro")),
    (metric("F1Score", task="multiclass", num_classes=C, average="micro"), LOGITS, CLASSES,
     sk.f1_score(CLASSES, BEST, average="micro")),
    (metric("MulticlassAUROC", num_classes=C), LOGITS, CLASSES,
     sk.roc_auc_score(CLASSES, PROBABILITIES, multi_class="ovr")),
    (metric("BinaryF1Score"), LOGIT, BINARY, sk.f1_score(BINARY, LOGIT > 0)),
    (metric("BinaryAUROC"), LOGIT, BINARY, sk.roc_auc_score(BINARY, LOGIT)),
    (metric("BinaryAUROC"), LOGIT, BINARY[:, 0], sk.roc_auc_score(BINARY, LOGIT)),
    (metric("Recall", task="binary"), LOGIT, BINARY, sk.recall_score(BINARY, LOGIT > 0)),
    (metric("BinaryAUROC"), LOGITS[:, :2], CLASSES % 2, sk.roc_auc_score(CLASSES % 2, LOGITS[:, 1] - LOGITS[:, 0])),
    (metric("MultilabelF1Score", num_labels=3), LABEL_LOGITS, LABELS,
     sk.f1_score(LABELS, LABEL_LOGITS > 0, average="macro")),
    (metric("R2Score"), GUESS, REAL, sk.r2_score(REAL, GUESS)),
    (metric("MeanSquaredError", squared=False), GUESS, REAL, sk.root_mean_squared_error(REAL, GUESS)),
    (metric("RandScore"), LOGITS, CLASSES, sk.rand_score(CLASSES, BEST)),
    *((metric(name), SURE, BINARY, BINARY.mean()) for name in ("accuracy", "BinaryAccuracy", "BinaryPrecision")),
]  # fmt: skip


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_equals_scikit_learn_for_every_batch_size(case, batch_size):
    config, output, target, expected = CASES[case]
    ((name, value),) = feed(make(config), output, target, batch_size).items()
    assert name == config["type"] and isinstance(value, float)
    assert value == pytest.approx(float(expected), rel=2e-5)


COUNTS, SHARES = torch.poisson(REAL.exp(), generator=GENERATOR), LOGITS.mul(0.5).softmax(dim=1)
LABEL_SHARES = LABEL_LOGITS.sigmoid()
IN_UNITS = [  # loss, metric, output, target, what scikit-learn says of outputs that are in the target's unit
    ("PoissonNLLLoss", "mean_absolute_error", GUESS, COUNTS, sk.mean_absolute_error(COUNTS, GUESS.exp())),
    ("poisson_nll_loss", "R2Score", GUESS, COUNTS, sk.r2_score(COUNTS, GUESS.exp())),
    ("BCEWithLogitsLoss", "mean_absolute_error", LOGIT, BINARY, sk.mean_absolute_error(BINARY, LOGIT.sigmoid())),
    ("BCEWithLogitsLoss", "R2Score", LABEL_LOGITS * 2, LABEL_SHARES,
     sk.r2_score(LABEL_SHARES, (LABEL_LOGITS * 2).sigmoid())),
    ("MultiLabelSoftMarginLoss", "mean_squared_error", LABEL_LOGITS, LABELS,
     sk.mean_squared_error(LABELS, LABEL_LOGITS.sigmoid())),
    ("CrossEntropyLoss", "mean_squared_error", LOGITS, SHARES, sk.mean_squared_error(SHARES, LOGITS.softmax(dim=1))),
    ("KLDivLoss", "mean_squared_error", LOGITS.log_softmax(dim=1), SHARES,
     sk.mean_squared_error(SHARES, LOGITS.softmax(dim=1))),
    ("CrossEntropyLoss", "accuracy", -LOGITS, SHARES, sk.accuracy_score(BEST, (-LOGITS).argmax(dim=1))),
    ("CrossEntropyLoss", "exact_match", LOGITS, torch.nn.functional.one_hot(CLASSES, C).float(),
     sk.accuracy_score(CLASSES, BEST)),
    ("CrossEntropyLoss", metric("top_k_accuracy", k=2), LOGITS, torch.nn.functional.one_hot(CLASSES, C).float(),
     sk.top_k_accuracy_score(CLASSES, LOGITS, k=2)),
    ("CrossEntropyLoss", metric("MulticlassF1Score", num_classes=C), LOGITS,
     torch.nn.functional.one_hot(CLASSES, C).float(), sk.f1_score(CLASSES, BEST, average="macro")),
    ("MultiMarginLoss", metric("MulticlassAUROC", num_classes=C), LOGITS * 30, CLASSES,
     np.mean([sk.roc_auc_score(i == CLASSES, LOGITS[:, i]) for i in range(C)])),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "config", "output", "target", "expected"), IN_UNITS)
def test_outputs_are_compared_in_the_unit_of_the_targets(loss, config, output, target, expected):
    assert [*feed(make(config, loss_type=loss), output, target).values()] == [pytest.approx(float(expected), rel=2e-5)]


def test_shares_are_no_labels_to_torchmetrics():
    with pytest.raises(UserError, match="found targets between whole numbers; expected 0 and 1"):
        feed(make(metric("MultilabelAUROC", num_labels=3), loss_type="BCEWithLogitsLoss"), LABEL_LOGITS, LABEL_SHARES)


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "nll_loss", "MultiMarginLoss"])
@pytest.mark.parametrize("target", [LABELS, CLASSES % 3])
def test_classes_are_no_labels_to_torchmetrics(loss, target):
    for name in ("MultilabelF1Score", "MultilabelRankingLoss"):
        with pytest.raises(UserError, match=f"metric {name} .*: it is for labels .* chooses one class: use one that"):
            feed(make(metric(name, num_labels=3), loss_type=loss), LABEL_LOGITS, target)


def test_labels_are_no_classes_to_torchmetrics():
    with pytest.raises(UserError, match="targets have several labels a sample, or none: use one that begins with"):
        feed(make(metric("MulticlassAccuracy", num_classes=3), loss_type="BCEWithLogitsLoss"), LABEL_LOGITS, LABELS)
    one_hot = torch.eye(3)[CLASSES % 3]
    found = feed(
        make(metric("MulticlassAccuracy", num_classes=3), loss_type="BCEWithLogitsLoss"), LABEL_LOGITS, one_hot
    )
    expected = sk.balanced_accuracy_score(CLASSES % 3, LABEL_LOGITS.argmax(dim=1))
    assert found["MulticlassAccuracy"] == pytest.approx(expected)


def test_classes_of_pixels():
    scores, classes = torch.randn(4, 3, 5, 6), torch.randint(3, (4, 5, 6))
    is_right = scores.argmax(dim=1) == classes
    result = feed(make("accuracy", "exact_match"), scores, classes, 3)
    assert result == {"accuracy": pytest.approx(is_right.double().mean().item()), "exact_match": 0.0}
    iou = make(metric("MeanIoU", num_classes=3, input_format="index", per_class=True))
    assert list(feed(iou, scores, classes, 4)) == ["MeanIoU_0", "MeanIoU_1", "MeanIoU_2"]
    with pytest.raises(UserError, match="the targets are class numbers: give it args"):
        feed(make(metric("MeanIoU", num_classes=3)), scores, classes, 4)  # it would take rows for classes


@pytest.mark.parametrize("name", ["accuracy", "BinaryAccuracy", "exact_match"])
def test_probabilities_are_known_by_the_loss(name, monkeypatch):
    def brier(output, target):
        return (output - target).square().mean()

    brier.takes_probabilities = True  # as an own loss can say
    monkeypatch.setitem(LOSSES._own, "brier", brier)
    expected = pytest.approx(sk.accuracy_score(BINARY, LOGIT > 0))
    for loss_type in ("BCELoss", "binary_cross_entropy", "brier"):
        assert [*feed(make(name, loss_type=loss_type), LOGIT.sigmoid(), BINARY).values()] == [expected]
    assert [*feed(make(name, loss_type="BCEWithLogitsLoss"), LOGIT, BINARY).values()] == [expected]


def test_names_and_several_numbers():
    result = feed(make("accuracy", metric("MulticlassF1Score", "f1", num_classes=C, average="none")), LOGITS, CLASSES)
    assert list(result) == ["accuracy", "f1_0", "f1_1", "f1_2", "f1_3", "f1_4"]
    np.testing.assert_allclose([*result.values()][1:], sk.f1_score(CLASSES, BEST, average=None), rtol=1e-5)
    recall = make(metric("BinaryRecallAtFixedPrecision", "recall", min_precision=0.5))
    assert list(feed(recall, LOGIT, BINARY)) == ["recall_0", "recall_1"]
    with pytest.raises(UserError):
        take(recall, LOGITS, CLASSES)  # it is for two classes


def test_two_scores_of_one_name():
    sums = make(metric("MulticlassF1Score", "f1", num_classes=C, average="none"), metric("accuracy", "f1_2"))
    with pytest.raises(UserError, match="two scores are called 'f1_2'"):
        feed(sums, LOGITS, CLASSES)


def test_the_first_targets_of_every_epoch_are_looked_at():
    sums, wrong = make(metric("MulticlassF1Score", "f1", num_classes=C)), CLASSES + C
    for _ in range(2):
        with pytest.raises(UserError, match="f1"):
            take(sums, LOGITS, wrong)
        take(sums, LOGITS, CLASSES)
        sums.reset()
    for name in ("accuracy", "exact_match"):
        sums = make(name)
        feed(sums, LOGIT, BINARY)
        sums.reset()
        with pytest.raises(UserError, match=f"metric {name}: found the target .*; expected classes, or 0 and 1"):
            take(sums, GUESS, REAL)


# The last one keeps lists of tensors.
OF_TORCH = [metric("MulticlassF1Score", num_classes=C), metric("MulticlassAUROC", num_classes=C)]
ALL = ["accuracy", metric("top_k_accuracy", k=2), *OF_TORCH]


def test_reset_forgets_and_a_copy_counts_for_itself():
    sums = make(*ALL)
    feed(sums, LOGITS.flip(0), CLASSES)
    sums.reset()
    other = copy.deepcopy(sums)
    result = feed(sums, LOGITS, CLASSES)
    assert result == feed(make(*ALL), LOGITS, CLASSES)
    assert sums.recent_names == {"loss", "accuracy", "top_k_accuracy"}  # those that need no whole
    assert all(math.isnan(value) for value in scores_of(other).values())
    assert feed(other, LOGITS, CLASSES) == result


@pytest.mark.filterwarnings("error")
def test_state_in_mid_epoch_survives_a_file_and_the_next_update(tmp_path):
    sums = make(*ALL)
    assert all(math.isnan(value) for value in scores_of(sums).values())
    feed(sums, LOGITS[:50], CLASSES[:50])
    sums.compute_recent()
    then, state = scores_of(sums), sums.state_dict()
    torch.save(state, tmp_path / "state.pt")
    end, recent = feed(sums, LOGITS[50:], CLASSES[50:]), sums.compute_recent()
    for kept in (state, torch.load(tmp_path / "state.pt", weights_only=True)):
        resumed = make(*ALL)
        feed(resumed, LOGITS[:20], CLASSES[:20])  # what it held is replaced
        resumed.load_state_dict(kept)
        assert scores_of(resumed) == then
        assert feed(resumed, LOGITS[50:], CLASSES[50:]) == end and resumed.compute_recent() == recent


def test_evaluation_and_training_may_take_turns():
    """Tensors made in inference mode cannot be changed outside of it: reset() must leave none."""
    sums = make(*ALL)
    with torch.inference_mode():
        expected = feed(sums, LOGITS, CLASSES)
        sums.reset()
    assert feed(sums, LOGITS.clone().requires_grad_(), CLASSES) == expected


def test_half_precision_outputs_are_taken_as_float():
    half = LOGITS.bfloat16()
    expected = torch.nn.functional.cross_entropy(half.float(), CLASSES).item()
    assert feed(make("log_loss"), half, CLASSES)["log_loss"] == pytest.approx(expected, rel=1e-6)
    assert math.isfinite(feed(make("R2Score"), GUESS.bfloat16(), REAL)["R2Score"])


@pytest.mark.parametrize(
    ("config", "output", "target", "message"),
    [
        (metric("top_k_accuracy"), LOGITS[:, :3], CLASSES, "k is 5, but the model tells only 3 classes apart"),
        (metric("mean_squared_error"), GUESS, REAL[:, 0], r"shape \(32, 1\), the target \(32,\)"),
        (metric("accuracy"), LOGIT[:, 0], BINARY, r"shape \(32,\), the target \(32, 1\)"),
        (metric("F1Score", "f1", task="multiclass", num_classes=3), LOGITS, CLASSES, r"f1 \(.*output \(32, 5\)"),
    ],
)
def test_what_does_not_fit_is_said(config, output, target, message):
    with pytest.raises(UserError, match=message):
        feed(make(config), output, target)


def test_a_metric_that_cannot_be_computed():
    sums = make(metric("PearsonCorrCoef"), metric("R2Score", "r2"))
    take(sums, GUESS[:1], REAL[:1])
    with pytest.raises(UserError, match=r"metric r2 \(R2Score\).*at least two samples"):
        sums.compute()


def test_own_metrics(monkeypatch):
    def is_large(output, target, limit: float = 1.0):
        return (output > limit).any(dim=1)

    def average(output, target):
        return output.mean()

    class Largest(torchmetrics.Metric):
        def __init__(self):
            super().__init__()
            self.add_state("largest", torch.tensor(-math.inf), dist_reduce_fx="max")

        def update(self, output, target):
            self.largest = torch.maximum(self.largest, output.max())

        def compute(self):
            return self.largest

    for component in (is_large, average, Largest):
        monkeypatch.setitem(METRICS._own, component.__name__, component)
    result = feed(make(metric("is_large", limit=2.0), "Largest"), LOGITS, CLASSES)
    share = pytest.approx((LOGITS > 2).any(1).double().mean().item())
    assert result == {"is_large": share, "Largest": LOGITS.max().item()}
    with pytest.raises(UserError, match=r"average returned a tensor of shape \(\)"):
        feed(make("average"), LOGITS, CLASSES)


@pytest.mark.cuda
def test_on_a_gpu_without_waiting_for_it():
    sums = make(*ALL)
    output, target = LOGITS.to(DEVICE), CLASSES.to(DEVICE)
    take(sums, output[:50], target[:50])  # the first batch is looked at
    with never_waiting_for_the_gpu():
        take(sums, output[50:], target[50:])
    expected = feed(make(*ALL), LOGITS, CLASSES)
    assert scores_of(sums) == pytest.approx(expected, rel=1e-5)
    resumed = make(*ALL)
    resumed.load_state_dict(sums.state_dict())
    take(resumed, output, target)


@pytest.mark.parametrize("size", BATCH_SIZES)
def test_what_the_loss_ignores_counts_nowhere(size):
    """Of classes, and of the pixels of pictures; the metric is told by the loss."""
    sums = ScoreSums(
        build_metrics(
            [MetricConfig(type=name) for name in ("accuracy", "top_k_accuracy", "exact_match", "log_loss")],
            LossConfig(type="CrossEntropyLoss", args={"ignore_index": 2}),
        )
    )
    kept = CLASSES != 2
    scores = feed(sums, LOGITS, CLASSES, size)
    right = (BEST == CLASSES)[kept].float().mean().item()
    assert scores["accuracy"] == scores["exact_match"] == pytest.approx(right) and scores["top_k_accuracy"] == 1
    assert scores["log_loss"] == pytest.approx(torch.nn.functional.cross_entropy(LOGITS[kept], CLASSES[kept]).item())

    pixels, classes = LOGITS[:100].reshape(20, 5, 5).transpose(1, 2), CLASSES[:100].reshape(20, 5)
    micro = MetricConfig(type="MulticlassAccuracy", args={"num_classes": 5, "average": "micro"})
    metrics = [MetricConfig(type="accuracy"), micro, MetricConfig(type="Perplexity")]
    sums = ScoreSums(build_metrics(metrics, LossConfig(type="CrossEntropyLoss")))
    classes = classes.masked_fill(classes == 2, -100)
    right = (pixels.argmax(dim=1) == classes)[classes != -100].float().mean().item()
    scores = feed(sums, pixels, classes, size)  # of (N, C, C) as of any other
    assert scores["accuracy"] == pytest.approx(right) and scores["MulticlassAccuracy"] == pytest.approx(right)
    expected = torch.nn.functional.cross_entropy(pixels, classes).exp().item()
    assert scores["Perplexity"] == pytest.approx(expected, rel=1e-4)
