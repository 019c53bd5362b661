"""The order of samples, their randomness, the number of workers, and what can go wrong while reading."""

import itertools
import multiprocessing
import os
import random
import signal
import time

import numpy
import pytest
import torch
from torch.utils.data import Dataset, Subset
from torchvision import tv_tensors
from torchvision.datasets import FakeData
from torchvision.transforms.functional import pil_to_tensor

from base import DATASETS, TRANSFORMS
from base.batch import split_target
from config.schema import DataLoaderConfig, DatasetConfig
from data_loader.build import build_loader, build_loaders
from data_loader.in_memory import InMemoryDataset
from data_loader.samples import SampleError
from data_loader.splitting import held_out, keys_of
from tests.process import python
from tests.running import assert_same, loader_of
from utils.errors import UserError

CPU = torch.device("cpu")
FLIP_AND_CROP = [
    {"type": "RandomHorizontalFlip", "args": {}},
    {"type": "RandomCrop", "args": {"size": 8, "padding": 2}},
    {"type": "ToDtype", "args": {"dtype": "float32", "scale": True}},
]


@DATASETS.register
class Noisy(Dataset):
    """Draws from every generator that user code may draw from."""

    def __init__(self, split, size=23):
        self.size = size
        self.targets = [index % 2 for index in range(size)]

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        picture = torch.full((1, 8, 8), float(index))
        return {"picture": picture, "noise": torch.tensor(draw_all()), "label": 0.5 * index}


@DATASETS.register
class NoisyTogether(Noisy):
    """Draws for a whole batch."""

    def __getitems__(self, indices):
        return {"noise": torch.stack([torch.tensor(draw_all()) for _ in indices]), "label": indices}


@DATASETS.register
def NoisyPart(split, size=23):  # noqa: N802
    return Subset(Noisy(split, size), range(size))


@DATASETS.register
class Slow(Noisy):
    def __getitem__(self, index):
        time.sleep(0.02)
        return torch.zeros(1), 0


@DATASETS.register
def Half(split):  # noqa: N802
    """torch's own Subset, whose `__getitems__` returns a list of samples."""
    return Subset([(torch.tensor([i]), i) for i in range(10)], range(5, 10))


@DATASETS.register
class Shifted(InMemoryDataset):
    """Changes what it inherited sample by sample."""

    def __init__(self, split):
        super().__init__(torch.arange(10.0)[:, None], torch.arange(10))

    def __getitem__(self, index):
        inputs, target = super().__getitem__(index)
        return inputs + 100, target


@DATASETS.register
class Backwards(Dataset):
    """Passes on what it lacks to a dataset in another order."""

    def __init__(self, split):
        self.inner = InMemoryDataset(torch.arange(110.0, 100.0, -1)[:, None], torch.arange(10))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return self.inner[9 - index][0] - 1, index

    def __getattr__(self, name):
        return getattr(self.__dict__["inner"], name)


@pytest.mark.parametrize("name", ["Shifted", "Backwards"])
@pytest.mark.parametrize("on_device", ["auto", True])
def test_a_dataset_with_a_getitem_of_its_own_is_read_by_it(name, on_device):
    """Not by what it has from elsewhere for whole batches."""
    if on_device is True:
        with pytest.raises(UserError, match=f"{name} .* takes them in a way of its own"):
            loader_of(name, on_device=True)
        return
    for batch in loader_of(name, drop_last=False).batches():
        inputs, targets = batch.data
        assert torch.equal(inputs, batch.indices[:, None] + 100.0) and torch.equal(targets, batch.indices)


def test_order_and_randomness_are_functions_of_seed_and_epoch():
    def read(seed, epoch):
        batches = [*loader_of("Noisy", seed=seed, args={"size": 100}, drop_last=False).batches(epoch)]
        order = torch.cat([batch.indices for batch in batches])
        return order, torch.cat([batch.data["noise"] for batch in batches])[order.argsort()]

    order, noise = read(1, 0)
    assert sorted(order.tolist()) == [*range(100)] and len(noise.unique()) == 300
    assert_same(read(1, 0), (order, noise))
    for other_order, other_noise in (read(1, 1), read(2, 0)):
        assert not torch.equal(order, other_order) and not torch.equal(noise, other_noise)


def test_training_is_shuffled_and_evaluation_is_not():
    train = loader_of("Noisy", drop_last=True)
    assert (len(train), train.num_samples) == (5, 23) and len(list(train.batches())) == 5
    test = loader_of("Noisy", "test", training=False)
    assert len(test) == 6
    assert torch.cat([batch.indices for batch in test.batches(epoch=3)]).tolist() == list(range(23))
    assert len(loader_of("Noisy", drop_last=False)) == 6


def test_shuffling_ten_million_samples_is_quick_and_needs_no_list():
    args = {"size": 10_000_000, "shape": [2]}
    started = time.process_time()
    loader = loader_of("Synthetic", args=args, validation_split=0.1)
    batch = next(loader.batches(epoch=1, first=len(loader) - 1))
    assert time.process_time() - started < 10  # 1 s on a machine that does nothing else
    assert len(batch.indices) == 4 and loader.dataset.bank.numel() < 2**22


@pytest.mark.parametrize(("validation_split", "num_valid"), [(0.25, 4), (5, 5)])
def test_validation_data_are_taken_from_the_training_set(validation_split, num_valid):
    dataset = DatasetConfig(type="Noisy", args={})
    settings = DataLoaderConfig(batch_size=4, num_workers=0, validation_split=validation_split, drop_last=False)
    train, valid = build_loaders(dataset, settings, 1, CPU)
    assert train.dataset is valid.dataset
    parts = [torch.cat([batch.indices for batch in loader.batches()]).tolist() for loader in (train, valid)]
    assert len(parts[1]) == valid.num_samples == num_valid and parts[1] == sorted(parts[1])
    assert sorted(parts[0] + parts[1]) == list(range(23))
    assert valid.targets.tolist() == [index % 2 for index in parts[1]]
    assert torch.cat([batch.data["picture"] for batch in valid.batches()])[:, 0, 0, 0].tolist() == parts[1]
    alone = build_loader(dataset, settings, "valid", 1, CPU)
    assert_same(list(alone.batches()), list(valid.batches()))
    keys = keys_of(map(str, range(23)))
    assert not torch.equal(held_out(keys, 6, 1), held_out(keys, 6, 2))


@DATASETS.register
class Told(Dataset):
    """Says its targets in the form of `told`."""

    def __init__(self, split, numbers, form):
        self.numbers = numbers
        self.targets = {"list": list, "tensor": torch.tensor, "array": numpy.array}[form](numbers)

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        return torch.zeros(2), self.numbers[index]


def parts_of(numbers, form, share=0.1, seed=1):
    """The numbers of the training part and of the validation part."""
    dataset = DatasetConfig(type="Told", args={"numbers": numbers, "form": form})
    settings = DataLoaderConfig(batch_size=4, num_workers=0, validation_split=share)
    return [
        torch.tensor([numbers[index] for index in loader.members.tolist()])
        for loader in build_loaders(dataset, settings, seed, CPU)
    ]


@pytest.mark.parametrize("form", ["list", "tensor", "array"])
@pytest.mark.parametrize("share", [0.2, 120])
def test_validation_data_have_their_share_of_each_class(form, share):
    """By chance, it would be 1 to 12 of 30 samples."""
    for seed in range(10):
        train, valid = parts_of([index % 20 for index in range(600)], form, share, seed)
        counts = valid.bincount()
        assert (counts - 6).abs().max() <= (2 if share < 1 else 4)
        assert len(train) + len(valid) == 600


@pytest.mark.parametrize("form", ["list", "tensor", "array"])
def test_validation_data_have_their_share_of_numbers_high_and_low(form):
    numbers = torch.randn(400, generator=torch.Generator().manual_seed(0)).tolist()
    parts = [parts_of(numbers, form, 0.2, seed) for seed in range(20)]
    off = [abs(float(train.mean() - valid.mean())) for train, valid in parts]
    assert sum(off) / 20 < 0.08  # by chance: 0.1


@pytest.mark.parametrize("targets", [["a", "b"], [[0, 1], [1, 0]], [[1.0], [2.0, 3.0]], None])
def test_validation_data_of_other_targets_are_held_out_by_chance(targets, monkeypatch):
    monkeypatch.setattr(Noisy, "__init__", lambda self, split: vars(self).update(size=200, targets=targets))
    if targets is not None:
        targets *= 100
    dataset, settings = DatasetConfig(type="Noisy"), DataLoaderConfig(num_workers=0, batch_size=4, validation_split=0.2)
    _, valid = build_loaders(dataset, settings, 1, CPU)
    by_chance = held_out(numpy.arange(200, dtype=numpy.uint64), 0.2, "valid", 1)
    assert valid.members.tolist() == by_chance.nonzero().squeeze(1).tolist()


def test_whole_numbers_that_are_no_classes_take_no_more_than_the_share():
    """One of each of 500 years would be half of the samples."""
    _, valid = parts_of([1500 + index % 500 for index in range(1000)], "list", 0.1)
    assert 70 <= len(valid) <= 130


def test_which_validation_data():
    def parts(name, **settings):
        return build_loaders(DatasetConfig(type=name, args={}), DataLoaderConfig(**settings), 1, CPU)

    with pytest.raises(UserError, match=r"Digits has no validation part of its own: set data_loader.validation_split"):
        parts("Digits")
    assert parts("Digits", validation_split=0)[1] is None
    assert [part.num_samples for part in parts("Synthetic")] == [1000, 200]


@pytest.mark.parametrize(
    ("name", "args", "settings", "message"),
    [
        (
            "Noisy",
            {"size": 3},
            {"drop_last": True},
            "the train part has 3 samples, less than one batch of 4, .*drop_last",
        ),
        ("Noisy", {"size": 0}, {}, "the train part has 0 samples$"),
        ("Noisy", {"size": 1}, {"validation_split": 0.1}, "0.1 of 1 training samples are 0; expected at least 2 to"),
        ("Synthetic", {"valid_size": 0}, {"split": "valid"}, "valid part has 0 samples; data_loader.validation_split="),
        ("Noisy", {}, {"validation_split": 23}, "validation_split: 23 of 23 training samples are 23; .* at most 22"),
        ("Digits", {}, {"split": "valid", "validation_split": 0}, "no validation part: .*validation_split is 0"),
        ("ImageFolder", {"root": ".", "valid_fraction": 0.2}, {"validation_split": 0.1}, "both take validation data"),
    ],
)
def test_parts_that_cannot_be_are_refused(name, args, settings, message):
    with pytest.raises(UserError, match=message):
        loader_of(name, args=args, **settings)


def seed_all(seed):
    random.seed(seed), numpy.random.seed(seed), torch.manual_seed(seed)


def draw_all():
    return random.random(), numpy.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize(
    ("name", "transforms"),
    [
        *(("Noisy", []), ("Noisy", FLIP_AND_CROP), ("NoisyPart", []), ("NoisyTogether", [])),
        *(("Synthetic", []), ("Synthetic", FLIP_AND_CROP)),
    ],
)
def test_the_bits_do_not_depend_on_workers_or_on_what_was_drawn_before(name, transforms):
    args = {"size": 23, **({"shape": [1, 8, 8], "dtype": "uint8"} if name == "Synthetic" else {})}
    batches = []
    for num_workers in (0, 1, 2):
        seed_all(num_workers)
        loader = loader_of(name, args=args, transforms=transforms, num_workers=num_workers)
        list(itertools.islice(loader.batches(epoch=0), 2))  # an epoch that was left in the middle
        batches.append(list(loader.batches(epoch=1)))
        assert_same(batches[-1], batches[0])


@DATASETS.register
class ShiftsIndices(Noisy):
    """Changes the indices that it is given."""

    def __getitems__(self, indices):
        indices += 100
        return indices.clone(), indices.clone()


@pytest.mark.parametrize("name", ["ShiftsIndices", "Digits"])
def test_the_order_is_nobodys_to_change(name):
    loader = loader_of(name, training=False, validation_split=0.5, on_device=name == "Digits")
    first, again = ([batch.indices for batch in loader.batches(epoch)] for epoch in (0, 1))
    for indices in first:
        indices += 1
    assert_same(again, [indices - 1 for indices in first])
    if name == "ShiftsIndices":
        assert_same([batch.data[0] for batch in loader.batches()], [indices + 100 for indices in again])


def test_what_is_drawn_for_a_batch_differs_from_batch_to_batch_and_is_there_again_in_a_resumed_epoch():
    loader = loader_of("NoisyTogether")
    noise = [torch.cat([batch.data["noise"] for batch in loader.batches(epoch)]) for epoch in (0, 1)]
    assert len(torch.cat(noise).unique()) == 3 * 2 * len(noise[0])
    rest = list(loader.batches(epoch=1, first=2))
    assert_same(torch.cat([batch.data["noise"] for batch in rest]), noise[1][8:])


@pytest.mark.parametrize("name", ["Noisy", "NoisyTogether", "Synthetic"])
def test_reading_leaves_the_global_generators_alone(name):
    seed_all(5)
    expected = draw_all()
    seed_all(5)
    list(loader_of(name, args={"size": 8}).batches())
    assert draw_all() == expected


def test_pictures_and_numbers_become_tensors_and_the_input_alone_is_transformed():
    inputs, targets = loader_of("Half", training=False).example().data
    assert (inputs.tolist(), targets.tolist()) == ([[5], [7]], [5, 7])
    pillow = {"size": 4, "image_size": [3, 5, 6]}  # PIL pictures and Python numbers
    pictures, targets = loader_of("FakeData", args=pillow).example().data
    assert (pictures.shape, pictures.dtype, targets.dtype) == ((2, 3, 5, 6), torch.uint8, torch.int64)
    assert torch.equal(pictures[1], pil_to_tensor(FakeData(4, (3, 5, 6))[2][0]))
    label = loader_of("Noisy").example().data["label"]
    assert (label.dtype, label.tolist()) == (torch.float32, [0, 5.5])
    resize = [{"type": "Resize", "args": {"size": [3, 3]}}]
    assert loader_of("FakeData", args=pillow, transforms=resize).example().data[0].shape == (2, 3, 3, 3)
    data = loader_of("Noisy", transforms=resize).example().data
    assert (data["picture"].shape, data["noise"].shape) == ((2, 1, 3, 3), (2, 3))


@TRANSFORMS.register
class Twice:
    def __call__(self, value):
        return value, -value


@pytest.mark.parametrize("wrap", [torch.Tensor, tv_tensors.Image])
def test_two_views_of_a_sample_without_a_target_are_two_inputs(wrap, monkeypatch):
    monkeypatch.setattr(Given, "of_index", staticmethod(lambda index: wrap(torch.full((3, 4, 4), float(index)))))
    inputs, target = split_target(loader_of("Given", transforms=[{"type": "Twice"}], training=False).example().data)
    assert [tuple(view[:, 0, 0, 0].tolist()) for view in inputs.args] == [(0, 2), (0, -2)] and target is None


def pictures_of(index):
    """Two pictures (3, 8, 8) and a map (8, 8) with the same random numbers everywhere."""
    plane = torch.rand(8, 8, generator=torch.Generator().manual_seed(index))
    return plane.expand(3, 8, 8).clone(), 2 * plane.expand(3, 8, 8), 3 * plane


MOVED = ({"type": "RandomCrop", "args": {"size": 4}}, {"type": "RandomHorizontalFlip"})


@pytest.mark.parametrize(
    "form",
    [
        lambda left, right, plane: (tv_tensors.Image(left), tv_tensors.Image(right), tv_tensors.Mask(plane), 1),
        lambda left, right, plane: ((tv_tensors.Image(left), tv_tensors.Image(right), tv_tensors.Mask(plane)), 1),
        lambda left, right, plane: {
            "y": 1, "left": tv_tensors.Image(left), "right": tv_tensors.Image(right), "plane": tv_tensors.Mask(plane)
        },
    ],
)  # fmt: skip
@pytest.mark.parametrize("num_workers", [0, 2])
def test_several_pictures_are_transformed_together(form, num_workers, monkeypatch):
    monkeypatch.setattr(Given, "of_index", staticmethod(lambda index: form(*pictures_of(index))))
    (batch,) = loader_of("Given", transforms=MOVED, num_workers=num_workers).batches()
    inputs, target = split_target(batch.data)
    left, right, plane = inputs.args or inputs.kwargs.values()
    assert torch.equal(2 * left, right) and torch.equal(3 * left[:, 0], plane) and target.tolist() == [1] * 4
    cut = [pictures_of(index)[0][:, 2:6, 2:6] for index in batch.indices.tolist()]
    assert left.shape == (4, 3, 4, 4) and not torch.equal(left, torch.stack(cut))


@pytest.mark.parametrize(
    "form",
    [
        lambda left, right, plane: (left, right, 1),
        lambda left, right, plane: ((left, right), 1),
        lambda left, right, plane: ({"left": left, "right": right}, 1),
        lambda left, right, plane: {"left": left, "right": right, "y": 1},
        lambda left, right, plane: {"left": left, "right": right},
        lambda left, right, plane: (left, plane, 1),
        lambda left, right, plane: (left, right.numpy(), 1),
        lambda left, right, plane: (torch.arange(4), left, 1),
        lambda left, right, plane: {"tokens": torch.arange(4), "picture": left, "y": 1},
        lambda left, right, plane: (tv_tensors.Image(left), right, 1),
        lambda left, right, plane: (left, right, tv_tensors.Mask(plane)),
        lambda left, right, plane: (left, tv_tensors.Image(right)),
        lambda left, right, plane: (left.numpy(), tv_tensors.Mask(plane)),
    ],
)
def test_a_picture_that_transforms_would_leave_as_it_is_is_refused(form, monkeypatch):
    monkeypatch.setattr(Given, "of_index", staticmethod(lambda index: form(*pictures_of(index))))
    with pytest.raises(UserError, match=r"sample 0: .*would leave a picture among the inputs .*: return each"):
        loader_of("Given", transforms=MOVED).example()


@pytest.mark.parametrize(
    "form",
    [
        lambda left, right, plane: (left, torch.arange(5), 1),
        lambda left, right, plane: {"picture": left, "tokens": torch.arange(5), "y": 1},
        lambda left, right, plane: {"y": right, "picture": left},
        lambda left, right, plane: (left, tv_tensors.Mask(plane)),
        lambda left, right, plane: (tv_tensors.Image(left), torch.arange(5), tv_tensors.Mask(plane)),
    ],
)
def test_one_picture_among_the_inputs_is_transformed(form, monkeypatch):
    monkeypatch.setattr(Given, "of_index", staticmethod(lambda index: form(*pictures_of(index))))
    inputs, target = split_target(loader_of("Given", transforms=MOVED).example().data)
    pictures, *others = inputs.args or inputs.kwargs.values()
    assert pictures.shape == (2, 3, 4, 4) and all(other.tolist() == [[0, 1, 2, 3, 4]] * 2 for other in others)
    if target.shape == (2, 4, 4):
        assert torch.equal(3 * pictures[:, 0], target)


def test_views_of_a_picture_are_not_transformed_one_by_one_without_a_word(monkeypatch):
    monkeypatch.setattr(Given, "of_index", staticmethod(lambda index: (pictures_of(index)[0], 1)))
    with pytest.raises(UserError, match="would leave a picture among the inputs"):
        loader_of("Given", transforms=[{"type": "Twice"}, *MOVED]).example()
    left, right = loader_of("Given", transforms=[*MOVED, {"type": "Twice"}]).example().data[0]
    assert torch.equal(left, -right)


@DATASETS.register
class Given(Dataset):
    """Whatever a test makes of an index."""

    of_index = staticmethod(lambda index: None)

    def __init__(self, split): ...

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.of_index(index)


@TRANSFORMS.register
class NoReturn:
    def __call__(self, value): ...


PICTURE, VECTOR = torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8)
NORMALIZE = {"type": "Normalize", "args": {"mean": [0.5], "std": [0.5]}}


@pytest.mark.parametrize(
    ("of_index", "transforms", "told"),
    [
        (lambda i: None, [], r"samples \[0, 2\] cannot be put in one batch: sample 0 is NoneType; TypeError"),
        (
            lambda i: (),
            [],
            r"a sample is \(input, ..., target\), a dict with a target, or without one: .* no items",
        ),
        (lambda i: {"y": VECTOR}, [], "a dict has inputs and at most one of target, .*; found y"),
        (lambda i: {"x": VECTOR, "y": 1, "label": 2}, [], "at most one of target, .*; found x, y, label"),
        (lambda i: (VECTOR, "cat"), [], r"the targets are text \('cat'\): return class numbers"),
        (lambda i: {"x": VECTOR, "y": numpy.str_("cat")}, [], r"the targets are text \('cat'\): return class numbers"),
        (lambda i: (numpy.array(["a", 1, None], dtype=object), 1), [], r"is \(\(3,\), 'int'\); .*found object"),
        (lambda i: {"x": VECTOR, "y": 1, **({"z": 2} if i else {})}, [], "Samples need one shape and the same names"),
        (lambda i: (torch.zeros(5 + i), 1), [], "Samples need one shape .* pad them in .*collate"),
        (lambda i: (torch.zeros(3, 8 + i, 8), 1), [], "Pictures need one size"),
        (lambda i: (VECTOR, 1), ["NoReturn"], "sample 0: transform NoReturn returned nothing: end it with `return`"),
        (lambda i: (VECTOR, 1), [NORMALIZE], r"transform Normalize cannot take a tensor of float32, \(8,\): Expected"),
        (lambda i: (PICTURE, 1), [NORMALIZE], r"uint8, \(3, 8, 8\): .*float.*\n.*ToDtype.* scale: true"),
    ],
)
def test_what_is_no_batch_is_told(of_index, transforms, told, monkeypatch):
    monkeypatch.setattr(Given, "of_index", staticmethod(of_index))
    steps = [{"type": step, "args": {}} if isinstance(step, str) else step for step in transforms]
    with pytest.raises(UserError, match=f"^dataset: .*{told}"):
        loader_of("Given", transforms=steps).example()


@pytest.mark.parametrize("component", ["dataset", "transform"])
def test_an_error_in_own_code_keeps_its_traceback(component, monkeypatch):
    def own(*_):
        raise IndexError("of the user's")

    monkeypatch.setattr(Given, "of_index", staticmethod(own if component == "dataset" else lambda index: (VECTOR, 1)))
    monkeypatch.setattr(NoReturn, "__call__", own)
    with pytest.raises(SampleError, match="sample 0 could not be read: IndexError: of the user's") as caught:
        loader_of("Given", transforms=[{"type": "NoReturn", "args": {}}]).example()
    assert isinstance(caught.value.__cause__, IndexError)


def test_workers_are_started_only_where_they_help():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert loader_of("Synthetic", num_workers="auto").num_workers == 0
    assert loader_of("Synthetic", num_workers="auto", transforms=FLIP_AND_CROP).num_workers == min(4, cores)
    assert loader_of("Noisy", num_workers="auto").num_workers == min(4, cores)


def test_workers_leave_signals_to_the_main_process():
    loader = loader_of("Slow", num_workers=2)
    batches = loader.batches()
    next(batches), next(batches)  # one of each worker: both have begun
    workers = multiprocessing.active_children()
    assert len(workers) >= 2
    for worker, number in itertools.product(workers, ("INT", "TERM", "USR1", "HUP")):
        os.kill(worker.pid, signal.Signals[f"SIG{number}"])
    assert len(list(batches)) == len(loader) - 2


def test_a_program_ends_while_workers_wait():
    program = """
import tests.test_data_loader as here
batches = here.loader_of("Slow", num_workers=2).batches()
next(batches)
print("done")
"""
    ended = python("-c", program)
    assert (ended.stdout, ended.stderr) == ("done\n", "")
