"""Every scheduler trains from a config: the learning rates that its steps took, computed here once more."""

import math
import re
import warnings

import pytest
import torch

import trainer  # noqa: F401  (registers its components)
from base import LR_SCHEDULERS, Plan
from config.schema import LRSchedulerConfig
from tests.running import assert_same_state, recorded, resume, rows, state_of, train
from trainer.lr_schedule import LRSchedule


def overrides_for(config):
    """The schedule, and for one that sets the rates itself an optimizer that the config gives none."""
    own_rates = ("optimizer=Adam",) if "CycleLR" in config or "CyclicLR" in config else ()
    return (f"lr_scheduler={config}", *own_rates)


LR = 0.1  # of the optimizer in TINY, whose epochs have five steps


def cosine(share, low=0.0, high=LR):
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def one_cycle(step, length, top=0.4, rise=0.25):
    """Smith & Topin 2018 as torch has it: up to `top` and further down than it began, both along a cosine."""
    peak = rise * length - 1
    first, last = top / 25, top / 25 / 1e4
    return cosine(step / peak, top, first) if step <= peak else cosine((step - peak) / (length - 1 - peak), last, top)


def triangle(step, low, high, half):
    return low + (high - low) * (1 - abs(step % (2 * half) - half) / half)


def restarts(step, first, factor):
    return cosine(step / first) if step < first else restarts(step - first, first * factor, factor)


HALVES, SQUARE_ROOT = "{type: constant_factor, args: {factor: 0.5}}", "{type: inverse_square_root, args: {warmup: 6}}"
WARM_UP = "[{type: LinearLR, args: {start_factor: 0.1, total_iters: 2}, milestone: 2}, CosineAnnealingLR]"
THREE = """[{type: ConstantLR, args: {factor: 0.5, total_iters: 99}, interval: step, milestone: 3},
    {type: ConstantLR, args: {factor: 1}, interval: step, milestone: 8},
    {type: ExponentialLR, args: {gamma: 0.5}, interval: step}]"""

# The scheduler, its interval and arguments, and the rate of a place (step or epoch, from 0) in a run of a length.
TABLE = [
    ("LambdaLR", "epoch", "lr_lambda: linear_decay", lambda e, n: LR * (1 - e / 100)),
    ("LambdaLR", "step", f"lr_lambda: {SQUARE_ROOT}", lambda s, n: LR * min((s + 1) / 6, math.sqrt(6 / (s + 1)))),
    ("MultiplicativeLR", "epoch", f"lr_lambda: {HALVES}", lambda e, n: LR * 0.5**e),
    ("StepLR", "epoch", "step_size: 2, gamma: 0.1", lambda e, n: LR * 0.1 ** (e // 2)),
    ("MultiStepLR", "step", "milestones: [3, 12], gamma: 0.5", lambda s, n: LR * 0.5 ** ((s >= 3) + (s >= 12))),
    ("ConstantLR", "epoch", "factor: 0.5, total_iters: 3", lambda e, n: LR * (1 if e > 2 else 0.5)),
    ("LinearLR", "step", "start_factor: 0.2, total_iters: 8", lambda s, n: LR * (0.2 + 0.8 * min(s, 8) / 8)),
    ("ExponentialLR", "step", "gamma: 0.9", lambda s, n: LR * 0.9**s),
    ("PolynomialLR", "epoch", "total_iters: 5, power: 2", lambda e, n: LR * (1 - e / 5) ** 2),
    ("CosineAnnealingLR", "step", "eta_min: 0.01", lambda s, n: cosine(s / n, low=0.01)),
    ("CosineAnnealingLR", "epoch", "", lambda e, n: cosine(e / n)),
    ("CosineAnnealingWarmRestarts", "step", "T_0: 3, T_mult: 2", lambda s, n: restarts(s, 3, 2)),
    ("CyclicLR", "step", "base_lr: 0.01, max_lr: 0.1, step_size_up: 4", lambda s, n: triangle(s, 0.01, 0.1, 4)),
    ("OneCycleLR", "step", "max_lr: 0.4, pct_start: 0.25", one_cycle),
    ("OneCycleLR", "epoch", "max_lr: 0.4, pct_start: 0.75", lambda e, n: one_cycle(e, n, rise=0.75)),
    ("SWALR", "epoch", "swa_lr: 0.02, anneal_epochs: 4, anneal_strategy: linear", lambda e, n: LR - 0.02 * min(e, 4)),
    (WARM_UP, "epoch", None, lambda e, n: LR * (0.1 + 0.9 * e / 2) if e < 2 else cosine((e - 2) / (n - 2))),
    (THREE, "step", None, lambda s, n: LR * (0.5 if s < 3 else 1 if s < 8 else 0.5 ** (s - 8))),
]
SCHEDULES = [
    (name if args is None else f"{{type: {name}, args: {{{args}}}, interval: {interval}}}", interval, rate)
    for name, interval, args, rate in TABLE
]


def rates(interval, rate, num_epochs):
    """The learning rate of each step, from 1, in a run of so many epochs."""
    steps_per_place = 1 if interval == "step" else 5
    length = 5 * num_epochs // steps_per_place
    return {step + 1: rate(step // steps_per_place, length) for step in range(5 * num_epochs)}


def test_no_scheduler_is_forgotten():
    tested = {name for name, *_ in TABLE} | {"ReduceLROnPlateau"}
    assert tested >= {*LR_SCHEDULERS.names()} - {*LR_SCHEDULERS.own_names()}


@pytest.mark.parametrize(("config", "interval", "rate"), SCHEDULES)
def test_a_schedule_and_the_same_resumed_with_more_epochs_than_planned(config, interval, rate, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(tmp_path, *overrides_for(config), "--epochs", "4")
    planned = rates(interval, rate, 4)
    assert recorded(run, "lr") == pytest.approx(planned, rel=1e-6, abs=1e-12)
    assert [row["lr"] for row in rows(run)] == pytest.approx([planned[5 * epoch] for epoch in (1, 2, 3, 4)], abs=1e-12)

    resume(run, "--epochs", "6")
    longer = rates(interval, rate, 6)
    expected = {step: longer[step] if step > 20 else planned[step] for step in longer}
    assert recorded(run, "lr") == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("config", [c for c, *_ in SCHEDULES if re.search("OneCycleLR|CyclicLR|LinearLR.*Cosine", c)])
def test_a_schedule_that_is_interrupted_goes_on_with_the_same_bits(config, tmp_path):
    saving = ("trainer.save_every=7 steps", "trainer.keep_last=9")
    whole = train(tmp_path, *overrides_for(config), "--epochs", "4", *saving)
    end = state_of(whole)
    resume(whole / "checkpoints/step-000000007.pt")
    assert_same_state(state_of(whole), end)


@pytest.mark.parametrize(("mode", "metric"), [("min", "val_loss"), ("max", "val_accuracy"), ("min", "loss")])
def test_plateau_follows_the_monitored_metric(mode, metric, tmp_path):
    plateau = "lr_scheduler={type: ReduceLROnPlateau, args: {factor: 0.5, patience: 0, threshold: 0}}"
    wild = "optimizer.args.lr=0.5"  # far too much, so that the score does not always improve
    run = train(tmp_path, plateau, f"trainer.monitor={mode} {metric}", "metrics=[accuracy]", wild, "--epochs", "4")
    resume(run, "--epochs", "8")
    rate, best, expected = 0.5, None, []
    for row in rows(run):
        expected.append(rate)  # the reduction shows from the next epoch on
        if best is None or (row[metric] < best if mode == "min" else row[metric] > best):
            best = row[metric]
        else:
            rate *= 0.5
    assert [row["lr"] for row in rows(run)] == pytest.approx(expected)
    assert [recorded(run, "lr")[5 * epoch + 1] for epoch in range(8)] == pytest.approx(expected)
    assert expected[-1] < expected[0]


def test_plateau_counts_evaluations_within_an_epoch(tmp_path):
    never_better = "{factor: 0.5, patience: 0, threshold: 1e9, threshold_mode: abs}"
    plateau = (f"lr_scheduler={{type: ReduceLROnPlateau, args: {never_better}}}", "trainer.monitor=min val_loss")
    run = train(tmp_path, *plateau, "trainer.eval_every=2 steps", "trainer.epochs=null", "trainer.max_steps=6")
    assert recorded(run, "lr") == pytest.approx({1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1, 5: 0.05, 6: 0.05})


def test_an_epoch_that_ends_early_does_not_advance_the_schedule(tmp_path):
    overrides = ("lr_scheduler={type: ExponentialLR, args: {gamma: 0.5}}", "trainer.epochs=null")
    run = train(tmp_path, *overrides, "trainer.max_steps=7")
    resume(run, "trainer.max_steps=12")
    expected = {step: 0.1 * 0.5 ** ((step - 1) // 5) for step in range(1, 13)}
    assert recorded(run, "lr") == pytest.approx(expected)


def test_a_schedule_counts_updates_when_gradients_accumulate(tmp_path):
    schedule = overrides_for("{type: OneCycleLR, args: {max_lr: 0.4, pct_start: 0.5}, interval: step}")
    run = train(tmp_path, *schedule, "trainer.accumulate_steps=2", "--epochs", "2")  # three updates an epoch
    expected = {step + 1: one_cycle(step, 6, rise=0.5) for step in range(6)}
    assert recorded(run, "lr") == pytest.approx(expected, abs=1e-12)


def test_a_scheduler_that_the_optimizer_cannot_follow_is_refused(tmp_path, capsys):
    cyclic = "lr_scheduler={type: CyclicLR, args: {base_lr: 0.01, max_lr: 0.1}, interval: step}"
    train(tmp_path, cyclic, "optimizer={type: Adagrad, args: {lr: 0.1}}", code=2)
    assert "CyclicLR: optimizer must support momentum or beta1" in capsys.readouterr().err


def test_a_checkpoint_cannot_make_a_schedule_replay_for_ever():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    config = LRSchedulerConfig(type="StepLR", args={"step_size": 1}, interval="step")
    schedule = LRSchedule(config, optimizer, Plan(5, 2, None))
    schedule.load_state_dict({"length": 3, "scheduler": {"last_epoch": 10**12}, "new_score": None})
    assert schedule.scheduler.last_epoch == 10


def test_a_milestone_after_the_end_of_the_run_is_told(tmp_path, caplog):
    schedule = "lr_scheduler=[{type: LinearLR, milestone: 2}, {type: CosineAnnealingLR, args: {T_max: 3}}]"
    train(tmp_path, schedule, "--epochs", "2")
    assert "lr_scheduler.0.milestone: 2 is not before the end of the run (2 epochs)" in caplog.text
