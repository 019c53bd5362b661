"""Own pictures: resized, and decoded once into a cache."""

import itertools
import logging
import os

import pytest
import torch

from data_loader.pictures.folder import ImageFolder
from data_loader.samples import DataError
from tests import running
from tests.make_data import write_pictures
from tests.process import python
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")


def loader_of(root, split="train", transforms=(), settings=(), **args):
    args = {"root": str(root), **args}
    training = split == "train"
    return running.loader_of("ImageFolder", split, training, transforms, args=args, **dict(settings))


def break_pictures(root, *names):
    for name in names:
        (root / name).write_bytes((root / name).read_bytes()[:200])


def test_pictures_are_resized_and_caches_hold_the_same_bits(tmp_path):
    for part, num_each in (("train", 10), ("test", 4)):
        write_pictures(tmp_path / part, ["a"], num_each, size=(20, 30))
        write_pictures(tmp_path / part, ["b"], num_each, size=(16, 16))
    for split, size in itertools.product(("train", "valid", "test"), (20, [16, 24])):
        plain, *cached = (
            list(loader_of(tmp_path, split, cache=cache, size=size).batches(epoch=1)) for cache in (None, "ram", "disk")
        )
        assert plain[0].data[0].shape[1:] == (3, *(size if isinstance(size, list) else [size, size]))
        for batches in cached:
            running.assert_same(plain, batches)
    single = ImageFolder("valid", str(tmp_path), size=20, cache="disk")
    assert torch.equal(single[1][0], ImageFolder("valid", str(tmp_path), size=20)[1][0])
    assert ImageFolder("valid", str(tmp_path)).__getitems__ is None


def test_a_cache_on_disk_is_built_once_and_again_when_pictures_change(tmp_path):
    write_pictures(tmp_path / "data", num_each=4)
    whole = {"root": str(tmp_path / "data"), "valid_fraction": 0, "test_fraction": 0}
    cached = {**whole, "cache": "disk", "cache_folder": str(tmp_path / "cache")}

    def times():
        return sorted(path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.uint8"))

    ImageFolder("train", **cached)
    built = times()
    ImageFolder("train", **cached)
    assert times() == built and len(built) == 1
    ImageFolder("train", size=8, **cached)
    os.utime(tmp_path / "data" / "cat" / "0000.jpg")
    ImageFolder("train", **cached)
    assert len(times()) == 2  # of each size one
    for path in (tmp_path / "cache").glob("*.uint8"):
        os.truncate(path, 1000)  # a damaged file is built again
    assert torch.equal(ImageFolder("train", **cached)[7][0], ImageFolder("train", **whole)[7][0])
    assert not list((tmp_path / "cache").glob(".*.tmp"))


# A process that the kernel kills at a byte in the middle of the cache, then two that build it at once.
BUILDERS = """
import os, resource, signal, sys
from pathlib import Path
from data_loader.pictures.folder import ImageFolder
def build(is_victim=False):
    if child := os.fork():
        return child
    if is_victim:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    ImageFolder("train", sys.argv[1], cache="disk", size=256)
    os._exit(0)
def code_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert code_of(build(is_victim=True)) == -signal.SIGXFSZ
(left,) = Path(sys.argv[1], ".cache").glob("*pictures*")
assert left.name.endswith(".tmp") and left.stat().st_size > 1_000_000
builders = [build(), build()]
assert [*map(code_of, builders)] == [0, 0]
"""


def test_a_cache_is_safe_when_its_builder_is_killed_or_not_alone(tmp_path):
    pytest.importorskip("resource")  # not on Windows
    write_pictures(tmp_path, num_each=20, size=(64, 64))
    python("-c", BUILDERS, tmp_path)  # decoding takes threads, which torch has not after a fork
    assert len(list((tmp_path / ".cache").glob("*.uint8"))) == 1
    assert not list((tmp_path / ".cache").glob(".*.tmp"))
    cached = ImageFolder("train", str(tmp_path), cache="disk", size=256)
    plain = ImageFolder("train", str(tmp_path), size=256)
    assert all(torch.equal(cached[index][0], plain[index][0]) for index in range(0, len(plain), 10))


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    write_pictures(tmp_path, num_each=4)
    told = r"(?s)could not write the picture cache .*: .*too large.*It needs 0.0 GB"
    with running.full_disk(10_000), pytest.raises(UserError, match=told):  # the third picture fails
        ImageFolder("train", str(tmp_path), cache="disk")
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["lock"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"(?s)could not write the picture cache .*dataset.args.cache_folder"):
        ImageFolder("train", str(tmp_path), cache="disk", cache_folder=str(tmp_path / "file" / "cache"))


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_pictures_that_cannot_be_read_are_left_out_of_a_cache_as_without_one(tmp_path, cache, caplog):
    write_pictures(tmp_path, num_each=15)
    bad = {tmp_path / "dog" / f"{index:04d}.jpg" for index in (3, 7)}
    break_pictures(tmp_path, *bad)
    (tmp_path / "cat" / "0002.jpg").unlink()
    os.symlink(tmp_path / "nowhere.jpg", tmp_path / "cat" / "0002.jpg")
    bad.add(tmp_path / "cat" / "0002.jpg")
    whole = {"valid_fraction": 0, "test_fraction": 0}
    read = {}
    for how in (None, cache, cache):  # built, and opened again
        caplog.clear()
        loader = loader_of(tmp_path, settings={"skip_bad_samples": 3}, cache=how, **whole)
        with caplog.at_level(logging.WARNING):
            read.setdefault(how, []).append([(batch.indices, batch.data) for batch in loader.batches(epoch=1)])
        left_out = [record.getMessage() for record in caplog.records]
        assert len(left_out) == 3 and all(any(str(path) in line for line in left_out) for path in bad)
        if how:
            assert loader.dataset.notes[-1].startswith("3 of 45 pictures are unreadable:\n")
            assert all(f"{path}: " in loader.dataset.notes[-1] for path in bad)
            assert loader.dataset.as_tensors() is None  # a GPU would be given them
    assert sum(len(indices) for indices, _ in read[None][0]) == 44 - 3  # the last batch is not full
    for batches in read[cache]:
        running.assert_same(read[None][0], batches)


@pytest.mark.parametrize("cache", [None, "ram", "disk"])
def test_the_first_picture_that_cannot_be_read_ends_a_run_that_skips_none(tmp_path, cache):
    write_pictures(tmp_path, num_each=15)
    break_pictures(tmp_path, *(f"dog/{index:04d}.jpg" for index in range(3, 15)))
    loader = loader_of(tmp_path, cache=cache)
    told = r"sample \d+ \(.*dog/00\d\d.jpg\) could not be read: OSError: Image is incomplete or truncated; mend it"
    with pytest.raises(DataError, match=told):
        list(loader.batches())
    if cache:  # which tells of all of them at the start
        whole = ImageFolder("train", str(tmp_path), cache=cache, valid_fraction=0, test_fraction=0)
        assert len(whole.notes[-1].splitlines()) == 12 and whole.notes[-1].endswith("\n... and 2 more")


@pytest.mark.parametrize("size", [None, 32])
def test_a_cache_of_nothing_but_unreadable_pictures_is_refused(tmp_path, size):
    write_pictures(tmp_path, ["cat"], num_each=2)
    break_pictures(tmp_path, "cat/0000.jpg", "cat/0001.jpg")
    for cache in ("ram", "disk"):
        with pytest.raises(UserError, match=r"2 of 2 pictures are unreadable:\n.*0000.jpg: .*\n.*0001.jpg: "):
            ImageFolder("train", str(tmp_path), size, cache=cache, valid_fraction=0, test_fraction=0)
    assert not list(tmp_path.glob(".cache/*pictures*"))


def test_a_cache_is_built_again_when_an_unreadable_picture_becomes_readable(tmp_path):
    """As when a network file system was away: the file itself has not changed."""
    write_pictures(tmp_path / "data", num_each=4)
    picture, away = tmp_path / "data" / "cat" / "0000.jpg", tmp_path / "away.jpg"
    picture.rename(away)
    picture.mkdir()
    os.rmdir(picture)
    os.symlink(away, picture)
    truth = away.read_bytes()
    status = away.stat()

    def write(data):
        away.write_bytes(data)
        os.utime(away, ns=(status.st_atime_ns, status.st_mtime_ns))

    write(bytes(len(truth)))
    whole = {"root": str(tmp_path / "data"), "valid_fraction": 0, "test_fraction": 0}
    assert len(ImageFolder("train", cache="disk", **whole).notes) == 1
    write(truth)
    mended = ImageFolder("train", cache="disk", **whole)
    assert mended.notes == [] and torch.equal(mended[0][0], ImageFolder("train", **whole)[0][0])
    assert len(list(tmp_path.glob("data/.cache/*.uint8"))) == 1


def test_a_cache_that_is_out_of_date_is_removed_and_no_other(tmp_path):
    """Also while a run has it mapped, whose pictures stay as they were."""
    for root in ("one", "two"):
        write_pictures(tmp_path / root / "train", num_each=4)
        write_pictures(tmp_path / root / "test", num_each=4)

    def build(root="one", split="train", size=16, **args):
        args = {"cache": "disk", "cache_folder": str(tmp_path / "cache"), "valid_fraction": 0, "size": size, **args}
        return ImageFolder(split, str(tmp_path / root), **args)

    def files():
        return {path.name for path in (tmp_path / "cache").glob("*.uint8")}

    first = build()
    (outdated,) = files()
    for others in ({"root": "two"}, {"split": "test"}, {"size": 8}, {"resize": "pad"}):
        build(**others)
    kept = files() - {outdated}
    assert len(kept) == 4 and outdated in files()
    before = first[0][0].clone()
    write_pictures(tmp_path / "one" / "train", ["cat"], num_each=5)
    assert len(build()) == 13
    assert kept < files() and outdated not in files() and len(files()) == 5
    assert torch.equal(first[0][0], before)


def test_what_a_killed_builder_left_is_swept_by_the_next_run(tmp_path):
    write_pictures(tmp_path, num_each=4)
    ImageFolder("train", str(tmp_path), cache="disk")
    left = tmp_path / ".cache" / ".pictures-0-1.uint8.123.tmp"
    left.write_bytes(b"half")
    ImageFolder("train", str(tmp_path), cache="disk")
    assert not left.exists()


def test_pictures_of_different_size_are_named(tmp_path):
    write_pictures(tmp_path, ["a"], num_each=10, size=(20, 20))
    write_pictures(tmp_path, ["b"], num_each=10, size=(20, 21))
    shapes = r"\(3, 20, 2[01]\), \(\)\)"
    with pytest.raises(DataError, match=rf"{shapes}, sample .*{shapes}\. Pictures need one size: add a Resize"):
        list(loader_of(tmp_path).batches())
    with pytest.raises(UserError, match=r"(?s)differ in size: '.*' is 20x20, '.*' is 20x21 .*dataset.args.size"):
        ImageFolder("train", str(tmp_path), cache="ram")
    resize = {"type": "RandomResizedCrop", "args": {"size": [8, 8]}}
    assert next(loader_of(tmp_path, transforms=[resize]).batches()).data[0].shape == (4, 3, 8, 8)
