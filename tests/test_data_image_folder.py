"""Own pictures: layouts, sizes, caches and what can be wrong with them."""

import itertools
import os

import numpy
import pytest
import torch
from PIL import Image

from data_loader.image_folder import ImageFolder
from data_loader.pictures import read_picture
from data_loader.samples import DataError
from tests import running
from tests.make_data import write_pictures
from tests.process import python
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")


def loader_of(root, split="train", transforms=(), **args):
    args = {"root": str(root), **args}
    return running.loader_of("ImageFolder", split, training=split == "train", transforms=transforms, args=args)


def test_one_folder_is_divided_by_seed(tmp_path):
    write_pictures(tmp_path, num_each=20)
    parts = {split: ImageFolder(split, str(tmp_path), test_fraction=0.2) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 42, "valid": 6, "test": 12}
    assert len({name for part in parts.values() for name in part.files}) == 60
    assert parts["test"].targets.bincount().tolist() == [4, 4, 4]
    assert parts["train"].classes == ["cat", "dog", "owl"]
    picture, target = parts["train"][0]
    assert (picture.shape, picture.dtype, target.dtype) == ((3, 32, 32), torch.uint8, torch.int64)
    assert picture.float().mean((1, 2)).argmax() == target  # each class has its colour
    other = ImageFolder("test", str(tmp_path), test_fraction=0.2, split_seed=1)
    assert other.files != parts["test"].files


@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        ({"train": 8, "valid": 3, "test": 2}, [24, 9, 6]),
        ({"train": 8, "val": 3, "test": 2}, [24, 9, 6]),
        ({"train": 10, "test": 2}, [24, 6, 6]),  # a fifth of train is held out
    ],
)
def test_given_parts_are_used_as_they_are(tmp_path, folders, sizes):
    for part, num_each in folders.items():
        write_pictures(tmp_path / part, num_each=num_each)
    train, valid, test = (ImageFolder(split, str(tmp_path), valid_fraction=0.2) for split in ("train", "valid", "test"))
    assert [len(train), len(valid), len(test)] == sizes
    assert not {*map(train.name_of, range(sizes[0]))} & {*map(valid.name_of, range(sizes[1]))}
    assert valid.targets.bincount().tolist() == [sizes[1] // 3] * 3


def test_other_files_are_left_out(tmp_path):
    write_pictures(tmp_path, num_each=4)
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "cat" / ".hidden.jpg").write_text("not a picture")
    (tmp_path / ".git").mkdir()
    write_pictures(tmp_path / "dog", classes=["nested"], num_each=1)
    data = ImageFolder("train", str(tmp_path), valid_fraction=0, test_fraction=0)
    assert data.classes == ["cat", "dog", "owl"]
    assert data.targets.bincount().tolist() == [4, 5, 4]


def test_formats_are_decoded_alike(tmp_path):
    write_pictures(tmp_path, ["png"], num_each=1, ending=".png", size=(5, 7))
    with Image.open(tmp_path / "png" / "0000.png") as picture:
        for ending in ("bmp", "tif", "webp"):
            (tmp_path / ending).mkdir()
            picture.save(tmp_path / ending / f"a.{ending}", **({"lossless": True} if ending == "webp" else {}))
        (tmp_path / "zgrey").mkdir()
        picture.convert("L").save(tmp_path / "zgrey" / "a.jpg")
    data = ImageFolder("train", str(tmp_path), valid_fraction=0, test_fraction=0)
    assert [torch.equal(data[index][0], data[1][0]) for index in range(5)] == [True] * 4 + [False]
    assert data.classes[1] == "png" and data[4][0].shape == (3, 5, 7)


def test_sixteen_bits_are_scaled_and_more_are_refused(tmp_path):
    """Not cut off at 255, which makes a white picture."""
    grey = numpy.full((8, 8), 40000, dtype=numpy.uint16)
    for ending in ("png", "tif"):
        Image.fromarray(grey).save(tmp_path / f"a.{ending}")
        assert abs(read_picture(tmp_path / f"a.{ending}", None).float().mean() - 40000 / 257) < 1
    Image.fromarray(grey.astype(numpy.float32)).save(tmp_path / "a.tif")
    with pytest.raises(OSError, match="32 bits a pixel"):
        read_picture(tmp_path / "a.tif", None)


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
    assert len(times()) == 3
    for path in (tmp_path / "cache").glob("*.uint8"):
        os.truncate(path, 1000)  # a damaged file is built again
    assert torch.equal(ImageFolder("train", **cached)[7][0], ImageFolder("train", **whole)[7][0])
    assert not list((tmp_path / "cache").glob(".*.tmp"))


# A process that the kernel kills at a byte in the middle of the cache, then two that build it at once.
BUILDERS = """
import os, resource, signal, sys
from pathlib import Path
from data_loader.image_folder import ImageFolder
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
    python("-c", BUILDERS, tmp_path)
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


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["cat", "empty"], "no pictures in the class folder empty"),
        (["."], "no class folders; pictures are expected as"),
        (["train/cat"], "no test/"),
        (["train/cat", "train/dog", "test/cat", "test/owl"], "same class folders; missing: dog; too many: owl"),
        ([], r"dataset.args.root: no such folder: '.*pictures'"),
    ],
)
def test_a_folder_laid_out_wrongly_is_told(tmp_path, folders, message):
    for folder in folders:
        (tmp_path / "pictures" / folder).mkdir(parents=True)
    write_pictures(tmp_path / "pictures", [folder for folder in folders if folder != "empty"], num_each=1)
    with pytest.raises(UserError, match=message):
        ImageFolder("test", str(tmp_path / "pictures"))


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_cache_names_all_unreadable_pictures_at_once_and_otherwise_the_first_is_named(tmp_path, cache):
    write_pictures(tmp_path, num_each=15)
    for index in range(3, 15):
        broken = tmp_path / "dog" / f"{index:04d}.jpg"
        broken.write_bytes(broken.read_bytes()[:200])
    told = r"sample \d+ \(.*dog/00\d\d.jpg\) could not be read: OSError: Image is incomplete or truncated; mend it"
    with pytest.raises(DataError, match=told):
        list(loader_of(tmp_path).batches())
    with pytest.raises(UserError, match=r"(?s)unreadable pictures:.*dog/0003.jpg.*dog/0004.jpg.*and 2 more"):
        ImageFolder("train", str(tmp_path), cache=cache, valid_fraction=0, test_fraction=0)
    assert not list(tmp_path.glob(".cache/*.uint8"))


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
