"""A checkpoint in shards, as several processes would have written it, in one process: read whole, or found out."""

import logging
import shutil
from pathlib import Path

import pytest
import torch

from tests.test_utils_checkpoint import state
from utils.checkpoint import (
    CheckpointError,
    open_checkpoint,
    read_checkpoint,
    verify_checkpoint,
    write_checkpoint,
    write_plain,
)
from utils.checkpoint_folder import CheckpointFolder
from utils.plain_data import check_plain
from utils.shards import table_of

PLACE = '["model", "w"]'
NAME = "step-{:09d}.0123abcd-1"


def save(folder, step, num=3, changes=None):
    """Save a checkpoint whose model is (7, 2) numbers, divided among processes, of which the last may have none."""
    whole = torch.arange(14.0).view(7, 2) + step
    path = folder.path / NAME.format(step)
    path.mkdir(parents=True)
    digests, layouts = [], []
    for rank, rows in enumerate(torch.arange(7).split(-(-7 // (num - 1)))):
        digests.append(write_plain(path / f"{rank}.pt", {"pieces": {PLACE: whole[rows]}}))
        layouts.append({PLACE: (torch.Size((7, 2)), torch.Size((int(rows[0]), 0)), torch.Size((len(rows), 2)))})
    digests.append(write_plain(path / f"{num - 1}.pt", {"pieces": {}}))
    layouts.append({PLACE: (torch.Size((7, 2)), torch.Size((7, 0)), torch.Size((0, 2)))})
    contents = state(model={"w": torch.empty(0)}, step=step)
    table = table_of(path.name, digests, layouts)
    index = folder.save({**contents, "shards": table}, step)
    if changes:
        write_checkpoint(index, {**contents, "shards": {**table, **changes}})
    return path, whole


@pytest.mark.parametrize("num", [2, 3, 5])
def test_it_is_read_whole(tmp_path, num):
    folder = CheckpointFolder(tmp_path)
    _, whole = save(folder, 5, num)
    found = read_checkpoint(tmp_path / "last.pt")
    assert torch.equal(found["model"]["w"], whole) and found["format"] == 1 and "shards" not in found
    check_plain(found)
    opened = open_checkpoint(tmp_path / "last.pt")
    assert opened["model"]["w"].is_meta and opened["model"]["w"].shape == (7, 2)
    part = torch.zeros(7, 2)
    assert opened["shards"].filled({**opened, "model": {"w": part}})["model"]["w"] is part and torch.equal(part, whole)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def of_another_save(path):
    write_plain(path, {"pieces": {PLACE: torch.zeros(4, 2)}})


def of_no_save(path):
    torch.save({"pieces": {PLACE: torch.zeros(4, 2)}}, path)


@pytest.mark.parametrize("damage", [flip, cut, of_another_save, of_no_save, Path.unlink, "folder", "index"])
def test_damage_is_found_out_and_the_previous_one_taken(tmp_path, caplog, damage):
    folder = CheckpointFolder(tmp_path)
    save(folder, 1)
    shards, _ = save(folder, 2)
    if damage == "folder":
        shutil.rmtree(shards)
    elif damage == "index":
        flip(tmp_path / "step-000000002.pt")
    else:
        damage(shards / "0.pt")
    for read in (read_checkpoint, open_checkpoint, verify_checkpoint):
        with pytest.raises(CheckpointError, match="is damaged"):
            read(tmp_path / "last.pt")
    with caplog.at_level(logging.WARNING):
        path, found = folder.newest()
    assert found["step"] == 1 and len(caplog.records) == 1
    assert folder.newest_intact("best") == path
    assert torch.equal(read_checkpoint(path)["model"]["w"], torch.arange(14.0).view(7, 2) + 1)


ROWS = torch.tensor([[0, 0, 0, 4, 2], [1, 4, 0, 3, 2]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "../step-000000005.0123abcd-1"}, "its shards are in"),
        ({"folder": "/etc"}, "its shards are in"),
        ({"folder": "step-000000005.0123abcd-2"}, "its shards are missing"),
        ({"digests": ["0" * 64] * 3}, "another save's"),
        ({"digests": ["0" * 64] * 4}, "its shard step-000000005.0123abcd-1/3.pt is missing"),
        ({"digests": []}, "do not fill"),
        ({"pieces": {PLACE: [[7, 2], ROWS[:1]]}}, "do not fill"),
        ({"pieces": {PLACE: [[7, 2], ROWS + 1]}}, "do not fill"),
        ({"pieces": {PLACE: [[7, 2], ROWS - 5]}}, "do not fill"),
        ({"pieces": {PLACE: [[10**12], torch.tensor([[0, 0, 10**12]])]}}, "of another state"),
        ({"pieces": {PLACE: [[7, 2], ROWS], '["model", "v"]': [[7, 2], ROWS]}}, "of another state"),
        ({"pieces": {PLACE: 5}}, "damaged"),
        ({"pieces": None}, "damaged"),
        ({"pieces": {PLACE: [[7, 2], ROWS.flip(0)]}}, None),  # the same in another order
        ({"pieces": {PLACE: [[14], torch.tensor([[0, 0, 8], [1, 8, 6]])]}}, "no such piece"),
    ],
)
def test_an_index_that_is_made_to_harm_is_refused(tmp_path, changes, message):
    folder = CheckpointFolder(tmp_path)
    _, whole = save(folder, 5, changes=changes)
    if message is None:
        assert torch.equal(read_checkpoint(tmp_path / "last.pt")["model"]["w"], whole)
        return
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "last.pt")


def test_shards_go_with_their_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path, keep_last=1)
    (tmp_path / "step-000000001.my-notes").mkdir()
    (tmp_path / "step-000000003.0123abcd-9").mkdir()  # of a save that was killed
    for step in (1, 2):
        save(folder, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("last.pt", "step-000000001.my-notes", NAME.format(2), "step-000000002.pt"),
    ]
