"""A file is there in full or not at all, whatever goes wrong while it is written."""

import errno
import os

import pytest

from utils.files import WriteError, sweep_temporary, write_durably


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


def test_missing_folder_is_a_readable_error(tmp_path):
    with pytest.raises(WriteError, match=r"cannot write .*none.*file: No such file"):
        write_durably(tmp_path / "none" / "file", lambda file: None)


def test_sweep_leaves_all_but_temporary_files(tmp_path):
    for name in (".a.pt.123.tmp", ".b.tmp", "c.tmp", ".d", "e.pt"):
        (tmp_path / name).touch()
    assert [path.name for path in sweep_temporary(tmp_path)] == [".a.pt.123.tmp", ".b.tmp"]
    assert sorted(os.listdir(tmp_path)) == [".d", "c.tmp", "e.pt"]
