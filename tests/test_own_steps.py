"""What a step of one's own may do: several optimizers, losses in parts, `log`, indices, closures; each is resumed."""

import functools
import itertools
import math
import re
import time

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy

from base import LOSSES, METRICS, MODELS, TRAINERS, BaseModel
from experiment import build_trainer
from tests.forks import start_forked
from tests.running import (
    assert_same,
    assert_same_end,
    assert_same_state,
    by_hand,
    evaluate,
    first_model,
    read,
    recorded,
    resume,
    rows,
    state_of,
    status,
    steps_saved,
    table_of,
    train,
)
from tests.test_run_logs import events
from trainer.trainer import Trainer

EVERY_STEP = ("trainer.save_every=1 steps", "trainer.keep_last=99")
UNEVEN = ("dataset.args.size=43", "data_loader.drop_last=false")
BY_SHAPE = (
    "optimizer={matrices: {type: Muon, args: {lr: 0.05}, params: '*.weight'}, "
    "rest: {type: AdamW, args: {lr: 0.01}, params: '*.bias', no_decay: false}}"
)
HARD = ("trainer.accumulate_steps=2", "trainer.clip_grad_norm=0.5", "trainer.ema_decay=0.9", *UNEVEN)


def assert_resumes(run):
    """From every other step, with the ends of epochs among them."""
    end, table = state_of(run), table_of(run)
    for path in sorted((run / "checkpoints").glob("step-*.pt"))[:-1:2]:
        resume(path)
        assert_same_state(state_of(run), end)
        assert_same(table_of(run), table)


# Several optimizers.


def test_one_loss_for_several_optimizers(tmp_path):
    run = train(tmp_path, BY_SHAPE, "trainer.clip_grad_norm=0.5", *EVERY_STEP)
    config = read(tmp_path)
    optimizers = []

    def step(model, *_):
        if not optimizers:
            weights = dict(model.named_parameters())
            optimizers.append(torch.optim.Muon([w for n, w in weights.items() if n.endswith("weight")], lr=0.05))
            biases = [w for n, w in weights.items() if n.endswith("bias")]
            optimizers.append(torch.optim.AdamW(biases, lr=0.01, fused=True))
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # one loss, one norm
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()  # nothing is left for the optimizer of `by_hand`

    assert_same(state_of(run)["model"], by_hand(config, 2, step).state_dict())
    assert state_of(run)["optimizer"].keys() == state_of(run)["lr_scheduler"].keys() == {"matrices", "rest"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_several_optimizers_are_resumed_with_the_same_bits(precision, tmp_path):
    schedules = (
        "lr_scheduler={matrices: [{type: LinearLR, milestone: 1}, CosineAnnealingLR], "
        "rest: {type: ReduceLROnPlateau, args: {patience: 0, threshold: 1.0}}}"
    )
    keys = (schedules, "trainer.monitor=min val_loss", "--epochs", "4", f"trainer.precision={precision}", *HARD)
    run = train(tmp_path, BY_SHAPE, *keys, *EVERY_STEP)
    assert recorded(run, "lr") == recorded(run, "lr/matrices") != recorded(run, "lr/rest")
    assert recorded(run, "lr/rest")[12] < 0.01, "each schedule goes by its own"
    assert_resumes(run)


@MODELS.register
class SteepTrunk(BaseModel):
    """What flows back into its trunk is far larger than the gradients of its head."""

    def __init__(self):
        super().__init__()
        self.trunk, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(1000 * self.trunk(x / 1000)))


@pytest.mark.parametrize("clip", ["null", "1.0"])
def test_gradients_of_one_loss_that_overflow_in_one_optimizer_leave_all_weights_alone(clip, tmp_path):
    optimizers = ", ".join(
        f"{name}: {{type: AdamW, args: {{lr: 0.01}}, params: '{name}.*'}}" for name in ("trunk", "head")
    )
    keys = (f"optimizer={{{optimizers}}}", "trainer.precision=fp16", f"trainer.clip_grad_norm={clip}", *EVERY_STEP)
    run = train(tmp_path, "model=SteepTrunk", *keys)
    states = [state_of(run, step) for step in steps_saved(run)]
    num_left_out = sum(a["scaler"]["scale"] > b["scaler"]["scale"] for a, b in itertools.pairwise(states))
    assert num_left_out, "nothing has overflowed"
    for before, after in itertools.pairwise(states):
        if after["scaler"]["scale"] < before["scaler"]["scale"]:
            assert_same(after["model"], before["model"])
        assert all(weight.isfinite().all() for weight in after["model"].values())


def test_one_schedule_is_for_all_of_them(tmp_path, caplog):
    run = train(tmp_path, BY_SHAPE, "lr_scheduler={type: CosineAnnealingLR, interval: step}")
    rates = {name: recorded(run, f"lr/{name}") for name in ("matrices", "rest")}
    assert {step: rate / 5 for step, rate in rates["matrices"].items()} == pytest.approx(rates["rest"])
    assert len(set(rates["rest"].values())) == 10
    resume(run, "--epochs", "3")
    told = [record.message for record in caplog.records if "goes on at" in record.message]
    assert len(told) == 2 and "the learning rate of matrices goes on at" in told[0]


def test_a_resumed_run_keeps_its_optimizers(tmp_path, capsys):
    run = train(tmp_path, BY_SHAPE)
    resume(run, "optimizer.rest.args.lr=0.5", "--epochs", "3", code=2)
    assert "optimizer.rest.args.lr: found 0.5, but the run to resume has 0.01" in capsys.readouterr().err
    resume(run, "optimizer={type: SGD}", "--epochs", "3", code=2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("optimizer.rest.params=layers.0.bias",),
            "optimizer: none of matrices, rest has layers.3.bias: name them in the `params` of one",
        ),
        (
            ("optimizer.rest.params=['*.bias', 'layers.3.*']",),
            "optimizer: matrices and rest both have layers.3.weight: a parameter belongs to one",
        ),
        (("optimizer.rest.params=bias.*",), "optimizer.rest.params: no parameter's name matches 'bias.*'"),
        (
            ("optimizer.rest.param_groups=[{params: 'layers.0.weight'}]",),
            "optimizer.rest.param_groups.0.params: no parameter's name matches 'layers.0.weight'",
        ),
        (
            ("lr_scheduler={rest: {type: StepLR, args: {step_size: 1}}}", "optimizer.rest.args.lr=-1"),
            "optimizer.rest.args.lr: optimizer AdamW: Invalid learning rate: -1",
        ),
        (
            ("lr_scheduler={rest: {type: OneCycleLR, args: {max_lr: 0.1}, interval: step}}",),
            "optimizer.rest.args.lr: found 0.01 (a number), but OneCycleLR sets it, whatever it is: leave it out, and "
            "set lr_scheduler.rest.args.max_lr",
        ),
        (("optimizer.rest={type: Muon, params: '*.bias'}",), "Muon"),
    ],
)
def test_what_is_wrong_with_several_is_told_before_there_is_a_folder(overrides, message, tmp_path, capsys):
    train(tmp_path, BY_SHAPE, *overrides, code=2)
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told and not (tmp_path / "saved").exists()


def test_an_optimizer_that_there_is_not_is_told(tmp_path, capsys):
    @TRAINERS.register
    class Misspelt(Trainer):
        def training_loss(self, batch):
            result = super().training_loss(batch)
            self.step_with(result.loss, "matrixes")
            return result

    train(tmp_path, BY_SHAPE, "trainer.type=Misspelt", code=2)
    told = capsys.readouterr().err
    assert "found the optimizer 'matrixes'; those of this run are: matrices, rest; did you mean 'matrices'?" in told


def test_a_batch_without_step_with_is_told_where_batches_are_accumulated(tmp_path, capsys):
    @TRAINERS.register
    class Sometimes(Trainer):
        def training_loss(self, batch):
            result = super().training_loss(batch)
            if self.own_steps.place == 0:
                self.step_with(result.loss, "rest")
                result = super().training_loss(batch)
            return result

    train(tmp_path, BY_SHAPE, "trainer.type=Sometimes", "trainer.accumulate_steps=2", code=2)
    assert "training_loss does not call step_with for rest once for each batch" in capsys.readouterr().err


def test_step_with_the_only_optimizer_is_the_usual_step(tmp_path):
    @TRAINERS.register
    class ByHand(Trainer):
        def training_loss(self, batch):
            result = super().training_loss(batch)
            self.step_with(result.loss, self.optimizer)
            return result

    keys = ("trainer.clip_grad_value=0.01", "trainer.ema_decay=0.9", "lr_scheduler=CosineAnnealingLR")
    plain = train(tmp_path, *keys, "--name", "plain")
    assert_same_end(plain, train(tmp_path, *keys, "trainer.type=ByHand", "--name", "by_hand"))


def test_noise_on_the_gradients_reaches_what_is_trained(tmp_path):
    """An override of update_weights, as the README shows one."""

    @TRAINERS.register
    class Noisy(Trainer):
        def update_weights(self):
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.add_(torch.randn_like(parameter), alpha=0.1)
            super().update_weights()

    frozen = "trainer.freeze=layers.0.*"
    plain = train(tmp_path, frozen, "--name", "plain")
    noisy = train(tmp_path, frozen, "trainer.type=Noisy", "--name", "noisy")
    same = {name for name, w in state_of(noisy)["model"].items() if torch.equal(w, state_of(plain)["model"][name])}
    assert same == {"layers.0.weight", "layers.0.bias"}
    several = train(tmp_path, BY_SHAPE, "--name", "several")
    noisy = train(tmp_path, BY_SHAPE, "trainer.type=Noisy", "--name", "several_noisy")
    assert not any(torch.equal(w, state_of(several)["model"][name]) for name, w in state_of(noisy)["model"].items())


@pytest.mark.parametrize(
    "keys",
    [
        (BY_SHAPE, "lr_scheduler=CosineAnnealingLR", "trainer.precision=fp16", *HARD),
        ("optimizer={type: LBFGS, args: {lr: 0.5, max_iter: 4}}", "model.args.dropout=0.2"),
    ],
    ids=["several", "LBFGS"],
)
def test_killed_and_resumed(keys, tmp_path):
    keys = (*keys, *EVERY_STEP, "trainer.loggers=[]", "--epochs", "6", "data_loader.num_workers=2")
    whole = train(tmp_path, *keys, "--name", "whole")
    folder = tmp_path / "killed"
    process = start_forked("train.py", "-c", tmp_path / "tiny.yaml", *keys, f"trainer.save_dir={folder}")
    while not [*folder.glob("tiny/*-*/checkpoints/step-000000008.pt")]:
        assert process.is_running(), process.wait()
        time.sleep(0.005)
    process.kill()
    assert process.wait().returncode == -9
    (run,) = (path for path in (folder / "tiny").iterdir() if not path.is_symlink())
    assert status(run) == "running" and max(steps_saved(run)) < max(steps_saved(whole))
    assert_same_end(resume(run), whole)


# Losses in parts.


@LOSSES.register
def two_parts(output, target, indices, training, names: str = "fit size"):
    """Cross entropy and the size of the output; where it says so, other parts in validation, or for some batches."""
    fit, size = names.split()
    parts = {fit: cross_entropy(output, target), size: output.square().mean()}
    if names == "sometimes never" and 0 in indices:
        parts["more"] = parts[fit]
    return parts


@LOSSES.register
def weighted_parts(output, target):
    """The same over even targets alone, as sums."""
    counts = target % 2 == 0
    fit = cross_entropy(output, target, reduction="none") * counts
    return {"fit": fit.sum(), "size": (output.square().mean(dim=1) * counts).sum()}, counts.sum()


@LOSSES.register
def summed_up(output, target):
    return cross_entropy(output, target) + output.square().mean()


@pytest.mark.parametrize("hard", [(), HARD], ids=["plain", "hard"])
@pytest.mark.parametrize("loss", ["two_parts", "weighted_parts"])
def test_parts_of_a_loss_are_logged_and_their_sum_is_minimised(loss, hard, tmp_path):
    run = train(tmp_path, f"loss={loss}", *hard, "trainer.monitor=min val_loss_fit", *EVERY_STEP)
    names = ["loss", "loss_fit", "loss_size"]
    assert [*rows(run)[0]][2:8] == [*names, *(f"val_{name}" for name in names)]
    for row in rows(run):
        for part in ("", "val_"):
            total = row[f"{part}loss_fit"] + row[f"{part}loss_size"]
            assert row[f"{part}loss"] == pytest.approx(total, rel=1e-6)
    assert recorded(run, "loss_fit").keys() == recorded(run, "loss").keys()
    scores = evaluate(run, "--split", "valid")
    best = min(rows(run), key=lambda row: row["val_loss_fit"])
    assert [scores[name] for name in names] == pytest.approx([best[f"val_{name}"] for name in names], rel=1e-6)
    if loss == "two_parts":
        whole = train(tmp_path, "loss=summed_up", *hard, "--name", "whole")
        torch.testing.assert_close(state_of(run)["model"], state_of(whole)["model"])
    assert_resumes(run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("trainer.monitor=min val_loss_fits",), "the scores of this run are: loss, loss_fit, loss_size, val_loss"),
        (("metrics=[{type: accuracy, name: loss_fit}]",), "two scores are called 'loss_fit'"),
        (("loss={type: two_parts, args: {names: 'a/b c'}}",), "found the score 'loss_a/b'; expected a name of letters"),
        (
            ("loss={type: two_parts, args: {indices: [1]}}",),
            "loss.args.indices: found [1] (a list); the program",
        ),
    ],
)
def test_parts_that_cannot_be_are_told(overrides, message, tmp_path, capsys):
    train(tmp_path, "loss=two_parts", *overrides, code=2)
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told and not (tmp_path / "saved").exists()


def test_parts_that_differ_from_batch_to_batch_are_told(tmp_path, capsys):
    train(tmp_path, "loss={type: two_parts, args: {names: sometimes never}}", code=2)
    told = capsys.readouterr().err
    assert "the loss has other parts for one batch than for another" in told and "never, sometimes" in told


# What a step logs.


@TRAINERS.register
class Telling(Trainer):
    """Logs what depends on the samples, in every step and in some, and pictures."""

    def __init__(self, name: str = "largest", channels: int = 3, **parts):
        super().__init__(**parts)
        self.name, self.channels = name, channels

    def training_loss(self, batch):
        result = super().training_loss(batch)
        self.log(self.name, result.output.abs().amax())
        self.log("size", float(len(batch.indices)))
        if self.step in (2, 3):
            self.log("seldom", self.step)
        if self.step == 5:
            self.log("late", float("nan"))
        if self.step in (0, 4):
            self.log_pictures("made/train", torch.rand(20, self.channels, 4, 4))
        return result


@pytest.mark.parametrize("hard", [(), HARD], ids=["plain", "hard"])
def test_what_a_step_logs_is_averaged_over_samples_and_resumed(hard, tmp_path):
    keys = ("trainer.type=Telling", *UNEVEN, *hard, "trainer.tensorboard=true", "trainer.log_every=2", *EVERY_STEP)
    run = train(tmp_path, *keys)
    first, second = rows(run)
    assert first["size"] == pytest.approx((5 * 8 * 8 + 3 * 3) / 43)
    if not hard:
        assert first["seldom"] == 2.5 and "seldom" not in second and recorded(run, "seldom") == {4: 2.5}
        assert first["late"] != first["late"], "nan is told"
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"largest", "size", "seldom", "late"} <= set(header[: header.index("val_loss")])
    assert [tag for tag in events(run).Tags()["images"] if tag.startswith("made")]
    assert_resumes(run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("trainer.args.name=loss",), "found the score 'loss', but it is taken in the logs"),
        (("trainer.args.name=val_x",), "found the score 'val_x', but scores of the validation part begin so"),
        (("trainer.args.name=Size",), "two scores are called 'size'"),
        (("trainer.args.name=a b",), "found the score 'a b'; expected a name of letters"),
        (("trainer.args.name=accuracy", "metrics=[accuracy]"), "two scores are called 'accuracy'"),
        (("trainer.args.channels=4",), "found shape (20, 4, 4, 4); expected pictures (N, C, H, W), C being 1 or 3"),
    ],
)
def test_what_cannot_be_logged_is_told(overrides, message, tmp_path, capsys):
    train(tmp_path, "trainer.type=Telling", *overrides, code=2)
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told and not (tmp_path / "saved").exists()


def test_what_is_logged_after_the_batches_of_a_step_is_averaged_over_all_their_samples(tmp_path):
    @TRAINERS.register
    class TellsNorm(Trainer):
        def update_weights(self):
            self.log("norm", nn.utils.get_total_norm([weight.grad for weight in self.model.parameters()]))
            super().update_weights()

    run = train(tmp_path, "trainer.type=TellsNorm", *HARD)
    norms = recorded(run, "norm")
    assert rows(run)[0]["norm"] == pytest.approx((16 * norms[1] + 16 * norms[2] + 11 * norms[3]) / 43)


def test_log_in_an_evaluation_is_refused(tmp_path):
    @TRAINERS.register
    class TellsInEvaluation(Trainer):
        def evaluate(self, loader):
            scores = super().evaluate(loader)
            self.log("quality", 1.0)
            return scores

    with pytest.raises(RuntimeError, match="in an evaluation nothing would come of it"):
        train(tmp_path, "trainer.type=TellsInEvaluation")
    assert not (tmp_path / "saved").exists()


# Which samples a batch holds, and whether they are trained on.


@METRICS.register
def mean_index(output, target, indices, training):
    return indices.double() + 1000 * training


@LOSSES.register
class Memory(nn.Module):
    """Remembers the last loss of each sample, in training alone."""

    def __init__(self, size: int = 40):
        super().__init__()
        self.register_buffer("last", torch.zeros(size))

    def forward(self, output, target, indices, training: bool):
        losses = cross_entropy(output, target, reduction="none")
        if training:
            self.last[indices] = losses.detach()
        return losses.mean()


def test_losses_and_metrics_may_ask_which_samples_these_are(tmp_path):
    @TRAINERS.register
    class Remembers(Trainer):
        def __init__(self, **parts):
            super().__init__(**parts)
            self.parts["memory"] = self.forward_pass.loss_fn.function

    run = train(tmp_path, "loss=Memory", "metrics=[mean_index]", "trainer.type=Remembers", *EVERY_STEP)
    for row in rows(run):
        assert row["mean_index"] == 1000 + 39 / 2 and row["val_mean_index"] == 19 / 2
    assert (state_of(run)["memory"]["last"] > 0).all()
    assert evaluate(run)["mean_index"] == 19 / 2
    assert_resumes(run)


@LOSSES.register
class ByItsMean(nn.Module):
    """Cross entropy over its running mean."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(()))

    def forward(self, output, target, training: bool):
        loss = cross_entropy(output, target)
        if training:
            self.mean.lerp_(loss.detach(), 0.1)
        return loss / self.mean


@LOSSES.register
class Frozen(ByItsMean):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, output, target, training: bool):
        return super().forward(self.layer(output), target, training)


def test_what_a_loss_remembers_is_begun_with_resumed_and_evaluated_with(tmp_path):
    run = train(tmp_path, "loss=ByItsMean", *EVERY_STEP)
    batch = next(iter(build_trainer(read(tmp_path)).train_loader.batches(0)))
    first = cross_entropy(first_model(read(tmp_path))(batch.data[0]), batch.data[1])
    assert state_of(run, 1)["loss_state"]["mean"].item() == pytest.approx(0.9 + 0.1 * first.item()), "no rehearsal"
    assert_resumes(run)
    assert evaluate(run, "--split", "valid")["loss"] == pytest.approx(rows(run)[-1]["val_loss"])


def test_frozen_weights_of_a_loss_are_not_in_checkpoints(tmp_path):
    run = train(tmp_path, "loss=Frozen", "--epochs", "1")
    assert [*state_of(run)["loss_state"]] == ["mean"]


def test_a_compiled_loss_gets_the_indices_too(tmp_path, monkeypatch):
    """A backend that runs the graph as it is: it is the graph that has to have them."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    counters.clear()
    plain = train(tmp_path, "loss=two_parts", "--epochs", "1")
    compiled = train(tmp_path, "loss=two_parts", "--epochs", "1", "trainer.compile=true", "--name", "compiled")
    assert counters["frames"]["ok"] == counters["frames"]["total"] > 0
    assert rows(compiled)[0]["loss_fit"] == pytest.approx(rows(plain)[0]["loss_fit"], rel=1e-4)


# Closures.

LBFGS = (
    "optimizer={type: LBFGS, args: {lr: 0.5, max_iter: 4, line_search_fn: strong_wolfe}}",
    "model.args.dropout=0.2",
)


def test_lbfgs_does_what_a_plain_loop_with_it_does(tmp_path):
    run = train(tmp_path, "optimizer={type: LBFGS, args: {lr: 0.5, max_iter: 4}}")
    trainer = build_trainer(read(tmp_path))
    model = first_model(read(tmp_path))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    first_losses = []
    for batch in (batch for epoch in range(2) for batch in trainer.train_loader.batches(epoch)):
        inputs, targets = batch.data

        def closure(inputs=inputs, targets=targets):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), targets)
            loss.backward()
            return loss

        first_losses.append(optimizer.step(closure).item())
    assert_same(state_of(run)["model"], model.state_dict())
    assert [*recorded(run, "loss").values()] == pytest.approx(first_losses), "later evaluations are not counted"


def test_each_evaluation_of_lbfgs_leaves_out_the_same_and_logs_nothing(tmp_path):
    seen: dict[int, list[float]] = {}

    @TRAINERS.register
    class Drawing(Trainer):
        def training_loss(self, batch):
            seen.setdefault(self.step, []).append(torch.rand(()).item())
            self.log("draws", math.inf if self.closure.is_again else 1.0)
            return super().training_loss(batch)

    run = train(tmp_path, *LBFGS, "trainer.type=Drawing")
    assert all(len(draws) > 1 and len(set(draws)) == 1 for draws in seen.values())
    assert recorded(run, "draws") == dict.fromkeys(range(1, 11), 1.0)


def test_weights_that_lbfgs_makes_nan_are_in_no_checkpoint(tmp_path, capfd):
    run = train(tmp_path, "optimizer={type: LBFGS, args: {lr: 1e30, max_iter: 4}}", *EVERY_STEP, code=1)
    told = capfd.readouterr().err
    assert re.search(r"nan|infinite", told) and "Traceback" not in told
    for path in (run / "checkpoints").glob("step-*.pt"):
        assert all(w.isfinite().all() for w in state_of(run, path.stem)["model"].values())


@pytest.mark.parametrize("hard", [(), ("trainer.accumulate_steps=2", "trainer.ema_decay=0.9", *UNEVEN)])
def test_lbfgs_is_resumed_with_the_same_bits(hard, tmp_path):
    run = train(tmp_path, *LBFGS, *hard, "lr_scheduler=CosineAnnealingLR", "metrics=[accuracy]", *EVERY_STEP)
    assert state_of(run)["optimizer"]["state"][0]["n_iter"] > 20
    assert_resumes(run)


# A loss that remembers.


@LOSSES.register
class Remembering(nn.Module):
    """Cross entropy, and how far each sample is from what it was the last times; asked for indices."""

    def __init__(self, num_samples: int = 60):
        super().__init__()
        self.register_buffer("averages", torch.zeros(num_samples, 3))

    def forward(self, output, target, indices, training):
        probabilities = output.softmax(dim=1)
        if training:
            self.averages[indices] = 0.5 * self.averages[indices] + 0.5 * probabilities.detach()
        return cross_entropy(output, target) + (probabilities - self.averages[indices]).square().mean()


@LOSSES.register
class WithCentres(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(3))

    def forward(self, output, target):
        return cross_entropy(output, target) + (output - self.centres).square().mean()


def test_what_a_loss_remembers_is_in_checkpoints(tmp_path):
    run = train(tmp_path, "loss=Remembering", *EVERY_STEP)
    assert (state_of(run)["loss_state"]["averages"].sum(dim=1) > 0).sum() == 40
    assert_resumes(run)
    assert evaluate(run, "--split", "valid")["loss"] == pytest.approx(rows(run)[-1]["val_loss"])


def test_weights_of_a_loss_are_refused(tmp_path, capsys):
    train(tmp_path, "loss=WithCentres", code=2)
    assert "loss WithCentres has weights of its own (centres), which no optimizer trains" in capsys.readouterr().err


@TRAINERS.register
class LossAlone(Trainer):
    def training_loss(self, batch):
        return super().training_loss(batch).loss


def test_a_loss_alone_is_not_what_training_loss_returns(tmp_path, capsys):
    train(tmp_path, "trainer.type=LossAlone", code=2)
    assert "training_loss of LossAlone returned a Tensor; return what forward_pass gives" in capsys.readouterr().err
