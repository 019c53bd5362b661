"""What stands behind each registry: the components of a library that a config can name.

Each function imports its library only when called and returns a dict of name to class or function. Its rule
says what is in the dict; what the rule lets in and yet cannot work from a config is left out by name, with the
reason beside it. A name to leave out that the installed version lacks is no error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from importlib import import_module
from types import ModuleType
from typing import Any

Components = dict[str, Callable[..., Any]]


def torchvision_datasets() -> Components:
    """The datasets of torchvision.datasets."""
    from torchvision import datasets

    left_out = {
        "VisionDataset",  # the base class
        "DatasetFolder",  # takes a function that reads a file; ImageFolder is the one for pictures
        "LSUNClass",  # a part of LSUN
    }
    return _classes(datasets, datasets.VisionDataset, left_out)


def torchvision_transforms() -> Components:
    """The transforms of torchvision.transforms.v2, each for one sample."""
    from torch import nn
    from torchvision.transforms import v2

    left_out = {
        "Transform",  # the base class
        "Compose",  # takes transforms: a config's list of transforms is one already
        "RandomApply",  # these three take transforms too
        "RandomChoice",
        "RandomOrder",
        "Lambda",  # takes a function: an own transform is registered instead
        "CutMix",  # these two mix the samples of a batch, and their labels
        "MixUp",
        "FiveCrop",  # these two make several pictures of one, which no batch can hold
        "TenCrop",
    }
    return _classes(v2, nn.Module, left_out)


def kornia_augmentations() -> Components:
    """The augmentations of kornia for a batch of pictures (N, C, H, W) or volumes (N, C, D, H, W)."""
    from kornia import augmentation

    # Containers take augmentations, as a config's list does. What mixes the pictures of a batch (MixUp) would
    # have to mix the targets as well; RandomJigsaw shares its base class but mixes the parts of one picture.
    kinds = (augmentation.AugmentationBase2D, augmentation.AugmentationBase3D, augmentation.RandomJigsaw)
    left_out = {
        "RandomTransplantation3D",  # mixes volumes, and their targets
        "RandomDissolving",  # downloads a diffusion model when it is built
    }
    found = _classes(augmentation, kinds, left_out)
    return {name: component for name, component in found.items() if "Base" not in name}


def torchvision_models() -> Components:
    """The classification models of torchvision.models, under the names of its list_models."""
    from torchvision import models

    return {name: models.get_model_builder(name) for name in models.list_models(module=models)}


def torch_losses() -> Components:
    """The losses of torch.nn (CrossEntropyLoss) and of torch.nn.functional (cross_entropy)."""
    from torch import nn

    left_out = {
        "AdaptiveLogSoftmaxWithLoss",  # these three hold weights of their own, which no optimizer would see
        "LinearCrossEntropyLoss",
        "linear_cross_entropy",
    }
    classes = _classes(nn, nn.Module, left_out)
    losses = {name: component for name, component in classes.items() if name.endswith("Loss")}
    for name, function in inspect.getmembers(nn.functional, callable):
        is_loss = name.endswith(("_loss", "cross_entropy", "with_logits", "kl_div"))
        if is_loss and not name.startswith("_") and name not in left_out:
            losses[name] = function
    return losses


def torchmetrics_metrics() -> Components:
    """The metrics of torchmetrics that are updated with two tensors, predictions and targets."""
    import torchmetrics

    left_out = {
        "DeepImageStructureAndTextureSimilarity",  # downloads a network when it is built
        "PermutationInvariantTraining",  # takes a function
        "ClusterAccuracy",  # needs a package that the requirements lack
    }
    for task in ("", "Binary", "Multiclass", "Multilabel"):  # curves are no figures that a log could hold
        left_out |= {f"{task}ROC", f"{task}PrecisionRecallCurve"}
    rooms = "classification regression segmentation image audio detection clustering nominal text"
    metrics = {}
    for room in rooms.split():
        metrics |= _classes(import_module(f"torchmetrics.{room}"), torchmetrics.Metric, left_out)
    return {name: metric for name, metric in metrics.items() if _compares_tensors(metric)}


def torch_optimizers() -> Components:
    """The optimizers of torch.optim."""
    from torch import optim

    left_out = {
        "Optimizer",  # the base class
        "LBFGS",  # runs the model several times a step, through a function; the Trainer runs it once
    }
    return _classes(optim, optim.Optimizer, left_out)


def torch_lr_schedulers() -> Components:
    """The schedulers of torch.optim.lr_scheduler, and SWALR, which torch keeps elsewhere."""
    from torch.optim import lr_scheduler
    from torch.optim.swa_utils import SWALR

    left_out = {
        "LRScheduler",  # the base class
        "SequentialLR",  # takes schedulers: a config lists them, each with its milestone
        "ChainedScheduler",  # takes schedulers
    }
    return {**_classes(lr_scheduler, lr_scheduler.LRScheduler, left_out), "SWALR": SWALR}


def _classes(module: ModuleType, kinds: type | tuple[type, ...], left_out: Collection[str]) -> Components:
    """The public classes in a module's namespace that are of one of these kinds, but for those left out."""
    return {
        name: value
        for name, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, kinds) and not name.startswith("_") and name not in left_out
    }


def _compares_tensors(metric: type) -> bool:
    """Whether a metric's update() takes two tensors, predictions first, or the metric is chosen by `task`."""
    from torch import Tensor

    if "task" in inspect.signature(metric.__new__).parameters:
        return True
    parameters = list(inspect.signature(metric.update).parameters.values())[1:]  # without self
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    takes_two = len(required) == 2 and all(parameter.annotation is Tensor for parameter in required)
    return takes_two and required[0].name == "preds"
