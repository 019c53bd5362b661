"""Before a run: --find-lr, --overfit, --limit-batches, --profile; and what TensorBoard is told of a config."""

import json
import re

import pytest
import torch

import train as train_script
from commands.lr_range import smoothed, suggestion
from tests.running import (
    TINY,
    assert_same,
    assert_same_end,
    evaluate,
    read,
    recorded,
    resume,
    rows,
    state_of,
    train,
)  # fmt: skip
from tests.test_run_logs import events


def call(folder, *arguments, code=0, config=TINY):
    """train.py with an option that leaves no run."""
    (folder / "tiny.yaml").write_text(config)
    save_dir = f"trainer.save_dir={folder / 'saved'}"
    assert train_script.main(["-c", str(folder / "tiny.yaml"), save_dir, *arguments]) == code


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in (folder / "saved").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.accumulate_steps=2"], ["trainer.precision=bf16"],
        ["lr_scheduler={type: OneCycleLR, args: {max_lr: 0.1}, interval: step}", "optimizer=null", "optimizer=SGD"],
        ["optimizer={type: Adam, args: {lr: 0.01}}", "optimizer.param_groups=[{params: '*.bias', args: {lr: 0.1}}]"],
    ],
)  # fmt: skip
def test_find_lr_suggests_a_rate_and_writes_its_curve_alone(tmp_path, capsys, overrides):
    call(tmp_path, "--find-lr", *overrides)
    told = capsys.readouterr().out
    key = "lr_scheduler.args.max_lr" if "max_lr" in overrides[0] else "optimizer.args.lr"
    rate = float(re.search(rf"to try: {re.escape(key)}=(\S+?)(;|\n)", told)[1])
    assert 1e-4 < rate < 10 and files(tmp_path) == ["saved/tiny/lr_range.png"]
    assert ("further parameter groups" in told) is ("param_groups" in overrides[-1])


def test_find_lr_puts_all_back_and_begins_at_a_checkpoint_too(tmp_path, capsys):
    from commands.lr_range import find_lr
    from experiment import build_trainer

    config = read(tmp_path, f"trainer.save_dir={tmp_path}")
    trainer = build_trainer(config)
    before = {name: part.state_dict() for name, part in trainer.parts.items()}
    before = torch.utils._pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, before)
    schedule = trainer.lr_schedule
    find_lr(trainer, config)
    assert_same({name: part.state_dict() for name, part in trainer.parts.items()}, before)
    assert trainer.step == 0 and trainer.lr_schedule is schedule

    run = train(tmp_path)
    old = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    resume(run, "--find-lr")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == old


def test_no_rate_is_suggested_where_the_loss_does_not_fall():
    rates = [10 ** (i / 12) for i in range(100)]
    falls = [2.0 + 0.02 * (-1) ** i - max(0, min(i - 50, 20)) * 0.05 + max(0, i - 80) for i in range(100)]
    assert rates[50] < suggestion(rates, falls) < rates[70]
    assert suggestion(rates, [1 + 0.02 * (-1) ** i + max(0, i - 80) for i in range(100)]) is None  # all noise
    assert suggestion(rates, [float(i + 1) for i in range(100)]) is None
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)


MANY = ("dataset.args.size=80", "dataset.args.valid_size=40", "metrics=[accuracy]")  # ten batches and five


def test_the_same_batches_are_learned_by_heart(tmp_path, capsys):
    fixed = (*MANY, "--overfit", "2", "optimizer={type: Adam, args: {lr: 0.03}}")
    run = train(tmp_path, *fixed, "--epochs", "40")
    assert "the same 2 batches in each epoch, and in validation" in capsys.readouterr().out
    table = rows(run)
    assert [row["step"] for row in table] == [*range(2, 81, 2)]
    assert table[-1]["loss"] < 0.1 < table[0]["loss"] and table[-1]["val_accuracy"] == 1
    # The weights before the last step and after it: the same samples in training and in validation.
    assert table[-1]["val_loss"] == pytest.approx(table[-1]["loss"], rel=0.2)
    half = train(tmp_path, *fixed, "--epochs", "20", "--name", "half")
    assert_same_end(resume(half, "--epochs", "40"), run)
    resume(half, "--overfit", "3", code=2)
    assert "data_loader.overfit_batches: found 3, but the run to resume has 2" in capsys.readouterr().err
    workers = train(tmp_path, *fixed, "--epochs", "3", "--name", "workers", "data_loader.num_workers=1")
    assert [row["loss"] for row in rows(workers)] == [row["loss"] for row in table[:3]]


def test_fewer_batches_are_others_each_time_and_test_takes_all(tmp_path, capsys):
    run = train(tmp_path, *MANY, "--limit-batches", "3", "--epochs", "2")
    out = capsys.readouterr().out
    assert "valid 24" in out and "each epoch takes 3 of 10 batches" in out
    whole = train(tmp_path, *MANY, "--epochs", "1", "--name", "whole")
    assert [row["step"] for row in rows(run)] == [3, 6]
    first_steps = [recorded(each, "loss")[step] for each in (run, whole) for step in (1, 2, 3)]
    assert first_steps[:3] == first_steps[3:]  # the same order, only shorter
    assert evaluate(run, "--split", "train")["num_samples"] == 80
    note = "The training was a trial, with data_loader.limit_batches: 3."
    assert note in capsys.readouterr().out and note in (run / "results/report.html").read_text()
    assert evaluate(run, "--split", "valid")["num_samples"] == 40
    evaluate(run, "data_loader.limit_batches=1", code=2)
    assert "would change nothing in an evaluation, which takes all samples" in capsys.readouterr().err


def test_limits_that_make_no_sense_are_refused(tmp_path, capsys):
    train(tmp_path, *MANY, "--overfit", "11", code=2)
    train(tmp_path, *MANY, "--overfit", "1", "--limit-batches", "1", code=2)
    err = capsys.readouterr().err
    assert "data_loader.overfit_batches: found 11, but an epoch has 10 batches" in err
    assert "data_loader.limit_batches: found 1 beside data_loader.overfit_batches" in err


def test_one_trial_at_a_time(capsys):
    with pytest.raises(SystemExit) as end:
        train_script.main(["-c", "x.yaml", "--find-lr", "--profile"])
    assert end.value.code == 2 and "one at a time" in capsys.readouterr().err


def test_profile_tells_the_parts_of_a_step_and_writes_a_trace_alone(tmp_path, capfd):
    call(tmp_path, "--profile", "--epochs", "20")
    told = capfd.readouterr()
    lines = told.out.splitlines()
    assert "USDT" not in told.err
    parts = {line.split()[0]: float(line.split()[1]) for line in lines[2:9]}
    assert [*parts] == ["data", "forward", "backward", "optimizer", "metrics", "logging", "other"]
    assert min(parts.values()) > 0
    total = float(re.search(r"41 steps of (\S+) ms", lines[0])[1])
    assert sum(parts.values()) == pytest.approx(total, rel=0.02)
    assert files(tmp_path) == ["saved/tiny/profile/trace.json"]
    trace = json.loads((tmp_path / "saved/tiny/profile/trace.json").read_text())
    names = {each.get("name") for each in trace["traceEvents"]}
    assert {"data: next batch", "forward: training_loss", "backward: backward", "optimizer: act"} <= names
    call(tmp_path, "--profile", "trainer.epochs=1", code=2)
    assert "5 steps are left, and it takes 10" in capfd.readouterr().err


def test_the_config_is_told_to_tensorboard_once(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = train(tmp_path, "trainer.tensorboard=true", "--epochs", "1", "trainer.loggers=[]")
    resume(run, "--epochs", "2")
    told = []
    for path in sorted((run / "tensorboard").iterdir()):
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

        values = [value for event in LegacyEventFileLoader(str(path)).Load() for value in event.summary.value]
        told += [value.metadata.plugin_data.content for value in values if value.tag.startswith("_hparams_")]
    (content,) = told
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    assert found["optimizer.args.lr"].number_value == 0.1 and found["model.type"].string_value == "MLP"
    assert found["model.args.hidden"].string_value == "[8]" and found["trainer.tensorboard"].string_value == "True"
    assert "loss/valid" in events(run).Tags()["scalars"]  # which the tab shows beside it


def test_gradient_norms_are_those_of_each_group(tmp_path):
    groups = "optimizer.param_groups=[{params: '*.bias', args: {lr: 0.05}}]"
    norms = ("trainer.log_grad_norm=true", groups, "trainer.clip_grad_norm=0.01")
    run = train(tmp_path, *norms, "--epochs", "1")
    grads = []

    def before_update(model, *_):
        of_bias = {name: name.endswith("bias") for name, _ in model.named_parameters()}
        for is_bias in (False, True):
            its = [p.grad for name, p in model.named_parameters() if of_bias[name] is is_bias]
            grads.append(torch.nn.utils.get_total_norm(its).item())
        raise StopIteration  # after the first: the next weights have other rates

    from tests.running import by_hand

    with pytest.raises(StopIteration):
        by_hand(read(tmp_path), 1, before_update)
    assert [recorded(run, name)[1] for name in ("grad_norm", "grad_norm_1")] == pytest.approx(grads, rel=1e-5)
    assert rows(run)[0]["grad_norm"] == pytest.approx(sum(recorded(run, "grad_norm").values()) / 5, rel=1e-5)
    plain = train(tmp_path, *norms[1:], "--epochs", "1", "--name", "plain")
    assert_same(state_of(run)["model"], state_of(plain)["model"])
    resume(run, "trainer.log_grad_norm=false", "--epochs", "2")
