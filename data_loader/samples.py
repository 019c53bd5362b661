"""Read samples one by one, each with randomness of its own, and put them in a batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from base.batch import Batch, map_tensors, split_target
from data_loader.transforms import arrays_in, has_own_code, holds_tv_tensors, is_tv_tensor, transformed
from utils.errors import RunError, UserError
from utils.seeding import seed_everything

if TYPE_CHECKING:
    from data_loader.order import Request

# What a dataset has and says of its samples: each makes reading faster, where what stands before it is not changed.
WAYS_TO_SAMPLES = ("__getitem__", "__getitems__", "draws_random_numbers", "as_tensors")


class DataError(RunError):
    """A sample could not be read or put in a batch; the message names its index and, where there is one, its file."""


class CollateError(DataError):
    """Samples that could be read cannot be put in one batch."""


class SampleError(RuntimeError):
    """The code of a dataset or a transform failed at a sample, which the message names; the cause has the traceback."""


class SampleReader:
    """Makes a Batch of the samples with given indices.

    transform: applied to the input of each sample. Randomness of a sample is a function of (seed, epoch, index), and of
    how often it was drawn before in the epoch: the same bits for any number of workers. skips_bad: leave out samples
    that cannot be read, and say so in the Batch.
    """

    def __init__(self, dataset: Dataset, transform: Callable | None, seed: int, skips_bad: bool = False):
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self.skips_bad = skips_bad
        self.under_way: Any = None  # by worker, the index it reads: it may die of it

    def read(self, request: Request, indices: Tensor) -> Batch:
        """The batch of a request. DataError when a sample cannot be read, SampleError when own code fails at one."""
        samples, places, skipped = [], [], []
        with unchanged_generators():
            for place, index in enumerate(indices.tolist()):
                try:
                    draw = 0 if request.draws is None else int(request.draws[place])
                    samples.append(self._read_sample(index, request.epoch, draw))
                    places.append(place)
                except (DataError, SampleError) as error:
                    if not self.skips_bad:
                        raise
                    skipped.append((index, str(error)))
        if worker := get_worker_info():
            self.under_way[worker.id] = -1
        if not samples and (stand_in := self._stand_in(request)) is not None:
            return stand_in._replace(skipped=tuple(skipped))
        if not samples:
            raise DataError(f"no sample of a batch could be read: {'; '.join(reason for _, reason in skipped)}")
        indices = indices[places] if skipped else indices
        return Batch(indices, self.collate(samples, indices), tuple(skipped))

    def _stand_in(self, request: Request) -> Batch | None:
        """Where others of several processes have samples of a batch: one of theirs, that all take the step."""
        for index in () if request.whole is None else request.whole.tolist():
            with suppress(DataError):
                alone = self.read(request._replace(draws=None, whole=None), torch.tensor([index]))
                return alone._replace(counts=False)
        return None

    def name_of(self, index: int) -> str:
        """`sample 7`, with the name of its file where the dataset knows one."""
        file = f" ({self.dataset.name_of(index)})" if hasattr(self.dataset, "name_of") else ""
        return f"sample {index}{file}"

    def _read_sample(self, index: int, epoch: int, draw: int) -> Any:
        if worker := get_worker_info():
            self.under_way[worker.id] = index
        seed_everything(self.seed, "sample", epoch, index, *([draw] if draw else []))
        try:
            sample = pictures_to_tensors(self.dataset[index])
            return sample if self.transform is None else transformed(sample, self.transform)
        except UserError as error:
            raise DataError(f"{self.name_of(index)}: {error}") from error
        except Exception as error:  # whatever a user's dataset raises: it passes on, and the sample is named
            told = f"{self.name_of(index)} could not be read: {type(error).__name__}: {error}"
            if not isinstance(error, OSError) and has_own_code(error):
                raise SampleError(told) from error
            advice = "" if self.skips_bad else "; mend it, take it out, or set data_loader.skip_bad_samples"
            raise DataError(told + advice) from error

    def collate(self, samples: list, indices: Tensor) -> Any:
        """The samples as the data of a batch, by the dataset's own `collate` if any; CollateError when it cannot be."""
        samples = [*map(pictures_to_tensors, samples)]
        if hasattr(self.dataset, "collate"):
            return self._collate_by_dataset(samples, indices)
        try:
            return collate(samples)
        except (RuntimeError, TypeError, KeyError, ValueError) as error:
            raise CollateError(self._why_not_collated(samples, indices.tolist(), error)) from error

    def _collate_by_dataset(self, samples: list, indices: Tensor) -> Any:
        try:
            return self.dataset.collate(samples)
        except UserError as error:
            raise CollateError(f"samples {indices.tolist()}: {error}") from error
        except Exception as error:  # whatever own code raises: it passes on, and the samples are named
            name = type(self.dataset).__name__
            raise SampleError(f"{name}.collate failed for samples {indices.tolist()}: {error!r}") from error

    def _why_not_collated(self, samples: list, indices: list[int], error: Exception) -> str:
        shapes = [_shapes(sample) for sample in samples]
        other = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is None:
            told = f"samples {indices} cannot be put in one batch: {self.name_of(indices[0])} is {shapes[0]}"
            return f"{told}; {type(error).__name__}: {error}"
        told = (
            f"samples of different shape cannot be put in one batch: {self.name_of(indices[0])} is {shapes[0]}, "
            f"{self.name_of(indices[other])} is {shapes[other]}. "
        )
        num_axes = []
        map_tensors(samples[0], lambda tensor: num_axes.append(tensor.ndim))
        if 3 in num_axes:
            return (
                told + "Pictures need one size: add a Resize or RandomResizedCrop transform, or set dataset.args.size"
            )
        return told + "Samples need one shape and the same names: pad them in the dataset's `collate(samples)`"


def collate(samples: Sequence) -> Any:
    """torch's default_collate, but Python's floats get torch's default dtype: float64 is what no model takes."""
    first = samples[0]
    if isinstance(first, float) and not isinstance(first, numpy.floating):
        return torch.tensor(samples, dtype=torch.get_default_dtype())
    if isinstance(first, Mapping):
        if any(sample.keys() != first.keys() for sample in samples):
            raise ValueError("their keys differ")
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        columns = [collate(column) for column in zip(*samples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    return default_collate(samples)


def has_way(dataset: Any, name: str) -> bool:
    """Whether a dataset has this way to its samples, and no slower one of a more special class.

    A subclass with a `__getitem__` of its own, or a wrapper that passes on what it lacks, means that one alone: what it
    inherited for whole batches would give other samples.
    """
    slower = WAYS_TO_SAMPLES[: WAYS_TO_SAMPLES.index(name)]
    for holder in (dataset, *type(dataset).__mro__):
        if name in vars(holder):
            return getattr(dataset, name) is not None
        if not vars(holder).keys().isdisjoint(slower):
            return False
    return False


def check_batch(batch: Batch) -> None:
    """ValueError for what is no batch with a target, or has a target that no loss can take."""
    inputs, target = split_target(batch.data)
    if isinstance(target, (list, tuple)) and target and isinstance(target[0], str):
        raise ValueError(f"the targets are text ('{target[0]}'): return class numbers, or one number for each")
    num_samples = len(batch.indices)
    if len(inputs.args) == 1 and isinstance(inputs.args[0], Tensor) and inputs.args[0].shape[:1] != (num_samples,):
        shape = tuple(inputs.args[0].shape)
        raise ValueError(f"for {num_samples} samples the inputs have the shape {shape}; their first axis is the sample")


def check_one_each(dataset: Any, attribute: str, values: Sequence) -> None:
    """UserError where an attribute of a dataset does not have one value a sample."""
    if len(values) != len(dataset):
        told = f"{type(dataset).__name__} has {len(values):,} {attribute} for {len(dataset):,} samples"
        raise UserError(f"dataset: {told}: its attribute `{attribute}` needs one each")


@contextmanager
def unchanged_generators() -> Iterator[None]:
    """Leave the global generators of this process as they were: with no workers, the model draws from them too."""
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_rng_state(states[2])


def pictures_to_tensors(sample: Any) -> Any:
    """The sample with every PIL picture in it as a uint8 tensor (C, H, W)."""
    if isinstance(sample, (Tensor, int, float, str)):
        return sample
    if isinstance(sample, Mapping):
        return {key: pictures_to_tensors(value) for key, value in sample.items()}
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(pictures_to_tensors, sample))
    if isinstance(sample, (tuple, list)):
        return type(sample)(map(pictures_to_tensors, sample))
    if type(sample).__module__.startswith("PIL."):
        from torchvision.transforms.v2.functional import pil_to_tensor

        return pil_to_tensor(sample)
    return sample


def moves_as_one(sample: Any) -> bool:
    """Whether transforms that move pixels move all of a sample: masks and boxes in its target are tv_tensors too."""
    target = split_target(pictures_to_tensors(sample))[1]
    stays = any(array.ndim >= 2 and not is_tv_tensor(array) for array in arrays_in(target))
    return target is None or (holds_tv_tensors(sample) and not stays)


def _shapes(sample: Any) -> Any:
    """The sample with its shapes in place of its tensors, to be compared and shown."""
    if isinstance(sample, Mapping):
        return {key: _shapes(value) for key, value in sample.items()}
    if isinstance(sample, (tuple, list)):
        return tuple(map(_shapes, sample))
    return tuple(sample.shape) if hasattr(sample, "shape") else type(sample).__name__
