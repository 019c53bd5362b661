"""A checkpoint in parts: an index, and beside it what each process has of the tensors that are divided among them.

    step-000000120.pt               the index: a checkpoint in which each divided tensor is empty; it is written last
    step-000000120.1a2b3c4d-7/      0.pt, 1.pt, ...: the pieces that each process has; a digest of each is in the index

Which piece, or part of it, goes where in another number of processes is planned by torch.distributed.checkpoint. Its
own files are not used: they have no digest, and their index is a pickle that may run anything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)

from utils.checkpoint import FORMAT, CheckpointError, read_file, verify_file

_FOLDER_NAME = re.compile(r"step-\d{9,}\.[0-9a-f]{8}-\d+")
Layout = dict[str, tuple[torch.Size, torch.Size, torch.Size]]  # size of a tensor; offsets and sizes of a piece of it


def divide(state: Mapping[str, Any]) -> tuple[dict[str, Any], Layout, dict[str, Tensor]]:
    """A state in which the tensors that are divided are empty; where this process' pieces lie in them; and the pieces.

    Layout and pieces are by the place of a tensor in the state.
    """
    tensors: dict[str, Tensor] = {}

    def take(place: str, tensor: Tensor) -> Tensor:
        if not hasattr(tensor, "to_local"):
            return tensor
        tensors[place] = tensor
        return torch.empty(0, dtype=tensor.dtype)

    rest = _replaced(state, take)
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(tensors, is_coordinator=True)
    layout, pieces = {}, {}
    for item in planner.create_local_plan().items:
        place, data = item.index.fqn, item.tensor_data
        assert place not in pieces, f"two pieces of {place}"
        layout[place] = data.size, data.chunk.offsets, data.chunk.sizes
        pieces[place] = planner.resolve_data(item)
    return rest, layout, pieces


def table_of(folder: str, digests: list[str], layouts: list[Layout]) -> dict[str, Any]:
    """What an index says of its shards, from the digests of their files and the layouts of all processes.

    Under `pieces` are the size of each tensor and a table (number of pieces, 1 + 2 x axes): the number of a file, the
    piece's offsets in the tensor, and its sizes.
    """
    pieces = {}
    for place, (size, _, _) in layouts[0].items():
        rows = {}
        for rank, layout in enumerate(layouts):
            _, offsets, sizes = layout[place]
            if math.prod(sizes):
                rows[offsets] = (rank, *offsets, *sizes)
        table = torch.tensor(list(rows.values()), dtype=torch.int64)
        pieces[place] = [list(size), table.reshape(-1, 1 + 2 * len(size))]
    return {"folder": folder, "digests": digests, "pieces": pieces}


class Shards:
    """The shards that an index names. ValueError for a table that cannot be right, or where a file is missing."""

    def __init__(self, index: str | Path, table: Mapping[str, Any]):
        name = table["folder"]
        if not _FOLDER_NAME.fullmatch(name):
            raise ValueError(f"its shards are in {str(name)[:80]!r}")
        self.folder = Path(index).resolve().parent / name
        if not self.folder.is_dir():
            raise ValueError(f"its shards are missing: the folder {name} belongs beside it")
        self.digests = list(table["digests"])
        if missing := [rank for rank in range(len(self.digests)) if not self.file(rank).is_file()]:
            raise ValueError(f"its shard {name}/{missing[0]}.pt is missing")
        self.num_bytes = sum(self.file(rank).stat().st_size for rank in range(len(self.digests)))
        self.ranks: dict[tuple[str, torch.Size], int] = {}  # by the place of a tensor and the offsets of a piece
        self.chunks: dict[str, list[ChunkStorageMetadata]] = {}
        self.sizes: dict[str, torch.Size] = {}
        for place, (size, rows) in table["pieces"].items():
            self._enter(place, torch.Size(size), rows)

    def _enter(self, place: str, size: torch.Size, rows: Tensor) -> None:
        """Take note of the pieces of a tensor, which must fill it."""
        ranks, offsets, sizes = rows[:, :1], rows[:, 1 : 1 + len(size)], rows[:, 1 + len(size) :]
        is_inside = (rows >= 0).all() and (offsets + sizes <= torch.tensor(size)).all()
        if not is_inside or (ranks >= len(self.digests)).any() or sizes.prod(dim=1).sum() != math.prod(size):
            raise ValueError(f"its shards do not fill {place[:80]}")
        self.sizes[place] = size
        self.chunks[place] = []
        for rank, offset, shape in zip(ranks[:, 0].tolist(), offsets.tolist(), sizes.tolist(), strict=True):
            self.ranks[place, torch.Size(offset)] = rank
            self.chunks[place].append(ChunkStorageMetadata(torch.Size(offset), torch.Size(shape)))

    def file(self, rank: int) -> Path:
        return self.folder / f"{rank}.pt"

    def verify(self) -> None:
        """CheckpointError unless all files are as they were written."""
        with ThreadPoolExecutor(8) as threads:  # a digest leaves Python alone
            list(threads.map(self._verify, range(len(self.digests))))

    def _verify(self, rank: int) -> None:
        if verify_file(self.file(rank)) != self.digests[rank]:
            raise CheckpointError(f"checkpoint {self.file(rank)} is damaged or not a checkpoint: it is another save's")

    def opened(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state of the index with these shards in it, and tensors without data, on the meta device, for theirs."""
        dtypes: dict[str, torch.dtype] = {}

        def take(place: str, tensor: Tensor) -> Tensor:
            if place not in self.sizes:
                return tensor
            dtypes[place] = tensor.dtype
            return torch.empty(self.sizes[place], dtype=tensor.dtype, device="meta")

        state = _replaced({**state, "shards": None}, take)
        num_bytes = sum(math.prod(self.sizes[place]) * dtype.itemsize for place, dtype in dtypes.items())
        if dtypes.keys() != self.sizes.keys() or num_bytes > self.num_bytes:
            raise ValueError("its shards are those of another state")
        return {**state, "shards": self}

    def filled(self, state: Mapping[str, Any], empty: Callable[..., Tensor] = torch.empty) -> dict[str, Any]:
        """An opened state with its tensors. What is divided in it gets this process' part, in place; the rest is whole.

        empty: makes a tensor, from size and dtype. CheckpointError for a file that is damaged.
        """
        tensors: dict[str, Tensor] = {}

        def take(place: str, tensor: Tensor) -> Tensor:
            if place not in self.sizes:
                return tensor
            tensors[place] = empty(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor
            return tensors[place]

        state = _replaced({key: value for key, value in state.items() if key != "shards"}, take)
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        planner.set_up_planner(tensors, self._metadata(tensors), is_coordinator=True)
        files: dict[int, dict[str, Tensor]] = {}
        for item in planner.create_local_plan().items:
            place = item.storage_index.fqn
            rank = self.ranks[place, item.storage_index.offset]
            if rank not in files:
                files[rank] = self._read(rank)
            piece, sizes = files[rank].get(place), self.chunks[place][item.storage_index.index].sizes
            if not isinstance(piece, Tensor) or (piece.shape, piece.dtype) != (sizes, tensors[place].dtype):
                raise CheckpointError(f"checkpoint {self.file(rank)} has no such piece of {place[:80]}")
            for axis, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                piece = piece.narrow(axis, start, length)
            planner.resolve_tensor(item).detach().copy_(piece)
        return {**state, "format": FORMAT}

    def _read(self, rank: int) -> dict[str, Tensor]:
        """The pieces in a file, by the places of their tensors; read from it when they are looked at."""
        self._verify(rank)
        pieces = read_file(self.file(rank), in_memory=False).get("pieces")
        return pieces if isinstance(pieces, dict) else {}

    def _metadata(self, tensors: Mapping[str, Tensor]) -> Metadata:
        return Metadata(
            {
                place: TensorStorageMetadata(TensorProperties(tensor.dtype), self.sizes[place], self.chunks[place])
                for place, tensor in tensors.items()
            }
        )


def _replaced(value: Any, fn: Callable[[str, Tensor], Any], path: tuple[Any, ...] = ()) -> Any:
    """The same dicts, lists and tuples, however nested, with fn(place, tensor) for every tensor in them."""
    if isinstance(value, Tensor):
        return fn(json.dumps(path), value)
    if isinstance(value, Mapping):
        return type(value)({key: _replaced(item, fn, (*path, key)) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)([_replaced(item, fn, (*path, i)) for i, item in enumerate(value)])
    return value
