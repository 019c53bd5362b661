"""What only a first step or the whole schedule can tell ends a run before it has a folder, and changes nothing."""

import math
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset
from torchvision import tv_tensors

from base import DATASETS, LOSSES, LR_LAMBDAS, METRICS, MODELS
from experiment import build_trainer
from tests.running import PICTURES, assert_same, evaluate, read, state_of, train
from trainer.rehearsal import rehearse


@MODELS.register
class Nothing(nn.Linear):
    """Forgets to return its output."""

    def __init__(self):
        super().__init__(8, 3)

    def forward(self, x):
        super().forward(x)


@MODELS.register
class LogProbabilities(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(8, 3), nn.LogSoftmax(dim=1))


@DATASETS.register
class Rare(TensorDataset):
    """One sample is of a fourth class."""

    def __init__(self, split):
        super().__init__(torch.randn(90, 8), torch.arange(90) % 3)
        self.targets = self.tensors[1]
        self.targets[77] = 3


@LOSSES.register
def loss_of_float(output, target):
    return 1.5


@LOSSES.register
def loss_of_samples(output, target):
    return output.sum(dim=1)


@METRICS.register
def metric_of_float(output, target):
    return 0.5


@LR_LAMBDAS.register
def sinking(step):
    return 1 - step / 3


@MODELS.register
class SparseNet(nn.Module):
    """Its gradients are sparse, and so is what SGD with momentum keeps of them."""

    def __init__(self):
        super().__init__()
        self.votes = nn.Embedding(9, 3, sparse=True)

    def forward(self, x):
        return self.votes((x > 0).sum(dim=1))


def stepwise(name, args):
    return f"lr_scheduler={{type: {name}, args: {{{args}}}, interval: step}}"


F1 = "metrics=[{type: MulticlassF1Score, args: {num_classes: 3, average: none}, name: f1}]"
WITH_MOMENTUM = "optimizer={type: RMSprop, args: {momentum: 0.9}}"
TWO_RATES = "optimizer={type: Adam, param_groups: [{params: 'layers.0.*', args: {lr: 0.5}}]}"
TWO_GROUPS = "optimizer.param_groups=[{params: 'layers.*'}, {params: 'layers.0.*'}]"
CYCLE = "max_lr: 0.2, cycle_momentum: false"
# Overrides, and what is told of them.
MISTAKES = {
    ("lr_scheduler={type: StepLR, args: {step_size: 0}}",): "lr_scheduler.args.step_size: found 0 (a whole number)",
    (stepwise("OneCycleLR", CYCLE + ", total_steps: 4"), WITH_MOMENTUM): "OneCycleLR breaks at step 5 of 10: Tried to",
    ("lr_scheduler={type: CosineAnnealingLR, args: {T_max: 0}}",): "lr_scheduler.args.T_max: found 0 (a whole number)",
    (stepwise("LambdaLR", "lr_lambda: sinking"),): "gives the learning rate -0.03",
    (stepwise("ExponentialLR", "gamma: 1e200"),): "gives the learning rate inf at step 2",
    (stepwise("OneCycleLR", CYCLE), "--lr", "3e-4"): "--lr 3e-4: optimizer.args.lr: found 0.0003 (a number), but "
    "OneCycleLR sets it, whatever it is: leave it out, and set lr_scheduler.args.max_lr",
    (stepwise("CyclicLR", "base_lr: 0.01, " + CYCLE),): "tiny.yaml:7: optimizer.args.lr: found 0.1 (a number), but",
    (stepwise("OneCycleLR", "max_lr: 0.2"), WITH_MOMENTUM): "optimizer.args.momentum: found 0.9 (a number), but",
    (stepwise("OneCycleLR", CYCLE), TWO_RATES): "optimizer.param_groups.0.args.lr: found 0.5 (a number), but",
    (stepwise("OneCycleLR", "max_lr: [0.2, 0.1, 0.3], cycle_momentum: false"), TWO_RATES): "lr_scheduler OneCycleLR:",
    (TWO_GROUPS,): "optimizer.param_groups.1.params: the groups",
    ("metrics=[{type: accuracy, args: {threshold: 0.7}}]",): "accuracy: threshold is 0.7, but the model gives a",
    ("model=Nothing",): "the model Nothing returned nothing",
    ("loss=loss_of_float",): "loss loss_of_float returned float; it must return one number as a tensor ()",
    ("loss=loss_of_samples",): "loss loss_of_samples returned a tensor of shape (8,); it must return one number",
    ("metrics=[metric_of_float]",): "metric metric_of_float returned 0.5; it must return a tensor of one",
    ("optimizer={type: Adam, args: {lr: 0.1, capturable: true}}",): "optimizer Adam: ",
    ("model=SparseNet",): "the state of the optimizer cannot be saved: optimizer/state/0/momentum_buffer",
    ("dataset.args.num_classes=5",): "model.args.out_features: found 3, but the data have 5 outputs to learn",
    ("dataset=Rare",): "tiny.yaml:5: model.args: the data have class 3, but the model gives 3 scores",
    ("dataset.batch_transforms.train=[{type: RandomHorizontalFlip}]",): "dataset.batch_transforms.train: these are for",
    (F1, "trainer.monitor=max val_f1"): "trainer.monitor: found 'max val_f1'; the scores of this run are: loss, f1_0",
}


@pytest.mark.parametrize("overrides", MISTAKES, ids=lambda overrides: overrides[0][:60])
def test_a_mistake_is_told_before_there_is_a_folder(overrides, tmp_path, capsys):
    train(tmp_path, *overrides, code=2)
    told = capsys.readouterr().err
    assert MISTAKES[overrides] in told and "Traceback" not in told and not (tmp_path / "saved").exists()


@LOSSES.register
def loss_of_three(output, target):
    return nn.functional.cross_entropy(output, target, ignore_index=3)


def test_an_own_loss_may_leave_out_a_class(tmp_path):
    train(tmp_path, "dataset=Rare", "data_loader.validation_split=0.1", "loss=loss_of_three", "--epochs", "1")


def test_a_schedule_that_changes_nothing_is_mentioned(tmp_path, caplog):
    train(tmp_path, "lr_scheduler={type: StepLR, args: {step_size: 9}}", "--dry-run")
    assert "lr_scheduler: StepLR leaves the learning rate as it is in this whole run" in caplog.text
    caplog.clear()
    train(tmp_path, "lr_scheduler={type: StepLR, args: {step_size: 1}}", "--dry-run")
    assert "lr_scheduler" not in caplog.text


@MODELS.register
class Wants(nn.Module):
    """Takes no less than a whole batch, as some losses do, and counts in a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("count", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training and len(x) < 16:
            raise ValueError(f"{len(x)} samples are too few")
        self.count += self.training
        return self.norm(self.layer(x)) + self.count


def test_scores_that_are_no_logarithms_of_probabilities_are_told(tmp_path, caplog):
    for overrides, is_told in (
        ("loss=NLLLoss", True),
        ("loss={type: nll_loss}", True),
        ("loss=CrossEntropyLoss", False),
    ):
        train(tmp_path, overrides, "--dry-run")
        assert ("expects log-probabilities, and exp() of the model's outputs sums to" in caplog.text) is is_told
        caplog.clear()
    for precision in ("fp32", "bf16"):
        train(tmp_path, "loss=NLLLoss", "model=LogProbabilities", f"trainer.precision={precision}", "--dry-run")
        assert "log-probabilities" not in caplog.text


def test_one_of_several_values_can_be_monitored(tmp_path):
    run = train(tmp_path, F1, "trainer.monitor=max val_f1_1")
    assert state_of(run)["best"]["metric"] == "val_f1_1"


def test_what_wants_a_whole_batch_gets_it(tmp_path):
    train(tmp_path, "model=Wants", "--batch-size", "16", "data_loader.drop_last=true", "--epochs", "1")


@pytest.mark.parametrize("more", [(), ("trainer.precision=fp16",), ("trainer.accumulate_steps=2",)])
def test_nothing_is_left_of_a_rehearsal(more, tmp_path):
    """Neither in the state nor in the bits of the run that follows."""
    config = read(tmp_path, *PICTURES, "trainer.ema_decay=0.9", stepwise("StepLR", "step_size: 2"), *more)
    trainer, untouched = build_trainer(config), build_trainer(config)
    rehearse(trainer)
    assert_same(*({name: part.state_dict() for name, part in each.parts.items()} for each in (trainer, untouched)))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


class Untrue(torch.autograd.Function):
    """The input as it is; its gradient is right in fp32 and far too much in lower precision."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient if gradient.dtype == torch.float32 else gradient * 1e12


@MODELS.register
class Distrusted(nn.Linear):
    def __init__(self):
        super().__init__(8, 3)

    def forward(self, x):
        return Untrue.apply(super().forward(x))


def test_kernels_that_are_wrong_in_low_precision_are_not_trained_with(tmp_path, capsys):
    train(tmp_path, "model=Distrusted", "trainer.precision=bf16", code=2)
    assert "trainer.precision: with bf16, the gradients of a first batch have the norm " in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()
    train(tmp_path, "model=Distrusted")


@DATASETS.register
class Masks(TensorDataset):
    """Pictures, and a class for each of their pixels."""

    def __init__(self, split):
        pictures = torch.rand(40, 3, 8, 8)
        super().__init__(pictures, (pictures[:, 0] > 0.5).long())


@MODELS.register
class Pixels(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 2, 1)


@pytest.mark.parametrize(
    ("key", "moving", "resting"),
    [
        ("batch_transforms.train", "RandomHorizontalFlip", "{type: Normalize, args: {mean: [0.5], std: [0.5]}}"),
        ("batch_transforms.eval", "{type: RandomCrop, args: {size: 8, padding: 1}}", "RandomGaussianNoise"),
        ("batch_transforms.train", "{type: RandomAffine, args: {degrees: 9}}", "{type: RandomErasing, args: {p: 1.0}}"),
        ("transforms.train", "RandomVerticalFlip", "{type: ColorJitter, args: {brightness: 0.5}}"),
        ("transforms.eval", "{type: RandomResizedCrop, args: {size: 8}}", "{type: GaussianNoise, args: {}}"),
    ],
)
def test_pixels_of_targets_are_not_left_behind(key, moving, resting, tmp_path, capsys):
    config = ("dataset=Masks", "model=Pixels", "data_loader.validation_split=0.2", "trainer.epochs=1")
    train(tmp_path, *config, f"dataset.{key}=[{resting}]")
    compiled = "trainer.compile=true"  # which puts a library's transforms into a module of torch's
    train(tmp_path, *config, f"dataset.{key}=[{resting}, {moving}]", compiled, code=2)
    name = moving.removeprefix("{type: ").split(",")[0]
    assert f"dataset.{key}.1: {name} moves the pixels of the pictures, but not those" in capsys.readouterr().err


@DATASETS.register
class PicturesWith(TensorDataset):
    """Pictures, and what a test has them go with."""

    parts: ClassVar = ()

    def __init__(self, split):
        super().__init__(*self.parts)


@MODELS.register
class Reshaped(nn.Linear):
    """As many numbers as are wanted, in any shape, from the first of its inputs."""

    def __init__(self, shape: list[int]):
        super().__init__(3, math.prod(shape))
        self.shape = shape

    def forward(self, pictures, *others):
        return super().forward(pictures.mean(dim=(2, 3))).view(-1, *self.shape)


FLIPPED = ("dataset={type: PicturesWith, batch_transforms: {train: [RandomHorizontalFlip]}}", "trainer.epochs=1",
           "data_loader.validation_split=0.2")  # fmt: skip


@pytest.mark.parametrize(
    ("target", "loss"),
    [
        (torch.rand(40, 3, 16, 16), "MSELoss"),  # the same in finer pixels
        (torch.rand(40, 2, 2, 2), "MSELoss"),  # a map a kind of point
        (torch.zeros(40, 4, 4, dtype=torch.int64), "CrossEntropyLoss"),  # classes of coarser pixels
    ],
)
def test_targets_that_are_pictures_of_another_size_are_not_left_behind(target, loss, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(PicturesWith, "parts", (torch.rand(40, 3, 8, 8), target))
    shape = [2, 4, 4] if loss == "CrossEntropyLoss" else [*target.shape[1:]]
    config = (*FLIPPED, f"model={{type: Reshaped, args: {{shape: {shape}}}}}", f"loss={loss}")
    train(tmp_path, *config, code=2)
    assert f"not those of the targets, {(8, *target.shape[1:])}: the two would" in capsys.readouterr().err
    train(tmp_path, *config, "dataset.batch_transforms.train=[]")


@pytest.mark.parametrize(
    ("others", "shape", "loss", "told"),
    [
        ((torch.rand(40, 5, 4),), [5, 4], "MSELoss", "targets (8, 5, 4) that are places in them (boxes, points) stay"),
        (
            (torch.rand(40, 1, 8, 8), torch.arange(40) % 2),
            [2],
            "CrossEntropyLoss",
            "each of the 2 pictures of a sample",
        ),
        ((torch.rand(40, 5),), [5], "MSELoss", None),
    ],
)
def test_what_may_be_left_behind_is_told(others, shape, loss, told, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(PicturesWith, "parts", (torch.rand(40, 3, 8, 8), *others))
    train(tmp_path, *FLIPPED, f"model={{type: Reshaped, args: {{shape: {shape}}}}}", f"loss={loss}")
    assert told in caplog.text if told else "RandomHorizontalFlip moves" not in caplog.text


@DATASETS.register
class Wrapped(Masks):
    """Masks with the pictures as tv_tensors; torchvision leaves masks alone that are none."""

    wrap_mask = staticmethod(tv_tensors.Mask)

    def __getitem__(self, index):
        picture, mask = super().__getitem__(index)
        return tv_tensors.Image(picture), self.wrap_mask(mask)


def test_a_mask_that_is_no_tv_tensor_is_told(tmp_path, capsys, monkeypatch):
    config = ("dataset=Wrapped", "model=Pixels", "data_loader.validation_split=0.2", "trainer.epochs=1")
    train(tmp_path, *config, "dataset.transforms.train=[RandomHorizontalFlip]")
    for wrap in (torch.Tensor.long, torch.Tensor.numpy):
        monkeypatch.setattr(Wrapped, "wrap_mask", staticmethod(wrap))
        train(tmp_path, *config, "dataset.transforms.train=[RandomHorizontalFlip]", code=2)
        assert "Return both as torchvision's tv_tensors (Image and Mask)" in capsys.readouterr().err


@DATASETS.register
class Described(TensorDataset):
    """Vectors of two classes, and what a test lets them say of themselves."""

    says: ClassVar = {}

    def __init__(self, split):
        super().__init__(torch.randn(40, 8), torch.arange(40) % 2)
        vars(self).update(self.says)


DESCRIBED = ("dataset=Described", "model={type: MLP, args: {out_features: 2}}", "data_loader.validation_split=0.2")


@pytest.mark.parametrize(
    ("says", "overrides", "told"),
    [
        ({"groups": ["a"] * 30}, (), "Described has 30 groups for 40 samples"),
        ({"names": ["a"] * 41}, (), "Described has 41 names for 40 samples"),
        ({"groups": torch.arange(40)}, (), "Described has groups such as tensor(0); expected one text a sample"),
        ({"groups": [0] * 40}, (), "Described has groups such as 0; expected one text a sample"),
        ({"targets": [0, 1] * 10}, (), "Described has 20 targets for 40 samples"),
        ({"targets": [0, 1] * 30}, (), "Described has 60 targets for 40 samples"),
        (
            {"lengths": [[1, 2]] * 40},
            ("data_loader.order=bucketed",),
            "lengths is to be one number a sample; found (40,",
        ),
        ({"lengths": ["a"] * 40}, ("data_loader.order=bucketed",), "the lengths of Described are no numbers: "),
        ({"weights": [1]}, ("data_loader.order=weighted",), "Described has 1 weights for 40 samples"),
        (
            {},
            ("dataset.batch_transforms.train=[{type: MixUp, args: {num_classes: 2}}]",),
            "the input must be pictures (N, C, H, W)",
        ),
    ],
)
def test_what_a_dataset_says_of_its_samples_is_one_each(says, overrides, told, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Described, "says", says)
    train(tmp_path, *DESCRIBED, *overrides, code=2)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("classes", [(3, 7), {"3": 0, "7": 1}.keys(), torch.tensor([3, 7]).numpy()])
def test_classes_of_any_kind_are_kept_as_text(classes, tmp_path, monkeypatch):
    says = {"classes": classes, "targets": ["three", "seven"] * 20}  # the samples have numbers all the same
    monkeypatch.setattr(Described, "says", says)
    run = train(tmp_path, *DESCRIBED, "trainer.epochs=1")
    assert state_of(run)["classes"] == ["3", "7"]
    assert evaluate(run, "--split", "valid")["num_samples"] > 0
    assert {line.split(",")[1] for line in (run / "results/predictions.csv").read_text().splitlines()[1:]} == {"3", "7"}


def test_training_pictures_of_another_size_than_the_model_takes_are_told(tmp_path, capsys):
    crop = "dataset.batch_transforms.train=[{type: RandomCrop, args: {size: 4}}]"
    mlp = "model={type: MLP, args: {in_features: 192, out_features: 3}}"
    train(tmp_path, *PICTURES, mlp, crop, code=2)
    assert "model: MLP cannot take the data's inputs, (2, 3, 4, 4)" in capsys.readouterr().err
