"""predict.py and load_model: from a checkpoint and the inputs alone, a row an input, and nothing lost by bad ones."""

import csv
import io
import json
import random
import shutil
import sys
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import predict as predict_script
from base import DATASETS, MODELS
from data_loader.in_memory import InMemoryDataset
from data_loader.pictures.digits import Digits
from data_loader.shown_sample import picture_of
from predict import load_model
from tests.make_data import write_csv, write_pictures
from tests.running import PICTURES, TINY, evaluate, full_disk, train
from utils.checkpoint import read_checkpoint, write_checkpoint
from utils.errors import UserError


def predict(run, *arguments, code=0):
    """Run predict.py; returns the rows that it writes."""
    out = run.parent / "answers.csv"
    assert predict_script.main(["-r", str(run), *map(str, arguments), "--out", str(out)]) == code
    if code == 2:
        return None
    with open(out, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def predictions(folder):
    with open(folder / "results/predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def standard_input(monkeypatch, content: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def alone(run, folder):
    """The last checkpoint of a run, copied to an empty folder; all else of the run is gone."""
    folder.mkdir()
    shutil.copy((run / "checkpoints/last.pt").resolve(), folder / "model.pt")
    shutil.rmtree(run)
    return folder / "model.pt"


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A model of pictures of 8x8, and pictures of another size that it was not trained on."""
    folder = tmp_path_factory.mktemp("animals")
    write_pictures(folder / "data/train", num_each=8)
    write_pictures(folder / "data/test", num_each=3)
    data = f"dataset={{type: ImageFolder, args: {{root: {folder}/data, size: 8}}}}"
    run = train(folder, PICTURES[1], data, "trainer.loggers=[]")
    evaluate(run)
    table = predictions(run)
    shutil.rmtree(folder / "data/train")
    return alone(run, folder / "alone"), folder / "data/test", table


def test_pictures_get_what_test_py_gave_them_to_the_bit(animals):
    model, folder, table = animals
    rows = predict(model, folder)
    assert [*rows[0]] == ["input", "prediction", "score", "error"]
    assert [(f"({row['input']})", row["prediction"], row["score"]) for row in rows] == [
        (row["sample"].split(" ", 2)[2], row["prediction"], row["score"]) for row in table
    ]
    several = predict(model, folder / "owl/*.jpg", folder / "cat", folder / "dog/0001.jpg", "--top", "3")
    names = [row["input"].removeprefix(f"{folder}/") for row in several]
    assert names == [*(f"{kind}/{i:04d}.jpg" for kind in ("owl", "cat") for i in range(3)), "dog/0001.jpg"]
    for row in several:
        assert {row[f"prediction{place}"] for place in ("", "_2", "_3")} == {"cat", "dog", "owl"}
        scores = [float(row[f"score{place}"]) for place in ("", "_2", "_3")]
        assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1)


def write_odd(folder):
    """Pictures of all kinds, and what is none, under names in the order that is returned."""
    folder.mkdir()
    grey = numpy.arange(64, dtype=numpy.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(folder / "a-grey.png")
    Image.fromarray(grey).convert("LA").save(folder / "b-grey-alpha.png")
    Image.fromarray(grey).convert("RGBA").save(folder / "c-rgba.png")
    Image.fromarray(grey.astype(numpy.uint16) * 257).save(folder / "d-16-bits.png")
    (folder / "e-empty.png").touch()
    (folder / "f-text.png").write_text("no picture")
    return [path.name for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_pictures_get_a_row(workers, animals, tmp_path, capsys):
    model, folder, _ = animals
    names = write_odd(tmp_path / "odd")
    more = ("data_loader.batch_size=3", f"data_loader.num_workers={workers}")
    rows = predict(model, tmp_path / "odd", folder / "cat/0000.jpg", *more, code=1)
    assert [row["input"].split("/")[-1] for row in rows] == [*names, "0000.jpg"]
    assert [bool(row["error"]) for row in rows] == [False] * 4 + [True] * 2 + [False]
    assert all(bool(row["prediction"]) != bool(row["error"]) for row in rows)
    assert len({row["score"][:9] for row in rows[:4]}) == 1  # one and the same picture, but for rounding
    assert "no picture" in rows[5]["error"] and "2 of 7 inputs could not be read" in capsys.readouterr().err


@MODELS.register
class PooledPixels(torch.nn.Sequential):
    """Takes pictures of any size."""

    def __init__(self):
        super().__init__(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))


def test_pictures_of_several_sizes_where_none_was_asked_for(tmp_path, capsys):
    write_pictures(tmp_path / "data/train", size=(8, 8))
    data = f"dataset={{type: ImageFolder, args: {{root: {tmp_path}/data}}}}"
    run = train(
        tmp_path,
        data,
        "model={type: PooledPixels, args: {}}",
        "--epochs",
        "1",
        "data_loader.validation_split=0.1",
        "trainer.monitor=off",
    )
    write_pictures(tmp_path / "new", ("any",), 2, size=(8, 8))
    write_pictures(tmp_path / "new", ("large",), 1, size=(40, 30))
    capsys.readouterr()
    rows = predict(run, tmp_path / "new")
    assert len(rows) == 3 and not any(row["error"] for row in rows)
    assert "trained on pictures of 192 numbers, and" in (told := capsys.readouterr().err) and "has 3,600" in told
    predict(run, tmp_path / "new/any")
    assert "numbers" not in capsys.readouterr().err


def test_pictures_of_a_size_that_the_model_cannot_take_get_a_row(tmp_path):
    write_pictures(tmp_path / "data/train", size=(8, 8))
    mlp = "model={type: MLP, args: {in_features: 192, hidden: [], out_features: 3}}"
    run = train(tmp_path, f"dataset={{type: ImageFolder, args: {{root: {tmp_path}/data}}}}", mlp, "--epochs", "1",
                "data_loader.validation_split=0.1")  # fmt: skip
    write_pictures(tmp_path / "new", ("a", "c"), 1, size=(8, 8))
    write_pictures(tmp_path / "new", ("b",), 1, size=(9, 8))
    (tmp_path / "new/notes.txt").touch()
    first, second, third = predict(run, tmp_path / "new", code=1)
    assert first["prediction"] and third["prediction"] and not second["prediction"]
    assert "the model does not take its size, (3, 9, 8): mat1 and mat2" in second["error"]


def test_what_is_not_finite_is_no_prediction(digits, tmp_path):
    path = tmp_path / "checkpoints/step-000000001.pt"
    path.parent.mkdir()
    state = read_checkpoint(digits / "checkpoints/last.pt")
    state["model"]["classifier.3.bias"][3] = float("nan")
    write_checkpoint(path, state)
    assert load_model(path).predict([torch.zeros(8, 8)]) == [{"error": "what the model gives is not finite"}]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    model = "model={type: LeNet, args: {num_classes: 10, in_channels: 1, dropout: 0}}"
    settings = ("data_loader.batch_size=400", "data_loader.validation_split=0.1", "trainer.loggers=[]")
    return train(folder, "dataset={type: Digits, args: {}}", model, *settings, "--epochs", "1")


def test_a_picture_is_brought_to_the_channels_of_the_training_and_its_size_is_not_guessed(digits, tmp_path):
    evaluate(digits)
    table, test_part = predictions(digits), Digits("test")
    (tmp_path / "new").mkdir()
    for index in range(len(test_part)):
        pixels = Image.fromarray(picture_of(test_part, index) if index % 2 else test_part.inputs[index, 0].numpy())
        pixels.save(tmp_path / f"new/{index:03d}.png")
    rows = predict(digits, tmp_path / "new")
    assert [(row["prediction"], row["score"]) for row in rows] == [(row["prediction"], row["score"]) for row in table]

    large = test_part.inputs[0, 0].repeat_interleave(4, 0).repeat_interleave(4, 1)
    Image.fromarray(large.numpy()).save(tmp_path / "large.png")
    (row,) = predict(digits, tmp_path / "large.png", code=1)
    assert "it is 32x32 (height x width), and the model was trained on 8x8" in row["error"]
    (row,) = predict(digits, tmp_path / "large.png", "--resize", "stretch")
    assert row["prediction"] == table[0]["prediction"]


def test_a_picture_in_memory_is_the_same_as_its_file(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = Digits("test").inputs[5]
    Image.fromarray(pixels[0].numpy()).save("a.png")
    model = load_model(digits, device="cpu", batch_size=2)
    before = torch.get_rng_state()
    given = ["a.png", pixels, pixels / 255, pixels[0].numpy(), pixels[0].numpy()[:, :, None], Image.open("a.png")]
    rows = model.predict(given)
    assert torch.equal(before, torch.get_rng_state())
    assert rows == [rows[0]] * 6 and rows[0]["score"] == max(rows[0]["scores"].values())
    assert [*rows[0]] == ["prediction", "score", "scores"] and [*rows[0]["scores"]] == [*"0123456789"]
    assert model.predict("a.png")[0]["prediction"] == rows[0]["prediction"] and model.predict([]) == []
    batch = Digits("test").inputs[4:7]
    rows_of_batch = model.predict(batch)
    assert len(rows_of_batch) == 3 and rows_of_batch[1]["prediction"] == rows[0]["prediction"]
    assert model.predict(batch.movedim(1, 3).numpy()) == rows_of_batch and model.predict(batch[:0]) == []
    assert [*map(len, model.predict([*"a", batch]))] == [1, 3, 3, 3]  # the first has `error` alone
    wrong = [pixels * 1.0, pixels.long(), pixels.expand(2, 8, 8), pixels.numpy(), 7, "nothing.png", "a.png"]
    *errors, last = model.predict(wrong)
    assert last["prediction"] == rows[0]["prediction"] and all([*row] == ["error"] for row in errors)
    told = " ".join(row["error"] for row in errors)
    for words in ("not from 0 to 1", "torch.int64", "the shape (2, 8, 8)", "an array (H, W)", "found int", "nothing"):
        assert words in told


def test_load_model_finds_a_run_of_the_project_from_anywhere(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("commands.predicting.ROOT", digits.parents[2])
    assert len(load_model("saved/tiny/latest").predict(torch.zeros(8, 8))) == 1
    with pytest.raises(UserError, match="there is no run or checkpoint"):
        load_model("saved/other/latest")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.png", "no*.png", "a.png"], "'nothing.png': no such file or folder\n'no*.png': no file matches\n"),
        (["empty"], "'empty': nothing in this folder can be read (they end in .jpg"),
        (["a.png", "--top", "11"], "--top: found 11, but the model tells 10 classes apart"),
        (["a.png", "model.args.in_channels=3"], "found 3, but the data have 1 channels"),
        (["a.png", "model={type: MLP, args: {in_features: 64, out_features: 10}}"], "does not fit the model"),
        (["a.png", "dataset.type=CIFAR10"], "inputs are read as in training, by the dataset of the run"),
        (["a.png", "dataset.args.split_seed=1"], "would change nothing: inputs are given on the command line"),
        (["a.png", "metrics=[]"], "would change nothing in an evaluation; predict.py takes: dataset, "),
    ],
)
def test_mistakes_are_told_and_what_was_written_stays(arguments, message, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.fromarray(Digits("test").inputs[0, 0].numpy()).save("a.png")
    (digits.parent / "answers.csv").write_text("before")
    predict(digits, *arguments, code=2)
    assert message in capsys.readouterr().err
    assert (digits.parent / "answers.csv").read_text() == "before"


def test_names_from_standard_input_and_json_lines(digits, tmp_path, monkeypatch, capsysbinary):
    Image.fromarray(Digits("test").inputs[0, 0].numpy()).save(tmp_path / "a.png")
    standard_input(monkeypatch, f"{tmp_path}/a.png\n{tmp_path}/gone.png\n".encode())
    assert predict_script.main(["-r", str(digits), "-", "--format", "jsonl", "--top", "2"]) == 1
    first, second = map(json.loads, capsysbinary.readouterr().out.splitlines())
    assert [*first] == ["input", "prediction", "score", "prediction_2", "score_2"]
    assert [*second] == ["input", "error"] and second["input"].endswith("gone.png")
    standard_input(monkeypatch, b"")
    predict(digits, "-", code=2)


def test_names_from_standard_input_are_answered_as_they_come(digits, tmp_path, monkeypatch):
    Image.fromarray(Digits("test").inputs[0, 0].numpy()).save(tmp_path / "a.png")
    part, counts = digits.parent / "answers.csv.part", []

    def lines():
        for i in range(9):
            counts.append(len(part.read_text().splitlines()) if i else 0)
            yield f"{tmp_path}/a.png\n".encode()

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines()))
    assert len(predict(digits, tmp_path / "a.png", "-", tmp_path / "a.png", "data_loader.batch_size=2")) == 11
    assert counts == [0, 2, 4, 4, 4, 4, 8, 8, 8]  # of blocks of 2 and 4, with the header


def test_a_dataset_that_says_nothing_of_inputs_is_told_what_to_write(tmp_path, capsys):
    predict(train(tmp_path, "--epochs", "1"), "-", code=2)
    told = capsys.readouterr().err
    assert "dataset Synthetic does not say how its inputs look" in told and "def for_inputs(cls, inputs" in told


def test_a_full_disk_leaves_what_was_there(animals, tmp_path, capsys):
    model, folder, _ = animals
    out = model.parent / "answers.csv"
    predict(model, folder)
    before = out.read_bytes()
    with full_disk(len(before) // 2):
        assert predict_script.main(["-r", str(model), str(folder), "--out", str(out)]) == 1
    assert out.read_bytes() == before and f"cannot write {out}" in capsys.readouterr().err
    assert before.startswith((part := out.with_name("answers.csv.part")).read_bytes()) and part.stat().st_size > 0
    predict(model, folder)
    assert not part.exists()


def houses(size, seed):
    drawn = random.Random(seed)
    area, town = [drawn.uniform(20, 200) for _ in range(size)], [drawn.choice(["Bern", "Ulm"]) for _ in range(size)]
    price = [1e6 + 1000 * a * (1 + (t == "Ulm")) for a, t in zip(area, town, strict=True)]
    return {"area": [f"{a:.2f}" for a in area], "town": town, "price": price}


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prices")
    write_csv(folder / "houses.csv", houses(150, 0))
    args = f"{{path: {folder}/houses.csv, target: price, task: regression, standardise_target: true}}"
    settings = ("model=LinearRegression", "loss=MSELoss", "data_loader.batch_size=32", "trainer.loggers=[]")
    run = train(folder, f"dataset={{type: TabularCSV, args: {args}}}", *settings, "--epochs", "4")
    write_csv(folder / "new.csv", houses(30, 1))
    evaluate(run, f"dataset.args.test_path={folder}/new.csv")
    table = predictions(run)
    (folder / "houses.csv").unlink()
    return alone(run, folder / "alone"), folder / "new.csv", [row["prediction"] for row in table]


def test_rows_are_predicted_in_the_unit_of_the_target(prices, tmp_path, monkeypatch, capsys):
    model, new, expected = prices
    rows = predict(model, new)
    assert [row["prediction"] for row in rows] == expected and min(map(float, expected)) > 900_000
    assert [row["input"] for row in rows] == [f"{new}:{line}" for line in range(2, 32)]
    columns = houses(30, 1)
    write_csv(tmp_path / "other.csv", {"colour": ["red"] * 30, "town": columns["town"], "area": columns["area"]})
    assert [row["prediction"] for row in predict(model, tmp_path / "other.csv")] == expected
    assert "columns the model does not know, not used: 'colour'" in capsys.readouterr().err
    standard_input(monkeypatch, (tmp_path / "other.csv").read_bytes())
    both = predict(model, "-", new)
    assert [row["input"] for row in both] == [f"-:{line}" for line in range(2, 32)] + [row["input"] for row in rows]
    in_python = load_model(model).predict([{"area": columns["area"][0], "town": columns["town"][0]}])
    assert in_python == [{"prediction": pytest.approx(float(expected[0]), rel=1e-6)}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"town": ["Ulm"], "price": ["3"]}, "no column 'area', which the model was trained with"),
        ({"town": ["Ulm"], "aera": ["3"]}, "trained with; is it the one called 'aera'"),
        ({"town": [], "area": []}, "no rows below the header"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read(columns, message, prices, tmp_path, capsys):
    write_csv(tmp_path / "new.csv", columns)
    predict(prices[0], tmp_path / "new.csv", code=2)
    assert message in capsys.readouterr().err


def test_a_row_with_a_bad_cell_is_the_only_one_without_a_prediction(prices, tmp_path, capsys):
    model, new, expected = prices
    columns = houses(30, 1)
    columns["area"][1], columns["area"][28] = "big", "1e39"
    write_csv(tmp_path / "new.csv", columns)
    rows = predict(model, tmp_path / "new.csv", new, "data_loader.batch_size=8", code=1)
    assert len(rows) == 60 and [row["prediction"] for row in rows[30:]] == expected
    assert rows[1] == {"input": f"{tmp_path}/new.csv:3", "prediction": "",
                       "error": "column 'area': found 'big'; expected a finite number"}  # fmt: skip
    assert "expected a number below 3.4e38" in rows[28]["error"]
    assert [row["prediction"] for row in rows[:30] if not row["error"]] == expected[:1] + expected[2:28] + expected[29:]
    assert "2 of 60 inputs could not be read" in capsys.readouterr().err
    answers = load_model(model).predict([{"area": "big", "town": "Ulm"}, {"area": 80, "town": "Ulm"}, {}])
    assert [*answers[0], *answers[1]] == ["error", "prediction"] and answers[2] == {"error": "it holds nothing"}


def test_a_row_of_another_length_is_the_only_one_without_a_prediction(prices, tmp_path, capsys):
    model, new, expected = prices
    header, *lines = new.read_text().splitlines()
    (tmp_path / "new.csv").write_text("\n".join([header, lines[0], "1,Ulm", "", "1,Ulm,2,3", *lines[1:]]) + "\n")
    rows = predict(model, tmp_path / "new.csv", code=1)
    assert [row["prediction"] for row in rows] == [expected[0], "", "", *expected[1:]]
    assert [(row["input"], row["error"]) for row in rows if row["error"]] == [
        (f"{tmp_path}/new.csv:{line}", f"{count} values, but the header has 3 columns")
        for line, count in ((3, 2), (5, 4))
    ]
    (tmp_path / "new.csv").write_text("\n".join([header, lines[0], '1,Ulm,"2', *lines[1:]]) + "\n")
    predict(model, tmp_path / "new.csv", code=2)
    assert "new.csv:3: this row goes on to line 32: is a quote not closed?" in capsys.readouterr().err


def test_missing_numbers_and_unknown_categories_are_read_as_in_training(prices, tmp_path, capsys):
    write_csv(tmp_path / "new.csv", {"town": ["Rome", ""], "area": ["NaN", "100"]})
    assert len(predict(prices[0], tmp_path / "new.csv")) == 2
    assert "column 'town': 2 cells hold categories that the training part lacks" in capsys.readouterr().err


def test_a_table_may_have_one_column_alone(tmp_path):
    write_csv(tmp_path / "a.csv", {"x": range(50), "y": range(50)})
    args = f"{{path: {tmp_path}/a.csv, target: y, task: regression}}"
    run = train(tmp_path, f"dataset={{type: TabularCSV, args: {args}}}", "model=LinearRegression", "loss=MSELoss")
    write_csv(tmp_path / "b.csv", {"x": [1, 2, 3]})
    assert len(predict(run, tmp_path / "b.csv")) == 3


@DATASETS.register
class Words(Dataset):
    """Texts whose length and number of words are to be told."""

    inputs_are, target_names = "texts", ["letters", "words"]

    def __init__(self, split: str, texts: list[str] | None = None):
        self.inputs = texts or [" ".join("ab" * (i % 5 + 1) for _ in range(i % 7 + 1)) for i in range(40)]
        self.has_targets = texts is None

    @classmethod
    def for_inputs(cls, inputs, preprocessing):
        if "refuse" in inputs:
            raise UserError("one is refused")
        return cls("test", inputs)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        text = self.inputs[index]
        sizes = torch.tensor([len(text), len(text.split())]).float()
        return (sizes, sizes) if self.has_targets else sizes


def test_an_own_dataset_takes_texts_and_names_its_values(tmp_path, monkeypatch, capsys):
    linear = ("model={type: MLP, args: {hidden: [], in_features: 2, out_features: 2}}", "loss=MSELoss", "--lr", "1e-3")
    run = train(tmp_path, "dataset={type: Words, args: {}}", *linear, "data_loader.validation_split=0.2", config=TINY)
    evaluate(run)
    names = ["letters", "words"]
    assert [*predictions(run)[0]] == ["sample", *(f"{what}_{n}" for what in ("target", "prediction") for n in names)]
    (tmp_path / "lines.txt").write_text("one\ntwo words\n")
    rows = predict(run, tmp_path / "lines.txt", "another line of text")
    assert [row["input"] for row in rows] == ["one", "two words", "another line of text"]
    assert [*rows[0]] == ["input", "prediction_letters", "prediction_words", "error"]
    assert [*load_model(run).predict(["a b"])[0]["prediction"]] == names
    predict(run, "lines.tx", code=2)  # a name that is misspelt is no text
    assert "'lines.tx': no such file" in capsys.readouterr().err
    standard_input(monkeypatch, b"refuse\n")
    predict(run, "-", code=2)
    assert "one is refused" in capsys.readouterr().err


@DATASETS.register
class Signs(InMemoryDataset):
    """Two numbers, and of each whether it is positive."""

    inputs_are = "texts"

    def __init__(self, split: str):
        numbers = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        super().__init__(numbers, (numbers > 0).float(), ["left", "right"])

    @classmethod
    def for_inputs(cls, inputs, preprocessing):
        return InMemoryDataset(torch.tensor([[float(number) for number in text.split()] for text in inputs]), None)


def test_labels_are_listed_with_the_score_of_each(tmp_path, capsys):
    linear = ("model={type: MLP, args: {hidden: [], in_features: 2, out_features: 2}}", "loss=BCEWithLogitsLoss")
    split = ("data_loader.validation_split=0.2", "trainer.epochs=10", "optimizer.args.lr=1")
    run = train(tmp_path, "dataset={type: Signs, args: {}}", *linear, *split)
    (tmp_path / "lines.txt").write_text("5 6\n7 -8\n-9 -9\n")
    rows = predict(run, tmp_path / "lines.txt")
    assert [row["prediction"] for row in rows] == ["left; right", "left", ""]
    assert [*rows[0]] == ["input", "prediction", "score_left", "score_right", "error"]
    (first,) = load_model(run).predict("5 6")
    assert first["prediction"] == ["left", "right"] and first["scores"]["left"] > 0.5 and "score" not in first
    predict(run, tmp_path / "lines.txt", "--top", "2", code=2)
    assert "--top: the model predicts labels" in capsys.readouterr().err
