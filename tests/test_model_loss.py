"""Losses from a config equal torch's own, are means over samples, and say what does not go together."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from base import LOSSES
from config.schema import LossConfig
from model.build_loss import build_loss
from model.class_weights import with_class_weights
from utils.errors import UserError

N, C = 6, 4
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(N, C, generator=GENERATOR)
CLASSES = torch.tensor([0, 1, 2, 3, 1, 1])
ONE, REAL = torch.randn(N, 1, generator=GENERATOR), torch.randn(N, 1, generator=GENERATOR)
ZERO_ONE = (REAL > 0).float()
SIGNS = torch.tensor([1.0, -1, 1, 1, -1, -1])
WIDE = [torch.randn(N, 5, generator=GENERATOR) for _ in range(3)]
LENGTHS = torch.full((N,), 7), torch.full((N,), 2)
SPEECH = torch.randn(7, N, C, generator=GENERATOR).log_softmax(dim=2)

LOSSES_OF_TORCH = {  # each class, the function that does the same, and an output and a target for both
    "BCELoss": ("binary_cross_entropy", ONE.sigmoid(), ZERO_ONE),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", ONE, ZERO_ONE),
    "CTCLoss": ("ctc_loss", (SPEECH, LENGTHS[0]), (torch.ones(N, 2, dtype=torch.long), LENGTHS[1])),
    "CosineEmbeddingLoss": ("cosine_embedding_loss", tuple(WIDE[:2]), SIGNS),
    "CrossEntropyLoss": ("cross_entropy", LOGITS, CLASSES),
    "GaussianNLLLoss": ("gaussian_nll_loss", (ONE, ONE.exp()), REAL),
    "HingeEmbeddingLoss": ("hinge_embedding_loss", SIGNS * 0.3, SIGNS),
    "HuberLoss": ("huber_loss", ONE, REAL),
    "KLDivLoss": ("kl_div", LOGITS.log_softmax(dim=1), WIDE[0][:, :C].softmax(dim=1)),
    "L1Loss": ("l1_loss", ONE, REAL),
    "MSELoss": ("mse_loss", ONE, REAL),
    "MarginRankingLoss": ("margin_ranking_loss", (ONE[:, 0], REAL[:, 0]), SIGNS),
    "MultiLabelMarginLoss": ("multilabel_margin_loss", LOGITS, torch.tensor([[3, 0, -1, 1]] * N)),
    "MultiLabelSoftMarginLoss": ("multilabel_soft_margin_loss", LOGITS, (LOGITS > 0).float()),
    "MultiMarginLoss": ("multi_margin_loss", LOGITS, CLASSES),
    "NLLLoss": ("nll_loss", LOGITS.log_softmax(dim=1), CLASSES),
    "PoissonNLLLoss": ("poisson_nll_loss", ONE, REAL.exp()),
    "SmoothL1Loss": ("smooth_l1_loss", ONE, REAL),
    "SoftMarginLoss": ("soft_margin_loss", ONE[:, 0], SIGNS),
    "TripletMarginLoss": ("triplet_margin_loss", tuple(WIDE), CLASSES),
    "TripletMarginWithDistanceLoss": ("triplet_margin_with_distance_loss", tuple(WIDE), CLASSES),
}


def make(name, targets=None, class_weights=None, **args):
    return build_loss(with_class_weights(LossConfig(type=name, args=args, class_weights=class_weights), targets))


def mean(loss, output, target):
    return loss(output, target)[0]


def torch_order(name, output, target):
    """The inputs as torch's own forward() takes them, written out by hand."""
    if name == "CTCLoss":
        return output[0], target[0], output[1], target[1]
    if name == "GaussianNLLLoss":
        return output[0], target, output[1]
    if name.startswith("Triplet"):
        return output
    return (*output, target) if isinstance(output, tuple) else (output, target)


def test_every_library_loss_is_tried_here():
    tried = {name for kind, (function, *_) in LOSSES_OF_TORCH.items() for name in (kind, function)}
    assert {name for name in LOSSES.names() if not LOSSES.is_own(name)} == tried


@pytest.mark.parametrize("name", LOSSES_OF_TORCH)
def test_equals_torch_and_a_sum_is_made_a_mean_over_samples(name):
    function, *inputs = LOSSES_OF_TORCH[name]
    expected = getattr(nn, name)()(*torch_order(name, *inputs))
    total = getattr(nn, name)(reduction="sum")(*torch_order(name, *inputs))
    for config in (name, function):
        assert torch.equal(mean(make(config), *inputs), expected) and expected.ndim == 0
        assert torch.allclose(mean(make(config, reduction="sum"), *inputs), total / N)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy"])
def test_arguments_reach_the_loss(name):
    expected = F.cross_entropy(LOGITS, CLASSES, torch.tensor([1.0, 2, 0.5, 3]), label_smoothing=0.1)
    for weights in ({"weight": [1, 2, 0.5, 3]}, {"class_weights": [1.0, 2.0, 0.5, 3.0]}):
        assert torch.equal(mean(make(name, **weights, label_smoothing=0.1), LOGITS, CLASSES), expected)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy", "BCEWithLogitsLoss", "focal_loss"])
def test_weights_move_with_the_loss(name):
    loss_fn = make(name, class_weights=[1.0, 2.0, 0.5, 3.0])
    assert [buffer.device.type for buffer in loss_fn.to("meta").function.buffers()] == ["meta"]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy", "NLLLoss", "multi_margin_loss", "focal_loss"])
def test_balanced_weights_are_scikit_learns(name, kind):
    targets = [0] * 50 + [1] * 30 + [2] * 15 + [3] * 5
    expected = compute_class_weight("balanced", classes=np.arange(4), y=targets)
    (weight,) = make(name, kind(targets), "balanced").function.buffers()
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)


def masked(output, target):
    """An own loss that is a mean over what is there, as a sum and its weight."""
    is_there = target >= 0
    return ((output - target) ** 2)[is_there].sum(), is_there.sum()


LOSSES.register(masked)
PIXELS = torch.randn(N, C, 3, 2, generator=GENERATOR)
LABELS = PIXELS.argmax(dim=1).masked_fill(PIXELS[:, 0] > 0.5, 7)  # 7: ignored
SOME = CLASSES.masked_fill(torch.arange(N) < 4, -100)  # in the first batches, nothing counts
HOLES = torch.randn(N, 3, generator=GENERATOR)
WEIGHTS = [1.0, 2.0, 0.5, 3.0]


@pytest.mark.parametrize(
    ("output", "target", "name", "args"),
    [
        (LOGITS, CLASSES, "CrossEntropyLoss", {"class_weights": WEIGHTS, "label_smoothing": 0.1}),
        (LOGITS, CLASSES, "cross_entropy", {"weight": WEIGHTS}),
        (LOGITS, SOME, "CrossEntropyLoss", {"label_smoothing": 0.1}),
        (LOGITS.log_softmax(dim=1), SOME, "nll_loss", {"weight": WEIGHTS}),
        (PIXELS, LABELS, "CrossEntropyLoss", {"ignore_index": 7, "weight": WEIGHTS}),
        (PIXELS.log_softmax(dim=1), LABELS, "NLLLoss", {"ignore_index": 7}),
        (LOGITS, LOGITS.softmax(dim=1), "CrossEntropyLoss", {"weight": WEIGHTS}),
        (HOLES, HOLES.abs().round() - 1, "masked", {}),
    ],
)
def test_means_of_batches_come_together_to_that_of_the_whole(output, target, name, args):
    """And so do their gradients; a batch in which nothing counts has a loss of 0, and gradients of 0."""
    loss = make(name, **args)
    whole, whole_weight, _ = loss(output, target)
    if name != "masked":
        options = {"weight" if key == "class_weights" else key: value for key, value in args.items()}
        options |= {"weight": torch.tensor(options["weight"])} if "weight" in options else {}
        torchs = F.nll_loss if "nll" in name.lower() else F.cross_entropy
        assert torch.equal(whole, torchs(output, target, **options))
    for size in (1, 2, 5):
        parts = [loss(output[i : i + size], target[i : i + size]) for i in range(0, N, size)]
        sizes = [len(target[i : i + size]) for i in range(0, N, size)]
        weights = [size if weight is None else weight for size, (_, weight, _) in zip(sizes, parts, strict=True)]
        total = sum(part * weight for (part, _, _), weight in zip(parts, weights, strict=True))
        assert torch.allclose(total / sum(weights), whole)
        assert float(sum(weights)) == pytest.approx(float(N if whole_weight is None else whole_weight))
    nothing = output[:1].clone().requires_grad_()
    ignored = torch.full_like(target[:1], args.get("ignore_index", -100))
    if not ignored.is_floating_point() or name == "masked":
        loss(nothing, ignored)[0].backward()
        assert nothing.grad.eq(0).all()


def test_balanced_weights_leave_out_what_the_loss_ignores():
    targets = torch.tensor([[0, 0, 1], [255, 255, 0]])  # a picture of classes
    (weight,) = make("CrossEntropyLoss", targets, "balanced", ignore_index=255).function.buffers()
    assert torch.allclose(weight, torch.tensor([4 / (2 * 3), 4 / (2 * 1)]))


@pytest.mark.parametrize("name", ["BCEWithLogitsLoss", "binary_cross_entropy_with_logits"])
def test_balanced_weights_of_a_binary_loss_are_negatives_per_positive(name):
    one_in_five, several_labels = torch.tensor([1.0, 0, 0, 0, 0]), torch.tensor([[1, 0], [0, 1], [0, 1], [0, 1]])
    expected = [(one_in_five, [4]), (one_in_five[:, None], [4]), (several_labels, [3, 1 / 3])]
    for targets, weights in expected:
        (weight,) = make(name, targets, "balanced").function.buffers()
        assert weight.tolist() == pytest.approx(weights)


@pytest.mark.parametrize(
    ("name", "targets", "message"),
    [
        ("CrossEntropyLoss", None, "does not tell its targets"),
        ("CrossEntropyLoss", [0, 0, 2, 2, 4], "no training sample has class 1, 3"),
        ("CrossEntropyLoss", [0.5, 1.5], "the targets are no classes"),
        ("BCEWithLogitsLoss", [[0, 1], [1, 1]], "all training targets of output 1 are the same"),
    ],
)
def test_balanced_weights_that_cannot_be(name, targets, message):
    with pytest.raises(UserError, match=message):
        make(name, targets, "balanced")


def test_losses_that_take_no_class_weights():
    for name in ("MSELoss", "mse_loss", "BCELoss", "L1Loss", "KLDivLoss"):
        loss = LossConfig(type=name, class_weights=[1.0, 2.0])
        ((key, message),) = LOSSES.check(name, {}, class_weights=[1.0, 2.0])
        assert key == "class_weights" and f"{name} takes no weights of classes" in message
        assert "CrossEntropyLoss" in message and "focal_loss" in message and "mse_loss," not in message
        with pytest.raises(UserError, match="takes no weights"):
            build_loss(loss)


@pytest.mark.parametrize("args", [{"reduction": "none"}, {"reduce": False}, {"size_average": True}])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy"])
def test_a_loss_must_be_one_number(name, args):
    ((argument, message),) = LOSSES.check(name, args)
    assert argument in args and "reduction" in message + argument
    with pytest.raises(UserError, match="reduction"):
        make(name, **args)


def test_shapes_are_not_broadcast():
    for name in ("MSELoss", "l1_loss", "SmoothL1Loss", "huber_loss", "PoissonNLLLoss", "SoftMarginLoss"):
        with pytest.raises(UserError, match=r"output has shape \(6, 1\), the target \(6,\)"):
            make(name)(ONE, REAL[:, 0])


def test_a_model_with_outputs_in_a_tuple():
    assert torch.equal(mean(make("CrossEntropyLoss"), (LOGITS,), CLASSES), F.cross_entropy(LOGITS, CLASSES))
    with pytest.raises(UserError, match="takes input, target, but the model returned 2"):
        make("CrossEntropyLoss")((LOGITS, LOGITS), CLASSES)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "cross_entropy"])
def test_one_score_a_sample_is_not_for_classes(name):
    with pytest.raises(UserError, match=f"loss {name}: the model gives one score a sample.*BCEWithLogitsLoss"):
        make(name)(ONE, torch.zeros(N, dtype=torch.long))
    make(name)(LOGITS[0], CLASSES[0])  # one sample without a batch


@pytest.mark.parametrize(
    ("name", "output", "target", "message"),
    [
        ("CrossEntropyLoss", LOGITS, torch.ones(N), r".*\(output \(6, 4\), target \(6,\)\)"),
        ("cross_entropy", LOGITS, CLASSES[:4], r".*\(output \(6, 4\), target \(4,\)\)"),
        ("BCEWithLogitsLoss", ONE, CLASSES, r".*\(output \(6, 1\), target \(6,\)\)"),
        ("MarginRankingLoss", (ONE, REAL[:4]), SIGNS, r".*\(output \[\(6, 1\), \(4, 1\)\], target \(6,\)\)"),
    ],
)
def test_what_a_library_loss_refuses_is_told_with_the_shapes(name, output, target, message):
    with pytest.raises(UserError, match=f"(?s)^loss {name}: {message}$"):
        make(name)(output, target)


def test_focal_loss_without_focus_is_cross_entropy():
    weight = torch.tensor([1.0, 2, 3, 4])
    expected = F.cross_entropy(LOGITS, CLASSES, weight, reduction="none").mean()
    assert torch.allclose(mean(make("focal_loss", gamma=0.0, weight=[1, 2, 3, 4]), LOGITS, CLASSES), expected)
    p = LOGITS.softmax(dim=1)[torch.arange(N), CLASSES]
    assert torch.allclose(
        mean(make("focal_loss"), LOGITS, CLASSES), ((1 - p) ** 2 * -p.log()).mean()
    )  # as in the paper


def test_own_losses(monkeypatch):
    def half_error(output, target, power: int = 2):
        return 0.5 * ((output - target).abs() ** power).mean()

    def per_sample(output, target):
        return (output - target).flatten(1).mean(dim=1)

    for loss in (half_error, per_sample):
        monkeypatch.setitem(LOSSES._own, loss.__name__, loss)
    assert torch.allclose(mean(make("half_error"), ONE, REAL), 0.5 * F.mse_loss(ONE, REAL))
    assert torch.allclose(mean(make("half_error", power=1), ONE, REAL), 0.5 * F.l1_loss(ONE, REAL))
    with pytest.raises(RuntimeError, match="must match the size"):  # in own code: with its traceback
        make("half_error")(LOGITS, LOGITS[:, :3])
    with pytest.raises(UserError, match=r"per_sample returned a tensor of shape \(6,\)"):
        make("per_sample")(ONE, REAL)
