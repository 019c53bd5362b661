"""Own pictures: which files belong to which part and class, and what is wrong with a folder."""

import os
import unicodedata
from pathlib import Path

import pytest
import torch

from config.problems import ConfigError
from config.schema import DataLoaderConfig, DatasetConfig
from data_loader.build import build_loader
from data_loader.parts import build_parts
from data_loader.pictures.folder import ImageFolder
from tests import running
from tests.make_data import write_pictures
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")

SPLITS = ("train", "valid", "test")
TINY_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415478da63e0e4600700003600195048f9860000000049454e44ae426082"
)


def write_files(root, *paths):
    """Pictures of one pixel; what ends otherwise holds the same bytes."""
    for path in paths:
        (Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
        (Path(root) / path).write_bytes(TINY_PNG)


def part_of_each(root, **args):
    """The split of each picture by its name."""
    parts = {split: ImageFolder(split, str(root), **args) for split in SPLITS}
    return {name: split for split, part in parts.items() for name in part.names}


def built(root, split, preprocessing=None, validation_split=None, **args):
    """A part as train.py and test.py build it."""
    config = DatasetConfig(type="ImageFolder", args={"root": str(root), **args})
    return build_parts(config, DataLoaderConfig(validation_split=validation_split), (split,), 1, preprocessing)[
        split
    ].dataset


def test_one_folder_is_divided_by_seed(tmp_path):
    write_pictures(tmp_path, num_each=20)
    parts = {split: ImageFolder(split, str(tmp_path), test_fraction=0.2) for split in SPLITS}
    assert len({name for part in parts.values() for name in part.files}) == sum(map(len, parts.values())) == 60
    assert len(parts["train"]) > len(parts["test"]) > len(parts["valid"])
    assert parts["train"].part_sizes == {split: len(part) for split, part in parts.items()}
    assert all(part.targets.bincount(minlength=3).min() > 0 for part in parts.values())
    assert parts["train"].classes == ["cat", "dog", "owl"]
    picture, target = parts["train"][0]
    assert (picture.shape, picture.dtype, target.dtype) == ((3, 32, 32), torch.uint8, torch.int64)
    assert picture.float().mean((1, 2)).argmax() == target  # each class has its colour
    other = ImageFolder("test", str(tmp_path), test_fraction=0.2, split_seed=1)
    assert other.files != parts["test"].files
    counted = [len(ImageFolder(split, str(tmp_path), test_fraction=7, valid_fraction=5)) for split in SPLITS]
    assert counted == [48, 5, 7]


def test_of_10_000_pictures_one_added_and_one_removed_move_no_other(tmp_path):
    write_files(tmp_path, *(f"class{number % 10}/{number}.png" for number in range(10_000)))
    before = part_of_each(tmp_path)
    assert len(before) == 10_000 and list(before.values()).count("test") in range(900, 1100)
    write_files(tmp_path, "class0/0a.png")
    (tmp_path / "class5" / "1005.png").unlink()
    after = part_of_each(tmp_path)
    assert before.keys() ^ after.keys() == {"class0/0a.png", "class5/1005.png"}
    assert all(after[name] == before[name] for name in before.keys() & after.keys())


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "valid", "test"),
        ("Train", "val", "TEST"),
        ("TRAINING", "Validation", "testing"),
        ("train", None, "test"),
    ],
)
def test_given_parts_are_used_as_they_are(tmp_path, folders):
    for folder, num_each in zip(folders, (20, 3, 2), strict=True):
        if folder:
            write_pictures(tmp_path / folder, num_each=num_each)
    train, valid, test = (ImageFolder(split, str(tmp_path)) for split in SPLITS)
    assert [len(train) + len(valid), len(test)] == [69 if folders[1] else 60, 6]
    assert len(valid) == 9 if folders[1] else 0 < len(valid) < 20  # a tenth of train is held out
    assert not {*map(train.name_of, range(len(train)))} & {*map(valid.name_of, range(len(valid)))}
    assert valid.targets.bincount(minlength=3).min() > 0
    sizes = {"train": len(train), "valid": len(valid)}
    assert train.part_sizes == {**({"train": 60} if folders[1] else sizes), "test": 6}  # a run's summary tells all
    assert test.names[0] == "cat/0000.jpg" and train.groups is None


def test_what_systems_leave_behind_is_passed_over_and_what_else_is_left_out_is_told(tmp_path):
    write_pictures(tmp_path, num_each=4)
    junk = ["cat/.hidden.jpg", "cat/.DS_Store", "cat/Thumbs.db", "dog/Desktop.ini", "dog/__MACOSX/._a.jpg"]
    write_files(tmp_path, *junk, ".git/a.jpg", "__MACOSX/cat/._0000.jpg", "thumbs.db")
    write_pictures(tmp_path / "dog", classes=["nested"], num_each=1)
    whole = {"valid_fraction": 0, "test_fraction": 0}
    data = ImageFolder("train", str(tmp_path), **whole)
    assert data.classes == ["cat", "dog", "owl"] and data.notes == []
    assert data.targets.bincount().tolist() == [4, 5, 4]
    write_files(tmp_path, "readme.md", "a.jpg", "owl/b.HEIC", *(f"cat/{number:02d}.txt" for number in range(12)))
    notes = ImageFolder("train", str(tmp_path), **whole).notes
    assert notes == [
        f"'{tmp_path}': left out, 1 pictures that lie in no class folder: a.jpg",
        f"'{tmp_path}': left out, 13 files that are no pictures: "
        + ", ".join(f"cat/{number:02d}.txt" for number in range(10))
        + " and 3 more",
        f"'{tmp_path}': left out, 1 pictures of a kind that cannot be read here; save them as PNG or JPEG (.heic): "
        "owl/b.HEIC",
    ]


def test_one_class_no_test_part_and_what_lies_beside_the_parts_are_told(tmp_path):
    write_files(tmp_path, *(f"train/cat/{number}.png" for number in range(20)), "unlabelled/a.png", "labels.csv")
    for split in ("train", "valid"):
        assert ImageFolder(split, str(tmp_path)).notes == [
            f"'{tmp_path}': left out, 1 files that are no pictures: labels.csv",
            f"'{tmp_path}': left out, beside the folders of the parts: unlabelled/",
            f"'{tmp_path}' has no test/: there is nothing to test on",
            f"'{tmp_path / 'train'}': one class only, cat",
        ]
    with pytest.raises(UserError, match="has a folder train/ but no test/: put the files to test on there"):
        ImageFolder("test", str(tmp_path))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["cat", "empty"], "no pictures in the class folder empty"),
        (["."], "no class folders; pictures are expected as"),
        (["train/cat"], "no test/"),
        (["train/cat", "train/dog", "test/cat", "test/odg"], r"none of the 2 classes .*: odg \(did you mean dog\?\)"),
        (["train/cat", "test/cat", "Test/cat"], "both Test/ and test/ are its test part; keep one of them"),
        (["valid/cat", "test/cat"], "has test/ but no train/"),
        ([], r"dataset.args.root: no such folder: '.*pictures'"),
    ],
)
def test_a_folder_laid_out_wrongly_is_told(tmp_path, folders, message):
    for folder in folders:
        (tmp_path / "pictures" / folder).mkdir(parents=True)
    write_pictures(tmp_path / "pictures", [folder for folder in folders if folder != "empty"], num_each=1)
    if "Test/cat" in folders and len(os.listdir(tmp_path / "pictures")) < 3:
        pytest.skip("this disk does not tell Test from test")
    with pytest.raises(UserError, match=message):
        ImageFolder("test", str(tmp_path / "pictures"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="who may read every folder")
def test_a_folder_that_may_not_be_read_is_told(tmp_path):
    write_files(tmp_path, "cat/a.png", "dog/b.png", "dog/secret/c.png")
    (tmp_path / "dog" / "secret").chmod(0)
    with pytest.raises(UserError, match=r"cannot read the folder '.*secret': Permission denied"):
        ImageFolder("train", str(tmp_path))


def test_parts_may_lack_classes_of_the_training_part(tmp_path):
    """Their numbers are those of the training part all the same."""
    write_files(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/owl/1.png", "test/owl/1.png", "valid/dog/1.png")
    (tmp_path / "valid" / "cat").mkdir()
    for split, target, lacking in (("test", 2, "cat, dog"), ("valid", 1, "cat, owl")):
        part = ImageFolder(split, str(tmp_path))
        assert part.classes == ["cat", "dog", "owl"] and part.targets.tolist() == [target]
        assert f"'{tmp_path / split}': no pictures of the classes {lacking}" in part.notes
    (tmp_path / "test" / "owl" / "1.png").unlink()
    with pytest.raises(UserError, match="no pictures in the class folders cat, dog, owl"):
        ImageFolder("test", str(tmp_path))


def test_the_pictures_of_a_checkpoint_are_matched_by_name(tmp_path):
    """Where a class folder is missing, the others keep their numbers."""
    write_files(tmp_path, "old/train/cat/1.png", "old/train/dog/1.png", "old/train/owl/1.png", "old/test/cat/1.png")
    preprocessing = built(tmp_path / "old", "train", validation_split=0, size=4, resize="crop").preprocessing
    assert preprocessing == {"classes": ["cat", "dog", "owl"], "size": [4, 4], "resize": "crop"}
    write_files(tmp_path, "new/test/owl/1.png", "new/test/dog/1.png", "flat/owl/1.png", "other/test/owls/1.png")
    part = built(tmp_path / "new", "test", preprocessing)  # no train/ is needed to test
    assert part.classes == ["cat", "dog", "owl"] and part.targets.tolist() == [1, 2]
    assert part.notes == [f"'{tmp_path / 'new' / 'test'}': no pictures of the class cat"]
    assert part[0][0].shape == (3, 4, 4) and part.preprocessing == preprocessing
    flat = built(tmp_path / "flat", "test", preprocessing, test_fraction=1)
    assert flat.targets.tolist() == [2]
    with pytest.raises(
        UserError, match=r"none of the 3 classes trained on: owls \(did you mean owl\?\)\nThe classes: cat"
    ):
        built(tmp_path / "other", "test", preprocessing)


def test_a_checkpoint_sees_pictures_of_the_size_it_was_trained_on(tmp_path):
    write_files(tmp_path, "train/cat/1.png", "test/cat/1.png")
    preprocessing = {"classes": ["cat"], "size": [8, 4], "resize": "pad"}
    config = DatasetConfig(type="ImageFolder", args={"root": str(tmp_path)})
    loader = build_loader(config, DataLoaderConfig(), "test", 0, torch.device("cpu"), preprocessing=preprocessing)
    assert next(loader.batches()).data[0].shape == (1, 3, 8, 4)
    assert built(tmp_path, "test", preprocessing, size=[8, 4], resize="pad").size == (8, 4)
    for args, told in (
        ({"size": 8}, r"size: found \(8, 8\), but the model was trained with \(8, 4\)"),
        ({"resize": "crop"}, "resize: found crop, but the model was trained with pad"),
    ):
        with pytest.raises(UserError, match=rf"dataset\.args\.{told}"):
            built(tmp_path, "test", preprocessing, **args)
    with pytest.raises(UserError, match=r"size: found \(8, 8\), .* with null \(pictures as they are\)"):
        built(tmp_path, "test", preprocessing | {"size": None, "resize": "stretch"}, size=8)


def test_letters_of_two_forms_are_the_same_class(tmp_path):
    """macOS takes an umlaut apart, and so do the archives made there."""
    one, two = (unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD"))
    write_files(tmp_path, f"train/{one}/1.png", f"test/{two}/{two}.png", "train/Aal/1.png")
    test = ImageFolder("test", str(tmp_path))
    assert (test.classes, test.targets.tolist(), test.names) == (["Aal", one], [1], [f"{one}/{one}.png"])
    assert test[0][0].shape == (3, 1, 1)
    write_files(tmp_path, f"test/{one}/2.png")
    if len(os.listdir(tmp_path / "test")) == 2:  # else the disk takes the one for the other
        with pytest.raises(UserError, match=r"two class folders are called B.*r, in other bytes"):
            ImageFolder("test", str(tmp_path))


def test_pictures_of_a_group_stay_in_one_part(tmp_path):
    write_files(tmp_path, *(f"{name}/p{number}_{view}.png" for name in "ab" for number in range(60) for view in "xyz"))
    parts = [ImageFolder(split, str(tmp_path), group=r"/(p\d+)_") for split in SPLITS]
    groups = [set(part.groups) for part in parts]
    assert [len(part) for part in parts] == [6 * len(names) for names in groups]
    assert min(map(len, groups)) > 0 and len(set.union(*groups)) == sum(map(len, groups)) == 60
    assert parts[0].names[0] == "a/p0_x.png" and parts[0].groups[0] == "p0"
    (tmp_path / "a").rename(tmp_path / "train")  # whose class folders are none, but for this one
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "train" / "p0_x.png").rename(tmp_path / "train" / "c" / "p0_x.png")
    assert ImageFolder("train", str(tmp_path), group="(train/c/p0)", valid_fraction=0).groups == ["train/c/p0"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("p(", r"'p\(' is no regular expression: "),
        ("p.", "has 0 groups in parentheses; expected one"),
        ("(p)(.)", "has 2 groups in parentheses; expected one"),
        (r"p(\d+)", r"is not found in 11 of 12 paths: a/0.png, a/1.png, a/10.png, .* and 1 more"),
    ],
)
def test_a_group_that_is_none_is_told(tmp_path, expression, message):
    write_files(tmp_path, "a/p1.png", *(f"a/{number}.png" for number in range(11)))
    with pytest.raises(UserError, match=rf"(?s)^dataset\.args\.group: .*{message}"):
        ImageFolder("train", str(tmp_path), group=expression)


def test_a_part_is_taken_from_a_folder_or_by_a_fraction(tmp_path):
    write_files(tmp_path, *(f"{part}/cat/{number}.png" for part in ("train", "Val", "test") for number in range(9)))
    told = r"valid_fraction \(or data_loader.validation_split\): found 0.2, but .* its own, Val/: leave the one out"
    with pytest.raises(UserError, match=told):
        built(tmp_path, "train", validation_split=0.2)
    assert len(built(tmp_path, "train", validation_split=0)) == 9
    for split in SPLITS:
        with pytest.raises(UserError, match=r"test_fraction: found 0.2, but .* its test part is test/"):
            ImageFolder(split, str(tmp_path), test_fraction=0.2)
    with pytest.raises(ConfigError, match=r"dataset.args.valid_fraction.*a fraction between 0 and 1"):
        running.read(tmp_path, f"dataset={{type: ImageFolder, args: {{root: {tmp_path}, valid_fraction: 1.5}}}}")


def test_home_is_known_by_its_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_files(tmp_path, "pictures/cat/1.png")
    whole = {"valid_fraction": 0, "test_fraction": 0}
    part = ImageFolder("train", "~/pictures", cache="disk", cache_folder="~/cache", **whole)
    assert part.name_of(0) == str(tmp_path / "pictures" / "cat" / "1.png")
    assert len(list(tmp_path.glob("cache/*.uint8"))) == 1
