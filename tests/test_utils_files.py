"""A file is there in full or not at all, whatever goes wrong while it is written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.files import WriteError, link_atomically, make_folder, sweep_temporary, write_durably

ROOT = Path(__file__).parents[1]


def test_write_and_replace(tmp_path):
    for content in (b"first", b"second, longer"):
        write_durably(tmp_path / "file", lambda file, content=content: file.write(content))
        assert (tmp_path / "file").read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_failed_write_leaves_the_old_file(tmp_path, code):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of the new")
        raise OSError(code, os.strerror(code))

    with pytest.raises(WriteError, match=os.strerror(code)) as caught:
        write_durably(path, fail)
    assert caught.value.errno == code and str(path) in str(caught.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_any_error_passes_on_and_leaves_nothing(tmp_path, error):
    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_durably(tmp_path / "file", fail)
    assert os.listdir(tmp_path) == []


def test_failed_check_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def check(temporary):
        assert temporary.read_bytes() == b"new"
        raise ValueError("not good")

    with pytest.raises(ValueError, match="not good"):
        write_durably(path, lambda file: file.write(b"new"), check)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_missing_folder_is_a_readable_error(tmp_path):
    with pytest.raises(WriteError, match=r"cannot write .*none.*file: No such file"):
        write_durably(tmp_path / "none" / "file", lambda file: None)


def test_full_disk(tmp_path):
    """A real one: a file system of 64 KiB, in a mount namespace that ends with the process."""
    code = f"""
import os
from utils.files import write_durably, WriteError
path = {str(tmp_path)!r} + "/file"
write_durably(path, lambda file: file.write(b"old"))
try:
    write_durably(path, lambda file: file.write(bytes(1 << 20)))
except WriteError as error:
    print(error.strerror, os.listdir({str(tmp_path)!r}), open(path).read())
"""
    mount = f'mount -t tmpfs -o size=64k tmpfs "{tmp_path}" && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, sys.executable, code]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("may not mount a file system")
    assert done.stdout == "No space left on device ['file'] old\n", done.stderr


def test_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = f"""
import os, signal
from utils.files import write_durably
def write(file):
    file.write(bytes(1 << 20))
    os.kill(os.getpid(), signal.SIGKILL)
write_durably({str(path)!r}, write)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert path.read_bytes() == b"old" and len(os.listdir(tmp_path)) == 2
    assert len(sweep_temporary(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_link_follows(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        link_atomically(tmp_path / "link", name)
        assert (tmp_path / "link").read_text() == name
        assert os.readlink(tmp_path / "link") == name
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "link"]


def test_hard_link_without_symbolic_ones(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EPERM, "no symbolic links here")

    monkeypatch.setattr(os, "symlink", refuse)  # what the file system, not our code, would say
    (tmp_path / "a").write_text("a")
    link_atomically(tmp_path / "link", "a")
    assert os.path.samefile(tmp_path / "link", tmp_path / "a") and not (tmp_path / "link").is_symlink()


def test_make_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        make_folder(tmp_path / "file" / "a")


def test_sweep_leaves_all_but_temporary_files(tmp_path):
    for name in (".a.pt.123.tmp", ".b.tmp", "c.tmp", ".d", "e.pt"):
        (tmp_path / name).touch()
    assert [path.name for path in sweep_temporary(tmp_path)] == [".a.pt.123.tmp", ".b.tmp"]
    assert sorted(os.listdir(tmp_path)) == [".d", "c.tmp", "e.pt"]


def test_a_failing_disk_is_not_taken_for_one_without_symbolic_links(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "symlink", fail)
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="No space left"):
        link_atomically(tmp_path / "link", "folder")
