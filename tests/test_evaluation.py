"""test.py: from a checkpoint alone, on any split, with results that are written where one asked for them."""

import csv
import json
import re
import shutil
import weakref

import numpy
import pytest
import torch
from sklearn import metrics

from base import BATCH_TRANSFORMS, MODELS
from base.batch import Batch, Forward
from base.target_kind import TargetKind
from config.schema import LossConfig
from data_loader.parts import build_dataset
from model.answers import answers_of
from report.tables import shown
from test import main
from tests.make_data import write_csv, write_pictures
from tests.running import PICTURES, evaluate, first_model, read, rows, state_of, train
from trainer.results import Predictions
from utils.checkpoint import write_checkpoint


def predictions(folder):
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def page_of(run):
    return (run / "results/report.html").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    return train(tmp_path, "metrics=[accuracy]", "trainer.monitor=min val_loss")


def test_results_go_into_the_run_and_no_run_is_made(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.rglob("*")}
    assert main(["-r", "saved/tiny/latest"]) == 0
    assert main(["-r", "saved/tiny/latest", "--split", "valid"]) == 0
    results = {f"{folder}/{name}" for folder in ("test", "test-valid")
               for name in ("metrics.json", "predictions.csv", "report.html", "per_class.csv", "confusion_matrix.png",
                            "calibration.png", "roc_pr.png")}  # fmt: skip
    assert {*tmp_path.rglob("*")} - before == {run / name for name in {"test", "test-valid", *results}}
    assert f"results in saved/tiny/{run.name}/test\n" in capsys.readouterr().out
    assert main(["-r", "saved/tiny/latest", "--no-report"]) == 0
    assert {path.name for path in (run / "test").iterdir()} == {"metrics.json", "predictions.csv"}


@pytest.mark.parametrize(("split", "size"), [("train", 40), ("valid", 20), ("test", 20)])
def test_scores_are_over_the_whole_split(split, size, run, tmp_path):
    results = evaluate(run, "--split", split)
    dataset = build_dataset(read(tmp_path).dataset, split)
    inputs, targets = dataset.__getitems__(torch.arange(size))
    model = first_model(read(tmp_path)).eval()
    model.load_state_dict(state_of(run, "best")["model"])
    output = model(inputs)
    assert results["loss"] == pytest.approx(torch.nn.functional.cross_entropy(output, targets).item(), rel=1e-5)
    assert results["accuracy"] == (output.argmax(dim=1) == targets).sum().item() / size
    assert (results["num_samples"], results["split"], results["step"]) == (size, split, state_of(run, "best")["step"])

    table = predictions(run / "results")
    assert [row["sample"] for row in table] == [f"sample {i}" for i in range(size)]
    assert [int(row["target"]) for row in table] == targets.tolist()
    assert [int(row["prediction"]) for row in table] == output.argmax(dim=1).tolist()
    scores = torch.tensor([float(row["score"]) for row in table])
    torch.testing.assert_close(scores, output.softmax(dim=1).amax(dim=1))


def test_a_run_is_judged_by_its_best_checkpoint_and_a_checkpoint_by_itself(tmp_path):
    worse = ("trainer.monitor=max val_loss", "optimizer.args.lr=0.02", "--epochs", "3")
    run = train(tmp_path, *worse)
    first, last = rows(run)[0]["val_loss"], rows(run)[-1]["val_loss"]
    assert first > last
    assert evaluate(run, "--split", "valid")["loss"] == first
    assert main(["-r", str(run / "checkpoints/last.pt"), "--split", "valid"]) == 0
    assert json.loads((run / "test-valid/metrics.json").read_text())["loss"] == last


def test_a_checkpoint_is_all_it_takes(run, tmp_path, monkeypatch):
    expected = evaluate(run)["loss"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(run / "checkpoints/best.pt", elsewhere / "digits-of-last-week.pt")
    shutil.rmtree(tmp_path / "saved")
    monkeypatch.chdir(elsewhere)
    assert main(["-r", "digits-of-last-week.pt"]) == 0
    assert json.loads((elsewhere / "test/metrics.json").read_text())["loss"] == expected
    assert sorted(path.name for path in elsewhere.iterdir()) == ["digits-of-last-week.pt", "test"]
    assert main(["-r", "digits-of-last-week.pt", "--out", "deep/results"]) == 0
    assert (elsewhere / "deep/results/predictions.csv").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["metrics=[acuracy]"], "did you mean 'accuracy'?"),
        (["-r", "nothing/there"], "there is no run or checkpoint 'nothing/there'"),
        (["model.args.hidden=[4]"],
         "step-000000010.pt does not fit the model: layers.0.weight (8, 8) there, (4, 8) here; layers.0.bias (8,) "
         "there, (4,) here; layers.3.weight (3, 8) there, (3, 4) here. Have model.args or the model's code changed "),
        (["model.args.hidden=[]"], "layers.0.weight (8, 8) there, (3, 8) here; layers.0.bias (8,) there, (3,) here"),
    ],
)  # fmt: skip
def test_mistakes_are_told_without_a_traceback(overrides, message, run, capsys):
    assert main(["-r", str(run), *overrides]) == 2
    assert message in capsys.readouterr().err
    assert not (run / "test").exists()


WITHOUT_EFFECT = {
    "optimizer.args.lr=0.5": "optimizer", "lr_scheduler={type: StepLR, args: {step_size: 1}}": "lr_scheduler",
    "loss=MSELoss": "loss", "name=other": "name", "trainer.epochs=5": "trainer.epochs",
    "trainer={save_every: 3 epochs}": "trainer.save_every", "trainer.init_from.path=x": "trainer.init_from",
    "trainer.channels_last=true": "trainer.channels_last",  # the run's own way is in the checkpoint
}  # fmt: skip


def test_overrides_without_effect_are_refused_all_at_once(run, capsys):
    assert main(["-r", str(run), "device=cuad", "trainer.epoch=5", *WITHOUT_EFFECT]) == 2
    takes = "dataset, data_loader, model, metrics, seed, device, trainer.precision, trainer.deterministic"
    told = f"would change nothing in an evaluation; test.py takes: {takes}"
    mistakes = [
        *(f"{override}: {key}: {told}" for override, key in WITHOUT_EFFECT.items()),
        "device=cuad: device: found 'cuad' (text); expected auto, cpu, cuda, cuda:N or mps",
        "trainer.epoch=5: trainer.epoch: unknown key; did you mean 'epochs'?",
    ]
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(mistakes)
    assert not (run / "test").exists()


def test_overrides_that_have_an_effect_are_taken(run):
    overrides = ("seed=3", "device=cpu", "data_loader.num_workers=0", "trainer.deterministic=true", "metrics=[]")
    exact = evaluate(run, *overrides)
    assert "accuracy" not in exact
    rounded = evaluate(run, "trainer={precision: bf16}", "model.args.hidden=[8]")
    assert rounded["loss"] != exact["loss"] and rounded["loss"] == pytest.approx(exact["loss"], rel=0.05)
    top_3 = "metrics=[{type: top_k_accuracy, args: {k: 3}}]"
    changed = evaluate(run, "dataset.args.test_size=30", "data_loader.batch_size=7", top_3)
    assert changed["num_samples"] == 30 and changed["top_k_accuracy"] == 1.0 and "accuracy" not in changed


def test_validation_data_taken_from_the_training_part_are_the_same_ones(tmp_path, capsys):
    of_torch = [f"{{type: {name}, args: {{num_classes: 3}}}}" for name in ("MulticlassF1Score", "MulticlassAUROC")]
    run = train(tmp_path, "data_loader.validation_split=0.25", f"metrics=[accuracy, {', '.join(of_torch)}]")
    capsys.readouterr()
    results = evaluate(run, "--split", "valid")
    printed = capsys.readouterr().out
    num_valid = state_of(run)["data"]["fingerprint"]["num_samples"]["valid"]
    assert results["num_samples"] == num_valid and 5 <= num_valid <= 15
    for name in ("loss", "accuracy", "MulticlassF1Score", "MulticlassAUROC"):
        (value,) = re.findall(rf"^{name} +([\d.]+)(?: |$)", printed, re.MULTILINE)
        assert results[name] == rows(run)[-1][f"val_{name}"] and value == f"{results[name]:.6g}"
    assert evaluate(run, "--split", "train")["num_samples"] == 40 - num_valid
    evaluate(run, "--split", "valid", "data_loader.validation_split=0", code=2)
    assert "no validation part: data_loader.validation_split is 0" in capsys.readouterr().err


def test_random_transforms_of_evaluation_give_the_same_numbers(tmp_path):
    @BATCH_TRANSFORMS.register
    class Shake(torch.nn.Module):
        def forward(self, pictures):
            return pictures + torch.randn_like(pictures)

    run = train(tmp_path, *PICTURES, "dataset.batch_transforms={train: [Shake], eval: [Shake]}")
    assert evaluate(run, "--split", "valid")["loss"] == rows(run)[-1]["val_loss"]
    assert evaluate(run, "--split", "valid", "dataset.batch_transforms.eval=[]")["loss"] != rows(run)[-1]["val_loss"]


def train_table(folder, path, task, loss, *overrides, code=0):
    table = f"dataset={{type: TabularCSV, args: {{path: '{path}', target: target, task: {task}}}}}"
    mlp = "model.args={in_features: null, out_features: 1}"
    model = () if any(text.startswith("model=") for text in overrides) else (mlp,)
    return train(folder, table, f"loss={loss}", *model, "--batch-size", "16", "--epochs", "1", *overrides, code=code)


@MODELS.register
class Probability(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(2, 1), torch.nn.Sigmoid())


@pytest.mark.parametrize(
    ("loss", "model"),
    [("BCEWithLogitsLoss", "MLP"), ("soft_margin_loss", "MLP"), ("BCELoss", "Probability"), ("MSELoss", "MLP")],
)
def test_binary(loss, model, tmp_path):
    names = ["good", "ill"]
    values = torch.randn(120, generator=torch.Generator().manual_seed(0)).tolist()
    write_csv(tmp_path / "t.csv", {"x": values, "y": values[::-1], "target": [names[value > 0] for value in values]})
    run = train_table(tmp_path, tmp_path / "t.csv", "binary", loss, *([f"model={model}"] if model != "MLP" else []))
    results = evaluate(run, "metrics=[accuracy, BinaryAUROC, BinaryF1Score]")
    table = predictions(run / "results")
    assert [*table[0]] == ["sample", "target", "prediction", "score", "score_good", "score_ill"]
    assert len(table) == results["num_samples"] and {row["target"] for row in table} == {*names}
    ill = numpy.array([float(row["score_ill"]) for row in table])
    for row, score in zip(table, ill, strict=True):
        assert row["prediction"] == names[int(score > 0.5)] and row["score"] == row[f"score_{row['prediction']}"]
        assert float(row["score_good"]) == pytest.approx(1 - score, abs=1e-6)
    true, predicted = ([row[column] == "ill" for row in table] for column in ("target", "prediction"))
    assert results["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted), abs=1e-6)
    assert results["BinaryF1Score"] == pytest.approx(metrics.f1_score(true, predicted), abs=1e-6)
    assert results["BinaryAUROC"] == pytest.approx(metrics.roc_auc_score(true, ill), abs=1e-6)
    if loss.startswith("BCE"):
        assert results["loss"] == pytest.approx(metrics.log_loss(true, ill), abs=1e-6)
    assert (run / "results/confusion_matrix.png").exists()


def test_the_page_tells_of_the_run_and_from_a_checkpoint_alone_of_what_is_known(run, tmp_path):
    evaluate(run)
    page = page_of(run)
    for text in (f"tiny/{run.name}: results", "max_time: null", "status", "finished", "Training", "accuracy"):
        assert text in page
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(run / "checkpoints/best.pt", elsewhere / "a.pt")
    evaluate(elsewhere / "a.pt")
    page = page_of(elsewhere)
    assert "tiny: results" in page and "num_threads" in page and "Training</h2>" not in page


def test_several_classes_equal_scikit_learn(tmp_path):
    names = ("accuracy", "log_loss", "MulticlassF1Score", "MulticlassAUROC")
    run = train(
        tmp_path, "dataset.args.test_size=200", f"metrics=[{', '.join(names)}]", "loss.args.label_smoothing=0.1"
    )
    results, table = evaluate(run), predictions(run / "results")
    true, predicted = ([row[column] for row in table] for column in ("target", "prediction"))
    scores = numpy.array([[float(row[f"score_{name}"]) for name in "012"] for row in table])
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-6)
    scores /= scores.sum(axis=1, keepdims=True)
    expected = (
        metrics.accuracy_score(true, predicted),
        metrics.log_loss(true, scores),
        metrics.f1_score(true, predicted, average="macro"),
        metrics.roc_auc_score(true, scores, multi_class="ovr"),
    )
    assert [results[name] for name in names] == pytest.approx(expected, abs=1e-6)
    assert all(low < results[name] < high for name, (low, high) in results["intervals"].items())
    assert results["intervals"].keys() == results["num_resamples"].keys() == {"loss", *names}


def test_regression(tmp_path):
    """In the target's own unit, and to six digits where the targets' mean is a thousand times their deviation."""
    x = torch.arange(200) / 200
    write_csv(tmp_path / "t.csv", {"x": x.tolist(), "target": (1e5 + 100 * x + torch.rand(200)).tolist()})
    scaled = ("dataset.args.standardise_target=true", "--lr", "1e-1", "--epochs", "5")
    run = train_table(tmp_path, tmp_path / "t.csv", "regression", "MSELoss", *scaled)
    rmse = "{type: MeanSquaredError, name: rmse, args: {squared: false}}"
    results = evaluate(run, f"metrics=[mean_absolute_error, R2Score, {rmse}]")
    table = predictions(run / "results")
    assert [*table[0]] == ["sample", "target", "prediction"] and len(table) == results["num_samples"]
    lines = (tmp_path / "t.csv").read_text().splitlines()
    for i, row in enumerate(table):
        file, line = re.fullmatch(rf"sample {i} \((.*):(\d+)\)", row["sample"]).groups()
        target = float(lines[int(line) - 1].split(",")[1])
        assert file == "t.csv" and float(row["target"]) == pytest.approx(target, rel=1e-6)
    true, predicted = ([float(row[column]) for row in table] for column in ("target", "prediction"))
    assert results["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(true, predicted), rel=1e-6)
    assert results["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, predicted), rel=1e-6)
    assert 0.5 < results["R2Score"] == pytest.approx(metrics.r2_score(true, predicted), abs=1e-6)
    assert results["intervals"].keys() == {"loss", "mean_absolute_error", "R2Score", "rmse"}
    assert not (run / "results/confusion_matrix.png").exists()
    assert f'<td class="number">{shown(metrics.r2_score(true, predicted))}</td>' in page_of(run)
    assert "<td>target</td>" in page_of(run)  # the column's name
    assert "The loss is of standardised targets" in page_of(run)


def test_counts_are_compared_and_told_as_counts(tmp_path, capsys):
    x = torch.arange(200) / 100
    write_csv(tmp_path / "t.csv", {"x": x.tolist(), "target": (x.exp() * 3).round().tolist()})
    table = (tmp_path, tmp_path / "t.csv", "regression", "PoissonNLLLoss")
    run = train_table(*table, "--lr", "1e-2", "--epochs", "5", "metrics=[mean_absolute_error, R2Score]")
    results = evaluate(run)
    true, predicted = (
        [float(row[column]) for row in predictions(run / "results")] for column in ("target", "prediction")
    )
    assert results["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(true, predicted), rel=1e-6)
    assert 0.5 < results["R2Score"] == pytest.approx(metrics.r2_score(true, predicted), abs=1e-6)
    train_table(*table, "dataset.args.standardise_target=true", code=2)
    assert "loss PoissonNLLLoss: it takes counts or shares, and the targets are standardised" in capsys.readouterr().err


def test_several_classes_by_name_and_files_by_name(tmp_path):
    write_pictures(tmp_path / "pictures", ("cat", "dog", "owl"), num_each=10)
    pictures = f"dataset={{type: ImageFolder, args: {{root: {tmp_path}/pictures, size: 8}}}}"
    run = train(tmp_path, PICTURES[1], pictures)
    evaluate(run)
    table = predictions(run / "results")
    assert {row["target"] for row in table} == {"cat", "dog", "owl"}
    assert all(f"{row['target']}/" in row["sample"] and row["sample"].endswith(".jpg)") for row in table)
    num_wrong = sum(row["target"] != row["prediction"] for row in table)
    assert num_wrong > 0 and (run / "results/mistakes.png").exists()


def test_multi_column_outputs_are_a_column_each(tmp_path):
    wide = ("dataset.args.num_classes=null", "dataset.args.num_outputs=2", "model.args.out_features=2", "loss=MSELoss")
    run = train(tmp_path, *wide)
    evaluate(run)
    assert [*predictions(run / "results")[0]] == ["sample", "target_0", "target_1", "prediction_0", "prediction_1"]


def results_of(loss, classes, output, target, folder, kind=None):
    """What test.py would write of one batch."""
    kind = kind or TargetKind.of(target)
    results = Predictions(str, lambda output: answers_of(LossConfig(type=loss), output, kind, classes))
    results.visit(Batch(torch.arange(len(output)), None), Forward(None, output, target, None))
    results.write(folder, {})
    return results


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3)], ids=["segmentation", "classes"])
def test_no_output_is_kept(shape, tmp_path):
    output, target = torch.randn(shape), torch.zeros(2, *shape[2:], dtype=torch.long)
    kept = weakref.ref(output)
    results = results_of("CrossEntropyLoss", ["a", "b", "c"], output, target, tmp_path)
    del output
    assert kept() is None
    assert (tmp_path / "predictions.csv").exists() == (shape == (2, 3)) == (results.why_none is None)


@pytest.mark.parametrize(
    ("loss", "classes", "output", "target", "names"),
    [
        ("cross_entropy", ["a", "b", "c"], torch.eye(3), torch.tensor([0, -100, -1]), ["a", "-100", "-1"]),
        ("soft_margin_loss", ["a", "b"], torch.ones(2, 1), torch.tensor([[-1.0], [1]]), ["a", "b"]),
    ],
)
def test_a_target_below_zero_is_not_counted_from_the_end(loss, classes, output, target, names, tmp_path):
    results_of(loss, classes, output, target, tmp_path)
    assert [row["target"] for row in predictions(tmp_path)] == names


def test_many_classes_have_no_column_each(tmp_path):
    output = torch.eye(201).mul(9)[:2]
    results_of("CrossEntropyLoss", None, output, torch.tensor([0, -100]), tmp_path)
    first, second = predictions(tmp_path)
    assert [*first] == ["sample", "target", "prediction", "score", "target_score"]
    assert first["target_score"] == first["score"] and second["target_score"] == ""


def test_labels_have_their_names(tmp_path):
    output = torch.tensor([[2.0, -2.0], [-1.0, 0.5]])
    results = results_of("BCEWithLogitsLoss", ["cat", "dog"], output, torch.tensor([[1.0, 0], [1, 1]]), tmp_path)
    names = [f"{what}_{name}" for what in ("target", "prediction", "score") for name in ("cat", "dog")]
    table = predictions(tmp_path)
    assert [*table[0]] == ["sample", *names]
    assert [row["prediction_cat"] + row["prediction_dog"] for row in table] == ["10", "01"]
    assert float(table[0]["score_cat"]) == pytest.approx(torch.tensor(2.0).sigmoid().item())
    outcome = results.outcome(picture_of=lambda index: 10 + index)
    assert outcome["picture_of"](1) == 11
    assert (outcome["kind"], outcome["classes"], outcome["names"]) == ("labels", ["cat", "dog"], ["0", "1"])
    assert outcome["targets"].tolist() == [[1, 0], [1, 1]] and outcome["scores"].shape == (2, 2)


def test_a_checkpoint_that_says_nothing_of_the_memory_format_is_evaluated(run, tmp_path):
    """As those that were written before it was chosen."""
    state = state_of(run, "best")
    del state["channels_last"]
    write_checkpoint(tmp_path / "older.pt", state)
    assert evaluate(tmp_path / "older.pt")["loss"] == evaluate(run)["loss"]


def test_a_standardised_target_keeps_its_digits_in_bf16(tmp_path):
    write_csv(tmp_path / "t.csv", {"x": range(200), "y": [1e6 + 10 * x for x in range(200)]})
    args = f"{{path: {tmp_path / 't.csv'}, target: y, task: regression, standardise_target: true}}"
    settings = (
        "model={type: MLP, args: {in_features: 1, hidden: [], out_features: 1}}",
        "loss=MSELoss",
        "metrics=[mean_absolute_error]",
    )
    run = train(tmp_path, f"dataset={{type: TabularCSV, args: {args}}}", *settings, "trainer.precision=bf16")
    rounded, exact = evaluate(run), evaluate(run, "trainer.precision=fp32")
    assert exact["mean_absolute_error"] < 1000
    assert rounded["mean_absolute_error"] == pytest.approx(exact["mean_absolute_error"], rel=0.05)
