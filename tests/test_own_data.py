"""What a model was trained on stays with it; and batches of every kind."""

import gc
import json
import re
from itertools import chain
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision import tv_tensors

from base import DATASETS, LOSSES, MODELS, ORDERS
from data_loader.in_memory import InMemoryDataset
from data_loader.synthetic import Synthetic
from tests.running import assert_same, assert_same_end, evaluate, loader_of, recorded, resume, rows, state_of, train

CLASSES = ["ant", "bee", "cat"]


@DATASETS.register
class Folders(Dataset):
    """Like class folders on a disk: the numbers of the classes follow from which are there: `found`."""

    found: ClassVar = {"train": CLASSES, "valid": CLASSES, "test": CLASSES}

    def __init__(self, split: str):
        self.classes = self.found[split]
        self.targets = torch.arange(30) % len(self.classes)
        self.kinds = torch.tensor([CLASSES.index(name) if name in CLASSES else 0 for name in self.classes])

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        noise = torch.rand(4, generator=torch.Generator().manual_seed(index))
        return nn.functional.one_hot(self.kinds[self.targets[index]], 4) + noise / 2, self.targets[index]


@DATASETS.register
class Fitted(InMemoryDataset):
    """Scales by what it has fitted on its training part; other parts lie elsewhere, so that it shows."""

    def __init__(self, split: str, valid_fraction: float = 0.25, shift: float = 0.0, preprocessing: dict | None = None):
        rows = torch.randn(80, 8, generator=torch.Generator().manual_seed(3)) * 3 + 7
        num_valid = round(valid_fraction * 80)
        part = {"train": rows[num_valid:], "valid": rows[:num_valid], "test": rows[:20] + shift}[split]
        self.preprocessing = preprocessing or {"mean": part.mean().item(), "scale": part.std().item()}
        targets = (part.sum(dim=1) > 56).long()
        scaled = (part - self.preprocessing["mean"]) / self.preprocessing["scale"]
        super().__init__(scaled, targets, ["low", "high"])


MLP = "model.args={}"  # what there is to say of it, the data say
FOUR = ("dataset=Folders", MLP, "metrics=[accuracy]", "--lr", "0.5", "--epochs", "12")


def test_classes_are_matched_by_name(tmp_path, monkeypatch, capsys):
    run = train(tmp_path, *FOUR)
    assert evaluate(run)["accuracy"] > 0.9
    monkeypatch.setitem(Folders.found, "test", ["bee", "cat"])  # a missing folder shifts all numbers
    assert evaluate(run)["accuracy"] > 0.9
    monkeypatch.setitem(Folders.found, "test", ["cat", "bee", "ant"])
    assert evaluate(run)["accuracy"] > 0.9
    monkeypatch.setitem(Folders.found, "test", ["ant", "beee"])
    evaluate(run, code=2)
    assert (
        "the data have classes that the checkpoint does not know: beee; did you mean 'bee'?" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("valid", "told"), [
    (["bee", "cat"], "class 0 of the validation part is 'bee', of the training part 'ant'"),
    ([*CLASSES, "dog"], "class 3 of the validation part is 'dog', of the training part none"),
])  # fmt: skip
def test_a_validation_part_that_numbers_its_classes_otherwise_is_refused(valid, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(Folders.found, "valid", valid)
    train(tmp_path, *FOUR, code=2)
    assert told in capsys.readouterr().err
    monkeypatch.setitem(Folders.found, "valid", ["ant", "bee"])  # the last may be missing: the numbers are the same
    train(tmp_path, *FOUR)


@DATASETS.register
class Seeded(InMemoryDataset):
    """Random samples by a seed of each part, as of its name: train and valid have as many letters."""

    def __init__(self, split: str, seeds: dict[str, int]):
        generator = torch.Generator().manual_seed(seeds[split])
        super().__init__(torch.randn(40, 8, generator=generator), torch.randn(40, 1, generator=generator))


def test_a_validation_part_that_is_the_training_part_is_told(tmp_path, caplog):
    for seed_of_valid in (0, 1):
        caplog.clear()
        dataset = f"dataset={{type: Seeded, args: {{seeds: {{train: 0, valid: {seed_of_valid}}}}}}}"
        train(tmp_path, dataset, MLP, "loss=MSELoss", "--epochs", "1")
        is_told = "the validation part holds the same samples as the training part" in caplog.text
        assert is_told == (seed_of_valid == 0)


def test_what_was_fitted_in_training_is_handed_back(tmp_path, capsys):
    run = train(tmp_path, "dataset=Fitted", MLP, "metrics=[accuracy]", "--epochs", "4")
    fitted = state_of(run)["data"]["preprocessing"]
    train_part = Fitted("train")
    assert fitted == train_part.preprocessing
    scores = evaluate(run)
    shifted = evaluate(run, "dataset.args.shift=9.0")
    assert shifted["loss"] != scores["loss"]  # fitted anew, the shift would be taken out again
    assert evaluate(run, "--split", "valid")["loss"] == rows(run)[-1]["val_loss"]
    resume(run, "--epochs", "5")
    assert state_of(run)["data"]["preprocessing"] == fitted
    capsys.readouterr()
    assert "warning" not in capsys.readouterr().err


def test_validation_data_are_not_fitted_on(tmp_path):
    run = train(tmp_path, "dataset=Fitted", MLP, "data_loader.validation_split=0.5", "--epochs", "1")
    data = state_of(run)["data"]
    assert data["fingerprint"]["num_samples"] == {"train": 40, "valid": 40}
    assert data["preprocessing"] == Fitted("train", valid_fraction=0.5).preprocessing != Fitted("train").preprocessing


def test_what_is_fitted_on_validation_data_is_told(tmp_path, caplog, monkeypatch):
    train(tmp_path, "dataset=Folders", MLP, "data_loader.validation_split=0.2", "--epochs", "1")
    assert "has fitted on the samples held out" not in caplog.text
    monkeypatch.setattr(Folders, "preprocessing", {"mean": 1.0}, raising=False)
    train(tmp_path, "dataset=Folders", MLP, "data_loader.validation_split=0.2", "--epochs", "1")
    assert "what Folders has fitted, it has fitted on the samples held out too" in caplog.text


def test_a_loss_of_ones_own_may_want_other_outputs(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES._own, "wide", lambda output, target: nn.functional.cross_entropy(output[:, :3], target))
    run = train(tmp_path, "dataset=Folders", "model=LinearRegression", "model.args.out_features=5", "loss=wide")
    assert evaluate(run)["loss"] > 0


def test_what_differs_from_training_is_told(tmp_path, capsys):
    run = train(tmp_path, "dataset=Fitted", MLP, "--epochs", "1")
    evaluate(run, "--split", "valid")
    assert "warning" not in capsys.readouterr().err
    evaluate(run, "--split", "valid", "data_loader.validation_split=0.5")
    assert "warning: the valid part is not as it was in training: 40 samples, not 20" in capsys.readouterr().err


def test_a_part_that_is_divided_otherwise_is_told(tmp_path, capsys):
    """Else, with split_seed=3, 284 of 359 test samples would be ones that the model was trained on, without a word."""
    digits = ("dataset=Digits", "model=LinearRegression", "data_loader.validation_split=0.1", "--epochs", "1")
    run = train(tmp_path, *digits)
    evaluate(run)
    assert "warning" not in capsys.readouterr().err
    for changed in ("split_seed=3", "test_fraction=0.5"):
        evaluate(run, f"dataset.args.{changed}")
        name = changed.split("=")[0]
        assert f"another {name}: the model may have been trained on some of these samples" in capsys.readouterr().err


@DATASETS.register
class Named(InMemoryDataset):
    """Rows with names, in which `place` has another number."""

    place: ClassVar = None

    def __init__(self, split: str):
        self.names = [f"{split} {index}" for index in range(40)]
        inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(len(split)))
        if self.place is not None:
            inputs[self.place] += 1
        super().__init__(inputs, torch.arange(40) % 3, CLASSES)


def test_other_contents_under_the_same_names_are_told(tmp_path, capsys, monkeypatch):
    run = train(tmp_path, "dataset=Named", MLP, "data_loader.validation_split=0", "--epochs", "1")
    evaluate(run, "--split", "train")
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setattr(Named, "place", (7, 3))
    evaluate(run, "--split", "train")
    assert "the train part is not as it was in training: other samples" in capsys.readouterr().err
    resume(run, "--epochs", "2", code=2)
    assert ": other samples.train; bring back" in capsys.readouterr().err
    monkeypatch.undo()
    resume(run, "--epochs", "2")


def test_preprocessing_that_no_file_can_hold_is_told_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Folders, "preprocessing", {"scaler": object()}, raising=False)
    train(tmp_path, "dataset=Folders", MLP, "--epochs", "1", code=2)
    told = "its preprocessing cannot be saved: scaler is a object"
    assert told in capsys.readouterr().err and not (tmp_path / "saved").exists()


@MODELS.register
class Asks(nn.Module):
    def __init__(self, in_features: int, vocab_size: int, num_classes: int = 1000):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.table = nn.Embedding(vocab_size, 2)

    def forward(self, rows):
        return self.layer(rows)


def test_the_data_fill_in_what_a_model_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Folders, "vocab_size", 77, raising=False)
    run = train(tmp_path, "dataset=Folders", "model=Asks", "--epochs", "1")
    assert state_of(run)["model"]["layer.weight"].shape == (3, 4)
    assert state_of(run)["model"]["table.weight"].shape == (77, 2)
    evaluate(run)
    for name, found, said in (("num_classes", 4, "3 classes"), ("in_features", 9, "4 numbers a sample")):
        train(tmp_path, "dataset=Folders", "model=Asks", f"model.args.{name}={found}", code=2)
        assert f"model.args.{name}: found {found}, but the data have {said}" in capsys.readouterr().err
    train(tmp_path, "dataset=Folders", "model=Asks", "model.args.vocab_size=76", code=2)
    assert "vocab_size: found 76, but the data have a vocabulary of 77" in capsys.readouterr().err
    train(tmp_path, "dataset=Folders", "model=Asks", "model.args.vocab_size=80", "--epochs", "1")
    monkeypatch.delattr(Folders, "vocab_size")
    train(tmp_path, "dataset=Folders", "model=Asks", code=2)
    assert "model.args.vocab_size: missing; Asks needs it, and the data do not tell it" in capsys.readouterr().err


@DATASETS.register
class Ragged(Dataset):
    """Sequences of 1 to 9 numbers, the class of which is their length's parity."""

    draws_random_numbers = False
    classes = ("even", "odd")

    def __init__(self, split: str, size: int = 60):
        self.lengths = [1 + 7 * index % 9 for index in range(size)]
        self.targets = torch.tensor(self.lengths) % 2
        self.weights = [float(length > 6) for length in self.lengths]

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        return torch.ones(self.lengths[index]), self.targets[index]

    def collate(self, samples):
        rows, targets = zip(*samples, strict=True)
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.stack(targets)


def lengths_read(order, epoch=0, **settings):
    loader = loader_of("Ragged", order=order, **settings)
    return [batch.data[0].sum(dim=1).long().tolist() for batch in loader.batches(epoch)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_collates_its_own_batches(num_workers):
    batches = [*loader_of("Ragged", num_workers=num_workers).batches()]
    assert {batch.data[0].shape[1] for batch in batches} > {9} and len(batches) == 15
    assert_same(batches[3].data, [*loader_of("Ragged").batches()][3].data)


def test_a_collate_that_fails_names_the_samples(monkeypatch):
    monkeypatch.setattr(Ragged, "collate", lambda self, samples: samples[0][2])
    for num_workers in (0, 2):
        with pytest.raises(RuntimeError, match=r"Ragged.collate failed for samples \[0, 1, 2, 3\]: IndexError"):
            next(loader_of("Ragged", order={"type": "sequential"}, num_workers=num_workers).batches())


def test_targets_that_contradict_the_samples_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Folders, "__getitem__", lambda self, index: (torch.zeros(4), torch.tensor(0)))
    run = train(tmp_path, "dataset=Folders", MLP, "--epochs", "1")
    told = "warning: the attribute `targets` of the dataset says [0, 0] of sample 0, sample 15, and"
    assert told not in (run / "train.log").read_text()
    monkeypatch.setattr(Folders, "__getitem__", lambda self, index: (torch.zeros(4), torch.tensor(2)))
    run = train(tmp_path, "dataset=Folders", MLP, "--epochs", "1")
    assert f"{told} the samples say [2, 2]" in (run / "train.log").read_text()


def test_orders():
    assert lengths_read({"type": "sequential"})[0] == [1, 8, 6, 4]
    first, second = (lengths_read({"type": "bucketed"}, epoch) for epoch in (0, 1))
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == sorted(Ragged("train").lengths)
    assert max(max(batch) - min(batch) for batch in first) <= 2 and first != sorted(first)
    assert all(length > 6 for batch in lengths_read({"type": "weighted"}) for length in batch)
    odd = [length % 2 for epoch in range(20) for batch in lengths_read({"type": "balanced"}, epoch) for length in batch]
    assert sum(odd) / len(odd) == pytest.approx(0.5, abs=0.05)  # five of nine lengths are odd
    assert lengths_read({"type": "bucketed"}, batch_size=7, drop_last=False)[-1].__len__() == 4


@DATASETS.register
class Drawing(Dataset):
    """Eight samples with a random number, most of which are of one class."""

    targets, weights = (0, 0, 0, 0, 0, 0, 1, 1), (1, 1, 1, 1, 5, 5, 0, 0)

    def __init__(self, split: str): ...

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.rand(1), self.targets[index]


def drawn(order, num_workers=0, epoch=3, first=0):
    """Index and random number of each draw of an epoch."""
    batches = loader_of("Drawing", order={"type": order}, batch_size=2, num_workers=num_workers).batches(epoch, first)
    return [
        pair for batch in batches for pair in zip(batch.indices.tolist(), batch.data[0].flatten().tolist(), strict=True)
    ]


@pytest.mark.parametrize("order", ["weighted", "balanced", "mine"])
def test_a_sample_that_is_drawn_again_has_other_random_numbers(order, monkeypatch):
    monkeypatch.setitem(ORDERS._own, "mine", lambda num_samples: torch.tensor([5, 5, 2, 5, 2, 0, 5, 1]))
    once = dict(drawn("shuffled"))
    found = drawn(order)
    assert len(dict(found)) < len(found) == len(set(found))  # some are drawn again, with other numbers
    firsts = dict(reversed(found))
    assert firsts == {index: once[index] for index in firsts}
    assert drawn(order, num_workers=2) == found and drawn(order, first=2) == found[4:]
    assert drawn(order, num_workers=2, first=3) == found[6:]


def test_a_run_in_an_own_order_is_resumed_in_it(tmp_path):
    data = ("dataset=Folders", MLP, "data_loader.order=balanced")
    whole = train(tmp_path, *data, "--name", "whole", "--epochs", "3")
    cut = train(tmp_path, *data, "--name", "cut", "--epochs", "3", "trainer.max_time=0.0001 seconds")
    resume(cut, "trainer.max_time=null")
    assert_same_end(whole, cut)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda num_samples: list(range(num_samples)), "returned list; expected int64"),
        (
            lambda num_samples: torch.arange(num_samples - 1),
            r"returned torch.int64 \(29,\); expected int64 \(30,\), places of",
        ),
        (lambda num_samples: torch.arange(num_samples) + 1, "returned places outside of 0 .. 29"),
        (lambda lengths: lengths, "needs the lengths of the samples: give Folders an attribute `lengths`"),
    ],
)
def test_an_order_that_is_none_is_told_before_there_is_a_folder(order, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ORDERS._own, "mine", order)
    train(tmp_path, "dataset=Folders", MLP, "data_loader.order=mine", code=2)

    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "saved").exists()


@DATASETS.register
class Masked(Dataset):
    """A picture, a mask that is its first channel, and a box around a point of it."""

    classes = ("out", "in")

    def __init__(self, split: str, plain: bool = False, plain_mask: bool = False):
        self.plain, self.plain_mask = plain, plain_mask

    def __len__(self):
        return 16

    def __getitem__(self, index):
        picture = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(index)).round()
        if self.plain:
            return picture, picture[0].long()
        if self.plain_mask:
            return tv_tensors.Image(picture), picture[0].long()
        return tv_tensors.Image(picture), tv_tensors.Mask(picture[0].long())


MOVING = ({"type": "RandomHorizontalFlip"}, {"type": "RandomCrop", "args": {"size": 6, "padding": 2}})


@pytest.mark.parametrize("num_workers", [0, 2])
def test_masks_move_with_their_pictures(num_workers):
    before = torch.stack([Masked("train")[index][0] for index in range(16)])
    batches = [*loader_of("Masked", transforms=MOVING, num_workers=num_workers).batches()]
    pictures, masks = (torch.cat([batch.data[place] for batch in batches]) for place in (0, 1))
    assert torch.equal(pictures[:, 0].long(), masks) and type(masks) is torch.Tensor
    order = torch.cat([batch.indices for batch in batches])
    assert pictures.shape == (16, 1, 6, 6) and not torch.equal(pictures, before[order, :, 1:7, 1:7])


@MODELS.register
class Pixelwise(nn.Module):
    def __init__(self, in_channels: int, num_classes: int):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, pictures):
        return self.layer(pictures)


def test_transforms_that_would_leave_a_mask_behind_are_refused(tmp_path, capsys):
    flip = "dataset.transforms.train=[RandomHorizontalFlip]"
    told = "RandomHorizontalFlip moves the pixels of the pictures, but not those of the targets"
    for plain in ("plain", "plain_mask"):
        masked = f"dataset={{type: Masked, args: {{{plain}: true}}}}"
        train(tmp_path, masked, "model=Pixelwise", flip, "--epochs", "1", code=2)
        assert told in capsys.readouterr().err
    train(tmp_path, "dataset=Masked", "model=Pixelwise", flip, "--epochs", "1")
    train(tmp_path, "dataset=Masked", "model=Pixelwise", flip.replace("transforms", "batch_transforms"), code=2)
    assert told in capsys.readouterr().err


@DATASETS.register
class Alone(Dataset):
    """Samples without a target, in one of the forms that there are."""

    def __init__(self, split: str, form: str = "tensor"):
        self.form = form

    def __len__(self):
        return 24

    def __getitem__(self, index):
        x = torch.rand(4, generator=torch.Generator().manual_seed(index))
        return {"tensor": x, "tuple": (x,), "dict": {"rows": x}, "two": ((x, -x),)}[self.form]


@MODELS.register
class Through(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, rows, others=None):
        return self.layer(rows if others is None else rows + others)


def test_samples_without_a_target_are_learned_from_themselves(tmp_path, capsys):
    losses = []
    for form in ("tensor", "tuple", "dict"):
        data = f"dataset={{type: Alone, args: {{form: {form}}}}}"
        run = train(tmp_path, data, "model=Through", "loss=MSELoss", "metrics=[mean_squared_error]", "--name", form)
        losses.append(recorded(run, "loss"))
        results = evaluate(run)
        assert results["loss"] == pytest.approx(results["mean_squared_error"])
    assert losses[0] == losses[1] == losses[2]
    train(tmp_path, "dataset={type: Alone, args: {form: two}}", "model=Through", "loss=MSELoss", code=2)
    assert "the samples have no target, and of their 2 inputs none is the one to learn" in capsys.readouterr().err
    train(tmp_path, "dataset=Alone", "model=Through", "loss=MSELoss", "metrics=[accuracy]", code=2)
    assert "metric accuracy: found the target 0.496257; expected classes" in capsys.readouterr().err


@DATASETS.register
class Bare(Synthetic):
    """Pictures without a target."""

    targets = None

    def __getitem__(self, index):
        return super().__getitems__(torch.tensor([index]))[0][0]


@pytest.mark.parametrize("where", ["transforms", "batch_transforms"])
def test_pictures_without_a_target_may_be_moved(where, tmp_path):
    data = f"dataset={{type: Bare, args: {{shape: [1, 6, 6]}}, {where}: {{train: [RandomHorizontalFlip]}}}}"
    run = train(tmp_path, data, "model={type: Same}", "loss=MSELoss", "--epochs", "1", "dataset.args.size=40")
    assert evaluate(run)["loss"] > 0


@MODELS.register
class Same(nn.Module):
    def __init__(self, in_channels: int):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, in_channels, 1)

    def forward(self, pictures):
        return self.layer(pictures)


def test_an_own_loss_gets_none_where_there_is_no_target(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LOSSES._own, "small", lambda output, target: output.square().mean() if target is None else None)
    run = train(tmp_path, "dataset={type: Alone, args: {form: two}}", "model=Through", "loss=small")
    assert evaluate(run)["loss"] < 1
    train(
        tmp_path,
        "dataset={type: Alone, args: {form: two}}",
        "model=Through",
        "loss=small",
        "metrics=[accuracy]",
        code=2,
    )
    assert "metric accuracy compares with a target, and the samples have none" in capsys.readouterr().err


@MODELS.register
class Pooled(nn.Module):
    def __init__(self, in_channels: int, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(in_channels, num_classes)

    def forward(self, pictures):
        return self.layer(pictures.mean(dim=(2, 3)))


PICTURES = "dataset={type: Synthetic, args: {shape: [3, 8, 8], size: 40, valid_size: 20, num_classes: 3}"
NET = "model={type: LeNet, args: {dropout: 0}}"


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixed_samples_have_mixed_targets(name, tmp_path):
    seen = []

    @LOSSES.register
    def watching(output, target):
        seen.append(target)
        return nn.functional.cross_entropy(output, target)

    mix = f"{PICTURES}, batch_transforms: {{train: [{{type: {name}, args: {{alpha: 1.0}}}}]}}}}"
    run = train(tmp_path, mix, NET, "loss=watching", "metrics=[accuracy]", "--epochs", "1")
    mixed = [target for target in seen if target.is_floating_point()]
    assert len(mixed) >= 5 and all(target.shape == (8, 3) for target in mixed)
    assert all(torch.allclose(target.sum(dim=1), torch.ones(8)) for target in mixed)
    assert any(((target > 0.05) & (target < 0.95)).any() for target in mixed)
    shares = torch.cat(mixed[-5:])
    assert 0 <= recorded(run, "accuracy")[5] <= 1 and shares.argmax(dim=1).unique().numel() == 3
    evaluate(run)


def test_where_mixing_cannot_be_it_is_refused(tmp_path, capsys):
    for transforms, told in (
        ("{eval: [MixUp]}", "batch_transforms.eval.0: MixUp mixes samples: it is for training alone"),
        ("{train: [CutMix, RandomHorizontalFlip]}", "train.0: CutMix mixes samples: it must be the last of the list"),
    ):
        train(tmp_path, f"{PICTURES}, batch_transforms: {transforms}}}", NET, code=2)
        assert told in capsys.readouterr().err
    numbers = (
        "dataset={type: Synthetic, args: {shape: [3, 8, 8], num_classes: null}, batch_transforms: {train: [MixUp]}}"
    )
    train(tmp_path, numbers, "model=LinearRegression", "loss=MSELoss", code=2)
    assert "what mixes samples needs one input and class numbers" in capsys.readouterr().err


def test_a_small_rest_is_left_out_and_a_large_one_is_not():
    assert len(loader_of("Ragged", batch_size=59)) == 1  # one sample: no BatchNorm takes it
    assert len(loader_of("Ragged", batch_size=57)) == 1
    assert len(loader_of("Ragged", batch_size=40)) == 2
    assert len(loader_of("Ragged", batch_size=40, drop_last=True)) == 1


def test_pictures_of_two_sizes_are_told(tmp_path):
    crop = f"{PICTURES}, batch_transforms: {{train: [{{type: RandomCrop, args: {{size: 4}}}}]}}}}"
    run = train(tmp_path, crop, "model=Pooled", "--epochs", "1")
    log = (run / "train.log").read_text()
    assert (
        "as the model gets it: float32 (N, 3, 4, 4); target: int64 (N)\nand in evaluation: float32 (N, 3, 8, 8)" in log
    )


def test_a_run_begins_with_what_it_is_trained_on(tmp_path, capsys):
    train(tmp_path, *FOUR, "--batch-size", "29")
    log = (tmp_path / "saved/tiny/latest/train.log").read_text()
    assert "data: Folders, samples: train 30, valid 30\nclasses: 3: ant 10, bee 10, cat 10\n" in log
    assert "a batch, as the model gets it: float32 (N, 4); target: int64 (N)\n" in log
    assert "each epoch ends 1 samples early: they fill no batch (data_loader.drop_last)" in log
    assert json.loads((tmp_path / "saved/tiny/latest/run.json").read_text())["status"] == "finished"


@DATASETS.register
class InHundreds(InMemoryDataset):
    """Numbers around 300, give or take 100, standardised; both said as plain numbers, or one of each a column."""

    def __init__(self, split, as_lists: bool = False):
        inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(len(split)))
        super().__init__(inputs, inputs[:, :1])
        self.target_scale = ([300.0], [100.0]) if as_lists else (300.0, 100.0)


@DATASETS.register
class ScaledByItself(InMemoryDataset):
    """Each part standardises its targets by what it holds, or does not at all."""

    scales: ClassVar = {}

    def __init__(self, split):
        super().__init__(torch.randn(40, 8), torch.randn(40, 1))
        self.target_scale = self.scales[split]


def test_targets_that_are_scaled_otherwise_than_in_training_are_refused(tmp_path, monkeypatch, capsys):
    config = ("dataset=ScaledByItself", MLP, "loss=MSELoss", "--epochs", "1")
    ScaledByItself.scales.update(train=(300.0, 100.0), valid=(310.0, 100.0), test=(300.001, 100.0))
    train(tmp_path, *config, code=2)
    assert (
        "the validation part has the target_scale [[310.0], [100.0]], the training part [[300.0]"
        in capsys.readouterr().err
    )
    run = train(tmp_path, *config, "data_loader.validation_split=0.2")
    evaluate(run)
    for other in (None, (0.0, 1.0)):
        monkeypatch.setitem(ScaledByItself.scales, "test", other)
        evaluate(run, code=2)
        assert "the test part has the target_scale" in capsys.readouterr().err


def test_several_outputs_for_standardised_targets_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ScaledByItself.scales, "train", (300.0, 100.0))
    config = ("dataset=ScaledByItself", "data_loader.validation_split=0.2", "model=MeanAndSpread", "loss=gaussian")
    train(tmp_path, *config, "--epochs", "1", code=2)
    assert (
        "the model's output is no tensor but a tuple: which of its numbers are in the target's unit"
        in capsys.readouterr().err
    )


@MODELS.register
class MeanAndSpread(nn.Linear):
    def __init__(self):
        super().__init__(8, 2)

    def forward(self, inputs):
        mean, spread = super().forward(inputs).split(1, dim=1)
        return mean, spread.exp()


@LOSSES.register
def gaussian(output, target):
    return nn.functional.gaussian_nll_loss(output[0], target, output[1])


@pytest.mark.parametrize("as_lists", [False, True])
def test_the_scale_of_targets_may_be_plain_numbers(as_lists, tmp_path):
    config = ("dataset=InHundreds", f"dataset.args.as_lists={str(as_lists).lower()}", "loss=MSELoss")
    run = train(tmp_path, *config, "model=LinearRegression", "metrics=[mean_squared_error]", "trainer.epochs=1",
                "data_loader.validation_split=0.2")  # fmt: skip
    (row,) = rows(run)
    assert row["val_mean_squared_error"] == pytest.approx(1e4 * row["val_loss"], rel=1e-4)


@DATASETS.register
class Collecting(Drawing):
    """Collects garbage, as any process does now and then."""

    def __getitem__(self, index):
        gc.collect()
        return super().__getitem__(index)


def test_loader_processes_do_not_end_a_loader_of_the_main_process():
    """One that is garbage, and not collected yet, when they are forked."""
    expected = [indices.tolist() for indices, *_ in loader_of("Collecting").batches()]
    gc.disable()
    try:
        for _ in range(3):
            loader = loader_of("Collecting", num_workers=1)
            loader.itself = loader
            assert [indices.tolist() for indices, *_ in loader.batches()] == expected
    finally:
        gc.enable()
