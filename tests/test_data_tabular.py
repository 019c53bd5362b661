"""Own tables: tasks, features, splits and what can be wrong with a file."""

import pytest
import torch
from sklearn.datasets import load_diabetes

from data_loader.tabular import TabularCSV
from tests.make_data import write_csv
from utils.errors import UserError

ROWS = {
    "age": [20, 30, "", 50, 60, 70],
    "town": ["Rome", "Oslo", "Rome", "NA", "Oslo", "Rome"],
    "price": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    "kind": ["b", "a", "b", "a", "b", "a"],
}
ALL = {"valid_fraction": 0, "test_fraction": 0}


def table(path, columns=ROWS, split="train", **args):
    write_csv(path, columns)
    return TabularCSV(split, path=str(path), **{**ALL, **args})


def test_regression_on_numbers_and_texts(tmp_path):
    data = table(tmp_path / "a.csv", target="price", task="regression")
    assert data.feature_names == ["age", "town_Oslo", "town_Rome", "town_missing", "kind_a", "kind_b"]
    assert data.inputs.shape == (6, 6)
    assert data.inputs.dtype == data.targets.dtype == torch.float32
    assert data.targets.tolist() == [[1.5], [2.5], [3.5], [4.5], [5.5], [6.5]]
    assert data.classes is None
    ages = torch.tensor([20.0, 30, 46, 50, 60, 70])  # the missing one is the mean
    torch.testing.assert_close(data.inputs[:, 0], (ages - 46) / ages.std(correction=0))
    assert data.inputs[3, 1:4].tolist() == [0, 0, 1]
    assert data[4][0].tolist() == data.__getitems__(torch.tensor([4]))[0][0].tolist()


def test_targets_of_each_task(tmp_path):
    binary = table(tmp_path / "a.csv", target="kind", task="binary")
    assert binary.targets.dtype == torch.float32 and binary.targets.tolist() == [[1], [0]] * 3
    assert binary.classes == ["a", "b"]
    many = table(tmp_path / "b.csv", {"x": range(12), "y": [10, 9, 2] * 4}, target="y", task="multiclass")
    assert many.classes == ["2", "9", "10"]  # by value, not by letter
    assert (many.targets.dtype, many.targets[:3].tolist()) == (torch.int64, [2, 1, 0])


def test_one_file_is_divided_by_seed_and_class():
    args = {"path": "scikit-learn:iris", "target": "target", "task": "multiclass"}
    parts = {split: TabularCSV(split, **args, test_fraction=0.2) for split in ("train", "valid", "test")}
    assert [len(part) for part in parts.values()] == [105, 15, 30]
    assert parts["test"].targets.bincount().tolist() == [10, 10, 10]
    assert parts["train"].inputs.mean(0).abs().max() < 1e-5  # fitted on the training part alone
    assert (parts["train"].inputs.std(0, correction=0) - 1).abs().max() < 1e-5
    assert parts["test"].inputs.mean(0).abs().max() > 1e-3
    other = TabularCSV("test", **args, test_fraction=0.2, split_seed=1)
    assert not torch.equal(other.inputs, parts["test"].inputs)


def test_separate_files_and_what_the_training_part_did_not_hold(tmp_path):
    write_csv(tmp_path / "train.csv", ROWS)
    write_csv(tmp_path / "test.csv", {"kind": ["b"], "price": [9], "town": ["Nice"], "age": ["?"], "more": [1]})
    args = {"train_path": str(tmp_path / "train.csv"), "test_path": str(tmp_path / "test.csv"), "target": "price"}
    train, valid, test = (
        TabularCSV(split, **args, task="regression", valid_fraction=0.5) for split in ("train", "valid", "test")
    )
    assert (len(train), len(valid), len(test)) == (3, 3, 1)
    names = test.feature_names
    assert test.inputs[0, [names.index("town_Oslo"), names.index("town_Rome")]].tolist() == [0, 0]
    assert test.inputs[0, names.index("age")] == 0  # the mean, standardised


def test_choices_of_features(tmp_path):
    path = tmp_path / "a.csv"
    args = {"features": ["kind", "age"], "standardise": False, "impute": "median"}
    chosen = table(path, target="price", task="regression", **args)
    assert chosen.feature_names == ["age", "kind_a", "kind_b"]
    assert chosen.inputs[:, 0].tolist() == [20, 30, 50, 50, 60, 70]
    named = table(path, target="price", task="regression", features=["age"], categorical=["age"])
    assert named.feature_names == ["age_20", "age_30", "age_50", "age_60", "age_70", "age_missing"]
    args = {"path": "scikit-learn:diabetes", "standardise_target": True}
    train, test = (TabularCSV(split, "target", "regression", **args) for split in ("train", "test"))
    assert abs(train.targets.mean()) < 1e-5 and abs(train.targets.std(correction=0) - 1) < 1e-5
    assert abs(test.targets.mean()) > 1e-3  # fitted on the training part alone


def test_spreadsheet_exports_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffx; y\r\n1;"2"\r\n\r\n3; 4\r\n'.encode())  # byte order mark, semicolons, an empty line
    data = TabularCSV("train", path=str(path), target="y", task="regression", delimiter=";", standardise=False, **ALL)
    assert (data.inputs.tolist(), data.targets.tolist()) == ([[1], [3]], [[2], [4]])


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("x,y\n1,\xff\n", {}, "a.csv: is no UTF-8 text"),
        ("", {"path": "nowhere.csv"}, "nowhere.csv: cannot be read: No such file"),
        ("", {"path": "scikit-learn:titanic"}, "no table 'titanic'; there are breast_cancer, diabetes, iris, wine"),
        ("", {"split": "test", "path": None, "train_path": "a.csv"}, "give test_path"),
        ("", {}, "a.csv: the file is empty"),
        ("x,y\n", {}, "a.csv: no rows below the header"),
        ("x,y\n1,2\n3\n", {}, "a.csv:3: 1 values, but the header has 2 columns"),
        ("x,x\n1,2\n", {}, "a.csv:1: two columns are called 'x'"),
        ("x,y\n1,2\n", {"target": "Y "}, "a.csv:1: no column 'Y '.*Columns: x, y"),
        ("price,y\n1,2\n", {"features": ["prize"]}, "a.csv:1: no column 'prize'; did you mean 'price'?"),
        ("x;y\n1;2\n", {}, "dataset.args.delimiter"),
        ("x::y\n1::2\n", {"delimiter": "::"}, "dataset.args.delimiter: found '::'; expected one character"),
        ("x,y\n1,2\n3,high\n", {}, "a.csv:3: column 'y': found 'high'; expected a finite number"),
        ("x,y\n1,2\n3,inf\n", {}, "a.csv:3: column 'y': found 'inf'; expected a finite number"),
        ("x,y\n1,2\n3,NA\n", {}, "a.csv:3: column 'y': found 'NA'; the target must not be missing"),
        ("x,y\n1,2\n3,\n", {"task": "binary"}, "column 'y' holds 1 different values .2.; task binary expects two"),
        ("x,y\n1,a\n3,b\n1,c\n", {"task": "binary"}, "holds 3 different values .a, b, c.; task binary expects two"),
        ("x,y\n1,a\n3,\n1,c\n", {"task": "multiclass"}, "a.csv:3: column 'y': found ''; expected one of the classes"),
        ("x,y\n1,2\nabc,3\n", {"categorical": []}, "a.csv:3: column 'x': found 'abc'; expected a finite number"),
        ("x,y\n,2\n,3\n", {}, "column 'x' has no values in the training part"),
        ("x,y\n" + "".join(f"name{i},1\n" for i in range(200)), {}, "column 'x' holds 200 different texts"),
        ("x,y\n1,2\n", {"features": []}, "no feature columns"),
        ("x,y\n1,2\n", {"features": ["x", "y"]}, "the target 'y' is among dataset.args.features"),
        ("x,y\n1,2\n", {"valid_fraction": 1.0}, "valid_fraction: found 1.0"),
        ("x,y\n1,2\n", {"test_fraction": -0.1}, "test_fraction: found -0.1"),
        ("x,y\n1,2\n", {"valid_fraction": 0.5, "test_fraction": 0.5}, "leave nothing"),
        ("x,y\n1,2\n", {"train_path": "b.csv"}, "either path .* or train_path"),
        ("x,y\n1,2\n", {"test_path": "b.csv"}, "go with train_path, not with path"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path, monkeypatch, text, args, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=f"(?s){message}"):
        TabularCSV(**{"split": "train", "path": "a.csv", "target": "y", "task": "regression", **ALL, **args})


def test_a_table_of_scikit_learn_is_like_its_csv_file(tmp_path):
    diabetes = load_diabetes()
    columns = dict(zip(diabetes.feature_names, diabetes.data.T.tolist(), strict=True))
    write_csv(tmp_path / "diabetes.csv", {**columns, "target": diabetes.target.tolist()})
    from_file = TabularCSV("train", "target", "regression", path=str(tmp_path / "diabetes.csv"))
    shipped = TabularCSV("train", "target", "regression", path="scikit-learn:diabetes")
    assert torch.equal(from_file.inputs, shipped.inputs) and torch.equal(from_file.targets, shipped.targets)
