"""What may stand in a file of `torch.save`: tensors, and instructions that put plain data around them."""

import os
import pickletools
import re
import zipfile
from typing import BinaryIO

_MAX_INDEX = 1 << 24  # bytes of the index, and of data.pkl: what Python reads piece by piece
_MAX_PICKLE = 1 << 26
_RECORDS = re.compile(
    r"[^/]+/(data\.pkl|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d+)"
)
_OPCODES = frozenset([
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE",
    "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS",
])  # fmt: skip
_GLOBALS = re.compile(
    r"collections (OrderedDict|Counter)"
    r"|torch\._utils _rebuild_(tensor_v2|tensor_v3|parameter)"
    r"|torch\.storage UntypedStorage"
    r"|torch (\w+Storage|bool|u?int\d+|b?float\d\w*|complex\d+)"
)


def check_archive(file: BinaryIO, comment_size: int, check_crc: bool) -> None:
    """ValueError or BadZipFile unless `file` is an archive of torch.save with plain data and tensors alone.

    `torch.load(weights_only=True)` allows more than that: bytearray(10**11), sparse tensors, quantised ones.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 22 - comment_size, 0))
    end = file.read(22)
    if end[:4] != b"PK\x05\x06" or int.from_bytes(end[20:], "little") != comment_size:
        raise ValueError("it is no archive of torch.save, or its end is missing")
    if int.from_bytes(end[12:16], "little") > _MAX_INDEX:
        raise ValueError("the index of the archive is too large")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_entries(entries, size)
        if check_crc and (bad_name := archive.testzip()):
            raise ValueError(f"its entry {bad_name} does not match its checksum")
        _check_pickle(archive, entries[0].filename.split("/")[0] + "/data.pkl")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    for entry in entries:
        if not _RECORDS.fullmatch(entry.filename):
            raise ValueError(f"it has an entry {entry.filename[:80]!r}, which torch.save does not write")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"its entry {entry.filename} is compressed")
    names = {entry.filename for entry in entries}
    if len(names) < len(entries) or len({name.split("/")[0] for name in names}) != 1:
        raise ValueError("it has no entries, two of the same name, or several roots")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its entries are larger than the file")


def _check_pickle(archive: zipfile.ZipFile, name: str) -> None:
    """ValueError for any instruction beyond those for plain data and tensors; reads them and runs none."""
    if archive.getinfo(name).file_size > _MAX_PICKLE:
        raise ValueError(f"its entry {name} is too large")
    for opcode, argument, _ in pickletools.genops(archive.read(name)):
        if opcode.name not in _OPCODES:
            raise ValueError(f"it holds more than plain data and tensors (instruction {opcode.name})")
        if opcode.name == "GLOBAL" and not _GLOBALS.fullmatch(argument):
            raise ValueError(f"it holds more than plain data and tensors ({argument.replace(' ', '.')[:80]})")
