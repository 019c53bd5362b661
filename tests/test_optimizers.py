"""Every optimizer trains from a config; which parameters it gets, and with what arguments."""

import functools

import pytest
import torch
from torch import nn

import model  # noqa: F401  (registers its components)
from base import MODELS, OPTIMIZERS
from experiment import build_trainer
from tests.running import PICTURES, assert_same, by_hand, first_model, read, resume, state_of, train


@MODELS.register
class SparseVotes(nn.Module):
    """Each input that is positive votes for the classes: a table with sparse gradients, as SparseAdam needs them."""

    def __init__(self):
        super().__init__()
        self.votes = nn.EmbeddingBag(16, 3, mode="sum", sparse=True)

    def forward(self, x):
        return self.votes((x > 0).long() + 2 * torch.arange(8))  # (N, 8) -> (N, 3)


# Muon has a test of its own, and LBFGS in test_own_steps.py.
ARGUMENTS = {
    "ASGD": "lr: 0.05",
    "Adadelta": "lr: 1.0, rho: 0.8",
    "Adafactor": "lr: 0.05",
    "Adagrad": "lr: 0.1, lr_decay: 1e-3",
    "Adam": "lr: 0.01, betas: [0.8, 0.99], amsgrad: true",
    "AdamW": "lr: 0.01, weight_decay: 0.1",
    "Adamax": "lr: 0.01",
    "NAdam": "lr: 0.01",
    "RAdam": "lr: 0.01",
    "RMSprop": "lr: 0.01, centered: true, momentum: 0.5",
    "Rprop": "lr: 0.01, etas: [0.5, 1.1]",
    "SGD": "lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 1e-3",
    "SparseAdam": "lr: 0.05",
}
MODEL_FOR = {"SparseAdam": "SparseVotes"}


def test_no_optimizer_is_forgotten():
    assert {*ARGUMENTS, "Muon", "LBFGS"} >= {*OPTIMIZERS.names()} - {*OPTIMIZERS.own_names()}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_optimizer_does_what_a_plain_loop_with_it_does_and_resumes(name, tmp_path):
    overrides = (f"optimizer={{type: {name}, args: {{{ARGUMENTS[name]}}}}}", f"model={MODEL_FOR.get(name, 'MLP')}")
    run = train(tmp_path, *overrides, "--epochs", "1")
    assert_same(state_of(run)["model"], by_hand(read(tmp_path, *overrides), 1).state_dict())
    resume(run, "--epochs", "2")
    assert_same(state_of(run)["model"], by_hand(read(tmp_path, *overrides), 2).state_dict())


def test_muon_takes_matrices_only(tmp_path, capsys):
    muon = "optimizer={type: Muon, args: {lr: 0.05}}"
    train(tmp_path, muon, code=2)
    assert "Muon only supports 2D parameters" in capsys.readouterr().err
    run = train(tmp_path, muon, "trainer.freeze=['*.bias']")
    first = first_model(read(tmp_path)).state_dict()
    for name, weight in state_of(run)["model"].items():
        assert torch.equal(weight, first[name]) == name.endswith("bias")


RESNET = ("dataset.args.shape=[3, 32, 32]", "model={type: SmallResNet, args: {num_classes: 3, width: 4}}")


def group_of(trainer):
    """For each parameter's name the group of the optimizer that holds it."""
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    return {names[p]: group for group in trainer.optimizer.param_groups for p in group["params"]}


def test_param_groups_have_arguments_of_their_own_and_the_first_that_matches_wins(tmp_path):
    last = "{params: 'classifier.3.*', args: {lr: 0.01}}"
    others = "{params: ['features.*', 'classifier.*'], args: {lr: 0.001, betas: [0.5, 0.6]}}"
    optimizer = f"{{type: AdamW, args: {{lr: 0.1, weight_decay: 0.5}}, param_groups: [{last}, {others}]}}"
    groups = group_of(build_trainer(read(tmp_path, *PICTURES, f"optimizer={optimizer}")))
    for name, group in groups.items():
        lr, betas = (0.01, (0.9, 0.999)) if name.startswith("classifier.3.") else (0.001, (0.5, 0.6))
        assert (group["lr"], group["weight_decay"], tuple(group["betas"])) == (lr, 0.5, betas), name


def test_no_decay_spares_biases_and_norms_in_every_group(tmp_path):
    stem = "param_groups: [{params: 'stem.*', args: {lr: 0.01}}]"
    decay = f"optimizer={{type: SGD, args: {{lr: 0.1, weight_decay: 0.5}}, no_decay: true, {stem}}}"
    trainer = build_trainer(read(tmp_path, *RESNET, decay))
    groups = group_of(trainer)
    assert groups.keys() == dict(trainer.model.named_parameters()).keys()
    for name, parameter in trainer.model.named_parameters():
        assert groups[name]["weight_decay"] == (0.5 if parameter.ndim > 1 else 0.0), name
    slow = {name for name, group in groups.items() if group["lr"] == 0.01}
    assert slow == {"stem.0.weight", "stem.1.weight", "stem.1.bias"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.param_groups=[{params: 'haed.*', args: {lr: 1}}]",
         "optimizer.param_groups.0.params: no parameter's name matches 'haed.*'; there are layers.0.weight, "),
        ("trainer.freeze=[layers.9.*]", "trainer.freeze: no parameter's name matches 'layers.9.*'; there are layers."),
        ("trainer.freeze=['*']", "trainer.freeze leaves no parameter to train; name fewer layers in it"),
    ],
)  # fmt: skip
def test_globs_that_cannot_be_meant(override, message, tmp_path, capsys):
    train(tmp_path, override, code=2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("globs", "frozen"), [("['stem.*', 'stages.0.*']", ("stem.", "stages.0.")), ("stem.*", ("stem.",))]
)
def test_frozen_layers_and_the_statistics_of_frozen_norms_stay_as_they_are(globs, frozen, tmp_path):
    decay = "optimizer={type: SGD, args: {lr: 0.1, weight_decay: 0.1}}"
    two_steps = ("trainer.max_steps=2", "trainer.epochs=null", "trainer.eval_every=1 steps")
    first = first_model(read(tmp_path, *RESNET)).state_dict()
    after = state_of(train(tmp_path, *RESNET, decay, f"trainer.freeze={globs}", *two_steps))["model"]
    for name in first:
        assert torch.equal(first[name], after[name]) == name.startswith(frozen), name


@pytest.mark.parametrize(
    ("optimizer", "network", "is_fused"),
    [
        ("{type: AdamW, args: {lr: 0.1}}", "MLP", True),
        ("{type: AdamW, args: {lr: 0.1, fused: false}}", "MLP", False),
        ("{type: AdamW, args: {lr: 0.1, foreach: true}}", "MLP", None),
        ("{type: Adagrad, args: {lr: 0.1, differentiable: true}}", "MLP", None),
        ("{type: RMSprop, args: {lr: 0.1}}", "MLP", None),  # has no such kernel
        ("{type: SGD, args: {lr: 0.1, momentum: 0}}", "SparseVotes", None),  # whose gradients it cannot take
    ],
)
def test_an_optimizer_is_fused_where_it_can_be_and_nothing_else_was_asked_for(optimizer, network, is_fused, tmp_path):
    overrides = (f"optimizer={optimizer}", f"model={network}")
    assert build_trainer(read(tmp_path, *overrides)).optimizer.param_groups[0].get("fused") == is_fused
    if "differentiable" not in optimizer:
        train(tmp_path, *overrides, "--epochs", "1")


class Counted:
    """A decorator that is an object."""

    calls = 0

    def __init__(self, step):
        functools.update_wrapper(self, step)

    def __get__(self, optimizer, owner):
        return self if optimizer is None else functools.partial(self, optimizer)

    def __call__(self, *args):
        Counted.calls += 1
        return self.__wrapped__(*args)


def counted(step):
    """The same decorator as a function."""
    return functools.wraps(step)(lambda *args: Counted(step)(*args))


@pytest.mark.parametrize("decorator", [counted, Counted])
def test_an_own_optimizer_keeps_its_decorators(decorator, tmp_path):
    @OPTIMIZERS.register
    class Decorated(torch.optim.SGD):
        @decorator
        def step(self):
            seen.append("step")

    Counted.calls, seen = 0, []
    trainer = build_trainer(read(tmp_path, "optimizer={type: Decorated, args: {lr: 0.1}}"))
    trainer.train_step([trainer.train_loader.example()])
    assert Counted.calls == 1 and seen == ["step"]
