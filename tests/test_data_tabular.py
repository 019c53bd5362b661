"""Own tables: tasks, features, kinds of columns, parts, and what can be wrong with a file."""

import pytest
import torch
from sklearn.datasets import load_diabetes

from base import DATASETS
from data_loader.tables.tabular import TabularCSV
from tests.forks import forked
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
    """What a file gives; columns: as a mapping, or the file's bytes or text."""
    if isinstance(columns, dict):
        write_csv(path, columns)
    else:
        path.write_bytes(columns if isinstance(columns, bytes) else columns.encode())
    return TabularCSV(split, **{"path": str(path), "target": "y", "task": "regression", **ALL, **args})


def plain(path, columns, **args):
    """A regression on `y` whose numbers are left as they are."""
    return table(path, columns, standardise=False, **args)


def test_regression_on_numbers_and_texts(tmp_path):
    data = table(tmp_path / "a.csv", target="price")
    assert data.feature_names == ["age", "town_Oslo", "town_Rome", "town_missing", "kind_a", "kind_b"]
    assert data.inputs.shape == (6, 6)
    assert data.inputs.dtype == data.targets.dtype == torch.float32
    assert data.targets.tolist() == [[1.5], [2.5], [3.5], [4.5], [5.5], [6.5]]
    assert data.classes is None and data.target_scale is None
    ages = torch.tensor([20.0, 30, 46, 50, 60, 70])  # the missing one is the mean
    torch.testing.assert_close(data.inputs[:, 0], (ages - 46) / ages.std(correction=0))
    assert data.inputs[3, 1:4].tolist() == [0, 0, 1]
    assert data[4][0].tolist() == data.__getitems__(torch.tensor([4]))[0][0].tolist()
    assert data.notes == ["3 columns: 1 number, 2 categories (5 after one-hot)"]
    assert data.part_sizes == {"train": 6, "valid": 0, "test": 0}


def test_targets_of_each_task(tmp_path):
    binary = table(tmp_path / "a.csv", target="kind", task="binary")
    assert binary.targets.dtype == torch.float32 and binary.targets.tolist() == [[1], [0]] * 3
    assert binary.classes == ["a", "b"]
    many = table(tmp_path / "b.csv", {"x": range(12), "y": [10, 9, 2] * 4}, task="multiclass")
    assert many.classes == ["2", "9", "10"]  # by value, not by letter
    assert (many.targets.dtype, many.targets[:3].tolist()) == (torch.int64, [2, 1, 0])


def test_one_file_is_divided_by_seed_and_class():
    args = {"path": "scikit-learn:iris", "target": "target", "task": "multiclass"}
    parts = {split: TabularCSV(split, **args, test_fraction=0.2) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in parts.items()} == parts["train"].part_sizes
    assert sum(map(len, parts.values())) == 150 and 15 < len(parts["test"]) < 45
    assert all(part.targets.unique().tolist() == [0, 1, 2] for part in parts.values())
    assert parts["train"].inputs.mean(0).abs().max() < 1e-5  # fitted on the training part alone
    assert (parts["train"].inputs.std(0, correction=0) - 1).abs().max() < 1e-5
    assert parts["test"].inputs.mean(0).abs().max() > 1e-3
    other = TabularCSV("test", **args, test_fraction=0.2, split_seed=1)
    assert set(other.names) != set(parts["test"].names)
    counted = TabularCSV("test", **args, test_fraction=30, valid_fraction=15)
    assert counted.part_sizes == {"train": 105, "valid": 15, "test": 30}


def test_choices_of_features(tmp_path):
    path = tmp_path / "a.csv"
    args = {"target": "price", "standardise": False, "impute": "median"}
    chosen = table(path, features=["kind", "age"], **args)
    assert chosen.feature_names == ["age", "kind_a", "kind_b"]
    assert chosen.inputs[:, 0].tolist() == [20, 30, 50, 50, 60, 70]
    assert torch.equal(table(path, ignore=["town"], **args).inputs, chosen.inputs)
    named = table(path, target="price", features=["age"], categorical=["age"])
    assert named.feature_names == ["age_20", "age_30", "age_50", "age_60", "age_70", "age_missing"]


def test_a_standardised_target_can_be_undone():
    args = {"target": "target", "task": "regression", "path": "scikit-learn:diabetes"}
    for split in ("train", "test"):
        scaled, raw = (TabularCSV(split, **args, standardise_target=is_scaled) for is_scaled in (True, False))
        mean, std = scaled.target_scale
        torch.testing.assert_close(scaled.targets * std + mean, raw.targets)
        assert scaled.preprocessing["target"]["mean"] == pytest.approx(mean.item()) and mean.dtype == torch.float32
        if split == "train":
            assert abs(scaled.targets.mean()) < 1e-5 and abs(scaled.targets.std(correction=0) - 1) < 1e-5
        else:
            assert abs(scaled.targets.mean()) > 1e-3  # fitted on the training part alone


def test_spreadsheet_exports_are_read(tmp_path):
    text = '\ufeffx; y\r\n1;"2"\r\n\r\n3; 4\r\n'.encode()  # byte order mark, semicolons, an empty line
    data = plain(tmp_path / "a.csv", text)
    assert (data.inputs.tolist(), data.targets.tolist()) == ([[1], [3]], [[2], [4]])


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.5", " 2", "-3e2"], [1.5, 2, -300]),
        (['"1,234.5"', '"2,000"', "7"], [1234.5, 2000, 7]),  # beside commas: groups of digits
        (['"1,5"', '"2,25"', '"1.234,5"'], [1.5, 2.25, 1234.5]),
        (["1 234", "12 345 678", "0.5"], [1234, 12345678, 0.5]),
        (["12 %", "7.5%", "100 %"], [0.12, 0.075, 1]),
        (["Yes", "no", "YES"], [1, 0, 1]),
        (["true", "FALSE", ""], [1, 0, 0.5]),
        (["1970-01-02", "1969-12-31", "1970-01-01 12:00"], [1, -1, 0.5]),
        (["1970-01-01T06:00:00Z", "1970-01-01 06:00+06:00", "1970-01-02T00:00:00.0"], [0.25, 0, 1]),
        (["31.01.1970", "1.2.1970", "1.1.1970 18:00"], [30, 31, 0.75]),
        (["01/31/1970", "01/02/1970", "1/1/1970 6:00 PM"], [30, 1, 0.75]),
        (["31/01/1970", "01/02/1970", "1/1/1970"], [30, 31, 0]),
        (["3 Jan 1970", "31 May 1970", "1 March 1970"], [2, 150, 59]),
        (["12:00", "18:30:00", "00:00"], [0.5, 18.5 / 24, 0]),
        (["\u22121", "1", "1\u00a0000"], [-1, 1, 1000]),  # a typographic minus, a blank that does not break
    ],
)
def test_columns_are_read_as_people_write_them(tmp_path, cells, values):
    data = plain(tmp_path / "a.csv", "x,y\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells)))
    torch.testing.assert_close(data.inputs[:, 0], torch.tensor(values, dtype=torch.float32))
    assert data.feature_names == ["x"]


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("x;y\n1,5;2\n1.234;3\n", {}, [1.5, 1234]),  # its other number tells
        ("x;z;y\n1,234;0,5;2\n", {}, [1.234, 0.5]),  # another column tells
        ("x;z;y\n1,234;0.5;2\n", {}, [1234, 0.5]),
        ("x;y\n1,234;2\n", {"decimal": ","}, [1.234]),
        ("x;y\n1.234;2\n", {"decimal": ","}, [1234]),
        ("x\ty\n1.234\t2\n", {"decimal": "."}, [1.234]),
        ('x,y\n"1,234",2\n', {}, [1234]),  # its delimiter tells
        ("sep=;\nx;y\n1.5;2\n", {}, [1.5]),
        ("x|y\n1|2\n", {}, [1]),
        ("x:y\n1:2\n", {"delimiter": ":"}, [1]),
        ("x,y\n01/02/1970,3\n", {"day_first": True}, [31]),
        ("x,y\n01/02/1970,3\n", {"day_first": False}, [1]),
    ],
)
def test_decimal_marks_and_dates_follow_from_the_whole_file(tmp_path, text, args, expected):
    data = plain(tmp_path / "a.csv", text, **args)
    torch.testing.assert_close(data.inputs.flatten()[: len(expected)], torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x;y\n1,234;2\n", "column 'x' can be read .*set dataset.args.decimal"),
        ("x\ty\n1.234\t2\n", "column 'x' can be read .*set dataset.args.decimal"),
        ("x;z;y\n1,5;1.5;2\n", "a decimal point, .* a decimal comma.*set dataset.args.decimal"),
        ("x,y\n01/02/1970,3\n05/06/1970,3\n", "'0./0./1970' may begin with the day .*set dataset.args.day_first"),
        ("a,b;c\n1,5;2\n", "',' and ';' divide its rows .*set dataset.args.delimiter"),
        ("x y\n1 2\n", "only one column .x y.*set dataset.args.delimiter"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        table(tmp_path / "a.csv", text)


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("x,y\n1,\xff\n", {"encoding": "utf-8"}, "a.csv: is no utf-8 text .*dataset.args.encoding"),
        ("x,y\n1,2\n", {"encoding": "utf-9"}, "dataset.args.encoding: found 'utf-9'"),
        ("x,y\n1,\0\n", {}, "a.csv:2: holds a NUL byte"),
        ("", {"path": "nowhere.csv"}, "nowhere.csv: cannot be read: No such file"),
        ("", {"path": "nowhere.xlsx"}, "nowhere.xlsx: cannot be read: No such file"),
        ("", {"path": "."}, r"\.: cannot be read: Is a directory"),
        ("", {"path": "scikit-learn:titanic"}, "no table 'titanic'; there are breast_cancer, diabetes, iris, wine"),
        ("", {"split": "test", "path": None, "train_path": "a.csv"}, "give test_path"),
        ("", {}, "a.csv: the file is empty"),
        ("\n\n", {}, "a.csv: the file is empty"),
        ("x,y\n", {}, "a.csv: no rows below the header"),
        ("x,y\n1,2\n3\n4,5\n6,7,8\n", {}, "a.csv:3: 1 values, but the header has 2 columns\na.csv:5: 3 values"),
        ('x,y\n1,2\n3,"4\n5,6\n', {}, "a.csv:3: this row goes on to line 4: is a quote not closed"),
        ('x,y\n1,2\n"3,4\n5,6\n\n', {}, "a.csv:3: this row goes on to line 5: is a quote not closed"),
        ("x,x,y\n1,2,3\n", {}, "a.csv:1: two columns are called 'x'"),
        (
            "x,y\n1,2\n",
            {"target": "Y "},
            "a.csv: no column 'Y ' .dataset.args.target.; did you mean 'y'.*Columns: x, y",
        ),
        ("5.1,3.5\n1,2\n", {}, "no column 'y' .*does the file lack a header"),
        (
            "price,y\n1,2\n",
            {"features": ["prize"], "ignore": ["z"], "group": "yy"},
            "'yy' .dataset.args.group.; did you mean 'y'.*'prize' .*did you mean 'price'.*'z' .dataset.args.ignore.",
        ),
        ("x::y\n1::2\n", {"delimiter": "::"}, "dataset.args.delimiter: found '::'; expected one character"),
        ("x,y\n1,2\n3,high\n", {}, "a.csv:3: column 'y': found 'high'; expected a finite number"),
        ("x,y\n1,2\n3,inf\n4,5\n", {}, "a.csv:3: column 'y': found 'inf'; expected a finite number"),
        ("x,y\n1,2\n1e39,3\n", {}, "a.csv:3: column 'x': found '1e39'; expected a number below 3.4e38"),
        ("x,y\n1,2\n3,NA\n", {}, "a.csv:3: column 'y': missing; expected a number as the target"),
        ("x,y\n1,2\n3,\n", {"task": "binary"}, "column 'y' holds 1 different values .2.; task binary expects two"),
        ("x,y\n1,a\n3,b\n1,c\n", {"task": "binary"}, "holds 3 different values .a, b, c.; task binary expects two"),
        (
            "x,y\n1,a\n3,\n1,c\n",
            {"task": "multiclass"},
            "a.csv:3: column 'y': missing; expected one of the classes a, c",
        ),
        ("x,y\n1,2\nabc,3\n", {"categorical": []}, "a.csv:3: column 'x': found 'abc'; expected a finite number"),
        ("x,y\n1,2\n2,2\nabc,3\n", {}, "a.csv:4: column 'x': found 'abc'; expected a finite number, as much"),
        ("x;y\n1,5;2\n", {"decimal": "."}, "a.csv:2: column 'x': found '1,5'; expected a number with .* mark '.'"),
        ("x,y\n1.5,2\n", {"decimal": ","}, "a.csv:2: column 'x': found '1.5'; expected a number with .* mark ','"),
        ("x,y\n,2\n,3\n", {}, "column 'x' has no values in the training part"),
        ("x,y\n" + "".join(f"name{i},1\n" for i in range(200)), {}, "column 'x' holds 200 different texts"),
        ("x,y\n1,2\n", {"features": []}, "no feature columns"),
        ("x,y\n1,2\n", {"features": ["x", "y"]}, "the target 'y' is among dataset.args.features"),
        ("x,y\n1,2\n", {"ignore": ["x"]}, "no feature columns"),
        ("x,z,y\n1,2,3\n", {"ignore": ["x"], "features": ["x"]}, "'x' is to be ignored and to be used"),
        ("id,y\n5,2\n7,3\n", {}, "no feature columns but those that name or number the rows"),
        ("x,y\n1,2\n", {"test_fraction": 1}, "leave nothing"),
        ("x,y\n1,2\n", {"train_path": "b.csv"}, "either path .* or train_path"),
        ("x,y\n1,2\n", {"test_path": "b.csv", "test_fraction": 0.1}, "test_path and test_fraction"),
        ("x,y\n1,2\n", {"valid_path": "b.csv", "valid_fraction": 0.1}, "valid_path and valid_fraction"),
        ("x,y\n1,2\n", {"sheet": "more"}, "dataset.args.sheet: found 'more', but a.csv is no Excel file"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path, monkeypatch, text, args, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=f"(?s){message}"):
        TabularCSV(**{"split": "train", "path": "a.csv", "target": "y", "task": "regression", **ALL, **args})


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    text = "a,b,when,y\n" + "1,2,2024-01-01,3\n" * 5 + "x,2,2024-01-01,3\n1,inf,tomorrow,z\n"
    with pytest.raises(UserError) as error:
        table(tmp_path / "a.csv", text)
    found = [line.split(":", 1)[1].split("; expected")[0] for line in str(error.value).splitlines()]
    assert found == [
        *("7: column 'a': found 'x'", "8: column 'b': found 'inf'"),
        *("8: column 'when': found 'tomorrow'", "8: column 'y': found 'z'"),
    ]


@pytest.mark.parametrize("name", ["valid_fraction", "test_fraction"])
def test_amounts_are_checked_with_the_config(name):
    args = {"path": "scikit-learn:iris", "target": "target", "task": "multiclass"}
    for amount in (1.0, -0.1):
        (problem,) = DATASETS.problems({"type": "TabularCSV", "args": {**args, name: amount}})
        assert "expected a fraction between 0 and 1, or a whole number of samples" in str(problem)


def test_a_table_of_scikit_learn_is_like_its_csv_file(tmp_path):
    diabetes = load_diabetes()
    columns = dict(zip(diabetes.feature_names, diabetes.data.T.tolist(), strict=True))
    write_csv(tmp_path / "diabetes.csv", {**columns, "target": diabetes.target.tolist()})
    from_file = TabularCSV("train", "target", "regression", path=str(tmp_path / "diabetes.csv"))
    shipped = TabularCSV("train", "target", "regression", path="scikit-learn:diabetes")
    assert torch.equal(from_file.inputs, shipped.inputs) and torch.equal(from_file.targets, shipped.targets)


def test_numbers_that_float32_cannot_tell_apart_are_scaled_first(tmp_path):
    seconds = [1_700_000_000 + i for i in range(10)]
    data = table(tmp_path / "a.csv", {"seconds": seconds, "y": range(10)})
    expected = (torch.arange(10.0) - 4.5) / torch.arange(10.0).std(correction=0)
    torch.testing.assert_close(data.inputs[:, 0], expected)
    assert any("above 16,777,216" in note for note in plain(tmp_path / "a.csv", {"x": seconds, "y": seconds}).notes)


def test_what_says_nothing_is_told_and_does_no_harm(tmp_path):
    data = table(tmp_path / "a.csv", "x,z,y,\n0.1,1,2,\n0.1,2,3,\n,3,4,\n")  # each line ends with a delimiter
    assert data.inputs[:, 0].tolist() == [0, 0, 0]
    assert data.notes == [
        "2 columns: 2 numbers; left out: 'Unnamed: 3' (empty)",
        "the same in every training row: 'x'",
    ]
    mixed = table(tmp_path / "a.csv", "x,y\n1,2\na,3\nb,4\n").notes
    assert mixed[1] == "numbers beside texts, taken as categories: 'x'"
    latin = plain(tmp_path / "a.csv", "x,y\nB\xe4r,2\nK\xe4se,3\n".encode("latin-1"))
    assert latin.feature_names == ["x_B\u00e4r", "x_K\u00e4se"] and "read as cp1252" in latin.notes[0]


def test_sheets_of_a_workbook(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    for name, scale in (("first", 1), ("second", 10)):
        sheet = book.create_sheet(name) if name != "first" else book.active
        for row in (["x", "y"], [scale, 2], [None, None], [3 * scale, 4]):
            sheet.append(row)
    book.active.title = "first"
    book.save(tmp_path / "a.xlsx")
    args = {"path": str(tmp_path / "a.xlsx"), "target": "y", "task": "regression", "standardise": False, **ALL}
    first, second = TabularCSV("train", **args), TabularCSV("train", **args, sheet="second")
    assert (first.inputs.tolist(), second.inputs.tolist()) == ([[1], [3]], [[10], [30]])
    assert "sheet 'first'; there are also second: dataset.args.sheet" in first.notes[0]
    with pytest.raises(UserError, match="no sheet 'third'; there are first, second"):
        TabularCSV("train", **args, sheet="third")
    sheet.append([None, None])
    sheet.append(["abc", 5])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(UserError, match=r"a\.xlsx:6: column 'x': found 'abc'"):
        TabularCSV("train", **args, sheet="second")


def test_what_comes_late_in_a_large_file_is_found(tmp_path):
    start = "x,y\n" + "".join(f"{i % 7}.5,{i}\n" for i in range(200_000))
    data = plain(tmp_path / "a.csv", start + '"1,234",5\n')
    assert data.inputs[-1].tolist() == [1234] and len(data) == 200_001
    with pytest.raises(UserError, match=r"a\.csv:200002: column 'x': found 'abc'"):
        plain(tmp_path / "a.csv", start + "abc,5\n")
    with pytest.raises(UserError, match=r"a\.csv:200003: 1 values, but the header has 2 columns"):
        plain(tmp_path / "a.csv", start + "1,5\n1\n")
    quoted = "x,t,y\n" + '1,"a\nb",2\n' * 100_000 + "abc,a,3\n"
    with pytest.raises(UserError, match=r"a\.csv:200002: column 'x': found 'abc'"):
        plain(tmp_path / "a.csv", quoted)


def test_missing_values_that_come_late_in_a_large_file_are_found(tmp_path):
    start = "x,z,y\n" + "".join(f"{i % 7}.5,0.5,{i}\n" for i in range(100_000))
    late = plain(tmp_path / "a.csv", start + "NA,?,1\nnan,null,2\n,0.5,3\nn/A,0.5,4\n")
    (mean,) = set(late.inputs[-4:, 0].tolist())
    assert mean == pytest.approx(sum(i % 7 + 0.5 for i in range(100_000)) / 100_000)
    assert late.inputs[-4:, 1].tolist() == [0.5] * 4 and late.targets[-4:].tolist() == [[1], [2], [3], [4]]


def test_a_header_may_be_longer_than_a_block(tmp_path):
    names = [f"{'long ' * 500}{i}" for i in range(300)]
    data = plain(tmp_path / "a.csv", ",".join([*names, "y"]) + "\n" + ("1.5," * 300 + "2\n") * 3)
    assert data.feature_names == names and data.inputs.tolist() == [[1.5] * 300] * 3


def test_polars_is_imported_only_where_a_table_is_read():
    code = "import sys, data_loader; assert data_loader.tables.tabular.TabularCSV and 'polars' not in sys.modules"
    forked("-c", code)
