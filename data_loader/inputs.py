"""Inputs without targets: what arguments of predict.py stand for, and how they are read, one bad one at a time.

A dataset says in one class method, `for_inputs(inputs, preprocessing, **args)`, how its inputs look without a target.
"""

from __future__ import annotations

import contextlib
import glob
import inspect
import itertools
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import torch

from base import DATASETS
from base.batch import Batch
from base.conversion import convert
from base.registries import DATA_PATH
from base.signature import parameters_of
from config.schema import DataLoaderConfig, DatasetConfig
from data_loader.batch_loader import BatchLoader, BatchReader
from data_loader.class_folders import shown
from data_loader.order import BatchOrder, Order, Request, sequential
from data_loader.samples import CollateError, DataError, SampleError
from data_loader.sizes import num_auto_workers
from data_loader.transforms import build_transforms
from utils.distributed import num_ranks
from utils.errors import UserError

logger = logging.getLogger(__name__)

HOW_TO = """\
dataset {name} does not say how its inputs look without a target. Give it a class method (docs/predict.md):

    @classmethod
    def for_inputs(cls, inputs, preprocessing):
        \"\"\"inputs: what predict.py was given, such as paths; returns a dataset without targets over them.\"\"\""""


STANDARD_INPUT = "standard-input.csv"  # what a table from there is called while it is read
MOST_BATCHES = 32  # in a block of standard input


@contextlib.contextmanager
def given(arguments: Sequence[str], component: Any, batch_size: int) -> Iterator[Iterator[list[str | Path]]]:
    """What arguments of the command line stand for, in blocks: standard input, `-`, is read as it comes.

    component: the dataset's class; a table from standard input is read to its end. What is in a block is there to be
    read while this is entered. UserError where there is none.
    """
    if "-" in arguments and num_ranks() > 1:
        raise UserError("-: standard input is that of one process; write it to a file for several")
    with TemporaryDirectory() as folder:
        if "-" in arguments and getattr(component, "inputs_are", "files") == "tables":
            file = Path(folder, STANDARD_INPUT)
            file.write_bytes(sys.stdin.buffer.read())
            arguments = [str(file) if argument == "-" else argument for argument in arguments]
        blocks = _blocks(arguments, component, batch_size)
        if (first := next(blocks, None)) is None:
            raise UserError("there are no inputs")
        yield itertools.chain([first], blocks)


def _blocks(arguments: Sequence[str], component: Any, batch_size: int) -> Iterator[list[str | Path]]:
    place = arguments.index("-") if "-" in arguments else len(arguments)
    before, after = expanded(arguments[:place], component), expanded(arguments[place + 1 :], component)
    if before:
        yield before
    if place < len(arguments):
        lines = (os.fsdecode(line).removeprefix("\ufeff").rstrip("\r\n") for line in sys.stdin.buffer)
        lines = lines if getattr(component, "inputs_are", "files") == "texts" else filter(None, lines)
        size = batch_size  # the first answers come soon; later, a block is worth the processes that read it
        while block := [*itertools.islice(lines, size)]:
            yield block
            size = min(2 * size, MOST_BATCHES * batch_size)
    if after:
        yield after


def expanded(arguments: Sequence[str], component: Any) -> list[str | Path]:
    """What arguments of the command line but `-` stand for, in their order. UserError for what is not there.

    component: the dataset's class. Its `inputs_are` says what an input is: files (the default), of a folder those with
    `input_endings`; tables, files with many inputs each; texts, lines of files, of which tables (`input_endings`)
    stay Paths.
    """
    endings = tuple(getattr(component, "input_endings", ()))
    if getattr(component, "inputs_are", "files") == "texts":
        return [text for argument in arguments for text in _texts(argument, endings)]
    wrong, found = [], []
    for argument in arguments:
        try:
            found += _files(argument, endings)
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError("\n".join(wrong))
    return found


def _files(argument: str, endings: tuple[str, ...]) -> list[str]:
    if os.path.isdir(argument):
        return _files_below(argument, endings)
    if not os.path.lexists(argument) and glob.has_magic(argument):
        if not (found := sorted(glob.glob(argument, recursive=True))):
            raise UserError(f"'{argument}': no file matches")
        return [file for match in found for file in _files(match, endings)]
    if not os.path.lexists(argument):
        raise UserError(f"'{argument}': no such file or folder")
    return [argument]


def _files_below(folder: str, endings: tuple[str, ...]) -> list[str]:
    """The files in a folder and those within it that end so, sorted; others are told."""
    found, others = [], []
    for place, folders, names in os.walk(folder, onerror=_cannot_read, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                is_taken = name.lower().endswith(endings or ("",))
                (found if is_taken else others).append(os.path.join(place, name))
    expected = f"they end in {' '.join(endings)}"
    if not found:
        raise UserError(f"'{folder}': nothing in this folder can be read{f' ({expected})' if endings else ''}")
    if others:
        logger.warning("'%s': left out, %d other files (%s): %s", folder, len(others), expected, shown(sorted(others)))
    return sorted(found)


def _cannot_read(error: OSError) -> NoReturn:
    raise UserError(f"cannot read the folder '{error.filename}': {error.strerror}") from error


def _texts(argument: str, endings: tuple[str, ...]) -> list[str | Path]:
    if endings and argument.lower().endswith(endings) and os.path.isfile(argument):
        return [Path(argument)]
    if os.path.isfile(argument):
        try:
            with open(argument, encoding="utf-8-sig") as file:
                return [line.rstrip("\n") for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"'{argument}' cannot be read as text: {error}") from error
    if len(argument.split()) > 1 and not argument.lower().endswith((*endings, ".txt")):
        return [argument]
    told = "a text of one word, or that ends as a file, goes through standard input: echo TEXT | ... -"
    raise UserError(f"'{argument}': no such file; {told}")


def class_for_inputs(name: str) -> Any:
    """The class of a dataset that says how its inputs look without a target. UserError where it does not."""
    component = DATASETS.find(name)
    if hasattr(component, "decode") and not hasattr(component, "for_inputs"):
        raise UserError(f"a model of {name} goes on with a text: python predict.py -r RUN --prompt TEXT")
    if not hasattr(component, "for_inputs"):
        raise UserError(HOW_TO.format(name=name))
    return component


def dataset_for(config: DatasetConfig, inputs: Sequence[Any], preprocessing: Any, **options: Any) -> Any:
    """A dataset without targets over these inputs. UserError where its class has none, or refuses them.

    It gets those of the config's arguments that its signature names, but none that says where files are: inputs come
    from the command line alone. options: further arguments that it must know.
    """
    component = class_for_inputs(config.type)
    if unknown := [name for name in options if not takes_argument(component, name)]:
        raise UserError(f"--{unknown[0]}: dataset {config.type} reads its inputs as in training, and takes none")
    parameters = parameters_of(component.for_inputs)
    args = {
        name: convert(value, parameters.annotation(name))
        for name, value in {**config.args, **options}.items()
        if takes_argument(component, name)
    }
    return component.for_inputs(inputs, preprocessing, **args)


def takes_argument(component: Any, name: str) -> bool:
    """Whether a dataset's `for_inputs` gets an argument of the config: none that says where files are."""
    parameters = inspect.signature(component.for_inputs).parameters.values()
    if DATA_PATH.fullmatch(name) or name in ("inputs", "preprocessing"):
        return False
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in parameters)


class Apart(Batch):
    """Samples that can be read, but not put in one batch: `data` is a list of that of each."""


class InputReader(BatchReader):
    """Reads batches of which any sample may be unreadable, or of another shape than the others."""

    def __getitem__(self, request: Request) -> Batch:
        try:
            batch = super().__getitem__(request)
            if isinstance(batch, Batch):  # in a loader process an error is returned
                return batch
        except (DataError, SampleError):
            pass
        batches, skipped = [], []
        for index in request.indices.tolist():
            try:
                batches.append(self._read([index], request))
            except (DataError, SampleError) as error:
                skipped.append((index, _reason(error)))
        indices = [int(batch.indices[0]) for batch in batches]
        if indices and skipped:
            with contextlib.suppress(DataError, SampleError):
                return self._read(indices, request)._replace(skipped=tuple(skipped), counts=request.counts)
        data = [batch.data for batch in batches]
        return Apart(torch.tensor(indices, dtype=torch.int64), data, tuple(skipped), request.counts)

    def _read(self, indices: list[int], request: Request) -> Batch:
        places = torch.tensor(indices)
        return self.samples.read(request._replace(indices=places.numpy(), draws=None), places)


def _reason(error: Exception) -> str:
    """Why a sample cannot be read, without its name."""
    cause = error if isinstance(error, CollateError) or error.__cause__ is None else error.__cause__
    is_told = isinstance(cause, (UserError, CollateError)) or type(cause) is OSError
    return str(cause) if is_told else f"{type(cause).__name__}: {cause}"


def input_loader(dataset: Any, config: DatasetConfig, data_loader: DataLoaderConfig, seed: int, device: Any):
    """The loader of inputs, in their order, by the transforms of evaluation."""
    reader = InputReader(dataset, build_transforms(config.transforms.eval), seed)
    size = len(dataset)
    order = BatchOrder(
        Order("sequential", sequential, {"num_samples": size}, size), size, data_loader.batch_size, False, None
    )
    num_workers = data_loader.num_workers
    if num_workers == "auto":
        num_workers = 0 if reader.takes_batches or len(order) == 1 else num_auto_workers()
    return BatchLoader(reader, order, num_workers, device)


def readable(batch: Batch) -> Iterator[Batch]:
    """The batches that a model can take of what was read: none, one, or one for each sample."""
    if not isinstance(batch, Apart):
        yield batch
        return
    for place, data in enumerate(batch.data):
        yield Batch(batch.indices[place : place + 1], data, (), batch.counts)
