"""Folds of sounds, texts and pictures: scikit-learn's, unseen by what is fitted, each sample predicted once."""

import csv
from pathlib import Path

import numpy
import pytest
import soundfile
import torch
from PIL import Image
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

import predict as predict_script
import sweep as sweep_script
from config.problems import ConfigError
from config.schema import DataLoaderConfig, DatasetConfig, FoldConfig
from data_loader.build import build_loaders
from data_loader.parts import build_parts
from tests import running
from tests.make_data import write_csv
from tests.running import evaluate, resume
from utils.errors import UserError

SEED, NUM = 7, 48
CLASSES = ["ab"[number % 3 == 0] for number in range(NUM)]
PERSONS = [f"p{number // 4}" for number in range(NUM)]
TEXTS = [f"{CLASSES[number]} {CLASSES[number]} only{number}" for number in range(NUM)]
LENGTHS = [400 + 10 * (number * 7 % NUM) for number in range(NUM)]
IN_FILE_NAME = {"group": r"_(p\d+)\."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same 48 samples of 12 persons, each with a word, a length or a colour of its own, in each kind of files."""
    root = tmp_path_factory.mktemp("data")
    noise = numpy.random.default_rng(0).standard_normal(2000) / 10
    for number, (name, person) in enumerate(zip(CLASSES, PERSONS, strict=True)):
        for kind in ("sounds", "texts", "pictures"):
            (root / kind / name).mkdir(parents=True, exist_ok=True)
        stem = f"{name}/{number:02d}_{person}"
        soundfile.write(root / f"sounds/{stem}.wav", noise[number : number + LENGTHS[number]], 8000)
        (root / f"texts/{stem}.txt").write_text(TEXTS[number])
        Image.new("RGB", (2, 2), (number, 0, 0)).save(root / f"pictures/{stem}.png")
    columns = {"text": TEXTS, "target": CLASSES, "who": PERSONS, "size": [float(length) for length in LENGTHS]}
    write_csv(root / "texts.csv", columns)
    return root


def dataset_of(kind: str, folder: Path) -> tuple[str, dict]:
    """A dataset's name and its arguments."""
    return {
        "sounds": ("SoundFolder", {"root": f"{folder}/sounds"}),
        "texts": ("TextFolder", {"root": f"{folder}/texts", "min_count": 1}),
        "pictures": ("ImageFolder", {"root": f"{folder}/pictures"}),
        "table": ("TextCSV", {"path": f"{folder}/texts.csv", "min_count": 1}),
    }[kind]


def parts_of(name, args, index, split=None, of=4, splits=("train", "valid", "test"), **fold):
    loader = DataLoaderConfig(validation_split=split, fold=FoldConfig(index=index, of=of, **fold))
    parts = build_parts(DatasetConfig(type=name, args=args), loader, splits, SEED)
    return {split: part.dataset for split, part in parts.items()}


def numbers_of(part) -> list[int]:
    """Which of the 48 samples a part has, by the names that its results are told with."""
    names = map(part.name_of, range(len(part)))
    return [int(name.split("only")[1] if "only" in name else Path(name).name[:2]) for name in names]


@pytest.mark.parametrize("kind", ["sounds", "texts", "pictures", "table"])
@pytest.mark.parametrize(("stratify", "grouped", "splitter"), [
    ("auto", True, StratifiedGroupKFold), (False, True, GroupKFold),
    ("auto", False, StratifiedKFold), (False, False, KFold),
])  # fmt: skip
def test_they_are_scikit_learns(kind, stratify, grouped, splitter, folder):
    order = numpy.arange(NUM) if kind == "table" else numpy.argsort(CLASSES, kind="stable")  # class by class
    group = {"group": "who" if kind == "table" else IN_FILE_NAME["group"]} if grouped else {}
    targets, groups = ([CLASSES[place] for place in order], [PERSONS[place] for place in order] if grouped else None)
    folds = splitter(4, shuffle=True, random_state=SEED).split(order, targets, groups)
    for index, (_, held_out) in enumerate(folds):
        parts = parts_of(*dataset_of(kind, folder), index, stratify=stratify, **group)
        assert numbers_of(parts["test"]) == order[held_out].tolist()
        assert sorted(number for part in parts.values() for number in numbers_of(part)) == [*range(NUM)]
        assert parts["train"].part_sizes == {split: len(part) for split, part in parts.items()}
        persons = [{number // 4 for number in numbers_of(part)} for part in parts.values()]
        assert not grouped or sum(map(len, persons)) == len(set().union(*persons)) == 12
        alone = parts_of(*dataset_of(kind, folder), index, splits=("test",), stratify=stratify, **group)["test"]
        assert numbers_of(alone) == numbers_of(parts["test"]) and alone.preprocessing == parts["train"].preprocessing


@pytest.mark.parametrize("kind", ["texts", "table"])
def test_the_vocabulary_is_that_of_the_samples_trained_on(kind, folder, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("\n".join(f"only{number} {number} 1" for number in range(NUM)))
    name, args = dataset_of(kind, folder)
    for index in range(4):
        parts = parts_of(name, {**args, "vectors": str(vectors)}, index)
        own = {f"only{number}" for number in numbers_of(parts["train"])}
        assert set(parts["train"].preprocessing["vocabulary"]) == own | {"a", "b"}
        assert parts["train"].initial_weights["embedding.weight"].shape == (len(own) + 4, 2)
        for split in ("valid", "test"):
            assert all(parts[split][place][0][2] == 1 for place in range(len(parts[split])))  # unknown
            assert not hasattr(parts[split], "initial_weights")


def test_targets_are_scaled_by_those_trained_on(folder):
    name, args = dataset_of("table", folder)
    more = {"target": "size", "task": "regression", "standardise_target": True}
    for index in range(4):
        parts = parts_of(name, {**args, **more}, index)
        mean, deviation = parts["test"].target_scale
        lengths = [LENGTHS[number] for number in numbers_of(parts["train"])]
        assert (float(mean), float(deviation)) == pytest.approx((numpy.mean(lengths), numpy.std(lengths)))


def test_a_length_is_that_of_the_sounds_trained_on(folder):
    found = set()
    for index in range(4):
        parts = parts_of(*dataset_of("sounds", folder), index)
        found |= {longest := max(LENGTHS[number] for number in numbers_of(parts["train"]))}
        assert {part.length for part in parts.values()} == {longest}
    assert len(found) > 1


def test_classes_are_counted_among_the_samples_trained_on(folder):
    name, args = dataset_of("sounds", folder)
    config = DataLoaderConfig(batch_size=4, num_workers=0, fold=FoldConfig(index=1, of=4, stratify=False))
    loader, _ = build_loaders(DatasetConfig(type=name, args=args), config, SEED, torch.device("cpu"))
    assert loader.targets.tolist() == ["ab".index(CLASSES[number]) for number in numbers_of(loader.dataset)]


def test_a_folder_of_test_files_stays_aside(folder, tmp_path):
    (tmp_path / "train").symlink_to(folder / "texts")
    (tmp_path / "test/a").mkdir(parents=True)
    (tmp_path / "test/a/new.txt").write_text("never seen")
    parts = parts_of("TextFolder", {"root": str(tmp_path), "min_count": 1}, 0)
    assert "new.txt" not in "".join(name for part in parts.values() for name in part.names)
    assert sorted(number for part in parts.values() for number in numbers_of(part)) == [*range(NUM)]


def test_a_fold_is_of_what_is_trained_on(folder):
    """Not of what dataset.split_args name for the test part."""
    root = {"root": f"{folder}/texts"}
    split_args = {"train": root, "valid": root, "test": {"root": f"{folder}/none"}}
    config = DatasetConfig(type="TextFolder", args={"min_count": 1}, split_args=split_args)
    loader = DataLoaderConfig(validation_split=None, fold=FoldConfig(index=0, of=4))
    parts = build_parts(config, loader, ("train", "valid", "test"), SEED)
    assert sorted(number for part in parts.values() for number in numbers_of(part.dataset)) == [*range(NUM)]


@pytest.mark.parametrize("kind", ["sounds", "texts", "table"])
def test_copies_that_come_into_two_parts_are_told(kind, folder, tmp_path):
    if kind == "table":
        write_csv(tmp_path / "texts.csv", {"text": [text[2:] for text in TEXTS[:24]] * 2, "target": ["a", "b"] * 24})
    else:
        for path in sorted((folder / kind).rglob("*.*")):
            for name in ("one", "two"):
                copy = tmp_path / kind / path.parent.name / f"{path.stem}_{name}{path.suffix}"
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    notes = "".join(parts_of(*dataset_of(kind, tmp_path), 0)["train"].notes)
    assert f"{'sounds' if kind == 'sounds' else 'texts'} of the test part are in the training part too" in notes
    assert "too" not in "".join(parts_of(*dataset_of(kind, folder), 0)["train"].notes)


@pytest.mark.parametrize(("name", "args"), [
    ("TextCSV", {"target": "target"}), ("TabularCSV", {"target": "target", "task": "binary", "features": ["size"]}),
])  # fmt: skip
def test_a_validation_part_of_large_groups_is_told(name, args, tmp_path):
    persons = [f"p{number % 3}" for number in range(NUM)]
    write_csv(tmp_path / "few.csv", {"text": TEXTS, "target": CLASSES, "who": persons, "size": map(float, LENGTHS)})
    parts = parts_of(name, {"path": str(tmp_path / "few.csv"), **args}, 0, of=3, group="who")
    assert {split: len(part) for split, part in parts.items()} == {"train": 16, "valid": 16, "test": 16}
    assert "the validation part has 16 of 32 samples, not 3: groups stay whole" in "".join(parts["train"].notes)


@pytest.mark.parametrize(("kind", "fold", "told"), [
    ("sounds", {"group": r"speaker(\d)"}, r"args.group \(or data_loader.fold.group\): .* is not found in 48 of 48"),
    ("texts", {"group": "p."}, "'p.' has 0 groups in parentheses"),
    ("table", {"group": "whom"}, "no column 'whom' .*; did you mean 'who'"),
    ("table", {"of": 13, "group": "who"}, "fold.of: found 13, but the data have 12 groups"),
])  # fmt: skip
def test_what_cannot_be_is_refused(kind, fold, told, folder):
    with pytest.raises(UserError, match=told):
        parts_of(*dataset_of(kind, folder), 0, **fold)


def test_what_does_not_go_with_a_fold_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="TextWindows has no folds: one would be a stretch out of the middle of the"):
        parts_of("TextWindows", {"path": f"{folder}/texts.csv"}, 0)
    sounds = f"dataset={{type: SoundFolder, args: {{root: {folder}/sounds, test_files: p1}}}}"
    with pytest.raises(ConfigError, match=r"dataset.args.test_files: found 'p1' \(text\) beside data_loader.fold"):
        running.read(tmp_path, sounds, "data_loader={fold: {index: 0, of: 2}}")


CONFIG = """\
name: folds
device: cpu
dataset: {type: TYPE, args: ARGS}
data_loader: {batch_size: 8, num_workers: 0, validation_split: 0.02, fold: {group: GROUP}}
model: {type: TextTransformer, args: {width: 4, num_layers: 0}}
loss: {type: CrossEntropyLoss, class_weights: balanced}
metrics: [accuracy]
optimizer: {type: Adam, args: {lr: 1e-2}}
trainer: {epochs: 1, tensorboard: false, monitor: off}
"""
OF_SOUNDS = {
    "type: TextTransformer, args: {width: 4, num_layers: 0}": "type: SoundCNN, args: {channels: [4]}",
    "}\ndata_loader": ", batch_transforms: {train: [{type: LogMel, args: {window: 256, num_mels: 8}}], "
    "eval: [{type: LogMel, args: {window: 256, num_mels: 8}}]}}\ndata_loader",
}


def config_of(kind: str, folder: Path) -> str:
    name, args = dataset_of(kind, folder)
    group = "who" if kind == "table" else f"'{IN_FILE_NAME['group']}'"
    text = CONFIG.replace("TYPE", name).replace("ARGS", str(args)).replace("GROUP", group)
    for old, new in OF_SOUNDS.items() if kind == "sounds" else ():
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("kind", ["sounds", "texts", "table"])
def test_each_sample_is_predicted_once(kind, folder, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(config_of(kind, folder))
    arguments = ["-c", str(tmp_path / "config.yaml"), f"trainer.save_dir={tmp_path}", "--folds", "2"]
    assert sweep_script.main(arguments) == 0
    assert "warning: the validation part has 4 of 24 samples, not 0: groups stay whole" in capsys.readouterr().out
    with open(tmp_path / "folds/sweep/predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    samples = [row["sample"].split("(", 1)[1][:-1] for row in rows]
    if kind == "table":
        expected = [f"texts.csv:{number + 2}: {text}" for number, text in enumerate(TEXTS)]
    else:
        expected = [str(path) for path in (folder / kind).rglob("*.*")]
    assert sorted(samples) == sorted(expected)

    run = tmp_path / "folds/latest"  # of the last fold
    in_fold = [sample for sample, row in zip(samples, rows, strict=True) if row["fold"] == "1"]
    assert evaluate(run)["num_samples"] == len(in_fold)
    evaluate(run, "data_loader.fold.index=0", code=2)
    assert "the training part is not as it was in training" in capsys.readouterr().err
    resume(run, "data_loader.fold.index=0", code=2)
    assert "data_loader.fold.index: found 0, but the run to resume has 1" in capsys.readouterr().err
    evaluate(run, "data_loader.fold=null")
    assert "the model may have been trained on some of these samples" in capsys.readouterr().err
    inputs = [TEXTS[0]] if kind == "table" else in_fold[:1]
    assert predict_script.main(["-r", str(run), *inputs]) == 0
    answer = next(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert answer["prediction"] in ("a", "b")
    if kind != "table":
        before = rows[samples.index(in_fold[0])]
        assert answer["prediction"] == before["prediction"]
        assert float(answer["score"]) == pytest.approx(float(before["score"]))
