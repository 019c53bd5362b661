"""sweep.py: runs over folds and seeds, and trials; killed, shared, and begun again."""

import csv
import json
import math
import shutil
import signal
import time
from pathlib import Path

import pytest
from scipy import stats

import sweep as sweep_script
import test as test_script
import train as train_script
from commands.run_records import find_runs
from commands.spread import spread_of
from commands.sweep_code import digest_of_code
from config.load import check_config, read_config
from script import load_registries
from tests.forks import start_forked
from tests.paper import REAL, figures_are
from tests.running import rows, table_of

CANCER = """\
name: cancer
device: cpu
dataset: {type: TabularCSV, args: {path: "scikit-learn:breast_cancer", target: target, task: binary}}
data_loader: {batch_size: 128}
model: {type: MLP, args: {hidden: [8]}}
loss: BCEWithLogitsLoss
metrics: [accuracy]
optimizer: {type: AdamW, args: {lr: 0.02}}
trainer: {epochs: 2, tensorboard: false, monitor: max val_accuracy}
"""
SPACE = ("optimizer.args.lr=log(1e-4, 1e-1)", "model.args.hidden=[[4], [8, 8]]")


def arguments(folder: Path, *more: str) -> list[str]:
    (folder / "cancer.yaml").write_text(CANCER)
    return ["-c", str(folder / "cancer.yaml"), f"trainer.save_dir={folder / 'saved'}", *more]


def sweep(folder: Path, *more: str, code: int = 0) -> Path:
    """Run sweep.py in this process; returns the sweep's folder."""
    assert sweep_script.main(arguments(folder, *more)) == code
    return folder / "saved" / "cancer" / "sweep"


def told(folder: Path, capsys, *more: str) -> list[str]:
    """What is refused, line by line; and nothing is left of it."""
    capsys.readouterr()
    assert not any((folder / "saved").rglob("*.yaml"))
    try:
        sweep(folder, *more, code=2)
    except SystemExit as leaving:
        assert leaving.code == 2
    assert not any((folder / "saved").rglob("*.yaml"))
    return capsys.readouterr().err.splitlines()


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("2*/metrics.csv")}


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """Two seeds, each on two folds."""
    folder = tmp_path_factory.mktemp("repeated")
    return folder, sweep(folder, "--folds", "2", "--seeds", "2")


def test_each_fold_with_each_seed_is_a_run(repeated):
    _, found = repeated
    table = read(found / "runs.csv")
    assert [(row["seed"], row["fold"]) for row in table] == [(s, f) for s in ("42", "43") for f in "01"]
    for row in table:
        run = found.parent / row["run"]
        scores = json.loads((run / "test" / "metrics.json").read_text())
        assert float(row["accuracy"]) == scores["accuracy"] and row["split"] == scores["split"] == "test"
        config = check_config(read_config([str(run / "config.yaml")]))
        assert (config.seed, config.data_loader.fold.index) == (int(row["seed"]), int(row["fold"]))
    assert not [path for path in find_runs(found.parents[1])[0] if path.name == "sweep"]
    samples = [(row["seed"], row["sample"].split("(")[1]) for row in read(found / "predictions.csv")]
    names = [f"scikit-learn:breast_cancer:{n})" for n in range(569)]
    assert sorted(samples) == sorted((seed, name) for seed in ("42", "43") for name in names)


def test_a_run_of_a_sweep_is_the_one_that_train_makes(repeated, tmp_path):
    _, found = repeated
    keys = ("seed=43", "data_loader.fold={index: 1, of: 2}")
    assert train_script.main(arguments(tmp_path, *keys)) == 0
    run = tmp_path / "saved" / "cancer" / "latest"
    assert table_of(run) == table_of(found.parent / read(found / "runs.csv")[-1]["run"])


def test_what_is_done_is_not_done_again_and_seeds_may_be_added(repeated, capsys):
    folder, found = repeated
    before = times(found.parent)
    sweep(folder, "--folds", "2", "--seeds", "2")
    assert times(found.parent) == before and len(before) == 4
    out = capsys.readouterr().out
    scores = [float(row["accuracy"]) for row in read(found / "runs.csv")]
    its = spread_of(scores, 2, 2)
    told = f"accuracy  {its.mean:.4f}  {its.deviation:.4f}  {its.low:.4f} to {its.high:.4f}"
    assert told.split() == next(line for line in out.splitlines() if line.startswith("accuracy")).split()
    assert "4 runs, each on its test part" in out and "Nadeau and Bengio" in out


def test_other_predictions_than_those_of_the_scores_are_refused(repeated, capsys):
    folder, found = repeated
    run = found.parent / read(found / "runs.csv")[0]["run"]
    best = (run / "checkpoints" / "best.pt").resolve()
    other = next(path for path in (run / "checkpoints").glob("step-*.pt") if path != best)
    assert test_script.main(["-r", str(other)]) == 0
    sweep(folder, "--folds", "2", "--seeds", "2", code=2)
    err = capsys.readouterr().err
    assert "is of another evaluation than the scores of this sweep: test.py has written there since" in err
    assert test_script.main(["-r", str(run)]) == 0
    sweep(folder, "--folds", "2", "--seeds", "2")


def test_other_code_is_told_each_time(repeated, tmp_path, capsys):
    folder, found = repeated
    record = found / "repeats.yaml"
    text = record.read_text()
    record.write_text(text.replace(digest_of_code(), "0" * 32))
    for _ in range(2):
        sweep(folder, "--folds", "2", "--seeds", "2")
        assert "warning: the code is not that of the first of these runs" in capsys.readouterr().err
    record.write_text(text)
    sweep(folder, "--folds", "2", "--seeds", "2")
    assert "warning" not in capsys.readouterr().err
    (tmp_path / "model").mkdir()
    digests = {digest_of_code(tmp_path)}
    for content in ("a = 1\n", "a = 2\n"):  # committed or not
        (tmp_path / "model" / "own.py").write_text(content)
        digests.add(digest_of_code(tmp_path))
    assert len(digests) == 3


def test_another_sweep_in_the_same_folder_is_refused(repeated, capsys):
    folder, _ = repeated
    sweep(folder, "--folds", "4", "--seeds", "2", "optimizer.args.lr=0.5", code=2)
    err = capsys.readouterr().err
    assert "holds another sweep: folds 4, not 2" in err and "config.optimizer.args.lr 0.5, not 0.02" in err
    assert "name=NAME" in err
    sweep(folder, "--folds", "2", code=2)  # fewer of them: which ones, somebody would have chosen
    assert "seeds 1, not 2" in capsys.readouterr().err


def test_the_interval_is_students():
    scores = [0.9, 0.95, 0.91, 0.97, 0.93]
    its = spread_of(scores, num_folds=5)
    low, high = stats.t.interval(0.95, 4, its.mean, stats.sem(scores))
    assert (its.low, its.high) == pytest.approx((low, high)) and its.deviation == pytest.approx(stats.tstd(scores))
    corrected = spread_of(scores * 2, num_folds=5, num_seeds=2)
    assert corrected.high - corrected.mean == pytest.approx(
        stats.t.ppf(0.975, 9) * (stats.tvar(scores * 2) * (1 / 10 + 1 / 4)) ** 0.5
    )

    assert math.isnan(spread_of([0.5, math.nan, 0.7]).mean)


def test_what_makes_a_score_hard_to_read_is_told(tmp_path, capsys):
    """Of a group that is a fold: one class only, or so many samples that too few are left."""
    table = tmp_path / "a.csv"
    groups = [*(("big", n % 2) for n in range(40)), *(("small", 1) for _ in range(12))]
    table.write_text("x,g,y\n" + "".join(f"{n},{g},{y}\n" for n, (g, y) in enumerate(groups)))
    keys = (
        f"dataset.args={{path: {table}, target: y, task: binary}}", "metrics=[BinaryAUROC]",
        "data_loader={batch_size: 16, drop_last: true, validation_split: 0, fold: {group: g, stratify: false}}",
        "trainer.epochs=1", "trainer.monitor=off",
    )  # fmt: skip
    sweep(tmp_path, "--folds", "2", *keys, code=2)
    out, err = capsys.readouterr()
    assert "1 column: 1 number" in out
    assert "seed 42, fold 0: warning: No negative samples in targets" in err
    assert "seed 42, fold 1: " in err and "less than one batch of 16" in err


def test_the_unit_of_a_loss_and_what_weights_have_seen_are_told(tmp_path, capsys):
    table = tmp_path / "a.csv"
    table.write_text("x,y\n" + "".join(f"{n % 25},{n % 25 * 1000}\n" for n in range(50)))
    data = f"dataset.args={{path: {table}, target: y, task: regression, standardise_target: true}}"
    keys = (data, "data_loader.batch_size=8", "loss=MSELoss", "metrics=[mean_absolute_error]")
    keys = (*keys, "trainer.epochs=1", "trainer.monitor=min val_loss")
    found = sweep(tmp_path, "--folds", "2", *keys)
    out = capsys.readouterr().out
    assert "25 of 50 rows are copies of others; folds may part them" in out
    assert (
        "the target is standardised (mean 11625, " in out and "the loss is of targets that each run has standard" in out
    )
    weights = found.parent / read(found / "runs.csv")[0]["run"] / "checkpoints" / "best.pt"
    sweep(tmp_path, "--seeds", "2", *keys, f"trainer.init_from={weights}", "name=cancer2")
    assert "what those weights were trained on may be in these samples" in capsys.readouterr().out


def test_other_data_are_refused(tmp_path, capsys):
    table = tmp_path / "a.csv"
    rows = ["x,y", *(f"{n},{n % 2}" for n in range(60))]
    table.write_text("\n".join(rows))
    keys = (f"dataset.args={{path: {table}, target: y, task: binary}}", "data_loader.batch_size=8")
    found = sweep(tmp_path, "--folds", "2", "trainer.epochs=1", *keys)
    held_out = next(int(row["sample"].rsplit(":", 1)[1][:-1]) - 1 for row in read(found / "predictions.csv"))
    rows[held_out] = f"1000,{(held_out - 1) % 2}"  # of the first fold, which its run has not trained on
    table.write_text("\n".join(rows))
    sweep(tmp_path, "--folds", "2", "trainer.epochs=1", *keys, code=2)
    assert f"these are not the data of {found}: other samples.test" in capsys.readouterr().err


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Five trials by one process, without interruption."""
    pytest.importorskip("optuna")
    folder = tmp_path_factory.mktemp("searched")
    with figures_are(REAL):
        return sweep(folder, "--trials", "5", *SPACE)


def trials(found: Path) -> list[tuple[str, ...]]:
    return [tuple(row[key] for key in row if key != "run") for row in read(found / "trials.csv")]


def test_trials_are_runs_and_the_best_is_a_config(searched):
    table = read(searched / "trials.csv")
    assert [row["trial"] for row in table] == [*"01234"]
    assert len({row["run"] for row in table}) == len({row["optimizer.args.lr"] for row in table}) == 5
    complete = [row for row in table if row["state"] == "complete"]
    for row in complete:
        assert float(row["val_accuracy"]) == max(each["val_accuracy"] for each in rows(searched.parent / row["run"]))
    best = max(complete, key=lambda row: float(row["val_accuracy"]))
    assert f"trial {best['trial']} of 5" in (searched / "best.yaml").read_text().splitlines()[0]
    config, run = (read_config([str(file)]).data for file in (
        searched / "best.yaml", searched.parent / best["run"] / "config.yaml"
    ))  # fmt: skip
    assert config == run and config["optimizer"]["args"]["lr"] == float(best["optimizer.args.lr"])
    check_config(read_config([str(searched / "best.yaml")]), load_registries)
    assert {path.name for path in searched.glob("*.png")} == {"history.png", "slices.png", "importance.png"}
    assert not list((searched.parent).glob("2*/test"))  # nothing was chosen by the test part
    assert test_script.main(["-r", str(searched.parent / best["run"])]) == 0


def test_a_search_that_is_killed_and_then_shared_comes_to_the_same(searched, tmp_path):
    found, command = tmp_path / "saved" / "cancer" / "sweep", arguments(tmp_path, "--trials", "5", *SPACE)
    process, deadline = start_forked("sweep.py", *command), time.monotonic() + 100
    while len(list(found.parent.glob("2*/metrics.csv"))) < 2 and process.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    assert process.wait().returncode == -signal.SIGKILL
    other = start_forked("sweep.py", *command)
    sweep(tmp_path, "--trials", "5", *SPACE)
    assert other.wait().returncode == 0
    sweep(tmp_path, "--trials", "5", *SPACE)  # what the other may have done last
    assert trials(found) == trials(searched)
    assert len(list(found.parent.glob("2*"))) == 5


def test_a_journal_that_is_damaged_is_told(searched, tmp_path, capsys):
    shutil.copytree(searched.parents[1], tmp_path / "saved")
    journal = tmp_path / "saved" / "cancer" / "sweep" / "optuna.log"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:4], "{", *lines[5:]]))
    sweep(tmp_path, "--trials", "5", *SPACE, code=2)
    assert f"{journal}:5: the journal of the search is damaged" in capsys.readouterr().err
    journal.write_text("\n".join([*lines, '{"op_co']))
    sweep(tmp_path, "--trials", "5", *SPACE)
    assert "5 trials: " in capsys.readouterr().out


def test_hopeless_trials_end_early(tmp_path):
    pytest.importorskip("optuna")
    lr = "optimizer.args.lr=[0.02, 0.021, 0.022, 0.023, 1e-9]"
    table = read(
        sweep(tmp_path, "--trials", "9", lr, "trainer.epochs=3", "trainer.monitor=min val_loss") / "trials.csv"
    )
    pruned = [row for row in table if row["state"] == "pruned"]
    assert pruned and not any(row["val_loss"] for row in pruned)
    for row in table:
        num_epochs = len(rows(tmp_path / "saved" / "cancer" / row["run"]))
        assert (num_epochs < 3) == (row["state"] == "pruned")


def test_trials_that_fail_are_told_and_counted(tmp_path, capsys):
    pytest.importorskip("optuna")
    sizes = ("data_loader.batch_size=[64, 998, 999]", "data_loader.drop_last=true", "seed=1")
    table = read(sweep(tmp_path, "--trials", "4", *sizes) / "trials.csv")
    states = {(row["data_loader.batch_size"] == "64", row["state"]) for row in table}
    assert states == {(True, "complete"), (False, "fail")}
    assert "less than one batch of 99" in next(row["why"] for row in table if row["state"] == "fail")
    assert "less than one batch of 99" in capsys.readouterr().out
    sweep(tmp_path, "--trials", "2", "optimizer.args.lr=[1e37, 1e38]", "optimizer.type=SGD", "name=other")
    out = capsys.readouterr().out
    assert "2 trials: 2 failed" in out and "train.log says why" in out and "there is no best one" in out


def test_without_optuna_it_is_said_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("commands.sweep_search.find_spec", lambda name: None)
    assert told(tmp_path, capsys, "--trials", "5", *SPACE) == [
        "--trials needs Optuna: pip install -r requirements-sweep.txt"
    ]


def test_ranges_are_checked_like_configs(tmp_path, capsys):
    space = tmp_path / "space.yaml"
    space.write_text(
        "optimizer.args.lrr: log(1e-4, 1e-1)\nmodel.args.hidden: [[8], 3]\noptimizer.args.eps: unform(0, 1)\n"
        "optimizer.args.weight_decay: log(0, 1)\ntrainer.epochs: [2]\n"
    )
    lines = told(tmp_path, capsys, "--trials", "5", "optimizer.args.betas=[a, b]", "--space", str(space))
    where = f"{space}:"
    assert [line.removeprefix(where)[:60] for line in lines if line.startswith(where)] == [
        "1: optimizer.args.lrr: unknown argument of AdamW; it takes: lr, b"[:60],
        "3: optimizer.args.eps: found 'unform(0, 1)'; expected log, uniform"[:60],
        "4: optimizer.args.weight_decay: found 'log(0, 1)'; expected 0 < LOW"[:60],
        "5: trainer.epochs: found [2]; expected at least two choices, each"[:60],
    ]
    assert any("did you mean 'uniform'?" in line for line in lines)
    assert any(line.startswith("optimizer.args.betas=[a, b]: optimizer.args.betas: found 'a'") for line in lines)


@pytest.mark.parametrize(("given", "message"), [
    (["--trials", "5", "optimizer.args.lr=log(1e-4, 1)", "optimizer.args.lr=0.1"], "searched, and set by"),
    (["--trials", "5", "optimizer.args.lr=log(1e-4, 1)", "optimizer.args=[{lr: 1}, {lr: 2}]"], "overlaps with"),
    (["--trials", "5", "model.args.hidden=[[8], 3]"], "model.args.hidden: found 3"),
    (["--trials", "5", "seed=[1, 2]"], "seed: is not searched: --seeds K repeats runs"),
    (["--trials", "5", "dataset.args.split_seed=[1, 2]"], "is not searched: trials would be scored on other data"),
    (["--trials", "5", "trainer.eval_every=[1 epoch, 2 steps]"], "trials would be scored on other data, or otherwise"),
    (["--trials", "5", "loss.args.pos_weight=[1.0, 2.0]", "trainer.monitor=min val_loss"], "losses of other kinds"),
    (["optimizer.args.lr=log(2, 1)", "--trials", "5", "optimizer.args.eps=log(1, 2)"], "expected 0 < LOW < HIGH"),
    (["--trials", "5", "optimizer.args.lr=log(1, 2)", "trainer.monitor=off"], "trainer.monitor: found 'off'"),
    (["--trials", "5", "optimizer.args.lr=log(1, 2)", "trainer.monitor=max accuracy"], "found 'max accuracy'"),
    (["--trials", "5"], "needs a range for each key"),
    (["--trials", "optimizer.args.lr=log(1, 2)"], "expected a whole number from 1 to 999,999, before the ranges"),
    (["--trials", "5", "optimizer.args.lr=log(1, 2)", "--folds", "3"], "--trials is done alone"),
    (["--folds", "3", "optimizer.args.lr=log(1, 2)"], "ranges are searched with --trials N"),
    (["--folds", "1"], "expected at least 2"), ([], "give --folds K, --seeds K or --trials N"),
    (["--folds", "3", "--space", "a.yaml"], "--space changes nothing without --trials N"),
    (["--folds", "3", "trainer.max_time=1 hours"], "trainer.max_time: a run that its time ends"),
    (["--seeds", "3", "data_loader.overfit_batches=1"], "overfit_batches: what is learned by heart"),
    (["--folds", "2", "dataset.args.standardise_target=true"], "standardise_target: found true, but classes are not"),
    (["--folds", "570"], "data_loader.fold.of: found 570, but the data have 569 samples"),
])  # fmt: skip
def test_what_makes_no_sweep_is_refused(given, message, tmp_path, capsys):
    assert any(message in line for line in told(tmp_path, capsys, *given))
