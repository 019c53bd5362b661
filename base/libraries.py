"""What stands behind each registry: the components of a library that a config can name.

Each function imports its library only when called and returns a dict of name to class or function. Its rule
says what is in the dict; what the rule lets in and yet cannot work from a config is left out by name. LEFT_OUT has the
reasons, and what to write instead, for whoever names it. A name that the installed version lacks is no error.
"""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

Components = dict[str, Callable[..., Any]]

_BASE_CLASS = "it is the base class of the others"
_TAKES_TRANSFORMS = "it takes transforms: register one of your own that builds them (data_loader/)"
_MIXES = "it mixes the samples of a batch, and returns their targets in a form of its own: MixUp and CutMix are there"
_MAKES_SEVERAL = "it makes several pictures of one, which no batch can hold"
_NO_FIGURES = "it gives a curve or a table, no figures that a log could hold; AUROC and AveragePrecision are some"
_HAS_WEIGHTS = "it holds weights of its own, which no optimizer would see: make them a layer of the model"
_TAKES_METRICS = "it takes metrics: list them under `metrics`"

# By kind and name: why it is not there, and what to write.
LEFT_OUT = {
    "dataset": {
        "VisionDataset": _BASE_CLASS,
        "DatasetFolder": "it takes a function that reads a file; ImageFolder is the one for pictures",
        "LSUNClass": "it is a part of LSUN",
    },
    "transform": {
        "Transform": _BASE_CLASS,
        "Compose": "a list of transforms is one already: write what it holds, one below the other",
        **dict.fromkeys(("RandomApply", "RandomChoice", "RandomOrder"), _TAKES_TRANSFORMS),
        "Lambda": "it takes a function: register a transform of your own (data_loader/)",
        **dict.fromkeys(("CutMix", "MixUp"), "it mixes samples: name it in dataset.batch_transforms.train"),
        **dict.fromkeys(("FiveCrop", "TenCrop"), _MAKES_SEVERAL),
    },
    "batch_transform": {
        **dict.fromkeys(("RandomMixUpV2", "RandomCutMixV2", "RandomMosaic"), _MIXES),
        "RandomTransplantation": _MIXES,
        "RandomTransplantation3D": _MIXES,
        "RandomDissolving": "it downloads a diffusion model when it is built",
        "AugmentationSequential": "a list of transforms is one already: write what it holds, one below the other",
        "Compose": "a list of transforms is one already: write what it holds, one below the other",
    },
    "loss": dict.fromkeys(
        ("AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss", "linear_cross_entropy"), _HAS_WEIGHTS
    ),
    "metric": {
        "Metric": _BASE_CLASS,
        "DeepImageStructureAndTextureSimilarity": "it downloads a network when it is built",
        "PermutationInvariantTraining": "it takes a function: register a metric of your own (model/)",
        "ClusterAccuracy": "it needs a package that the requirements lack",
        **{
            f"{task}{curve}": _NO_FIGURES
            for task in ("", "Binary", "Multiclass", "Multilabel")
            for curve in ("ROC", "PrecisionRecallCurve")
        },
        **dict.fromkeys(("MetricCollection", "ClasswiseWrapper", "MetricTracker"), _TAKES_METRICS),
    },
    "optimizer": {"Optimizer": _BASE_CLASS},
    "lr_scheduler": {
        "LRScheduler": _BASE_CLASS,
        "SequentialLR": "a list is one: lr_scheduler: [{type: ..., milestone: N}, {type: ...}]",
        "ChainedScheduler": "schedules that multiply are a function: LambdaLR with an lr_lambda of your own (trainer/)",
    },
}


def torchvision_datasets() -> Components:
    """The datasets of torchvision.datasets."""
    from torchvision import datasets

    return _classes(datasets, datasets.VisionDataset, LEFT_OUT["dataset"])


def torchvision_transforms() -> Components:
    """The transforms of torchvision.transforms.v2, each for one sample."""
    import torch
    from torch import nn
    from torchvision.transforms import v2

    def to_tensor() -> nn.Module:
        """Pictures as float32 in [0, 1], which is what everybody means by it.

        torchvision's own leaves tensors as they are, and here a picture is one by then (data_loader/samples.py).
        """
        return v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    return {**_classes(v2, nn.Module, LEFT_OUT["transform"]), "ToTensor": to_tensor}


def kornia_augmentations() -> Components:
    """The augmentations of kornia for a batch of pictures (N, C, H, W) or volumes (N, C, D, H, W)."""
    from kornia import augmentation

    # Containers take augmentations, as a config's list does. What mixes the pictures of a batch (MixUp) would
    # have to mix the targets as well; RandomJigsaw shares its base class but mixes the parts of one picture.
    kinds = (augmentation.AugmentationBase2D, augmentation.AugmentationBase3D, augmentation.RandomJigsaw)
    found = _classes(augmentation, kinds, LEFT_OUT["batch_transform"])
    return {name: component for name, component in found.items() if "Base" not in name}


def models() -> Mapping[str, Callable[..., Any]]:
    """torchvision's models and, where timm is installed, behind them timm's."""
    return ChainMap(torchvision_models(), _Later(timm_models))


def torchvision_models() -> Components:
    """The classification models of torchvision.models, under the names of its list_models."""
    from torchvision import models

    return {name: models.get_model_builder(name) for name in models.list_models(module=models)}


def timm_models() -> Components:
    """The models of timm, under the names of its list_models; none where it is not installed."""
    if find_spec("timm") is None:
        return {}
    import timm

    return {name: _timm_model(timm.model_entrypoint(name)) for name in timm.list_models()}


def _timm_model(entry: Callable[..., Any]) -> Callable[..., Any]:
    """A model of timm by the words that torchvision and this project have for its arguments."""

    def build(weights: Literal["DEFAULT"] | None = None, in_channels: int = 3, **args: Any) -> Any:
        return entry(pretrained=weights is not None, in_chans=in_channels, **args)

    build.__annotations__["return"] = inspect.signature(entry).return_annotation  # the class knows what else it takes
    build.__doc__, build.__name__, build.__module__ = entry.__doc__, entry.__name__, entry.__module__
    return build


class _Later(Mapping):
    """A dict that is made when it is first asked for: an import may take its time."""

    def __init__(self, make: Callable[[], Components]):
        self._make = make

    @cached_property
    def _made(self) -> Components:
        return self._make()

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def torch_losses() -> Components:
    """The losses of torch.nn (CrossEntropyLoss) and of torch.nn.functional (cross_entropy)."""
    from torch import nn

    classes = _classes(nn, nn.Module, LEFT_OUT["loss"])
    losses = {name: component for name, component in classes.items() if name.endswith("Loss")}
    for name, function in inspect.getmembers(nn.functional, callable):
        is_loss = name.endswith(("_loss", "cross_entropy", "with_logits", "kl_div"))
        if is_loss and not name.startswith("_") and name not in LEFT_OUT["loss"]:
            losses[name] = function
    return losses


def torchmetrics_metrics() -> Components:
    """The metrics of torchmetrics that are updated with two tensors, predictions and targets."""
    import torchmetrics

    rooms = "classification regression segmentation image audio detection clustering nominal text"
    metrics = {}
    for room in rooms.split():
        metrics |= _classes(import_module(f"torchmetrics.{room}"), torchmetrics.Metric, LEFT_OUT["metric"])
    return {name: metric for name, metric in metrics.items() if _compares_tensors(metric)}


def torch_optimizers() -> Components:
    """The optimizers of torch.optim."""
    from torch import optim

    return _classes(optim, optim.Optimizer, LEFT_OUT["optimizer"])


def torch_lr_schedulers() -> Components:
    """The schedulers of torch.optim.lr_scheduler, and SWALR, which torch keeps elsewhere."""
    from torch.optim import lr_scheduler
    from torch.optim.swa_utils import SWALR

    return {**_classes(lr_scheduler, lr_scheduler.LRScheduler, LEFT_OUT["lr_scheduler"]), "SWALR": SWALR}


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
