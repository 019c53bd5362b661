"""Training on texts of a table, and what is done with the checkpoint alone."""

import csv
import random

import pytest
import torch

import export as export_script
import predict as predict_script
from predict import load_model
from tests.make_data import write_csv, write_reviews
from tests.running import evaluate, rows, state_of, train

CONFIG = """\
name: texts
device: cpu
dataset: {type: TextCSV, args: {path: PATH}}
data_loader: {batch_size: 16, num_workers: 0, order: bucketed, validation_split: null}
model: TextTransformer
loss: CrossEntropyLoss
metrics: [accuracy]
optimizer: {type: Adam, args: {lr: 1e-2}}
trainer: {epochs: 2, monitor: max val_accuracy, tensorboard: false}
"""


def config(path, **sections):
    lines = CONFIG.replace("PATH", str(path)).splitlines()
    return "\n".join(
        f"{line.split(':')[0]}: {sections[line.split(':')[0]]}" if line.split(":")[0] in sections else line
        for line in lines
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose data are gone."""
    folder = tmp_path_factory.mktemp("texts")
    write_reviews(folder / "texts.tsv", header="target\ttext\n")
    trained = train(folder, config=config(folder / "texts.tsv"))
    assert evaluate(trained)["accuracy"] > 0.9
    (folder / "texts.tsv").rename(folder / "elsewhere.tsv")
    return trained


def test_a_prediction_is_that_of_the_test_part(run, tmp_path, monkeypatch, capsys):
    results = list(csv.DictReader((run / "results/predictions.csv").open()))
    texts = [row["sample"].split(": ", 1)[1][:-1] for row in results]
    (tmp_path / "lines.txt").write_text("\n".join([*texts, "", "GOOD-1 never seen"]))
    write_csv(tmp_path / "rows.csv", {"text": texts, "price": range(len(texts))})
    write_csv(tmp_path / "alone.csv", {"text": texts[:2]})
    monkeypatch.chdir(tmp_path)
    assert (
        predict_script.main(["-r", str(run), "lines.txt", "rows.csv", "alone.csv", "two words", "--out", "out.csv"])
        == 1
    )
    answers = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert "1 of 91 inputs could not be read" in capsys.readouterr().err
    size = len(texts)
    for first in (0, size + 2):
        for row, expected in zip(answers[first : first + size], results, strict=True):
            assert row["prediction"] == expected["prediction"]
            assert float(row["score"]) == pytest.approx(float(expected["score"]), abs=1e-5)
    assert answers[size]["error"] == "there is no text in it" and answers[size]["input"] == ""
    assert answers[size + 1]["prediction"] == "good"  # in small letters, as in training
    assert [answers[place]["input"] for place in (0, size + 2, -2, -1)] == [
        texts[0],
        "rows.csv:2",
        "alone.csv:3",
        "two words",
    ]
    assert load_model(run).predict(["GOOD-1 never seen"])[0]["prediction"] == "good"
    write_csv(tmp_path / "other.csv", {"review": texts, "price": range(size)})
    assert predict_script.main(["-r", str(run), "other.csv"]) == 2
    assert "other.csv: no column 'text'" in capsys.readouterr().err


def test_the_report_shows_what_mistakes_say(tmp_path):
    long = "a word and another word " * 12
    texts = [f"{word} {long}end {number}" for number, word in enumerate(["good", "bad"] * 40)]
    targets = ["yes", "yes", "no", "no"] * 20  # of which the words say nothing
    write_csv(tmp_path / "long.csv", {"text": texts, "target": targets})
    run = train(tmp_path, config=config(tmp_path / "long.csv"))
    evaluate(run)
    page = (run / "results/report.html").read_text()
    header = "".join(f'<th class="">{name}</th>' for name in ("sample", "text", "true"))
    assert f"{long}end " in page.split(header)[1]


def test_what_is_no_text_gets_no_answer(run, tmp_path, monkeypatch, capsys):
    told = ["found dict; expected a text", "found NoneType; expected a text", "found float; expected a text",
            "it is no UTF-8", "there is no text in it"]  # fmt: skip
    answers = load_model(run).predict([{"text": "good-1"}, None, float("nan"), "good-1 \ud83d", " ", "good-1"])
    assert [answer.get("error") for answer in answers] == [*told, None]
    (tmp_path / "lines.txt").write_text("GOOD-1\r\nbad-1\r\n", encoding="utf-8-sig")
    for source in (tmp_path / "lines.txt", "-"):
        monkeypatch.setattr("sys.stdin", (tmp_path / "lines.txt").open())
        assert predict_script.main(["-r", str(run), str(source)]) == 0
        assert [row["input"] for row in csv.DictReader(capsys.readouterr().out.splitlines())] == ["GOOD-1", "bad-1"]
    for name in ("not there.csv", "not there.txt"):
        assert predict_script.main(["-r", str(run), name]) == 2
        assert f"'{name}': no such file; a text of one word, or that ends as a file" in capsys.readouterr().err


def test_where_the_data_lie_now_does_not_matter(run):
    folder = run.parent.parent.parent
    assert evaluate(run, f"dataset.args.path={folder / 'elsewhere.tsv'}")["accuracy"] > 0.9
    evaluate(run, f"dataset.args.path={folder / 'elsewhere.tsv'}", "dataset.args.lower=false", code=2)


def test_a_transformer_is_exported(run, tmp_path, capsys):
    assert export_script.main(["-r", str(run), "--format", "pt2", "--out", str(tmp_path / "model.pt2")]) == 0
    program = torch.export.load(tmp_path / "model.pt2").module()
    assert program(torch.randint(1, 9, (3, 5))).shape == (3, 3)


def test_numbers_from_word_vectors_that_stay_as_they_are(tmp_path, capsys):
    """How often a word is in a text, in a unit in which it is large; by a recurrent network, which no export takes."""
    random.seed(0)
    texts = [" ".join(random.choices(["apple", "pear", "plum", "fig"], k=random.randint(2, 12))) for _ in range(300)]
    write_csv(tmp_path / "apples.csv", {"text": texts, "price": [1000 + 250 * text.count("apple") for text in texts]})
    (tmp_path / "vectors.txt").write_text("apple 1 0 0\npear 0 1 0\nplum 0 0 1\n")
    args = f"target: price, task: regression, standardise_target: true, vectors: {tmp_path / 'vectors.txt'}"
    text = config(
        "",
        dataset=f"{{type: TextCSV, args: {{path: {tmp_path / 'apples.csv'}, {args}}}}}",
        model="{type: TextRNN, args: {width: 3, hidden: 16, bidirectional: false, packed: false, dropout: 0}}",
        loss="MSELoss",
        metrics="[mean_absolute_error]",
        trainer="{epochs: 15, monitor: min val_loss, tensorboard: false, freeze: [embedding.*]}",
    )
    run = train(tmp_path, config=text)
    assert "vectors of 3 numbers for 3 of 4 tokens (75%)" in capsys.readouterr().out
    state = state_of(run)
    vocabulary = state["data"]["preprocessing"]["vocabulary"]
    weights = state["model"]["embedding.weight"]
    assert weights[2 + vocabulary.index("pear")].tolist() == [0, 1, 0] and not weights[0].any()
    (tmp_path / "vectors.txt").unlink()
    assert evaluate(run)["mean_absolute_error"] < 100 < rows(run)[0]["val_mean_absolute_error"]
    assert load_model(run).predict(["plum apple apple fig"])[0]["prediction"] == pytest.approx(1500, abs=150)
    assert export_script.main(["-r", str(run), "--format", "pt2"]) == 2
    assert "no program takes inputs of any size here: dimension 1 of tokens is" in capsys.readouterr().err


def test_weights_of_a_model_with_other_tokens_are_told(tmp_path, capsys):
    """The embedding has the same size, and its rows are of other words."""
    write_reviews(tmp_path / "texts.tsv", header="target\ttext\n")
    text = (tmp_path / "texts.tsv").read_text()
    (tmp_path / "other.tsv").write_text(text.replace("word", "term").replace("good-", "fine-"))
    start = ("dataset.args.vocab_size=30", "trainer.epochs=1")
    first = train(tmp_path, *start, config=config(tmp_path / "texts.tsv"))
    told = "warning: there, the numbers of tokens stand for others than here"
    for name, is_told in (("texts", False), ("other", True)):
        capsys.readouterr()
        init = f"trainer.init_from={first}"
        train(tmp_path, *start, init, f"name={name}-again", config=config(tmp_path / f"{name}.tsv"))
        out = capsys.readouterr().out
        assert f"init_from {first}: " in out and (told in out) is is_told


def test_texts_of_the_training_file_in_the_validation_file_are_told(tmp_path, caplog):
    write_reviews(tmp_path / "texts.tsv", header="target\ttext\n", size=120)
    header, *lines = (tmp_path / "texts.tsv").read_text().splitlines()
    for name, some in (("train", lines[:80]), ("valid", lines[70:100]), ("apart", lines[80:])):
        (tmp_path / f"{name}.tsv").write_text("\n".join([header, *some]) + "\n")
    text = config(tmp_path / "texts.tsv", dataset=f"{{type: TextCSV, args: {{train_path: {tmp_path}/train.tsv}}}}")
    told = "10 of 30 validation samples hold what samples of the training part hold"
    for name, is_told in (("apart", False), ("valid", True)):
        train(tmp_path, f"dataset.args.valid_path={tmp_path / name}.tsv", "--dry-run", config=text)
        assert (told in caplog.text) is is_told and ("validation samples hold" in caplog.text) is is_told


def test_what_does_not_fit_the_model(tmp_path, capsys):
    write_reviews(tmp_path / "texts.tsv", header="target\ttext\n")
    (tmp_path / "vectors.txt").write_text("good 1 0 0\nbad 0 1 0\n")
    text = config(tmp_path / "texts.tsv")
    train(tmp_path, f"dataset.args.vectors={tmp_path / 'vectors.txt'}", config=text, code=2)
    told = "dataset TextCSV has embedding.weight (38, 3) for a model to start from, but it is (38, 64) there"
    assert told in capsys.readouterr().err
    train(tmp_path, "model.args.max_length=30", config=text, code=2)
    assert "max_length: found 30, but the data have texts of up to 256 tokens" in capsys.readouterr().err
    train(tmp_path, f"dataset.args.vectors={tmp_path / 'no.txt'}", config=text, code=2)
    assert "no.txt: cannot be read: No such file or directory" in capsys.readouterr().err
