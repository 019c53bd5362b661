"""The batches of an epoch: how one is read, and the loader that hands them to the trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from base.batch import Batch
from data_loader.order import BatchOrder, Request, examples
from data_loader.prefetch import on_device_ahead
from data_loader.resident import ResidentData
from data_loader.sample_keys import targets_of
from data_loader.samples import (
    CollateError,
    DataError,
    SampleError,
    SampleReader,
    check_batch,
    has_way,
    moves_as_one,
    unchanged_generators,
)  # fmt: skip
from data_loader.skipped import Skipped
from data_loader.workers import WorkerProcesses
from utils.distributed import of_rank
from utils.errors import UserError
from utils.seeding import seed_everything

NOT_SEEDED = contextlib.nullcontext()  # seeding would take as long as reading tensors by index


class BatchReader(Dataset):
    """`reader[request]` is a Batch, the same in any process; what torch's DataLoader takes for the dataset.

    A dataset with `__getitems__` gives the whole batch at once, others sample by sample. A transform is for single
    samples, so with one the samples are read singly too. Randomness is a function of (seed, epoch, batch) or, of single
    samples, of (seed, epoch, index, draw). seed, skips_bad: see SampleReader.
    """

    def __init__(self, dataset: Dataset, transform: Callable | None, seed: int, skips_bad: bool = False):
        self.dataset = dataset
        self.samples = SampleReader(dataset, transform, seed, skips_bad)
        self._draws = not has_way(dataset, "draws_random_numbers") or dataset.draws_random_numbers
        self.takes_batches = transform is None and has_way(dataset, "__getitems__")

    def __getitem__(self, request: Request) -> Batch | DataError:
        """The batch; in a worker also the DataError itself, as torch would wrap one that is raised in its traceback."""
        indices = torch.tensor(request.indices)  # a copy: it may be changed, and the order may not
        try:
            batch = self._take(request, indices) if self.takes_batches else self.samples.read(request, indices)
            return batch if request.counts else batch._replace(counts=False)
        except DataError as error:
            if get_worker_info() is None:
                raise
            return error

    def _take(self, request: Request, indices: Tensor) -> Batch:
        try:
            with self._seeded(request) if self._draws else NOT_SEEDED:
                taken = self.dataset.__getitems__(indices.clone())
        except Exception as error:
            with contextlib.suppress(CollateError):
                batch = self.samples.read(request, indices)  # one by one, it shows which sample it was
                if batch.skipped:
                    return batch
            raise SampleError(f"samples {indices.tolist()} can be read, but not together: {error!r}") from error
        # torch's own datasets return a list of samples here.
        return Batch(indices, self.samples.collate(taken, indices) if isinstance(taken, list) else taken)

    @contextlib.contextmanager
    def _seeded(self, request: Request) -> Iterator[None]:
        with unchanged_generators():
            seed_everything(self.samples.seed, "batch", request.epoch, request.batch, *of_rank())
            yield


class BatchLoader:
    """Yields the batches of an epoch, from any batch on; on a CUDA device they are there already.

    num_workers: processes that read; 0: this one. skip_bad_samples: how many different samples may be left out because
    they cannot be read. resident: the data where they live on the device. len(): batches an epoch. num_samples: those
    of the dataset that belong to this loader.
    """

    def __init__(
        self,
        reader: BatchReader,
        order: BatchOrder,
        num_workers: int = 0,
        device: torch.device | str = "cpu",
        skip_bad_samples: int = 0,
        resident: ResidentData | None = None,
    ):
        self.dataset = reader.dataset
        self.num_samples = order.num_samples
        self.batch_size = order.batch_size
        self.num_workers = num_workers
        self._reader = reader
        self.order = order
        self._device = torch.device(device)
        self._resident = resident
        self._skipped = Skipped(self.name_of, skip_bad_samples)
        on_cuda = self._device.type == "cuda"
        self._workers = WorkerProcesses(reader, order, num_workers, pin_memory=on_cuda) if num_workers else None

    def __len__(self) -> int:
        return len(self.order)

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch `first` on.

        DataError when one cannot be read or a worker dies, SampleError when the code of a dataset or transform fails.
        """
        if self._resident is not None:
            return self._resident.batches(self.order, epoch, first)
        batches = self._skipped.counted(self._read(epoch, first))
        return on_device_ahead(batches, self._device) if self._device.type == "cuda" else batches

    def _read(self, epoch: int, first: int) -> Iterator[Batch]:
        self.order.epoch, self.order.first = epoch, first
        if self._workers is not None:
            yield from self._workers.batches(epoch)
        else:  # torch's DataLoader would do the same and take 30 us a batch for it
            yield from map(self._reader.__getitem__, self.order)

    def tell_skipped(self) -> None:
        """Tell of samples that were left out, with all processes. DataError when there are too many."""
        self._skipped.tell()

    def example(self, num_samples: int = 2) -> Batch:
        """A batch of at most so many samples, from all over the data, read by this process; UserError if it is none."""
        try:
            indices = examples(self.dataset, self.order, num_samples)
            batch = self._reader[Request(0, 0, indices.numpy())]
            check_batch(batch)
        except (DataError, ValueError) as error:
            raise UserError(f"dataset: {error}") from error
        return batch

    def name_of(self, index: int) -> str:
        """`sample 7`, with the name of its file where the dataset knows one."""
        return self._reader.samples.name_of(int(index))

    @property
    def input_transforms(self) -> list[Callable]:
        """The transforms that each sample's input goes through, and its target does not, or not all of it."""
        transform = self._reader.samples.transform
        if transform is None or moves_as_one(self.dataset[int(self.order.indices(0)[0])]):
            return []
        return [step for _, step in transform.steps]

    @property
    def members(self) -> Tensor | None:
        """int64, rising: which samples of the dataset are this loader's; None: all."""
        return self.order.members

    @property
    def num_left_out(self) -> int:
        """Samples that an epoch leaves out, because they fill no batch."""
        return max(0, self.num_samples - self.order.num_batches * self.batch_size)

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes by number, where the dataset has them; numbers as text."""
        classes = getattr(self.dataset, "classes", None)
        return None if classes is None else [str(name) for name in classes]

    @property
    def targets(self) -> Tensor | None:
        """The targets of this loader's samples, where the dataset has them at hand, as numbers."""
        targets, members = targets_of(self.dataset), self.order.members
        return targets if targets is None or members is None else targets.index_select(0, members)
