"""What one step does, through train.py and against plain loops: gradients, precision, averages, initial weights."""

import math
import re
import shutil

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import Dataset

from base import DATASETS, LOSSES, MODELS
from experiment import build_trainer
from tests.running import (
    PICTURES,
    assert_same,
    assert_same_end,
    by_hand,
    evaluate,
    read,
    recorded,
    resume,
    rows,
    state_of,
    train,
)
from trainer.optimizer import FUSED

UNTRAINED = ("optimizer.args.lr=1e-30", "optimizer.args.momentum=0")


# The samples of the last of three windows: a batch of 8; one of 5; one of 8 and one of 3.
@pytest.mark.parametrize(
    ("size", "drop_last", "loss"),
    [
        *((40, "true", "CrossEntropyLoss"), (37, "false", "CrossEntropyLoss"), (43, "false", "CrossEntropyLoss")),
        *((43, "false", "{class_weights: [1.0, 5.0, 20.0]}"), (37, "false", "{args: {ignore_index: 1}}")),
    ],
)
def test_accumulated_gradients_are_those_of_the_big_batch(size, drop_last, loss, tmp_path):
    """And no score depends on the size of the batches, though the mean is not over samples."""
    config = (f"dataset.args.size={size}", "--epochs", "3", f"loss={loss}", "metrics=[accuracy, log_loss]")
    window = ("trainer.accumulate_steps=2", "--batch-size", "8", f"data_loader.drop_last={drop_last}")
    accumulated = train(tmp_path, *config, *window, "--name", "accumulated")
    big = train(tmp_path, *config, "data_loader.drop_last=false", "--batch-size", "16", "--name", "big")
    assert [row["step"] for row in rows(accumulated)] == [3, 6, 9]
    assert_close(state_of(accumulated)["model"], state_of(big)["model"])
    assert recorded(accumulated, "loss") == pytest.approx(recorded(big, "loss"), rel=1e-5)
    for batch_size in (1, 7, 20):
        scores = evaluate(big, "--split", "valid", f"data_loader.batch_size={batch_size}")
        for name in ("loss", "accuracy", "log_loss"):
            assert scores[name] == pytest.approx(rows(big)[-1][f"val_{name}"], rel=1e-6)


def test_accumulated_gradients_are_no_larger_than_those_of_the_big_batch(tmp_path):
    """Or the scale of fp16, which begins as high as it can, would be too much for them, and steps be left out."""
    half = ("trainer.precision=fp16", "dataset.args.size=48")
    accumulated = train(tmp_path, *half, "trainer.accumulate_steps=4", "--batch-size", "4", "--name", "accumulated")
    big = train(tmp_path, *half, "--batch-size", "16", "--name", "big")
    assert state_of(accumulated)["scaler"]["scale"] == state_of(big)["scaler"]["scale"]
    assert rows(accumulated)[-1]["val_loss"] == pytest.approx(rows(big)[-1]["val_loss"], rel=1e-3)


def test_initial_weights_are_a_function_of_the_seed(tmp_path):
    one, other, again = (build_trainer(read(tmp_path, f"seed={seed}")).model.layers[0].weight for seed in (1, 2, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_randomness_differs_from_step_to_step(tmp_path):
    """The same sample at every step, and weights that stay."""
    one = ("dataset.args.size=1", "--batch-size", "1", "model.args.dropout=0.5", *UNTRAINED)
    assert len(set(recorded(train(tmp_path, *one, "--epochs", "4"), "loss").values())) > 1


def test_clipping_by_norm_by_value_and_by_both_in_this_order(tmp_path):
    by_torch = {
        "trainer.clip_grad_norm=0.05": lambda model: nn.utils.clip_grad_norm_(model.parameters(), 0.05),
        "trainer.clip_grad_value=0.01": lambda model: nn.utils.clip_grad_value_(model.parameters(), 0.01),
    }
    norm, value = by_torch
    seen = set()
    for keys in ([norm], [value], [norm, value]):
        model = by_hand(read(tmp_path), 2, lambda model, *_, keys=keys: [by_torch[key](model) for key in keys])
        assert_same(state_of(train(tmp_path, *keys))["model"], model.state_dict())
        seen.add(model.layers[0].weight.sum().item())
    assert len(seen) == 3


def test_clipping_sees_gradients_without_the_scale_of_fp16(tmp_path):
    full = train(tmp_path, *PICTURES, "trainer.clip_grad_norm=0.05")
    half = train(tmp_path, *PICTURES, "trainer.clip_grad_norm=0.05", "trainer.precision=fp16", "--name", "half")
    first = build_trainer(read(tmp_path, *PICTURES)).model
    moved, expected = (
        torch.cat([(state_of(run)["model"][name] - weight).flatten() for name, weight in first.state_dict().items()])
        for run in (half, full)
    )
    assert (moved - expected).norm() < 0.05 * expected.norm()


def test_ema_is_kept_apart_and_evaluated(tmp_path):
    averages = {}

    def average(model):
        for name, weight in model.state_dict().items():
            # the first update is a copy, as in torch's AveragedModel
            averages[name] = 0.8 * averages[name] + 0.2 * weight if name in averages else weight.clone()

    raw = by_hand(read(tmp_path), 2, after_update=average)
    run = train(tmp_path, "trainer.ema_decay=0.8")
    state = state_of(run)
    assert_same(state["model"], raw.state_dict())
    assert_close(state["ema"]["model"], averages)

    raw.load_state_dict(averages)
    inputs, targets = build_trainer(read(tmp_path)).valid_loader.dataset.__getitems__(torch.arange(20))
    loss = nn.functional.cross_entropy(raw.eval()(inputs), targets).item()
    assert rows(run)[-1]["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert evaluate(run, "--split", "valid")["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_in_it_keeps_full_weights_and_is_resumed(precision, tmp_path):
    full = train(tmp_path, *PICTURES)
    half = train(tmp_path, *PICTURES, f"trainer.precision={precision}", "--name", "half")
    end = state_of(half)
    assert {weight.dtype for weight in end["model"].values()} == {torch.float32}
    for metric in ("loss", "val_loss"):
        exact, rounded = rows(full)[-1][metric], rows(half)[-1][metric]
        assert rounded == pytest.approx(exact, rel=0.02) and rounded != exact
    assert (end["scaler"] != {}) == (precision == "fp16")
    resume(half / "checkpoints/step-000000005.pt")
    for part in ("model", "optimizer", "scaler"):
        assert_same(state_of(half)[part], end[part])


def test_momentum_begins_with_zero_where_fp16_leaves_out_the_first_steps(tmp_path):
    """Torch's fused SGD would begin with whatever is in the memory that it takes for it."""

    @LOSSES.register
    def steep(output, target):
        return nn.functional.cross_entropy(output, target) * 1000

    config = ("trainer.precision=fp16", "loss=steep", "optimizer.args.lr=0.00001")
    left_here = [torch.full(shape, 7.0) for shape in ((8, 8), (8,), (3, 8), (3,)) for _ in range(100)]
    del left_here
    fused = train(tmp_path, *config)
    plain = train(tmp_path, *config, "optimizer.args.fused=false", "--name", "plain")
    assert state_of(fused)["scaler"]["scale"] < 2**15  # at least two steps were left out
    assert_close(state_of(fused)["model"], state_of(plain)["model"])


def test_channels_last_changes_the_layout_only(tmp_path):
    trainer = build_trainer(read(tmp_path, *PICTURES, "trainer.channels_last=true"))
    inputs, _ = trainer.forward_pass.prepare(trainer.train_loader.example().data, training=False)
    assert inputs.args[0].is_contiguous(memory_format=torch.channels_last)
    plain = train(tmp_path, *PICTURES, "trainer.channels_last=false")
    other = train(tmp_path, *PICTURES, "trainer.channels_last=true", "--name", "other")
    assert_close(state_of(plain)["model"], state_of(other)["model"])


def test_channels_last_is_refused_where_it_changes_nothing(tmp_path, capsys):
    train(tmp_path, "trainer.channels_last=true", code=2)
    assert "trainer.channels_last: found true, but MLP has no convolution of pictures" in capsys.readouterr().err


@MODELS.register
class WithView(nn.Module):
    """As the ancestor's users write it: `view`, which takes no pictures in channels-last format."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.head = nn.Linear(72, 3)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))  # (N, 3, 8, 8) -> (N, 2, 6, 6) -> (N, 3)


@pytest.mark.parametrize(
    ("model", "is_channels_last"),
    [
        ("LeNet", True),
        ("{type: mobilenet_v3_small, args: {num_classes: 3}}", True),
        ("WithView", False),
        ("{type: MLP, args: {out_features: 3}}", False),  # nothing to gain
    ],
)
def test_the_memory_format_is_one_that_the_model_can_run_in(model, is_channels_last, tmp_path):
    run = train(tmp_path, *PICTURES, f"model={model}", "--epochs", "1")
    state = state_of(run)
    assert state["channels_last"] == is_channels_last
    convolutions = [weight for weight in state["model"].values() if weight.ndim == 4 and weight.shape[1] > 1]
    assert all(w.is_contiguous(memory_format=torch.channels_last) == is_channels_last for w in convolutions)
    assert evaluate(run, "--split", "valid")["loss"] == pytest.approx(rows(run)[-1]["val_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.args.in_channels=2", r"model.args.in_channels: found 2, but the data have 3 channels"),
        ("model.args.padding=0", r"LeNet cannot take the data's inputs, \(2, 3, 8, 8\): .*model.lenet.py:\d+"),
        (
            "model={type: LinearRegression, args: {in_features: 7}}",
            "in_features: found 7, .* 192 numbers",
        ),
        ("model=TwoInputs", "missing 1 required positional argument"),
    ],
)
def test_a_model_that_cannot_take_the_data_is_told_before_a_folder_is_made(override, message, tmp_path, capsys):
    train(tmp_path, *PICTURES, override, code=2)
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "saved").exists()


def test_an_error_in_an_own_models_lines_keeps_its_traceback(tmp_path):
    @MODELS.register
    class Wrong(nn.Linear):
        def forward(self, x):
            return x @ torch.zeros(5, 3)

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(tmp_path, "model={type: Wrong, args: {in_features: 8, out_features: 3}}")


def test_trying_a_memory_format_leaves_the_model_as_it_was(tmp_path):
    """Running statistics, modes and random numbers: the first step gives the same bits with and without the trial."""
    overrides = (*PICTURES, "dataset.args.shape=[3, 32, 32]", "model={type: SmallResNet, args: {width: 4}}")
    tried, told = (
        build_trainer(read(tmp_path, *overrides, f"trainer.channels_last={value}")) for value in ("auto", "true")
    )
    assert_same(tried.model.state_dict(), told.model.state_dict())
    assert tried.model.training


def test_init_from_takes_the_weights_of_a_run_and_nothing_else_and_is_not_read_again(tmp_path, capsys):
    source = train(tmp_path, "--name", "source")
    train(tmp_path, "trainer.init_from=sauce", code=2)
    error = capsys.readouterr().err
    assert "trainer.init_from: there is no run or checkpoint 'sauce'" in error and str(source.parent) in error
    run = train(tmp_path, "trainer.init_from=source", *UNTRAINED)
    assert "init_from source: 4 of 4 tensors loaded\n" in capsys.readouterr().out
    assert_same(state_of(run)["model"], state_of(source)["model"])
    assert [row["step"] for row in rows(run)] == [5, 10]
    assert state_of(run)["optimizer"]["param_groups"][0]["lr"] == 1e-30
    assert "init_from" in (run / "train.log").read_text()
    shutil.rmtree(source)
    resume(run, "--epochs", "3")
    assert len(rows(run)) == 3


def test_init_from_reads_bare_prefixed_and_averaged_weights(tmp_path):
    source = train(tmp_path, "trainer.ema_decay=0.8", "--name", "source")
    weights = state_of(source)["ema"]["model"]
    files = {
        prefix: {prefix + name: weight for name, weight in weights.items()}
        for prefix in ("", "module.", "_orig_mod.", "module._orig_mod.")
    } | {"state_dict": {"state_dict": weights}}
    for name, content in files.items():
        torch.save(content, tmp_path / f"weights{name}.pt")
    for path in (source, *(tmp_path / f"weights{name}.pt" for name in files)):
        assert_same(state_of(train(tmp_path, f"trainer.init_from={path}", *UNTRAINED))["model"], weights)


def test_init_from_another_model_is_refused_and_what_differs_is_skipped_when_asked_for(tmp_path, capsys):
    source = train(tmp_path, "--name", "source")
    four = ("dataset.args.num_classes=4", "model.args.out_features=4")
    train(tmp_path, *four, f"trainer.init_from={source}", "--name", "four", code=2)
    assert not (tmp_path / "saved/four").exists()
    error = capsys.readouterr().err
    report = "2 of 4 tensors loaded; 2 of other shape: layers.3.weight (3, 8) -> (4, 8), layers.3.bias (3,) -> (4,)"
    assert report in error and f"trainer.init_from={{path: {source}, skip_mismatched: true}}" in error

    skipping = f"trainer.init_from={{path: {source}, skip_mismatched: true}}"
    run = train(tmp_path, *four, skipping, *UNTRAINED)
    assert report in capsys.readouterr().out
    new, old = state_of(run)["model"], state_of(source)["model"]
    assert torch.equal(new["layers.0.weight"], old["layers.0.weight"]) and new["layers.3.weight"].shape == (4, 8)

    deep = train(tmp_path, "model.args.hidden=[8, 3]", skipping, "--name", "deep")
    assert "; 2 missing there: layers.6.weight, layers.6.bias" in capsys.readouterr().out
    train(tmp_path, f"trainer.init_from={deep}", "--name", "shallow")
    assert "; 2 unexpected: layers.6.weight, layers.6.bias" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint", "is damaged or not a checkpoint"),
        ({"other.weight": torch.ones(1)}, "These are the weights of another model"),
        ({"a": 1}, "These are the weights of another model"),
    ],
)
def test_init_from_that_cannot_be_used(content, message, tmp_path, capsys):
    path = tmp_path / "weights.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    train(tmp_path, f"trainer.init_from={path}", code=2)
    error = capsys.readouterr().err
    assert message in error and "init_from" in error and str(path) in error


def test_weights_that_run_away_are_told_with_the_whole_batch(tmp_path, capsys):
    run = train(tmp_path, "optimizer={type: SGD, args: {lr: 1e30}}", "--batch-size", "4", code=1)
    error = capsys.readouterr().err
    assert "lower the learning rate" in error and error.count("sample ") == 4
    assert recorded(run, "loss")  # the steps before are told


SAMPLES = {
    "tuple": lambda left, right, target: (left, right, target),
    "dict": lambda left, right, target: {"left": left, "right": right, "label": target},
    "dict and target": lambda left, right, target: ({"left": left, "right": right}, target),
    "nested": lambda left, right, target: ((left, {"more": [right]}), target),
    "no target": lambda left, right, target: {"left": left, "right": right},
}


@DATASETS.register
class Pairs(Dataset):
    def __init__(self, split: str, kind: str):
        self.inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(len(split)))
        self.arrange = SAMPLES[kind]

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.arrange(self.inputs[index, :4], self.inputs[index, 4:], int(self.inputs[index].sum() > 0))


@MODELS.register
class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 2)

    def forward(self, left, right):
        right = right["more"][0] if isinstance(right, dict) else right
        return self.linear(torch.cat([left, right], dim=1))


def test_batches_may_be_tuples_dicts_or_nested_and_mean_the_same(tmp_path, capsys):
    config = ("model=TwoInputs", "metrics=[accuracy]", "trainer.monitor=max val_accuracy", "--epochs", "1")
    *kinds, without_target = SAMPLES
    weights = []
    for kind in kinds:
        run = train(tmp_path, f"dataset={{type: Pairs, args: {{kind: {kind}}}}}", *config)
        assert evaluate(run)["num_samples"] == 40 and (run / "results/predictions.csv").exists()
        weights.append(state_of(run)["model"])
        assert_same(weights[-1], weights[0])
    train(tmp_path, f"dataset={{type: Pairs, args: {{kind: {without_target}}}}}", *config, code=2)
    assert "the samples have no target, and of their 2 inputs none is the one" in capsys.readouterr().err


@pytest.mark.parametrize("name", FUSED)
def test_a_fused_optimizer_that_is_told_of_nan_leaves_the_weights_alone(name):
    """What the guard relies on where waiting for the device would cost too much (trainer/loss_guard.py)."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = getattr(torch.optim, name)([weight], lr=0.1, fused=True)
    assert optimizer._step_supports_amp_scaling
    for is_bad, expected_to_move in ((1.0, False), (0.0, True)):
        weight.grad = torch.full((3,), math.nan if is_bad else 1.0)
        optimizer.found_inf = torch.tensor(is_bad)
        optimizer.step()
        assert torch.equal(weight.detach(), torch.ones(3)) != expected_to_move


def test_activation_checkpointing_saves_memory_and_keeps_the_bits(tmp_path):
    def kept(name, *more):
        """The bytes that autograd keeps in a whole run."""
        (tmp_path / name).mkdir()
        sizes = []

        def count(tensor):
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            train(tmp_path / name, *settings, *more)
        return sum(sizes)

    settings = ("model={type: MLP, args: {hidden: [64, 64, 64], dropout: 0.5}}", "trainer.ema_decay=0.9")
    assert kept("recomputed", "trainer.activation_checkpointing=layers") < 0.5 * kept("plain")
    assert_same_end(*((tmp_path / name / "saved/tiny/latest").resolve() for name in ("plain", "recomputed")))


def test_activation_checkpointing_of_modules_that_there_are_not(tmp_path, capsys):
    train(tmp_path, "trainer.activation_checkpointing=layer.*", code=2)
    assert "trainer.activation_checkpointing: no module's name matches 'layer.*'" in capsys.readouterr().err
