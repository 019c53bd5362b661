"""The small picture sets that torchvision can download, held in memory as uint8."""

import os

import torch

from base import DATASETS
from data_loader.in_memory import class_targets
from data_loader.pictures.in_memory import PicturesInMemory
from utils.errors import UserError


class TorchvisionPictures(PicturesInMemory):
    """A torchvision dataset of the same name, read in full: inputs uint8 (N, C, H, W), targets int64 (N,).

    root: the folder that holds torchvision's files; download: fetch them into it when they are not there.
    Raises UserError when they are not there and cannot be fetched. Validation data are taken from the training part by
    `data_loader.validation_split`.
    """

    splits = ("train", "test")

    def __init__(self, split: str, root: str, download: bool = False):
        from torchvision import datasets

        name = type(self).__name__
        try:
            loaded = getattr(datasets, name)(root, train=split == "train", download=download)
        except (RuntimeError, OSError) as error:
            raise UserError(_why_not_read(name, root, download, error)) from error
        pictures = torch.as_tensor(loaded.data)
        # (N, H, W) -> (N, 1, H, W), or (N, H, W, 3) -> (N, 3, H, W)
        pictures = pictures.unsqueeze(1) if pictures.ndim == 3 else pictures.permute(0, 3, 1, 2)
        super().__init__(pictures.contiguous(), class_targets(loaded.targets), list(loaded.classes))


@DATASETS.register
class MNIST(TorchvisionPictures):
    """Digits: 60,000 + 10,000 pictures of 1x28x28 in 10 classes. Source: torchvision; LeCun et al. (1998)."""

    shape = (1, 28, 28)


@DATASETS.register
class FashionMNIST(TorchvisionPictures):
    """Clothes: 60,000 + 10,000 pictures of 1x28x28 in 10 classes. Source: torchvision; Xiao et al. (2017)."""

    shape = (1, 28, 28)


@DATASETS.register
class KMNIST(TorchvisionPictures):
    """Japanese: 60,000 + 10,000 pictures of 1x28x28 in 10 classes. Source: torchvision; Clanuwat et al. (2018)."""

    shape = (1, 28, 28)


@DATASETS.register
class CIFAR10(TorchvisionPictures):
    """Photographs: 50,000 + 10,000 pictures of 3x32x32 in 10 classes. Source: torchvision; Krizhevsky (2009)."""

    shape = (3, 32, 32)


@DATASETS.register
class CIFAR100(TorchvisionPictures):
    """Photographs: 50,000 + 10,000 pictures of 3x32x32 in 100 classes. Source: torchvision; Krizhevsky (2009)."""

    shape = (3, 32, 32)


def _why_not_read(name: str, root: str, download: bool, error: Exception) -> str:
    folder = os.path.abspath(root)
    if download:
        return (
            f"dataset {name}: could not be downloaded to '{folder}': {error}\n"
            "Check the network and the disk, or put torchvision's files there yourself."
        )
    reason = str(error).split(" You can use download")[0]
    return (
        f"dataset {name} in '{folder}': {reason}\n"
        "Set dataset.args.download=true to fetch it, or dataset.args.root to the folder that holds it."
    )
