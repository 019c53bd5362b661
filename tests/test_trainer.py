"""When a run ends, saves, evaluates and logs: the keys of `trainer`, through train.py."""

import csv
import re

import pytest

from base.plan import BestScore
from config.units import Monitor
from tests.running import PICTURES, assert_same, assert_same_end, recorded, resume, rows, state_of, steps_saved, train


def best_step(run):
    return state_of(run, "best")["step"]


def ends(run):
    """(epoch, step) of each row of metrics.csv."""
    return [(row["epoch"], row["step"]) for row in rows(run)]


@pytest.mark.parametrize("eval_every", ["1 epoch", "2 steps"])
def test_a_run_that_ended_in_the_middle_of_an_epoch_goes_on_in_it(eval_every, tmp_path):
    config = ("trainer.epochs=null", f"trainer.eval_every={eval_every}", "trainer.tensorboard=true")
    f1 = "metrics=[accuracy, {type: MulticlassF1Score, args: {num_classes: 3}}]"  # whole epochs only
    run = train(tmp_path, *config, f1, "trainer.max_steps=7")
    assert ends(run) == [(1, 5), (2, 7)] and all("val_loss" in row for row in rows(run))
    assert steps_saved(run) == [5, 7]
    checkpoint, table = (run / "checkpoints/last.pt").read_bytes(), rows(run)[0]
    resume(run)  # to the same end: it is left as it is
    assert (run / "checkpoints/last.pt").read_bytes() == checkpoint and rows(run)[0] == table
    resume(run, "trainer.max_steps=9")
    resume(run, "trainer.max_steps=13")
    whole = train(tmp_path, *config, f1, "trainer.max_steps=13", "--name", "whole")
    assert ends(run) == [(1, 5), (2, 10), (3, 13)]
    assert_same_end(run, whole)
    assert len(re.findall("^.* epoch=2 ", (run / "train.log").read_text(), re.MULTILINE)) == 1


def test_an_early_stop_in_the_middle_of_an_epoch_has_its_row_and_can_be_taken_back(tmp_path):
    worse = ("trainer.monitor=max val_loss", "trainer.eval_every=4 steps", "optimizer.args.lr=0.02", "--epochs", "3")
    run = train(tmp_path, *worse, "trainer.early_stop=1")
    assert ends(run) == [(1, 5), (2, 8)]
    resume(run, "trainer.early_stop=0")
    assert_same_end(run, train(tmp_path, *worse, "--name", "whole"))


@pytest.mark.parametrize("monitor", ["min val_loss", "max val_accuracy", "min loss"])
def test_best_is_the_best_of_the_monitored_metric(monitor, tmp_path):
    mode, metric = monitor.split()
    wild = ("optimizer.args.lr=0.7", "metrics=[accuracy]", "--epochs", "6")
    run = train(tmp_path, f"trainer.monitor={monitor}", *wild)
    scores = [row[metric] for row in rows(run)]
    best = scores.index(max(scores) if mode == "max" else min(scores))
    assert best_step(run) == 5 * (best + 1)
    assert state_of(run)["best"]["value"] == pytest.approx(scores[best], rel=1e-12)
    assert {best_step(run), 25, 30} == {*steps_saved(run)}  # keep_last is 2


def test_best_does_not_wait_for_the_saving_interval(tmp_path):
    rarely = ("trainer.save_every=1000 epochs", "trainer.eval_every=2 steps", "--epochs", "3")
    run = train(tmp_path, "trainer.monitor=max val_loss", "optimizer.args.lr=0.02", *rarely)
    scores = recorded(run, "val_loss")
    assert [*scores] == [2, 4, 6, 8, 10, 12, 14, 15]
    assert best_step(run) == max(scores, key=scores.get) < 5 and 15 in steps_saved(run)
    assert (run / "checkpoints/last.pt").resolve().name == "step-000000015.pt"


def test_early_stop_counts_evaluations_without_improvement(tmp_path):
    worse = ("trainer.monitor=max val_loss", "trainer.early_stop=2", "optimizer.args.lr=0.02")
    run = train(tmp_path, *worse, "--epochs", "9")
    assert ends(run) == [(1, 5), (2, 10), (3, 15)]
    assert best_step(run) == 5
    resume(run, "trainer.early_stop=4")
    assert ends(run)[-1] == (5, 25)


@pytest.mark.parametrize(
    ("save_every", "keep_last", "steps"),
    [
        ("1 epoch", 9, [5, 10, 15]),
        ("2 epochs", 9, [10, 15]),
        ("4 steps", 9, [4, 8, 12, 15]),
        ("4 steps", 1, [15]),
        ("1 steps", 3, [13, 14, 15]),
        ("5 minutes", 9, [15]),
    ],
)
def test_save_every_and_keep_last(save_every, keep_last, steps, tmp_path):
    saving = (f"trainer.save_every={save_every}", f"trainer.keep_last={keep_last}", "trainer.monitor=off")
    run = train(tmp_path, "--epochs", "3", *saving)
    assert steps_saved(run) == steps and ends(run) == [(1, 5), (2, 10), (3, 15)]
    assert state_of(run)["step"] == 15 and state_of(run)["epoch"] == 3
    assert not (run / "checkpoints/best.pt").exists()


def test_eval_every_does_not_change_what_is_learned(tmp_path):
    erasing = "{type: RandomErasing, args: {p: 0.5}}"
    transforms = f"dataset.batch_transforms={{train: [{erasing}], eval: [{erasing}]}}"
    config = (*PICTURES, "model.args.dropout=0.5", transforms)
    never = train(tmp_path, *config, "--epochs", "3", "data_loader.validation_split=0")
    for eval_every, steps in {
        "2 epochs": [10, 15],
        "4 steps": [4, 8, 12, 15],
        "1 step": [*range(1, 16)],
    }.items():
        run = train(tmp_path, *config, "--epochs", "3", f"trainer.eval_every={eval_every}", "--name", eval_every)
        scores = recorded(run, "val_loss")
        assert [*scores] == steps
        assert_same(state_of(run)["model"], state_of(never)["model"])
        newest = [max((s for s in steps if epoch * 5 < s <= epoch * 5 + 5), default=None) for epoch in range(3)]
        assert [row.get("val_loss") for row in rows(run)] == [scores.get(step) for step in newest]


def test_an_epochs_row_has_the_latest_evaluation_made_in_it_or_empty_cells(tmp_path):
    seventh = ("trainer.eval_every=7 steps", "trainer.save_every=1 steps", "trainer.keep_last=99", "--epochs", "5")
    run = train(tmp_path, *seventh, "metrics=[accuracy]")
    for step in (None, 7, 9, 11):  # and so it is after a resume, before or after the end of an epoch
        if step is not None:
            resume(run / f"checkpoints/step-{step:09d}.pt")
        with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
            cells = [(row["val_loss"], row["val_accuracy"]) for row in csv.DictReader(file)]
        loss, accuracy = recorded(run, "val_loss"), recorded(run, "val_accuracy")
        assert [*loss] == [7, 14, 21, 25]
        newest = [None, 7, 14, None, 25]
        assert cells == [(str(loss[n]), str(accuracy[n])) if n else ("", "") for n in newest]


def test_a_run_without_validation_data(tmp_path):
    run = train(tmp_path, "data_loader.validation_split=0", "trainer.monitor=min loss", "trainer.early_stop=5")
    assert [*rows(run)[0]] == ["epoch", "step", "loss", "lr", "seconds", "samples_per_second"]
    assert best_step(run) == 10


def test_an_own_logger_gets_all_scores_at_its_steps(tmp_path):
    run = train(tmp_path, "metrics=[accuracy]", "trainer.log_every=4")
    assert [*recorded(run, "lr")] == [4, 8, 10]  # and the last step
    every = recorded(train(tmp_path, "--name", "every"), "loss")
    assert [*every] == [*range(1, 11)]
    fourth = recorded(run, "loss")
    assert fourth[4] == pytest.approx(sum(every[step] for step in (1, 2, 3, 4)) / 4)
    assert fourth[8] == pytest.approx(sum(every[step] for step in (6, 7, 8)) / 3)  # since the epoch's start
    assert fourth[10] == pytest.approx(sum(every[step] for step in (9, 10)) / 2)
    values = [row["val_accuracy"] for row in rows(run)]
    assert recorded(run, "val_accuracy") == pytest.approx(dict(zip((5, 10), values, strict=True)))


def test_deterministic_runs_are_the_same_to_the_bit(tmp_path):
    one = train(tmp_path, *PICTURES, "trainer.deterministic=true")
    other = train(tmp_path, *PICTURES, "trainer.deterministic=true")
    assert one != other
    assert_same_end(one, other)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_an_equal_score_is_no_improvement(mode):
    best = BestScore(Monitor(mode, "loss"))
    assert best.update({"loss": 1.0}, 1) and not best.update({"loss": 1.0}, 2)
    assert (best.step, best.num_bad_evaluations) == (1, 1)
