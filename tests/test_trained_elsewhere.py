"""A checkpoint and new data alone, in an empty folder: the same predictions as in the training folder, to the bit."""

import csv
import json
import random
import shutil

import pytest

from data_loader.tables.tabular import TabularCSV
from tests.make_data import write_csv, write_pictures
from tests.running import evaluate, resume, train
from utils.checkpoint import read_checkpoint

TOWNS = ("Bern", "Ulm", "Oslo")


def rows(num: int, seed: int) -> dict[str, list]:
    drawn = random.Random(seed)
    area = [drawn.uniform(20, 200) for _ in range(num)]
    town = [drawn.choice(TOWNS) for _ in range(num)]
    age = [drawn.choice(["", str(drawn.randint(0, 90))]) for _ in range(num)]
    price = [1000 * size * (1 + TOWNS.index(name)) + drawn.gauss(0, 99) for size, name in zip(area, town, strict=True)]
    return {"area": [f"{size:.3f}" for size in area], "town": town, "age": age, "price": [f"{p:.1f}" for p in price]}


def predictions(folder) -> list[list[str]]:
    with open(folder / "results/predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def tables(tmp_path):
    """A run on a table, new rows in its folder, and an empty folder with its best checkpoint alone."""
    (tmp_path / "there").mkdir()
    write_csv(tmp_path / "there/houses.csv", rows(200, 0))
    write_csv(tmp_path / "there/new.csv", rows(30, 1))
    table = f"dataset={{type: TabularCSV, args: {{path: {tmp_path}/there/houses.csv, target: price, task: regression"
    more = (
        "model=LinearRegression",
        "loss=MSELoss",
        "metrics=[mean_absolute_error]",
        "--epochs",
        "2",
    )
    run = train(tmp_path / "there", f"{table}, standardise_target: true}}}}", *more)
    (tmp_path / "empty").mkdir()
    shutil.copy((run / "checkpoints/last.pt").resolve(), tmp_path / "empty/houses.pt")
    return run, tmp_path / "there/new.csv", tmp_path / "empty"


def alone(checkpoint, name: str, *more: str, code: int = 0):
    return evaluate(checkpoint, "dataset.args.path=null", f"dataset.args.test_path={name}", *more, code=code)


def test_new_rows_are_read_as_those_of_the_training(tables, monkeypatch):
    run, new, empty = tables
    there = evaluate(run / "checkpoints/last.pt", f"dataset.args.test_path={new}")
    expected = predictions(run / "checkpoints")
    shutil.copy(new, empty / "new.csv")
    shutil.rmtree(run.parents[2])
    monkeypatch.chdir(empty)
    here = alone(empty / "houses.pt", "new.csv")
    assert predictions(empty) == expected and len(expected) == 31
    assert {**here, "checkpoint": 0} == {**there, "checkpoint": 0}
    errors = [abs(float(target) - float(prediction)) for _, target, prediction in expected[1:]]
    assert here["mean_absolute_error"] == pytest.approx(sum(errors) / 30, rel=1e-4)  # in the unit of the target
    assert min(float(target) for _, target, _ in expected[1:]) > 10_000


def test_columns_reordered_extra_missing_and_renamed(tables, monkeypatch, capsys):
    _, _, empty = tables
    monkeypatch.chdir(empty)
    columns = rows(30, 1)
    write_csv("plain.csv", columns)
    alone(empty / "houses.pt", "plain.csv")
    expected = predictions(empty)
    order = [*range(30)]
    random.Random(2).shuffle(order)
    write_csv(
        "other.csv", {name: columns[name] for name in ("price", "town", "age", "area")} | {"colour": ["red"] * 30}
    )
    alone(empty / "houses.pt", "other.csv")
    assert [row[1:] for row in predictions(empty)] == [row[1:] for row in expected]  # but for the file's name
    assert "colour" in capsys.readouterr().out
    write_csv("rows.csv", {name: [values[place] for place in order] for name, values in columns.items()})
    alone(empty / "houses.pt", "rows.csv")
    assert [row[1:] for row in predictions(empty)[1:]] == [expected[1 + place][1:] for place in order]
    for wrong in ({"aera": columns["area"]}, {}):
        write_csv("wrong.csv", {**{name: columns[name] for name in ("town", "age", "price")}, **wrong})
        alone(empty / "houses.pt", "wrong.csv", code=2)
        assert "area" in capsys.readouterr().err


def test_what_is_in_the_training_table_later_changes_nothing(tables):
    run, _, _ = tables
    before = evaluate(run)
    table = run.parents[2] / "houses.csv"
    lines = table.read_text().splitlines()
    parts = read_checkpoint(run / "checkpoints/last.pt")["data"]["fingerprint"]["num_samples"]
    assert parts["train"] + parts["valid"] < 200
    write_csv(table, {name: [*values, "999"] for name, values in rows(200, 0).items() if name != "town"} | {
        "town": [*rows(200, 0)["town"], "Bern"]})  # fmt: skip
    assert len(table.read_text().splitlines()) == len(lines) + 1
    after = evaluate(run)
    assert after["num_samples"] - before["num_samples"] in (0, 1)
    if after["num_samples"] == before["num_samples"]:
        assert after["loss"] == before["loss"]


@pytest.mark.parametrize("known_by", ["id", "group"])
def test_a_cell_that_has_changed_is_told_though_ids_and_targets_are_the_same(known_by, tmp_path, capsys):
    columns = {known_by: [f"p{i}" for i in range(100)], **rows(100, 0)}
    write_csv(tmp_path / "a.csv", columns)
    args = {"path": f"{tmp_path}/a.csv", "target": "price", "task": "regression"}
    args |= {"group": "group"} if known_by == "group" else {}
    model = ("model=LinearRegression", "loss=MSELoss", "--epochs", "1")
    run = train(tmp_path, f"dataset={json.dumps({'type': 'TabularCSV', 'args': args})}", *model)
    for split in ("train", "valid"):
        part = TabularCSV(split, **args)
        row = columns[known_by].index((part.groups or part.names)[3])
        write_csv(tmp_path / "a.csv", {**columns, "area": [*columns["area"][:row], "7.7", *columns["area"][row + 1 :]]})
        for each in ("train", "valid"):
            evaluate(run, "--split", each)
            told = f"the {each} part is not as it was in training: other samples" in capsys.readouterr().err
            assert told == (each == split)
        resume(run, "--epochs", "2", code=2)
        assert f"are not the data of {run}/checkpoints/" in (told := capsys.readouterr().err)
        assert told.count("other ") == 1 and f": other samples.{split};" in told
    write_csv(tmp_path / "a.csv", columns)
    resume(run, "--epochs", "2")


def test_pictures_are_matched_by_the_names_of_their_folders(tmp_path, monkeypatch, capsys):
    (tmp_path / "there").mkdir()
    write_pictures(tmp_path / "there/data/train", num_each=12, ending=".png")
    write_pictures(tmp_path / "there/data/test", num_each=6, ending=".png")
    data = f"dataset={{type: ImageFolder, args: {{root: {tmp_path}/there/data, size: 8}}}}"
    net = "model={type: LeNet, args: {dropout: 0}}"
    run = train(tmp_path / "there", data, net, "metrics=[accuracy]", "--lr", "0.05", "--epochs", "8")
    assert evaluate(run)["accuracy"] == 1
    (tmp_path / "empty/data/test").mkdir(parents=True)
    for name in ("dog", "owl"):  # without cat, the numbers would be others
        shutil.copytree(tmp_path / "there/data/test" / name, tmp_path / "empty/data/test" / name)
    shutil.copy((run / "checkpoints/last.pt").resolve(), tmp_path / "empty/animals.pt")
    shutil.rmtree(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "empty")
    assert evaluate(tmp_path / "empty/animals.pt", "dataset.args.root=data")["accuracy"] == 1
    (tmp_path / "empty/data/test/owl").rename(tmp_path / "empty/data/test/oul")
    evaluate(tmp_path / "empty/animals.pt", "dataset.args.root=data", code=2)
    assert "oul" in (err := capsys.readouterr().err) and "owl" in err
