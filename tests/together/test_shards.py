"""Checkpoints of fsdp, each process its part: read by any number, and damaged; tests/torture/ kills in a save."""

import os
import signal

import pytest
import torch

from base import TRAINERS
from tests.forks import forked
from tests.ranks import train_together
from tests.running import assert_same_end, evaluate, state_of, steps_saved
from tests.test_utils_shards import cut, flip
from tests.together.test_training import CONFIG, DDP, FSDP, METRICS, assert_close
from trainer.trainer import Trainer
from utils.checkpoint import open_checkpoint

# Averaged weights and two moments, all of them divided; the last layer's 3 rows leave one process of four without any.
ADAMW = (
    "optimizer={type: AdamW, args: {lr: 0.01}}",
    "trainer.ema_decay=0.9",
    METRICS,
    "trainer.epochs=4",
    "trainer.monitor=min val_loss",
)
STOPPING = ("trainer.type=StoppingTrainer", *ADAMW)
SIGTERM = 128 + signal.SIGTERM


@TRAINERS.register
class StoppingTrainer(Trainer):
    """Asks to be stopped in some of its steps: what is left then is in shards."""

    def train_step(self, batches):
        if self.journal is not None and self.step in (4, 8, 12, 16):
            os.kill(os.getpid(), signal.SIGTERM)
        super().train_step(batches)


def newest_of(run):
    return run / "checkpoints" / f"step-{max(steps_saved(run)):09d}.pt"


@pytest.mark.parametrize("num", [2, 4])
def test_one_process_reads_what_several_have_written(tmp_path, num):
    run = train_together(tmp_path, num, FSDP, *STOPPING, config=CONFIG, code=SIGTERM)
    assert len(open_checkpoint(newest_of(run))["shards"].digests) == num
    length = f"trainer.max_steps={max(steps_saved(run))}"
    one = train_together(tmp_path / "one", 1, *ADAMW, "trainer.epochs=null", length, config=CONFIG)
    torch.testing.assert_close(part_of(run), part_of(one), rtol=1e-4, atol=1e-6)
    scores, expected = evaluate(run), evaluate(one)
    for name in ("loss", "accuracy", "MulticlassF1Score", "MulticlassAUROC"):
        assert scores[name] == pytest.approx(expected[name], rel=1e-5), name


def part_of(run):
    state = state_of(run)
    return {"model": state["model"], "ema": state["ema"], "optimizer": state["optimizer"]["state"]}


def test_the_end_of_a_run_leaves_plain_files(tmp_path):
    run = train_together(tmp_path, 2, FSDP, *ADAMW, "trainer.save_every=1 steps", config=CONFIG)
    for name in ("last.pt", "best.pt"):
        state = torch.load(run / "checkpoints" / name, weights_only=True)
        assert state["format"] == 1 and {weight.numel() for weight in state["model"].values()} == {64, 8, 24, 3}
    assert not list((run / "checkpoints").glob(".*"))
    referred = {open_checkpoint(path).get("shards") for path in (run / "checkpoints").glob("step-*.pt")} - {None}
    assert {path for path in (run / "checkpoints").iterdir() if path.is_dir()} == {each.folder for each in referred}


@pytest.mark.parametrize("num", [2, 4])
def test_stopped_and_resumed_ends_with_the_same_bits(tmp_path, num):
    whole = train_together(tmp_path / "whole", num, FSDP, *ADAMW, config=CONFIG)
    for code in (SIGTERM, SIGTERM, SIGTERM, SIGTERM, 0):
        run = train_together(tmp_path, num, FSDP, "-r", "auto", *STOPPING, config=CONFIG, code=code)
    assert_same_end(run, whole)


def test_resumed_with_other_numbers_of_processes(tmp_path):
    whole = train_together(tmp_path / "whole", 1, *ADAMW, config=CONFIG)
    for num, parallel, code in (
        (2, FSDP, SIGTERM),
        (4, FSDP, SIGTERM),
        (2, DDP, SIGTERM),
        (4, FSDP, SIGTERM),
        (1, DDP, 0),
    ):
        run = train_together(tmp_path, num, parallel, "-r", "auto", *STOPPING, config=CONFIG, code=code)
        assert (open_checkpoint(newest_of(run)).get("shards") is not None) == (parallel == FSDP)
    assert_close(run, whole)


def delete(path):
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut, delete])
@pytest.mark.parametrize("name", ["index", "0", "1"])
def test_damage_is_found_out_and_the_previous_one_used(tmp_path, damage, name):
    settings = (FSDP, *STOPPING, "trainer.save_every=1 steps")
    whole = train_together(tmp_path / "whole", 2, FSDP, *ADAMW, "trainer.save_every=1 steps", config=CONFIG)
    run = train_together(tmp_path, 2, *settings, config=CONFIG, code=SIGTERM)
    newest = newest_of(run)
    damage(newest if name == "index" else open_checkpoint(newest)["shards"].file(int(name)))
    for _ in range(4):
        train_together(tmp_path, 2, "-r", "auto", *settings, config=CONFIG, code=None)
    assert_same_end(run, whole)


@pytest.mark.parametrize(("name", "count"), [("ranks-fsdp", 5), ("ranks-disk", 3)])
def test_torture(tmp_path, name, count):
    forked("-m", "tests.torture", name, "--count", count, "--folder", tmp_path)
