"""The archive that `torch.save` writes, looked at before torch reads it."""

import os
import zipfile
from typing import BinaryIO

_MAX_INDEX = 1 << 24  # bytes of the index, and of data.pkl: what Python reads piece by piece
_MAX_PICKLE = 1 << 26


def check_archive(file: BinaryIO, comment_size: int, check_crc: bool) -> bytes:
    """The pickle in an archive of torch.save; ValueError or BadZipFile where the archive could do harm."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 22 - comment_size, 0))
    end = file.read(22)
    if end[:4] != b"PK\x05\x06" or int.from_bytes(end[20:], "little") != comment_size:
        raise ValueError("it is no archive of torch.save, or its end is missing")
    if int.from_bytes(end[12:16], "little") > _MAX_INDEX:
        raise ValueError("the index of the archive is too large")
    with zipfile.ZipFile(file) as archive:
        _check_entries(archive.infolist(), size)
        if check_crc and (bad_name := archive.testzip()):
            raise ValueError(f"its entry {bad_name} does not match its checksum")
        name = archive.namelist()[0].split("/")[0] + "/data.pkl"
        if archive.getinfo(name).file_size > _MAX_PICKLE:
            raise ValueError(f"its entry {name} is too large")
        return archive.read(name)


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    for entry in entries:
        if ".." in entry.filename.split("/"):
            raise ValueError(f"it has an entry {entry.filename[:80]!r}, which torch.save does not write")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"its entry {entry.filename[:80]!r} is compressed")
    names = {entry.filename for entry in entries}
    if len(names) < len(entries) or len({name.split("/")[0] for name in names}) != 1:
        raise ValueError("it has no entries, two of the same name, or several roots")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its entries are larger than the file")
