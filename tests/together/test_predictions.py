"""Several processes predict and evaluate: the same rows in the same order as one, and the same intervals."""

import csv
import json

import pytest

import predict as predict_script
import test as test_script
from tests.make_data import write_pictures
from tests.ranks import Ranks
from tests.running import PICTURES, train


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("animals")
    write_pictures(folder / "data/train", num_each=8)
    write_pictures(folder / "data/test", num_each=5)
    data = f"dataset={{type: ImageFolder, args: {{root: {folder}/data, size: 8}}}}"
    metrics = "metrics=[accuracy, {type: MulticlassAUROC, args: {num_classes: 3}}]"
    # Slowly: of a perfect AUROC there is no interval.
    run = train(folder, PICTURES[1], data, metrics, "optimizer.args.lr=0.01", "trainer.loggers=[]")
    (folder / "data/test/cat/0001.jpg").write_text("no picture")
    (folder / "data/test/cat/0003.jpg").write_text("no picture")
    return run, folder / "data/test"


def rows_of(folder, num, *arguments):
    """What several processes write, the main one of which ends with 1, as some inputs are unreadable."""
    out = folder / f"rows-{num}.csv"
    ranks = Ranks(folder, num, *map(str, arguments), "--out", str(out), script=predict_script.main)
    assert ranks.wait()[0] == 1, ranks.output()
    with open(out, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), ranks.output()


@pytest.mark.parametrize("num", [2, 4])
def test_rows_are_those_of_one_process(num, animals, tmp_path):
    run, folder = animals
    arguments = ("-r", run, folder, "data_loader.batch_size=4")  # of 15, the last has 3
    expected, _ = rows_of(tmp_path, 1, *arguments)
    rows, told = rows_of(tmp_path, num, *arguments)
    assert [row["input"] for row in rows] == [row["input"] for row in expected] and len(rows) == 15
    for row, its in zip(rows, expected, strict=True):
        assert (row["prediction"], bool(row["error"])) == (its["prediction"], bool(its["error"]))
        if not row["error"]:
            assert float(row["score"]) == pytest.approx(float(its["score"]), rel=1e-5)
    assert told.count("2 of 15 inputs could not be read") == 1


def test_standard_input_is_for_one_process(animals, tmp_path):
    ranks = Ranks(tmp_path, 2, "-r", str(animals[0]), "-", script=predict_script.main)
    assert ranks.wait()[0] == 2 and ranks.output().count("standard input is that of one process") == 1


def test_intervals_are_those_of_one_process(animals, tmp_path):
    found = []
    for num in (1, 2):
        out = tmp_path / f"test-{num}"
        arguments = ("--split", "train", "--out", str(out), "data_loader.batch_size=4")
        ranks = Ranks(tmp_path, num, "-r", str(animals[0]), *arguments, script=test_script.main)
        assert ranks.wait() == [0] * num, ranks.output()
        found.append(json.loads((out / "metrics.json").read_text()))
    one, two = found
    assert one["intervals"].keys() == two["intervals"].keys() == {"loss", "accuracy", "MulticlassAUROC"}
    for name, bounds in one["intervals"].items():
        assert two["intervals"][name] == pytest.approx(bounds, rel=1e-4)
