"""What a run goes on with: the config, the data and the logs of its checkpoint, or it is left as it is."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from base import DATASETS, LOGGERS, METRICS
from data_loader.in_memory import InMemoryDataset
from tests.running import assert_same_end, resume, rows, state_of, status, train
from utils.plots import draw_curves
from utils.run_folder import RunFolder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("whole"), "metrics=[accuracy, {type: top_k_accuracy, args: {k: 2}}]")


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """A finished run of two epochs."""
    return Path(shutil.copytree(whole, tmp_path / "tiny" / whole.name, symlinks=True))


def files(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def edit(run: Path, key: str, value: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    *above, last = key.split(".")
    section = config
    for name in above:
        section = section[int(name) if name.isdigit() else name]
    section[int(last) if last.isdigit() else last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


# What is written into config.yaml, and what is told of it.
EDITS = {
    "seed": (7, "found 7, but the run to resume has 42; leave it as it is, or start a new run"),
    "loss.type": ("MultiMarginLoss", "found 'MultiMarginLoss', but the run to resume has 'CrossEntropyLoss'"),
    "trainer.precision": ("bf16", "found 'bf16', but the run to resume has 'fp32'"),
    "trainer.monitor": ("min val_loss", "found 'min val_loss', but the run to resume has 'off'"),
    "dataset.args.size": (48, "found 48, but the run to resume has 40"),
    "dataset.args.shape": ([8, 1], "found [8, 1], but the run to resume has [8]"),
    "model.args.hidden.0": (9, "found 9, but the run to resume has 8"),
    "optimizer.args.nesterov": (True, "found true, but the run to resume has none"),
    "metrics.1.args.k": (1, "found 1, but the run to resume has 2"),
    "metrics": (["accuracy"], "found [{type: 'accuracy'}], but the run to resume has [{type: 'accuracy'}, "),
    "lr_scheduler": ({"type": "LinearLR"}, "found {type: 'LinearLR', interval: 'epoch'}"),
}  # fmt: skip


@pytest.mark.parametrize("key", EDITS)
def test_an_edited_config_yaml_is_compared_with_the_checkpoint(key, run, capsys):
    value, told = EDITS[key]
    edit(run, key, value)
    before = files(run)
    for more in ([], ["--dry-run"], ["--print-config"]):
        resume(run, "--epochs", "3", *more, code=2)
        assert re.search(rf"config.yaml:\d+: {re.escape(f'{key}: {told}')}", capsys.readouterr().err)
    assert files(run) == before


def test_what_may_change_may_be_edited_and_a_lost_config_yaml_is_in_the_checkpoint(run, capsys):
    edit(run, "trainer.epochs", 3)
    assert rows(resume(run))[-1]["step"] == 15
    (run / "config.yaml").unlink()
    resume(run, "--lr", "0.5", code=2)
    assert "--lr 0.5: optimizer.args.lr: found 0.5, but the run to resume has 0.1" in capsys.readouterr().err
    assert rows(resume(run, "--epochs", "4"))[-1]["step"] == 20
    assert yaml.safe_load((run / "config.yaml").read_text()) == state_of(run)["config"]
    shutil.rmtree(run / "checkpoints")
    (run / "config.yaml").unlink()
    resume(run, code=2)
    RunFolder(run).set_status("running")
    resume(run, code=2)
    assert "has neither a config.yaml nor a checkpoint: give its config with -c" in capsys.readouterr().err


@pytest.mark.parametrize("left", ["damaged files", "links to nothing", "nothing"])
def test_a_run_whose_checkpoints_are_all_lost_is_left_as_it_is(left, run, capsys):
    RunFolder(run).set_status("stopped")
    for path in run.glob("checkpoints/step-*") if left != "nothing" else run.glob("checkpoints/*"):
        path.write_bytes(b"PK torn") if left == "damaged files" else path.unlink()
    before = files(run)
    resume(run, "--epochs", "3", code=2)
    train(run.parent.parent, "-r", "auto", f"trainer.save_dir={run.parent.parent}", "metrics=[accuracy]", code=2)
    assert capsys.readouterr().err.count("has no intact checkpoint left to go on from, and is left as it is") == 2
    assert files(run) == before


def test_a_run_that_failed_before_its_first_checkpoint_binds_nobody(tmp_path, monkeypatch, capsys):
    def broken(folder):
        raise RuntimeError("not today")

    good = train(tmp_path, "--epochs", "1")
    monkeypatch.setitem(LOGGERS._own, "broken", broken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not today"):
            train(tmp_path, "trainer.loggers=[broken]", "-r", "auto", "--seed", "1")
    runs = sorted(path for path in (tmp_path / "saved/tiny").iterdir() if not path.is_symlink())
    assert len(runs) == 3 and [status(run) for run in runs] == ["finished", "failed", "failed"]
    assert os.readlink(tmp_path / "saved/tiny/latest") == good.name
    killed = RunFolder(runs[1])
    killed.set_status("running")
    assert train(tmp_path, "-r", "auto", "--epochs", "3", "--seed", "2") == killed.path
    assert status(killed.path) == "finished" and state_of(killed.path)["config"]["seed"] == 2


def test_an_early_stop_that_a_signal_interrupts_ends_as_if_it_had_not(tmp_path):
    num_seen, when = 0, -1

    @METRICS.register
    def never_better(output, target):
        nonlocal num_seen
        num_seen += not torch.is_grad_enabled()
        if num_seen == when:
            os.kill(os.getpid(), signal.SIGTERM)
        return torch.zeros(len(target))

    rarely_saved = ("trainer.eval_every=2 steps", "trainer.save_every=9 epochs", "--epochs", "9")
    patient = ("metrics=[never_better]", "trainer.monitor=max val_never_better", "trainer.early_stop=2")
    whole = train(tmp_path, *patient, *rarely_saved, "--name", "whole")
    when, num_seen = num_seen - 1, 0  # in the last evaluation, before its last batch
    run = train(tmp_path, *patient, *rarely_saved, "--name", "interrupted", code=143)
    assert state_of(run)["is_settled"] is False
    when = -1
    assert_same_end(resume(run), whole)


def test_a_schedule_that_is_replayed_for_longer_tells_the_rate_before_and_after(tmp_path, capsys):
    schedule = "lr_scheduler={type: OneCycleLR, args: {max_lr: 0.1}, interval: step}"
    run = resume(train(tmp_path, schedule, "optimizer=AdamW"), "--epochs", "4")
    rate = "the learning rate goes on at 8.12e-02, where it was 4.00e-07: the schedule is replayed for 4 epochs"
    assert rate in capsys.readouterr().out
    resume(run, "--epochs", "4", "trainer.keep_last=3")
    assert "goes on at" not in capsys.readouterr().out


DAMAGES = [
    (lambda text: b"\xff\xfe" + text, "can't decode byte 0xff"),
    (lambda text: b"a,b,c\n1,2,3\n4,5,6\n", "its first line does not name the columns"),
    (lambda text: text[:-5], "its last line is cut short"),
    (lambda text: text.replace(b"1,5", b"1;5", 1), "line 2 has not as many cells"),
    (lambda text: text.replace(b"1,5", b"1,one", 1), "could not convert string to float"),
    (lambda text: text.replace(b"1,5", b'1,"5', 1), "unexpected end of data"),
    (lambda text: text.replace(b"epoch", b"\xef\xbb\xbfepoch"), "its first line does not name the columns"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_a_damaged_metrics_csv_is_told_before_anything_is_touched(damage, reason, run, capsys):
    (run / "metrics.csv").write_bytes(damage((run / "metrics.csv").read_bytes()))
    before = files(run)
    resume(run, "--epochs", "3", code=2)
    assert "metrics.csv has been damaged or changed: " in (told := capsys.readouterr().err) and reason in told
    draw_curves(run / "metrics.csv", run / "curves.png")  # warns, as nobody loses a run for a picture
    assert files(run) == before


def test_data_may_move_but_not_change(tmp_path, monkeypatch, capsys):
    class Stored(InMemoryDataset):
        splits = ("train", "valid")

        def __init__(self, split: str, root: str):
            inputs, targets = torch.load(f"{root}/{split}.pt", weights_only=True)
            super().__init__(inputs, targets, ["a", "b", "c"])

    def store(name: str, num_samples: int = 40, seed: int = 0) -> None:
        (tmp_path / name).mkdir()
        torch.manual_seed(seed)
        for split, number in {"train": num_samples, "valid": 16}.items():
            torch.save((torch.randn(number, 8), torch.randint(3, (number,))), tmp_path / name / f"{split}.pt")

    monkeypatch.setitem(DATASETS._own, "Stored", Stored)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, changes in {"here": {}, "copy": {}, "less": {"num_samples": 32}, "other": {"seed": 1}}.items():
        store(name, **changes)
    run = train(tmp_path, "dataset={type: Stored, args: {root: ~/here}}", "--epochs", "1")
    out = capsys.readouterr().out
    assert f"finished; to evaluate: python test.py -r {run} --split valid\n" in out
    assert yaml.safe_load((run / "config.yaml").read_text())["dataset"]["args"]["root"] == str(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "gone")
    for name, told in {
        "less": "num_samples.train 32, not 40; other samples.train",
        "other": "other samples.train; other samples.valid; other targets.train",
    }.items():
        before = files(run)
        resume(run, f"dataset.args.root=~/{name}", "--epochs", "2", code=2)
        assert f"these are not the data of {run}" in (err := capsys.readouterr().err) and told in err
        assert files(run) == before
    assert len(rows(resume(run, "dataset.args.root=~/copy", "--epochs", "2"))) == 2
    assert yaml.safe_load((run / "config.yaml").read_text())["dataset"]["args"]["root"] == str(tmp_path / "copy")


def test_where_results_cannot_be_written_is_told_before_the_evaluation(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr("trainer.evaluation.evaluate", lambda *_, **__: pytest.fail("evaluated"))
    for out in ("file", "file/below"):
        from test import main

        assert main(["-r", str(run), "--out", str(tmp_path / out)]) == 2
        assert f"{tmp_path / 'file'} is not a folder; give another folder with --out" in capsys.readouterr().err
