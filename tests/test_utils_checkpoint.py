"""A checkpoint comes back as it was written, or not at all."""

import errno
import functools
import itertools
import math
import os
import random
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy
import pytest
import torch

from tests.torture.damage import KINDS
from utils.checkpoint import FORMAT, CheckpointError, read_checkpoint, read_plain, verify_checkpoint, write_checkpoint
from utils.files import WriteError, sweep_temporary, write_durably
from utils.plain_data import MAX_VALUES


def state(**more) -> dict:
    """A small state with all the keys that a checkpoint needs."""
    generator = torch.Generator().manual_seed(0)
    model = {"weight": torch.randn(40, 30, generator=generator), "bias": torch.zeros(40)}
    required = dict(config={"lr": 0.1}, step=3, epoch=1, optimizer={}, lr_scheduler=None, best={"value": None})
    return {**required, "model": model, **more}


def test_plain_data_comes_back_with_its_types_and_torch_and_zipfile_open_it(tmp_path):
    values = {
        "numbers": [0, -1, 2**70, 1.5, -0.0, math.inf, True, None, (1, (2,), ())],
        "text": ["", "é", "\0", "a/b"],
        7: {"nested": {2.5: "float key"}},
        "milestones": Counter({3: 2}),
    }
    path = tmp_path / "a.pt"
    write_checkpoint(path, state(more=values))
    loads = functools.partial(torch.load, path, weights_only=True)
    for back in (read_checkpoint(path), loads(), loads(mmap=True)):
        assert repr(back["more"]) == repr(values)
        assert back["format"] == FORMAT and back["step"] == 3
    assert zipfile.ZipFile(path).testzip() is None


NAN_BITS = torch.tensor([0x7FC00001, -1, 0x7F800001], dtype=torch.int32).view(torch.float32)
DTYPES = ("float32", "float16", "bfloat16", "int64", "uint8", "bool", "complex64", "uint16")
TENSORS = [NAN_BITS, *(torch.arange(6).to(getattr(torch, dtype)) for dtype in DTYPES)]


@pytest.mark.parametrize("tensor", TENSORS, ids=str)
def test_tensors_come_back_with_the_same_bits(tmp_path, tensor):
    forms = {"all": tensor, "empty": tensor[:0], "scalar": tensor[0], "table": tensor.view(3, -1)}
    write_checkpoint(tmp_path / "a.pt", state(forms=forms))
    for name, back in read_checkpoint(tmp_path / "a.pt")["forms"].items():
        assert (back.dtype, back.shape) == (tensor.dtype, forms[name].shape)
        assert torch.equal(back.view(-1).view(torch.uint8), forms[name].view(-1).view(torch.uint8))


def test_views_are_saved_without_what_they_view_and_keep_their_layout(tmp_path):
    big, pictures = torch.zeros(1000, 1000), torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    views = {"part": big[:2, :2], "column": big[:, 0], "expanded": torch.ones(1).expand(9), "pictures": pictures}
    write_checkpoint(tmp_path / "a.pt", state(**views))
    assert (tmp_path / "a.pt").stat().st_size < 30_000
    back = read_checkpoint(tmp_path / "a.pt")
    assert all(torch.equal(back[name], view) for name, view in views.items())
    assert back["pictures"].stride() == pictures.stride()


OBJECTS = [
    (Path("a"), "Path"), (numpy.float64(1), "numpy.float64"), (numpy.zeros(2), "numpy.ndarray"), ({1, 2}, "set"),
    (print, "builtin_function"), (b"bytes", "bytes"), ({(1, 2): 3}, "tuple"), (torch.float32, "torch.dtype"),
    (torch.nn.Linear(1, 1), "Linear"), (torch.zeros(2).to_sparse(), "sparse"), (torch.zeros(2, device="meta"), "meta"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "name"), OBJECTS, ids=[name for _, name in OBJECTS])
def test_objects_never_get_in(tmp_path, value, name):
    with pytest.raises(ValueError, match=f"metrics/0/f1.*{name}"):
        write_checkpoint(tmp_path / "a.pt", state(metrics=[{"f1": value}]))
    assert list(tmp_path.iterdir()) == []


def test_state_that_holds_itself_or_lacks_a_key_is_refused(tmp_path):
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"loop/0/0.*holds itself"):
        write_checkpoint(tmp_path / "a.pt", state(loop=loop))
    with pytest.raises(ValueError, match="unfolds to"):  # reading would refuse it
        write_checkpoint(tmp_path / "a.pt", state(many=[0] * MAX_VALUES))
    with pytest.raises(ValueError, match=r"epoch.*step"):
        write_checkpoint(tmp_path / "a.pt", {"model": {}, "config": {}})


def test_a_torch_that_writes_other_instructions_does_not_end_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "save", functools.partial(torch.save, pickle_protocol=4))
    write_checkpoint(tmp_path / "a.pt", state())
    verify_checkpoint(tmp_path / "a.pt")


GONE = "gone"


def write_raw(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "format is 3.*reads formats 1 and 2"),
        ({"format": True}, "format is True"),
        ({"format": "1"}, "format is 1"),
        ({"step": -1}, "'step' is -1"),
        ({"step": 1.0}, "'step' is 1.0"),
        ({"epoch": True}, "'epoch' is True"),
        ({"config": []}, "'config'"),
        ({"model": {"a": 1}}, "'model' holds 'a'"),
        ({"model": None}, "'model' is None"),
        *(({key: GONE}, f"no key '{key}'") for key in ("format", *state())),
    ],
)
def test_wrong_contents(tmp_path, change, message):
    contents = {key: value for key, value in {"format": FORMAT, **state(), **change}.items() if value != GONE}
    path = write_raw(tmp_path / "a.pt", contents)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value) and isinstance(caught.value, ValueError)


def test_bare_weights_are_read_as_plain_data_only(tmp_path):
    path = write_raw(tmp_path / "a.pt", torch.nn.Linear(2, 2).state_dict())
    assert isinstance(read_plain(path), OrderedDict)
    with pytest.raises(CheckpointError, match=r"trainer\.init_from"):
        read_checkpoint(path)


def damages(data: bytes):
    """Every kind of damage, from bit flips to files of other kinds."""
    choose = random.Random(0)
    yield from (bytes(len(data)), data + b"\0", data[: len(data) // 2] * 2)
    yield from (spoilt(data, choose) for spoilt, _ in itertools.product(KINDS.values(), range(20)))
    for position in range(len(data) - 120, len(data)):  # the end of the archive and the digest, byte by byte
        yield data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        yield data[:position]


def test_no_damage_goes_unseen(tmp_path):
    path = tmp_path / "a.pt"
    write_checkpoint(path, state())
    for damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        for read in (read_checkpoint, verify_checkpoint):
            with pytest.raises(CheckpointError, match=r"a\.pt"):
                read(path)


def test_without_digest_no_damage_changes_the_content(tmp_path):
    path = write_raw(tmp_path / "a.pt", {"format": FORMAT, **state()})
    content = repr(read_checkpoint(path))
    for damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            loaded = read_checkpoint(path)
        except CheckpointError:
            continue  # all but some bits of padding and of dates
        assert repr(loaded) == content and torch.equal(loaded["model"]["weight"], state()["model"]["weight"])


def test_missing_and_other_files(tmp_path):
    (tmp_path / "text.pt").write_text("not a checkpoint")
    for name, message in (("none.pt", "No such file"), ("text.pt", "no archive"), (".", "not a file")):
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / name)


def test_what_cannot_be_read_back_is_not_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    write_checkpoint(path, state(step=1))
    save = torch.save

    def save_damaged(contents, file):
        save(contents, file)
        file.file.seek(2000)
        file.file.write(b"\xff\xff\xff\xff")  # a disk that stores something else
        file.file.seek(0, 2)

    monkeypatch.setattr(torch, "save", save_damaged)
    with pytest.raises(WriteError, match="cannot be read back"):
        write_checkpoint(path, state(step=2))
    assert read_checkpoint(path)["step"] == 1 and len(list(tmp_path.iterdir())) == 1


# Any file: there in full or not at all, whatever goes wrong while it is written.


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt(), SystemExit(), ValueError()])
@pytest.mark.parametrize("where", ["write", "check"])
def test_an_error_passes_on_and_leaves_the_old_file(tmp_path, error, where):
    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"old"))

    def write(file):
        file.write(b"half")
        if where == "write":
            raise error

    def check(temporary):
        assert temporary.read_bytes() == b"half"
        raise error

    with pytest.raises(WriteError if isinstance(error, OSError) else type(error)) as caught:
        write_durably(path, write, check)
    if isinstance(error, OSError):
        assert caught.value.errno == error.errno and str(caught.value) == f"cannot write {path}: no space"
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_sweep_leaves_all_but_temporary_files(tmp_path):
    for name in (".a.pt.123.tmp", ".b.tmp", "c.tmp", ".d", "e.pt"):
        (tmp_path / name).touch()
    assert [path.name for path in sweep_temporary(tmp_path)] == [".a.pt.123.tmp", ".b.tmp"]
    assert sorted(os.listdir(tmp_path)) == [".d", "c.tmp", "e.pt"]
