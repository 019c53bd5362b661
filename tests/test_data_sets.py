"""The datasets that need no files of one's own, and those that torchvision reads."""

import functools

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset
from torchvision import datasets

from base import DATASETS
from config.schema import DataLoaderConfig, DatasetConfig
from data_loader.library_splits import has_split
from data_loader.parts import build_dataset, build_parts
from tests.make_data import write_cifar, write_mnist
from utils.errors import UserError


def dataset(name: str, split: str = "train", split_args: dict | None = None, **args):
    return build_dataset(DatasetConfig(type=name, args=args, split_args=split_args or {}), split)


def test_digits():
    train, test = dataset("Digits"), dataset("Digits", "test")
    assert (len(train), len(test)) == (1797 - 359, 359) and test.targets.bincount().min() >= 20
    assert (train.inputs.dtype, train.inputs.shape[1:], train.inputs.max()) == (torch.uint8, (1, 8, 8), 255)
    assert train.targets.dtype == torch.int64 and train.classes == list("0123456789")
    assert not torch.equal(test.inputs, dataset("Digits", "test", split_seed=1).inputs)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_idx_files_are_read_as_uint8(tmp_path, name):
    """By the project's own datasets, which shadow torchvision's."""
    write_mnist(tmp_path, name, num_train=40, num_test=20)
    train, test = (dataset(name, split, root=str(tmp_path)) for split in ("train", "test"))
    assert (train.inputs.shape, test.inputs.shape) == ((40, 1, 28, 28), (20, 1, 28, 28))
    assert train.inputs.dtype == torch.uint8 and len(train.classes) == 10
    assert train.targets[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    pictures, targets = train.__getitems__(torch.tensor([5, 3]))
    assert torch.equal(pictures[1], train[3][0]) and targets.tolist() == [5, 3]


@pytest.mark.parametrize(("name", "num_classes"), [("CIFAR10", 10), ("CIFAR100", 100)])
def test_cifar_batches_are_read_as_uint8(tmp_path, monkeypatch, name, num_classes):
    write_cifar(tmp_path, monkeypatch, name, samples_a_file=10)
    train, test = (dataset(name, split, root=str(tmp_path)) for split in ("train", "test"))
    assert train.inputs.shape[1:] == (3, 32, 32) and train.inputs.is_contiguous()
    assert (train.inputs[3, :, 0] == 56).all()  # the first row of pixels of class 3
    assert len(train.classes) == num_classes and len(test) == 10


def test_absent_files_and_a_download_without_network_are_told_with_the_remedy(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"(?s)dataset MNIST in '.*': Dataset not found\..*dataset.args.download=true"):
        dataset("MNIST", root=str(tmp_path))
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens there
    with pytest.raises(UserError, match=r"(?s)could not be downloaded to '.*refused.*Check the network"):
        dataset("MNIST", root=str(tmp_path), download=True)


def test_synthetic_data_are_a_function_of_seed_and_index():
    args = {"shape": [3, 8, 8], "size": 100}
    inputs, targets = dataset("Synthetic", **args).__getitems__(torch.arange(100))
    assert (inputs.shape, inputs.dtype) == ((100, 3, 8, 8), torch.float32) and {*targets.tolist()} == {*range(10)}
    again = dataset("Synthetic", **args)
    assert torch.equal(again[42][0], inputs[42]) and torch.equal(again.targets, targets)
    assert not torch.equal(dataset("Synthetic", **args, seed=1)[42][0], inputs[42])
    test_inputs = dataset("Synthetic", "test", **args).__getitems__(torch.arange(200))[0]
    assert not (test_inputs[:, None] == inputs[None, :]).flatten(2).all(2).any(), "test data among the training data"


def test_synthetic_data_can_be_learned():
    args = {"shape": [1, 8, 8], "size": 1000, "dtype": "uint8"}
    inputs, targets = dataset("Synthetic", **args).__getitems__(torch.arange(1000))
    assert inputs.dtype == torch.uint8
    means = torch.stack([inputs[targets == number].float().mean(0) for number in range(10)]).flatten(1)
    test_inputs, test_targets = dataset("Synthetic", "test", **args).__getitems__(torch.arange(200))
    nearest = torch.cdist(test_inputs.flatten(1).float(), means).argmin(1)
    assert (nearest == test_targets).float().mean() > 0.9

    data = dataset("Synthetic", shape=[5], size=500, num_classes=None, num_outputs=2)
    inputs, targets = data.__getitems__(torch.arange(500))
    assert targets.shape == (500, 2) and data.classes is None
    residual = targets - inputs @ torch.linalg.lstsq(inputs, targets).solution
    assert residual.var() < 0.01 * targets.var()


def test_a_torchvision_dataset_by_name_finds_its_splits(tmp_path):
    write_mnist(tmp_path, "QMNIST")  # has `train` behind **kwargs
    svhn = DatasetConfig(type="SVHN", args={"root": str(tmp_path)})  # split: train, test, extra
    told = r"^dataset SVHN: Dataset not found or corrupted.* use dataset\.args\.download=true to"
    with pytest.raises(UserError, match=told):
        build_dataset(svhn, "train")
    with pytest.raises(UserError, match=r"no split that could serve as 'valid' \(Unknown.*dataset.split_args.valid"):
        build_dataset(svhn, "valid")
    assert not has_split(DatasetConfig(type="USPS", args={}), "valid")
    assert has_split(DatasetConfig(type="EMNIST", args={}, split_args={"valid": {"train": False}}), "valid")


def test_a_split_of_another_meaning_reaches_the_dataset(monkeypatch):
    calls = []
    for component in (datasets.EMNIST, datasets.STL10):
        monkeypatch.setattr(component, "__init__", recording(component.__init__, calls))
    letters = {"split": "letters"}
    for args, split_args in (letters, {}), ({}, {"train": letters, "test": letters}):
        config = DatasetConfig(type="EMNIST", args={"root": "nowhere", **args}, split_args=split_args)
        for split in ("train", "test"):
            with pytest.raises(UserError, match=r"^dataset EMNIST: Dataset not found"):
                build_dataset(config, split)
    with pytest.raises(UserError, match=r"^dataset STL10: Dataset not found"):
        dataset("STL10", "train", {"train": {"split": "train+unlabeled"}}, root="nowhere")
    assert calls == [{**letters, "train": True}, {**letters, "train": False}] * 2 + [{"split": "train+unlabeled"}]
    with pytest.raises(UserError, match=r"^dataset EMNIST: Unknown value 'x' for argument split"):
        build_dataset(DatasetConfig(type="EMNIST", args={"root": "nowhere", "split": "x"}), "train")
    with pytest.raises(UserError, match="has no valid part of its own"):  # not the test part in silence
        dataset("EMNIST", "valid", {"valid": letters}, root="nowhere")


def recording(function, calls):
    @functools.wraps(function)
    def wrapper(self, root, **args):
        calls.append(args)
        function(self, root, **args)

    return wrapper


def test_a_dataset_without_splits_is_not_its_own_test_set():
    args = {"size": 10, "image_size": [3, 8, 8]}
    assert len(dataset("FakeData", **args)) == 10
    with pytest.raises(UserError, match=r"has no test part of its own.*dataset.split_args.test"):
        dataset("FakeData", "test", **args)
    test = dataset("FakeData", "test", {"test": {"random_offset": 1000}}, **args)
    assert test[0][0].tobytes() != dataset("FakeData", **args)[0][0].tobytes()


@pytest.mark.parametrize(
    ("name", "args", "wrong"),
    [
        ("MNIST", {"root": "nowhere"}, ["root"]),
        ("MNIST", {"root": "nowhere", "download": True}, []),
        ("SEMEION", {"root": "nowhere"}, []),  # its download is on by default
        ("ImageFolder", {"root": "nowhere"}, ["root"]),
        ("TabularCSV", {"train_path": "a.csv", "test_path": "b.csv", "target": "y"}, ["train_path", "test_path"]),
        ("Digits", {}, []),
    ],
)
def test_absent_folders_and_files_are_found_before_anything_is_read(name, args, wrong):
    problems = list(DATASETS.check(name, args))
    assert [key for key, _ in problems] == wrong
    assert all("no such file or folder" in message for _, message in problems)


@DATASETS.register
class FittedTensor(Dataset):
    """Fits a tensor on its training part, and has a validation part of its own."""

    def __init__(self, split, preprocessing=None):
        self.preprocessing = torch.tensor([1.0, 2.0]) if preprocessing is None else preprocessing
        self.is_fitted = preprocessing is None

    def __len__(self):
        return 9


def test_preprocessing_may_be_a_tensor():
    parts = build_parts(DatasetConfig(type="FittedTensor"), DataLoaderConfig(), ("train", "valid", "test"), seed=0)
    assert [part.dataset.is_fitted for part in parts.values()] == [True, False, False]
    assert parts["test"].dataset.preprocessing is parts["train"].dataset.preprocessing


@pytest.mark.parametrize(("base", "methods"), [(IterableDataset, {"__iter__": iter, "__len__": len}), (Dataset, {})])
def test_datasets_without_samples_by_index_are_refused(base, methods, monkeypatch):
    monkeypatch.setitem(DATASETS._own, "Bare", type("Bare", (base,), methods))
    with pytest.raises(UserError, match=r"Bare .*__len__ and __getitem__"):
        dataset("Bare")
