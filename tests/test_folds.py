"""Folds are scikit-learn's, nothing is fitted on the one held out, and test.py finds out where they have changed."""

import numpy
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from base import DATASETS
from config.schema import DataLoaderConfig, DatasetConfig, FoldConfig
from data_loader.folds import Fold
from data_loader.in_memory import InMemoryDataset
from data_loader.parts import build_parts
from tests.running import evaluate, train
from utils.errors import UserError

SEED = 7
CANCER = {"path": "scikit-learn:breast_cancer", "target": "target", "task": "binary"}
TABLE = """\
name: table
device: cpu
dataset: {type: TabularCSV, args: {path: PATH, target: y, task: multiclass}}
data_loader: {batch_size: 8, fold: {index: 1, of: 3}}
model: MLP
loss: CrossEntropyLoss
optimizer: {type: SGD, args: {lr: 0.1}}
trainer: {epochs: 1, tensorboard: false}
"""


@DATASETS.register
class Persons(InMemoryDataset):
    """60 samples, the first number of each is its place; those of a person stay together."""

    def __init__(self, split: str, kind: str = "classes", grouped: bool = True):
        numbers = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
        numbers[:, 0] = torch.arange(60)
        targets = torch.arange(60) % 3 if kind == "classes" else numbers[:, 1:2]
        super().__init__(numbers, targets, ["a", "b", "c"] if kind == "classes" else None)
        if grouped:
            self.groups = [f"person {place // 4}" for place in range(60)]


@DATASETS.register
class Thirds(Persons):
    """Three groups of 20."""

    def __init__(self, split: str):
        super().__init__(split)
        self.groups = [f"group {place % 3}" for place in range(60)]


@DATASETS.register
class Scaled(InMemoryDataset):
    """Fits what it does not leave out."""

    def __init__(self, split: str):
        super().__init__(torch.randn(40, 4), torch.arange(40) % 2, ["a", "b"])
        self.preprocessing = {"mean": 0.0}


def parts_of(name, args, index, of=5, split=0.2, seed=SEED, splits=("train", "valid", "test"), **fold):
    loader = DataLoaderConfig(validation_split=split, fold=FoldConfig(index=index, of=of, **fold))
    return build_parts(DatasetConfig(type=name, args=args), loader, splits, seed)


def inputs_of(part):
    return part.dataset.inputs if part.members is None else part.dataset.inputs[part.members]


def places_of(part):
    return sorted(inputs_of(part)[:, 0].int().tolist())


def test_those_of_breast_cancer_are_scikit_learns():
    rows, targets = load_breast_cancer(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED).split(rows, targets)
    for index, (others, held_out) in enumerate(folds):
        parts = parts_of("TabularCSV", {**CANCER, "standardise": False}, index, split=None)
        test = parts["test"].dataset
        assert numpy.array_equal(test.inputs.numpy(), rows[held_out].astype(numpy.float32))
        assert numpy.array_equal(test.targets[:, 0].numpy(), targets[held_out])
        assert test.name_of(0) == f"scikit-learn:breast_cancer:{held_out[0]}"
        train_and_valid = torch.cat([inputs_of(parts["train"]), inputs_of(parts["valid"])]).numpy()
        assert numpy.array_equal(numpy.sort(train_and_valid, 0), numpy.sort(rows[others].astype(numpy.float32), 0))


@pytest.mark.parametrize(("args", "fold", "splitter"), [
    ({}, {}, StratifiedGroupKFold), ({}, {"stratify": False}, GroupKFold),
    ({"grouped": False}, {}, StratifiedKFold), ({"grouped": False}, {"stratify": False}, KFold),
    ({"kind": "numbers"}, {}, GroupKFold), ({"kind": "numbers", "grouped": False}, {}, KFold),
])  # fmt: skip
def test_those_of_any_dataset_are_scikit_learns(args, fold, splitter):
    targets, groups = numpy.arange(60) % 3, [f"person {place // 4}" for place in range(60)]
    more = [groups] if args.get("grouped", True) else []
    expected = splitter(5, shuffle=True, random_state=SEED).split(numpy.zeros(60), targets, *more)
    for index, (_, held_out) in enumerate(expected):
        parts = parts_of("Persons", args, index, **fold)
        assert places_of(parts["test"]) == held_out.tolist()
        assert sorted(place for part in parts.values() for place in places_of(part)) == [*range(60)]
        if args.get("grouped", True):
            persons = [{place // 4 for place in places_of(part)} for part in parts.values()]
            assert sum(map(len, persons)) == len(set().union(*persons)) == 15


def test_a_part_that_is_asked_for_alone_is_the_same():
    together = parts_of("Persons", {}, 2)
    for split, part in together.items():
        assert places_of(parts_of("Persons", {}, 2, splits=(split,))[split]) == places_of(part)


def test_of_a_table_with_a_group(tmp_path):
    rows = [f"{place},{place % 3},p{place // 4}" for place in range(60)]
    (tmp_path / "a.csv").write_text("x,y,person\n" + "\n".join(rows) + "\n")
    args = {"path": str(tmp_path / "a.csv"), "target": "y", "task": "multiclass", "standardise": False}
    expected = StratifiedGroupKFold(3, shuffle=True, random_state=SEED)
    groups = [f"p{place // 4}" for place in range(60)]
    for index, (_, held_out) in enumerate(expected.split(numpy.zeros(60), numpy.arange(60) % 3, groups)):
        parts = parts_of("TabularCSV", args, index, of=3, split=0.3, group="person")
        assert places_of(parts["test"]) == held_out.tolist()
        persons = [{place // 4 for place in places_of(part)} for part in parts.values()]
        assert sum(map(len, persons)) == len(set().union(*persons))


@pytest.mark.parametrize("folders", [[""], ["train/", "test/"], ["train/", "valid/", "test/"]])
def test_of_pictures(folders, tmp_path):
    """Those of train/, or of all that is not divided; a folder of test pictures stays aside."""
    for folder in folders:
        for place in range(20):
            kind = tmp_path / folder / "ab"[place % 2]
            kind.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2)).save(kind / f"{place // 2}.png")
    names = [f"{kind}/{number}.png" for kind in "ab" for number in range(10)]
    folds = StratifiedKFold(4, shuffle=True, random_state=SEED).split(names, [0] * 10 + [1] * 10)
    for index, (_, held_out) in enumerate(folds):
        parts = {
            split: part.dataset
            for split, part in parts_of("ImageFolder", {"root": str(tmp_path)}, index, of=4, split=None).items()
        }
        assert parts["test"].names == [names[place] for place in held_out]
        assert parts["test"].root == parts["train"].root == tmp_path / folders[0]
        divided = [*parts["train"].names, *parts["test"].names, *(parts["valid"].names if len(folders) < 3 else [])]
        assert sorted(divided) == names
        assert parts["train"].part_sizes["test"] == 5 and not any(
            "nothing to test on" in note for note in parts["train"].notes
        )


def test_what_is_fitted_has_not_seen_the_fold(tmp_path):
    values = [float(place == 0) * 1e6 + place for place in range(30)]  # the first row is far off
    (tmp_path / "a.csv").write_text("x,y\n" + "\n".join(f"{v},{i % 2}" for i, v in enumerate(values)) + "\n")
    args = {"path": str(tmp_path / "a.csv"), "target": "y", "task": "binary"}
    for index in range(3):
        parts = parts_of("TabularCSV", args, index, of=3, split=0)
        fitted = parts["train"].dataset.preprocessing["columns"][0]
        held_out = [int(name.split(":")[1]) - 2 for name in map(parts["test"].dataset.name_of, range(10))]
        assert fitted["mean"] == pytest.approx(numpy.mean([v for i, v in enumerate(values) if i not in held_out]))


@pytest.mark.parametrize(("name", "args", "fold", "told"), [
    ("Scaled", {}, {}, "Scaled fits something on its training part, and would fit it on the samples of the fold too"),
    ("Persons", {"kind": "numbers"}, {"stratify": True}, "stratify: found true, but the targets are no classes"),
    ("Persons", {}, {"of": 16}, "fold.of: found 16, but the data have 15 groups"),
    ("Persons", {"grouped": False}, {"of": 61}, "fold.of: found 61, but the data have 60 samples"),
    ("Persons", {}, {"group": "x"}, "fold.group: found 'x', but dataset Persons has no argument `group`"),
    ("TabularCSV", CANCER, {"group": "x"}, "'x'"),
])  # fmt: skip
def test_what_cannot_be_is_refused(name, args, fold, told):
    with pytest.raises(UserError, match=told):
        parts_of(name, args, 0, **{"of": 5, **fold})


def test_an_empty_fold_is_refused():
    """As scikit-learn makes one of a few groups now and then."""
    sizes, targets = [7, 8, 8, 3, 6], [1, 0, 0, 0, 1]
    groups = [f"{group}" for group, size in enumerate(sizes) for _ in range(size)]
    of_groups = torch.tensor(targets).repeat_interleave(torch.tensor(sizes))
    for index in range(5):
        with pytest.raises(UserError, match=r"5 groups, divided so, leave a fold empty; expected .*stratify=false"):
            Fold(index, 5, None, 0).members(len(groups), of_groups, groups)
        assert Fold(index, 5, False, 0).members(len(groups), of_groups, groups).any()


def test_a_validation_part_of_large_groups_is_told(caplog):
    parts = parts_of("Persons", {}, 0, of=5, split=0.05)
    assert "not 2: groups stay whole" not in caplog.text and len(parts["valid"]) == 4
    parts_of("Thirds", {}, 0, of=3)
    assert "the validation part has 20 of 40 samples, not 8: groups stay whole" in caplog.text


def test_samples_like_others_are_told(caplog):
    @DATASETS.register
    class Copies(InMemoryDataset):
        def __init__(self, split: str):
            super().__init__(torch.arange(20)[:, None] // 2 * 1.0, torch.arange(20) % 2, ["a", "b"])

    parts_of("Copies", {}, 0)
    assert "10 of 20 samples have the name or content of others, and folds may part them" in caplog.text


def test_a_run_is_tested_on_its_fold_or_not_at_all(tmp_path, capsys):
    table = tmp_path / "a.csv"
    rows = [f"{place},{place % 3}" for place in range(60)]
    table.write_text("\n".join(["x,y", *rows]))
    run = train(tmp_path, config=TABLE.replace("PATH", str(table)))
    assert "the test part is fold 1 of 0 to 2" in (run / "train.log").read_text()
    assert evaluate(run)["num_samples"] == 20
    for other in ("data_loader.fold.index=2", "seed=1"):
        evaluate(run, other, code=2)
        assert "the training part is not as it was in training" in capsys.readouterr().err
    table.write_text("\n".join(["x,y", *reversed(rows)]))
    evaluate(run, code=2)
    assert "data_loader.fold: the training part is not as it was" in capsys.readouterr().err
    other = f"dataset.args.test_path={table}"
    evaluate(run, other, code=2)
    capsys.readouterr()
    assert evaluate(run, other, "data_loader.fold=null")["num_samples"] == 60
    assert "may have been trained on" not in capsys.readouterr().err
