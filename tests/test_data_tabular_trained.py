"""What a table's model was trained with stays with it: the same rows give the same bits, whatever file they are in."""

import gzip
import random

import polars
import pytest
import torch

from data_loader.tables.tabular import TabularCSV
from tests.forks import ROOT, forked
from tests.make_data import write_csv
from utils.errors import UserError

random.seed(0)
NUM_ROWS = 300
COLUMNS = {
    "weight": [round(random.gauss(70, 12), 3) for _ in range(NUM_ROWS)],
    "steps": [random.randrange(0, 20_000) for _ in range(NUM_ROWS)],
    "stamp": [1_700_000_000 + random.randrange(10_000) for _ in range(NUM_ROWS)],
    "gap": [random.choice(["", round(random.random(), 4)]) for _ in range(NUM_ROWS)],
    "town": [random.choice(["Rome", "Oslo", "Kraków", ""]) for _ in range(NUM_ROWS)],
    "ward": [random.choice([1, 2, 3]) for _ in range(NUM_ROWS)],
    "smokes": [random.choice(["true", "false"]) for _ in range(NUM_ROWS)],
    "seen": [f"2024-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}" for _ in range(NUM_ROWS)],
    "y": [round(random.gauss(0, 1), 4) for _ in range(NUM_ROWS)],
}
ARGS = {"target": "y", "task": "regression", "categorical": ["town", "ward"], "standardise_target": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The training part of COLUMNS, all of it."""
    path = tmp_path_factory.mktemp("table") / "train.csv"
    write_csv(path, COLUMNS)
    return TabularCSV("train", path=str(path), valid_fraction=0, test_fraction=0, **ARGS)


def read_again(path, trained, **args):
    """All rows of a file, as a checkpoint of a model sees them: no training file is there."""
    return TabularCSV("test", test_path=str(path), preprocessing=trained.preprocessing, **{**ARGS, **args})


def german(value):
    return f"{value:,}".replace(",", " ").replace(".", ",").replace(" ", ".") if isinstance(value, float) else value


def write_as(form, path):
    """COLUMNS in a file of another kind; returns its name."""
    path = path / f"new.{form.split()[-1]}"
    texts = {name: list(map(str, values)) for name, values in COLUMNS.items()}
    frame = polars.DataFrame(texts)
    typed = frame.with_columns(
        polars.col("weight", "gap", "y").cast(polars.Float64, strict=False),
        polars.col("steps", "stamp", "ward").cast(polars.Int64),
        polars.col("smokes") == "true",
        polars.col("seen").str.to_date(),
        polars.when(polars.col("town") != "").then("town").alias("town"),
    )
    if form == "parquet":
        typed.write_parquet(path)
    elif form == "xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for row in [typed.columns, *typed.rows()]:
            book.active.append(row)
        book.save(path)
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif form == "German csv":
        columns = {name: list(map(german, values)) for name, values in COLUMNS.items()}
        days = [f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in columns["seen"]]
        write_csv(path, {**columns, "seen": days})
        lines = polars.read_csv(path, infer_schema=False).write_csv(separator=";").replace("\n", "\r\n")
        path.write_bytes(lines.encode("cp1252", errors="replace").replace(b"?", b"\xf3"))
    elif form == "UTF-16 csv":
        path.write_bytes(frame.write_csv(separator="\t").encode("utf-16"))
    elif form == "quoted csv":
        path.write_text(frame.write_csv(quote_style="always"))
    elif form == "reordered csv":
        write_csv(path, {name: COLUMNS[name] for name in sorted(COLUMNS)} | {"more": range(NUM_ROWS)})
    return path


FORMS = ["csv.gz", "UTF-16 csv", "quoted csv", "reordered csv", "parquet", "xlsx", "German csv"]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_have_the_same_bits_in_any_file(form, trained, tmp_path):
    data = read_again(write_as(form, tmp_path), trained)
    assert torch.equal(data.inputs, trained.inputs) and torch.equal(data.targets, trained.targets)
    assert data.feature_names == trained.feature_names


@pytest.mark.parametrize("row", range(0, NUM_ROWS, 20))
def test_a_row_alone_in_its_file_has_the_same_bits(row, trained, tmp_path):
    write_csv(tmp_path / "new.csv", {name: [values[row]] for name, values in COLUMNS.items()})
    data = read_again(tmp_path / "new.csv", trained)
    assert torch.equal(data.inputs[0], trained.inputs[row]) and torch.equal(data.targets[0], trained.targets[row])


def test_rows_whose_columns_look_like_another_kind_have_the_same_bits(trained, tmp_path):
    """Whole numbers only, nothing at all, `1.0` for the category 1, and 1 for true."""
    rows = {**{name: values[:2] for name, values in COLUMNS.items()}, "weight": [70, 71], "gap": ["", ""]}
    write_csv(tmp_path / "a.csv", {**rows, "ward": [1, 2], "smokes": ["true", "false"]})
    write_csv(tmp_path / "b.csv", {**rows, "weight": ["70.0", "7.1e1"], "ward": ["1.0", "2.0"], "smokes": [1, 0]})
    first, second = (read_again(tmp_path / name, trained) for name in ("a.csv", "b.csv"))
    assert torch.equal(first.inputs, second.inputs)
    assert first.inputs[0, trained.feature_names.index("ward_1")] == 1


def test_preprocessing_is_plain_data_that_a_checkpoint_keeps(trained, tmp_path):
    torch.save(trained.preprocessing, tmp_path / "state.pt")
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    assert kept == trained.preprocessing
    write_csv(tmp_path / "new.csv", COLUMNS)
    data = TabularCSV("test", test_path=str(tmp_path / "new.csv"), preprocessing=kept, **ARGS)
    assert torch.equal(data.inputs, trained.inputs)
    assert data.preprocessing == kept == trained.preprocessing  # reading has changed nothing in it


def test_checkpoint_and_rows_in_an_empty_folder_give_the_same_bits_in_another_process(trained, tmp_path):
    torch.save(trained.preprocessing, tmp_path / "state.pt")
    write_csv(tmp_path / "new.csv", COLUMNS)
    code = (
        f"import sys, torch; sys.path.insert(0, {str(ROOT)!r})\n"
        "from data_loader.tables.tabular import TabularCSV\n"
        f"data = TabularCSV('test', test_path='new.csv', preprocessing=torch.load('state.pt'), **{ARGS})\n"
        "torch.save([data.inputs, data.targets], 'bits.pt')"
    )
    forked("-c", code, folder=tmp_path)
    inputs, targets = torch.load(tmp_path / "bits.pt")
    assert torch.equal(inputs, trained.inputs) and torch.equal(targets, trained.targets)


def test_the_other_parts_have_no_say_in_what_is_fitted(tmp_path):
    write_csv(tmp_path / "a.csv", COLUMNS)
    args = {**ARGS, "path": str(tmp_path / "a.csv"), "test_fraction": 0.2, "valid_fraction": 0.2}
    parts = {split: TabularCSV(split, **args) for split in ("train", "valid", "test")}
    ids = {**COLUMNS, "id": [f"p{i}" for i in range(NUM_ROWS)]}  # so that a changed row stays in its part
    write_csv(tmp_path / "a.csv", ids)
    first = TabularCSV("train", **args)
    changed = {name: list(values) for name, values in ids.items()}
    for row in {int(name[1:]) for name in ids["id"]} - {int(name[1:]) for name in first.names}:
        changed["weight"][row], changed["town"][row] = 10_000.0, "Atlantis"
        changed["y"][row] *= 100 if abs(changed["y"][row]) > 1.5 else 1  # still in its fifth
    write_csv(tmp_path / "a.csv", changed)
    second = TabularCSV("train", **args)
    assert first.preprocessing == second.preprocessing and torch.equal(first.inputs, second.inputs)
    for split in ("valid", "test"):
        data = TabularCSV(split, preprocessing=parts["train"].preprocessing, **args)
        assert data.preprocessing is parts["train"].preprocessing
    assert parts["valid"].preprocessing == parts["train"].preprocessing


def test_which_part_a_row_is_in_follows_from_the_row_alone(tmp_path):
    def parts_of(columns):
        write_csv(tmp_path / "a.csv", columns)
        args = {**ARGS, "path": str(tmp_path / "a.csv"), "test_fraction": 0.2, "valid_fraction": 0.2}
        return {name: split for split in ("train", "valid", "test") for name in TabularCSV(split, **args).names}

    before = parts_of(COLUMNS)
    order = random.Random(1).sample(range(NUM_ROWS), NUM_ROWS - 1)  # in another order, and one is gone
    turned = {name: [COLUMNS[name][row] for row in order] for name in reversed(COLUMNS)}
    after = parts_of({"": range(NUM_ROWS - 1), **turned})  # with pandas' index before them
    assert len(before) == NUM_ROWS and len(after) == NUM_ROWS - 1
    assert after.items() <= before.items()


@pytest.mark.parametrize("name", ["id", "more"])
def test_a_checkpoint_finds_the_same_parts(name, tmp_path):
    write_csv(tmp_path / "a.csv", {name: [f"p{i}" for i in range(NUM_ROWS)], **COLUMNS})
    args = {**ARGS, "path": str(tmp_path / "a.csv"), "ignore": ["more"] if name == "more" else []}
    train, valid, test = (TabularCSV(split, **args) for split in ("train", "valid", "test"))
    for part, split in ((valid, "valid"), (test, "test"), (train, "train")):
        again = TabularCSV(split, preprocessing=train.preprocessing, **args)
        assert again.names == part.names and torch.equal(again.inputs, part.inputs)
        assert again.part_sizes == train.part_sizes == {"train": len(train), "valid": len(valid), "test": len(test)}


def test_ids_are_no_features_and_say_which_row_is_which(tmp_path):
    columns = {"": range(50), "PatientID": [100 + 7 * i for i in range(50)], "x": [i % 5 for i in range(50)]}
    write_csv(tmp_path / "a.csv", {**columns, "y": [i * 0.5 for i in range(50)]})
    args = {"target": "y", "task": "regression", "path": str(tmp_path / "a.csv"), "test_fraction": 0.2}
    parts = [TabularCSV(split, **args) for split in ("train", "valid", "test")]
    assert parts[0].feature_names == ["x"]
    assert parts[0].notes[0] == (
        "1 column: 1 number; left out: 'Unnamed: 0' (numbers the rows), 'PatientID' (names the rows)"
    )
    assert sorted(name for part in parts for name in part.names) == sorted(map(str, columns["PatientID"]))
    assert [parts[0].name_of(i) for i in range(len(parts[0]))] == parts[0].names
    assert TabularCSV("train", **args, features=["PatientID", "x"]).feature_names == ["PatientID", "x"]


def test_rows_of_a_group_stay_together(tmp_path):
    group = [f"speaker{i % 25}" for i in range(200)]
    write_csv(tmp_path / "a.csv", {"who": group, "x": range(200), "y": [i % 7 for i in range(200)]})
    args = {"target": "y", "task": "multiclass", "path": str(tmp_path / "a.csv"), "group": "who"}
    parts = [TabularCSV(split, **args, test_fraction=0.3, valid_fraction=0.3) for split in ("train", "valid", "test")]
    assert parts[0].feature_names == ["x"]
    groups = [set(part.groups) for part in parts]
    assert len(groups[0]) + len(groups[1]) + len(groups[2]) == 25 == len(set.union(*groups))
    assert all(groups)


def test_copies_of_a_row_stay_in_one_part(tmp_path):
    write_csv(tmp_path / "a.csv", {"x": [i // 2 for i in range(100)], "y": [i // 2 for i in range(100)]})
    args = {"target": "y", "task": "regression", "path": str(tmp_path / "a.csv"), "test_fraction": 0.3}
    train, test = (TabularCSV(split, **args) for split in ("train", "test"))
    assert not set(train.names) & set(test.names) and len(test)
    assert "50 of 100 rows are copies of others; equal rows stay in one part" in train.notes


def test_files_of_their_own_beside_the_one_that_is_divided(tmp_path):
    write_csv(tmp_path / "a.csv", COLUMNS)
    write_csv(tmp_path / "b.csv", {name: values[:10] for name, values in COLUMNS.items()})
    args = {**ARGS, "path": str(tmp_path / "a.csv"), "test_path": str(tmp_path / "b.csv")}
    train, valid, test = (TabularCSV(split, **args) for split in ("train", "valid", "test"))
    assert len(train) + len(valid) == NUM_ROWS and len(test) == 10 and len(valid) > 10
    assert test.part_sizes == {"train": len(train), "valid": len(valid), "test": 10}
    only = {**ARGS, "train_path": str(tmp_path / "a.csv"), "valid_path": str(tmp_path / "b.csv")}
    assert [len(TabularCSV(split, **only)) for split in ("train", "valid")] == [NUM_ROWS, 10]


def test_a_divided_file_says_how_to_evaluate_all_its_rows(trained, tmp_path):
    write_csv(tmp_path / "new.csv", COLUMNS)
    data = TabularCSV("test", path=str(tmp_path / "new.csv"), preprocessing=trained.preprocessing, **ARGS)
    assert 10 < len(data) < 60
    assert data.notes[-1] == (
        f"{len(data)} of 300 rows are the test part; to evaluate all rows of a file: dataset.args.test_path=FILE"
    )


def test_columns_that_are_not_there_are_told_with_what_they_may_be_called_now(trained, tmp_path):
    columns = {name: values for name, values in COLUMNS.items() if name not in ("weight", "steps", "town")}
    write_csv(tmp_path / "new.csv", {**columns, "Weight_kg": COLUMNS["weight"], "twon": COLUMNS["town"]})
    with pytest.raises(UserError) as error:
        read_again(tmp_path / "new.csv", trained)
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and all("which the model was trained with" in line for line in lines)
    assert "'weight'" in lines[0] and "'Weight_kg' now?" in lines[0]
    assert "'steps'" in lines[1] and "now?" not in lines[1]
    assert "'town'" in lines[2] and "'twon' now?" in lines[2]


def test_columns_that_are_left_out_on_purpose_are_known(tmp_path):
    write_csv(tmp_path / "train.csv", {"more": range(300), "less": range(300), **COLUMNS})
    everything_else = [name for name in COLUMNS if name != ARGS["target"]]
    for choice in ({"ignore": ["more", "less"]}, {"features": everything_else}):
        args = {"path": str(tmp_path / "train.csv"), **ARGS, **choice}
        again = TabularCSV("valid", preprocessing=TabularCSV("train", **args).preprocessing, **args)
        assert not [note for note in again.notes if "does not know" in note]


def test_columns_and_categories_that_the_model_does_not_know_are_told(trained, tmp_path):
    towns = ["Atlantis", "Rome", "Atlantis"]
    rows = {name: values[:3] for name, values in COLUMNS.items()}
    write_csv(tmp_path / "new.csv", {"more": [1, 2, 3], **rows, "town": towns})
    data = read_again(tmp_path / "new.csv", trained)
    places = [place for place, name in enumerate(data.feature_names) if name.startswith("town_")]
    assert data.inputs[:, places].sum(1).tolist() == [0, 1, 0]
    assert data.notes == [
        f"{tmp_path}/new.csv: columns the model does not know, not used: 'more'",
        "column 'town': 2 cells hold categories that the training part lacks: zeros",
    ]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("weight", "heavy", "a finite number"),
        ("weight", "12 %", "a finite number"),
        ("smokes", "perhaps", "true or false"),
        ("seen", "soon", "a date"),
        ("y", "", "a number as the target"),
    ],
)
def test_cells_of_another_kind_than_in_training_are_refused(column, value, expected, trained, tmp_path):
    rows = {name: list(values[:5]) for name, values in COLUMNS.items()}
    rows[column][3] = value
    write_csv(tmp_path / "new.csv", rows)
    with pytest.raises(UserError, match=rf"new.csv:5: column '{column}': .*expected {expected}"):
        read_again(tmp_path / "new.csv", trained)


def test_classes_that_the_model_does_not_know_are_refused(tmp_path):
    write_csv(tmp_path / "a.csv", {"x": range(6), "y": ["a", "b", "c"] * 2})
    args = {"target": "y", "task": "multiclass"}
    train = TabularCSV("train", path=str(tmp_path / "a.csv"), valid_fraction=0, test_fraction=0, **args)
    write_csv(tmp_path / "b.csv", {"x": [1, 2], "y": ["b", "d"]})
    test = {"test_path": str(tmp_path / "b.csv"), "preprocessing": train.preprocessing, **args}
    with pytest.raises(UserError, match=r"b.csv:3: column 'y': found 'd'; expected one of the classes a, b, c"):
        TabularCSV("test", **test)
    write_csv(tmp_path / "b.csv", {"x": [1, 2], "y": ["c", "b"]})
    data = TabularCSV("test", **test)
    assert data.targets.tolist() == [2, 1] and data.classes == ["a", "b", "c"]


def test_a_thousand_that_may_be_one_is_read_as_in_training(tmp_path):
    args = {"target": "y", "task": "regression", "standardise": False}
    (tmp_path / "a.csv").write_text("x;y\n1,5;2\n2,25;3\n")
    train = TabularCSV("train", path=str(tmp_path / "a.csv"), valid_fraction=0, test_fraction=0, **args)
    (tmp_path / "b.csv").write_text("x;y\n1,234;2\n")
    test = TabularCSV("test", test_path=str(tmp_path / "b.csv"), preprocessing=train.preprocessing, **args)
    torch.testing.assert_close(test.inputs, torch.tensor([[1.234]]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", "weight"),
        ("task", "binary"),
        ("features", ["steps"]),
        ("categorical", None),
        ("ignore", ["gap"]),
        ("impute", "median"),
        ("standardise", False),
        ("standardise_target", False),
    ],
)
def test_what_a_model_was_trained_with_otherwise_is_refused(trained, tmp_path, name, value):
    write_csv(tmp_path / "new.csv", COLUMNS)
    with pytest.raises(
        UserError, match=f"^dataset.args.{name}: found .*, but the model was trained with .*leave it out$"
    ):
        read_again(tmp_path / "new.csv", trained, **{name: value})


def test_a_test_part_that_training_did_not_hold_out_is_told(tmp_path):
    def is_told(columns=COLUMNS, **changes):
        write_csv(tmp_path / "a.csv", columns)
        data = TabularCSV("test", preprocessing=preprocessing, **{**args, **changes})
        return any(note.startswith("warning: the test part is not the one") for note in data.notes)

    write_csv(tmp_path / "a.csv", COLUMNS)
    args = {**ARGS, "path": str(tmp_path / "a.csv")}
    preprocessing = TabularCSV("train", **args).preprocessing
    assert not is_told() and not is_told({name: values[::-1] for name, values in COLUMNS.items()})
    polars.read_csv(tmp_path / "a.csv").write_parquet(tmp_path / "a.parquet")
    assert not is_told(path=str(tmp_path / "a.parquet")) and not is_told(test_path=str(tmp_path / "a.csv"), path=None)
    assert is_told({**COLUMNS, "more": range(NUM_ROWS)})  # without an ID, a row is known by all that is in it
    assert is_told(split_seed=1) and is_told(test_fraction=0.3)
