"""Files made to harm: none runs code, takes memory, or gets in."""

import io
import os
import pickle
import resource
import struct
import subprocess
import tarfile
import threading
import time
import zipfile
from collections import OrderedDict
from copy import copy
from functools import partial, reduce
from hashlib import blake2b
from pathlib import Path

import pytest
import torch

from utils.checkpoint import CheckpointError, read_plain, verify_checkpoint

CANARY = "canary"


class Runs:
    """Its pickle calls a function when it is read."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def archive(data_pkl: bytes, storage: bytes = bytes(16), compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """An archive laid out like those of torch.save."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, content in {"data.pkl": data_pkl, "data/0": storage, "version": b"3\n", **more}.items():
            out.writestr(f"archive/{name}", content)
    return file.getvalue()


def tensor_pickle(size: tuple, stride: tuple, numel: int = 4, offset: int = 0) -> bytes:
    """The pickle of {"x": a tensor} over the storage data/0, with whatever sizes it claims."""

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, OrderedDict())

    class Storage: ...

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if isinstance(value, Storage) else None

    out = io.BytesIO()
    Pickler(out, 2).dump({"x": Tensor()})
    return out.getvalue()


def pickled(value: object) -> bytes:
    return pickle.dumps(value, 2)


def called(name: str, given: bytes) -> bytes:
    """The pickle of {"x": name(*given)}; given: the instructions that leave a tuple on the stack."""
    return b"\x80\x02}X\x01\0\0\0xc" + name.replace(" ", "\n").encode() + b"\n" + given + b"Rs."


# The instructions that make a tensor of 10**12 elements of a single number.
ENDLESS = b"ctorch._utils" + tensor_pickle((10**12,), (0,)).partition(b"ctorch._utils")[2][:-2]
# {"x": 10,000 numbers}, remembered as number 1
MANY = b"\x80\x02}X\x01\0\0\0x(" + b"K\0" * 10_000 + b"tq\x01s"


def with_digest(data: bytes) -> bytes:
    """The file with a digest that is right, as write_checkpoint leaves it, where it is an archive without a comment."""
    return data[:-2] + b"H\0blake2b:" + blake2b(data, digest_size=32).hexdigest().encode()


def deep(kind: str, depth: int = 100_000) -> bytes:
    nested = b"]" * depth + b"a" * (depth - 1) if kind == "list" else b")" + b"\x85" * depth
    return b"\x80\x02}X\x01\0\0\0x" + nested + b"s."


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def bomb() -> bytes:
    """Compressed: 100 KB that unpack to 100 MB."""
    return archive(tensor_pickle((4,), (1,)), bytes(100_000_000), zipfile.ZIP_DEFLATED)


def overlapping() -> bytes:
    """Entries that share their bytes: an index that claims far more than the file holds."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", pickled({}))
        out.writestr("archive/data/0", bytes(100_000))
        for number in range(1, 2000):
            info = copy(out.getinfo("archive/data/0"))
            info.filename = f"archive/data/{number}"
            out.filelist.append(info)
    return file.getvalue()


LAUGHS = reduce(lambda value, _: [value, value], range(60), [])  # a tree of 2**60 values in 60 lists
CALLS = {
    "os.system": Runs(os.system, f"touch {CANARY}"),
    "eval": Runs(eval, f"open('{CANARY}', 'w')"), "exec": Runs(exec, f"open('{CANARY}', 'w')"),
    "open": Runs(open, CANARY, "w"), "subprocess": Runs(subprocess.call, ["touch", CANARY]),
    "getattr": Runs(getattr, [], "append"), "import": Runs(__import__, "antigravity"),
    "torch.load": Runs(torch.load, "other.pt"), "torch.jit.load": Runs(torch.jit.load, "other.pt"),
    "torch.hub": Runs(torch.hub.load, "owner/repository", "model"),
    "bytearray": Runs(bytearray, 10**11), "torch.zeros": Runs(torch.zeros, 10**9),
    "storage": Runs(torch.UntypedStorage, 10**9), "sparse": Runs(torch.sparse_coo_tensor, [], [], 10**12),
    "set": Runs(set, [1]), "complex": Runs(complex, 1), "device": Runs(torch.device, "cpu"),
    "meta": Runs(torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (10**12,), (1,), False),
    "parameter of a list": Runs(torch._utils._rebuild_parameter, [1], True, OrderedDict()),
}  # fmt: skip
# What tensors claim of themselves: size, stride, numbers in their storage (4 in truth), offset.
CLAIMS = {
    "stride 0": ((10**12,), (0,)), "stride 0 twice": ((10**6, 10**6), (0, 0)), "stride negative": ((2,), (-1,)),
    "size beyond the storage": ((10**12,), (1,)), "size negative": ((-1,), (1,)),
    "size overflows": ((2**32, 2**32), (1, 1)), "size too large for an int": ((2**70,), (1,)),
    "many dimensions": ((1,) * 100_000, (1,) * 100_000),
    "offset": ((1,), (1,), 4, 10**12), "offset negative": ((1,), (1,), 4, -4),
    "storage smaller than claimed": ((10**6,), (1,), 10**6), "storage absurd": ((1,), (1,), 10**14),
    "storage negative": ((1,), (1,), -1),
}  # fmt: skip
CPU = b"ctorch\nfloat64\nX\x03\0\0\0cpu\x89t"
PICKLES = {
    **{f"calls {name}": pickled({"x": call}) for name, call in CALLS.items()},
    **{name: tensor_pickle(*claim) for name, claim in CLAIMS.items()},
    "object": pickled({"x": Path("a")}), "function": pickled({"x": print}), "class": pickled({"x": dict}),
    "module class": b"\x80\x02}X\x01\0\0\0xctorch.nn\nLinear\ns.",
    "newer protocol": pickle.dumps({"x": Runs(print)}, 5),
    "instruction INST": b"(S'touch canary'\nios\nsystem\n.", "instruction OBJ": b"(cos\nsystem\nS'touch canary'\no.",
    "extension": b"\x80\x02\x82\x01.",
    "endless Counter": called("collections Counter", ENDLESS + b"\x85"),
    "endless OrderedDict": called("collections OrderedDict", b"](" + ENDLESS + b"e\x85"),
    "endless arguments": called("collections OrderedDict", ENDLESS),
    "endless Size": called("torch Size", ENDLESS + b"\x85"),
    "endless storage": called("torch.storage UntypedStorage", ENDLESS + b"\x85"),
    "endless attributes": b"\x80\x02}X\x01\0\0\0xccollections\nOrderedDict\n)R" + ENDLESS + b"bs.",
    "endless copy": called("torch._utils _rebuild_device_tensor_from_cpu_tensor", b"(" + ENDLESS + CPU),
    "copies": MANY + b"ctorch\nSize\nh\x01\x85R" * 100_000 + b".",
    "hashes": MANY + b"ccollections\nCounter\n](" + b"h\x01" * 100_000 + b"e\x85R.",
    "keys": MANY + b"h\x01K\0s" * 100_000 + b".", "deep key": b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\0s.",
    "FloatTensor": called("torch FloatTensor", b"\x8a\x05\0\0\0\0\x10\x85"),
    "punycode": called(
        "_codecs encode", b"X\x40\x0d\x03\0" + "é".encode() * 100_000 + b"X\x08\0\0\0punycode\x86"
    ),
    "deep list": deep("list"), "deep tuple": deep("tuple"), "laughs": pickled({"x": LAUGHS}),
    "holds itself": b"\x80\x02}q\0X\x01\0\0\0xh\0s.", "key tuple": pickled({(1, 2): 3}),
    "attributes": b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsK\x01sb.",
    "empty pickle": b"", "pickle cut": pickled({"x": [1, 2, 3]})[:-4], "pickle of noise": bytes(range(256)),
    "stack underflow": b"\x80\x02R.", "memo unknown": b"\x80\x02h\x07.",
    "text too long": b"\x80\x02X\xff\xff\xff\x7fabc.",
}  # fmt: skip
FILES = {
    **{name: partial(archive, pickle) for name, pickle in PICKLES.items()},
    **{f"is {name}": partial(pickled, {"x": call}) for name, call in CALLS.items()},
    "model": lambda: saved(torch.nn.Linear(1, 1)),
    "no dict": lambda: saved([1, 2]), "tensor alone": lambda: saved(torch.zeros(2)),
    "bomb": bomb, "overlapping": overlapping, "tar": lambda: tarfile.TarInfo("storages").tobuf() + bytes(9728),
    "no pickle": lambda: archive(b"", **{"data.pkl2": b""}),
    "script": lambda: archive(pickled({}), **{"constants.pkl": pickled(()), "code/__torch__.py": b""}),
    "name climbs": lambda: archive(pickled({}), **{"../../evil": b"x"}),
    "byte order": lambda: archive(tensor_pickle((4,), (1,)), byteorder=b"evil"),
    "empty zip": lambda: b"PK\x05\x06" + bytes(18),
    "index claims all": lambda: b"PK\x05\x06" + bytes(6) + struct.pack("<HII", 65535, 2**32 - 1, 0) + bytes(2),
    "legacy": lambda: pickled(0x1950A86A20F9469CFC6C) + pickled(1001) + pickled({"x": CALLS["os.system"]}),
    "numpy": lambda: b"\x93NUMPY\x01\0" + bytes(100), "gzip": lambda: b"\x1f\x8b\x08" + bytes(100),
    "text": lambda: b"hello\n" * 1000, "empty": lambda: b"",
    "noise": lambda: bytes((i * 7919) % 256 for i in range(10_000)),
}  # fmt: skip


@pytest.mark.parametrize("how", ["", "FORCE_NO_WEIGHTS_ONLY", "with a right digest"])
@pytest.mark.parametrize("name", FILES)
def test_refused(tmp_path, monkeypatch, name, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    data = FILES[name]()
    path.write_bytes(with_digest(data) if how == "with a right digest" else data)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", str(int(how == "FORCE_NO_WEIGHTS_ONLY")))
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        read_plain(path)
    assert time.process_time() - started < 5  # it is 1 at most
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


def test_the_archive_of_these_tests_is_well_formed(tmp_path):
    data = archive(tensor_pickle((2, 2), (2, 1)), **{".what_a_later_torch_adds": b"1"})
    for each in (data, with_digest(data)):
        (tmp_path / "a.pt").write_bytes(each)
        verify_checkpoint(tmp_path / "a.pt")
        assert torch.equal(read_plain(tmp_path / "a.pt")["x"], torch.zeros(2, 2))


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writing = os.open(tmp_path / "pipe", os.O_RDWR)
    let_go = threading.Timer(30, os.close, [writing])  # and who reads gets nothing
    let_go.start()
    with pytest.raises(CheckpointError, match="not a file"):
        read_plain(tmp_path / "pipe")
    let_go.cancel()
    os.close(writing)
