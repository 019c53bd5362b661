"""A step of one's own with two optimizers from the config: a GAN, trained, interrupted and resumed."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from base import LOSSES, METRICS, MODELS, TRAINERS, BaseModel
from tests.running import (
    assert_same,
    assert_same_state,
    evaluate,
    recorded,
    resume,
    rows,
    state_of,
    steps_saved,
    table_of,
    train,
)
from trainer.trainer import Trainer


@MODELS.register
class GAN(BaseModel):
    """A generator that makes vectors like the real ones, and a discriminator that tells them apart."""

    def __init__(self, size: int = 8, latent: int = 4, hidden: int = 16):
        super().__init__()
        self.latent = latent
        self.generator = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.discriminator = nn.Sequential(nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, real):
        """How real the real vectors and as many made ones look, logits (N, 1) each."""
        fake = self.generator(torch.randn(len(real), self.latent, device=real.device))
        return {"real": self.discriminator(real), "fake": self.discriminator(fake.detach())}


@LOSSES.register
def discriminator_loss(output, target):
    """Cross entropy of telling real from made; the target of the data is not used."""
    real, fake = output["real"], output["fake"]
    loss = F.binary_cross_entropy_with_logits
    return (loss(real, torch.ones_like(real)) + loss(fake, torch.zeros_like(fake))) / 2


@METRICS.register
def caught(output, target):
    """Whether a made vector is seen through, one value a sample."""
    return (output["fake"][:, 0] < 0).float()


@TRAINERS.register
class GANTrainer(Trainer):
    """The discriminator learns by the loss of the config; then the generator to deceive it, by the one returned."""

    def training_loss(self, batch):
        result = self.forward_pass(self.model, batch, training=True)
        self.step_with(result.loss, "discriminator")
        self.log("discriminator_loss", result.loss)
        fake = self.model.generator(torch.randn(len(batch.indices), self.model.latent, device=result.loss.device))
        return result._replace(loss=F.softplus(-self.model.discriminator(fake)).mean())


@TRAINERS.register
class StepsForBoth(GANTrainer):
    """The same, with the generator's step taken by hand too."""

    def training_loss(self, batch):
        result = super().training_loss(batch)
        self.step_with(result.loss, self.optimizers["generator"])
        return result


OPTIMIZERS = (
    "optimizer={generator: {type: Adam, args: {lr: 1e-3}, params: 'generator.*'}, "
    "discriminator: {type: Adam, args: {lr: 2e-3}, params: ['discriminator.*']}}"
)
CONFIG = (
    *("model=GAN", "loss=discriminator_loss", "metrics=[caught]", OPTIMIZERS),
    *("lr_scheduler={generator: {type: ExponentialLR, args: {gamma: 0.9}}}", "trainer.type=GANTrainer"),
    *("--epochs", "3", "trainer.monitor=min val_caught", "trainer.save_every=1 steps", "trainer.keep_last=99"),
)
HARD = (
    *("trainer.accumulate_steps=2", "trainer.precision=fp16", "trainer.clip_grad_norm=0.1"),
    *("trainer.clip_grad_value=0.05", "trainer.ema_decay=0.9", "data_loader.drop_last=false", "dataset.args.size=43"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("gan"), *CONFIG)


def test_both_networks_learn_with_their_own_optimizer(run, tmp_path):
    first, last = state_of(run, 1), state_of(run)
    assert not any(torch.equal(weight, first["model"][name]) for name, weight in last["model"].items())
    rates = {name: state["param_groups"][0]["lr"] for name, state in last["optimizer"].items()}
    assert rates == pytest.approx({"generator": 1e-3 * 0.9**2, "discriminator": 2e-3})
    assert {name: len(state["state"]) for name, state in last["optimizer"].items()} == dict.fromkeys(rates, 4)
    assert recorded(run, "lr/generator") == recorded(run, "lr")
    assert set(recorded(run, "lr/discriminator").values()) == {2e-3}

    still = train(tmp_path, *CONFIG, "optimizer.generator.args.lr=0.0", "lr_scheduler=null")
    first, last = state_of(still, 1)["model"], state_of(still)["model"]
    for name in first:
        assert torch.equal(first[name], last[name]) == name.startswith("generator."), name


def test_losses_and_metrics_are_reported_and_evaluated(run):
    names = ["epoch", "step", "loss", "discriminator_loss", "caught", "val_loss", "val_caught"]
    assert [*rows(run)[0]][:7] == names
    assert len(recorded(run, "caught")) == len(recorded(run, "discriminator_loss")) == 15
    results = evaluate(run, "--split", "valid")
    best = min(rows(run), key=lambda row: row["val_caught"])
    assert results["caught"] == best["val_caught"] and results["loss"] == pytest.approx(best["val_loss"])


def test_the_returned_loss_and_step_with_do_the_same(run, tmp_path):
    both = train(tmp_path, *CONFIG, "trainer.type=StepsForBoth")
    assert_same_state({**state_of(both), "train_sums": 0}, {**state_of(run), "train_sums": 0})


@pytest.mark.parametrize("hard", [(), HARD], ids=["plain", "accumulated, fp16, clipped, averaged"])
def test_a_gan_resumed_from_any_step_ends_with_the_same_bits(hard, tmp_path):
    run = train(tmp_path, *CONFIG, *hard)
    end, table = state_of(run), table_of(run)
    for step in steps_saved(run)[1::3]:
        resume(run / f"checkpoints/step-{step:09d}.pt")
        assert_same_state(state_of(run), end)
        assert_same(table_of(run), table)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("trainer", ["GANTrainer", "StepsForBoth"])
def test_each_network_is_clipped_for_itself(trainer, precision, tmp_path):
    """By SGD without momentum, a step is as long as the clipped gradient."""
    sgd = "type: SGD, args: {lr: 1.0}"
    optimizers = f"optimizer={{generator: {{{sgd}, params: gen*}}, discriminator: {{{sgd}, params: dis*}}}}"
    keys = (optimizers, "lr_scheduler=null", f"trainer.type={trainer}", f"trainer.precision={precision}")
    run = train(tmp_path, *CONFIG, *keys, "trainer.clip_grad_norm=0.01")
    for network in ("generator", "discriminator"):
        for step in range(2, 6):
            before, after = state_of(run, step)["model"], state_of(run, step + 1)["model"]
            moved = torch.cat([(after[name] - before[name]).flatten() for name in after if name.startswith(network)])
            assert moved.norm() == pytest.approx(0.01, rel=1e-3), (network, step)


def test_accumulated_batches_are_the_big_batch(tmp_path):
    """What the discriminator learns from real vectors alone: made ones are drawn anew for each batch."""

    @TRAINERS.register
    class RealOnly(Trainer):
        def training_loss(self, batch):
            result = self.forward_pass(self.model, batch, training=True)
            self.step_with(F.softplus(-result.output["real"]).mean(), "discriminator")
            return result._replace(loss=result.loss.detach())

    keys = (*CONFIG, "trainer.type=RealOnly", "dataset.args.size=43", "data_loader.drop_last=false", "metrics=[]")
    keys = (*keys, "trainer.monitor=off", "trainer.clip_grad_norm=0.2")
    accumulated = train(tmp_path, *keys, "trainer.accumulate_steps=2", "--name", "accumulated")
    big = train(tmp_path, *keys, "--batch-size", "16", "--name", "big")
    first = state_of(big, 1)["model"]
    for name, weight in state_of(accumulated)["model"].items():
        torch.testing.assert_close(weight, state_of(big)["model"][name])
        assert torch.equal(weight, first[name]) == name.startswith("generator."), "a reported loss trains nothing"


def test_an_overflow_in_one_network_leaves_the_other_alone(tmp_path):
    @TRAINERS.register
    class Overflowing(GANTrainer):
        def training_loss(self, batch):
            result = super().training_loss(batch)
            return result._replace(loss=result.loss * (1e36 if self.step == 7 else 1))

    run = train(tmp_path, *CONFIG, "trainer.type=Overflowing", "trainer.precision=fp16", "lr_scheduler=null")
    before, after = state_of(run, 7), state_of(run, 8)
    assert after["scaler"]["scale"] == before["scaler"]["scale"] / 2
    for name, weight in after["model"].items():
        assert torch.equal(weight, before["model"][name]) == name.startswith("generator."), name


def test_a_frozen_layer_stays(tmp_path):
    run = train(tmp_path, *CONFIG, "trainer.freeze=['generator.0.*', 'discriminator.2.*']")
    first, last = state_of(run, 1)["model"], state_of(run)["model"]
    stays = {name for name in first if torch.equal(first[name], last[name])}
    assert stays == {name for name in first if name.startswith(("generator.0.", "discriminator.2."))}


def test_where_the_weights_left_are_switched_off_the_returned_loss_trains_nothing(tmp_path):
    @TRAINERS.register
    class Waiting(GANTrainer):
        """The generator begins at step 3."""

        def training_loss(self, batch):
            result = super().training_loss(batch)
            return result if self.step >= 3 else result._replace(loss=result.loss.detach())

    @TRAINERS.register
    class Switching(GANTrainer):
        def training_loss(self, batch):
            self.model.generator.requires_grad_(self.step >= 3)
            return super().training_loss(batch)

    waiting = train(tmp_path, *CONFIG, "trainer.type=Waiting", "--name", "waiting")
    switching = train(tmp_path, *CONFIG, "trainer.type=Switching", "--name", "switching")
    assert_same_state(state_of(switching), state_of(waiting))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("detached", "the loss for generator depends on none of its weights"),
        ("switched off", "all weights of generator have requires_grad off"),
    ],
)
def test_a_loss_that_trains_nothing_is_told(mistake, message, tmp_path, capsys):
    @TRAINERS.register
    class Mistaken(GANTrainer):
        def training_loss(self, batch):
            fake = self.model.generator(torch.randn(len(batch.indices), self.model.latent))
            self.model.generator.requires_grad_(mistake != "switched off")
            self.step_with(self.model.discriminator(fake.detach()).mean(), "generator")
            return super().training_loss(batch)

    train(tmp_path, *CONFIG, "trainer.type=Mistaken", code=2)
    assert message in capsys.readouterr().err and not (tmp_path / "saved").exists()


def test_within_autocast_a_step_is_followed_by_the_new_weights(tmp_path):
    """Autocast keeps its copies of the weights in bf16 until it ends."""

    @TRAINERS.register
    class WithinAutocast(Trainer):
        def training_loss(self, batch):
            with self.forward_pass.autocast():
                result = self.forward_pass(self.model, batch, training=True)
                self.step_with(result.loss, "discriminator")
                return self.forward_pass(self.model, batch, training=True)

    @TRAINERS.register
    class OneByOne(Trainer):
        def training_loss(self, batch):
            result = self.forward_pass(self.model, batch, training=True)
            self.step_with(result.loss, "discriminator")
            return self.forward_pass(self.model, batch, training=True)

    keys = (*CONFIG, "trainer.precision=bf16", "optimizer.discriminator.args.lr=0.1")
    within = train(tmp_path, *keys, "trainer.type=WithinAutocast", "--name", "within")
    assert_same(table_of(within), table_of(train(tmp_path, *keys, "trainer.type=OneByOne", "--name", "one_by_one")))


def test_an_optimizer_that_goes_by_another_loss_in_some_steps_is_told_once(tmp_path, caplog):
    @TRAINERS.register
    class EverySecond(GANTrainer):
        """Forgets that the returned loss trains the discriminator too where it has no step of its own."""

        def training_loss(self, batch):
            if self.step % 2 == 0:
                return super().training_loss(batch)
            fake = self.model.generator(torch.randn(len(batch.indices), self.model.latent))
            result = self.forward_pass(self.model, batch, training=True)
            return result._replace(loss=F.softplus(-self.model.discriminator(fake)).mean())

    train(tmp_path, *CONFIG, "trainer.type=EverySecond")
    told = [record.message for record in caplog.records if "does not call step_with" in record.message]
    assert len(told) == 1 and told[0].startswith("step 2: ") and "for discriminator, as it did before" in told[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_critic_takes_several_steps_a_batch(precision, tmp_path, capsys):
    @TRAINERS.register
    class Critic(Trainer):
        """And the generator learns at every third step only."""

        def training_loss(self, batch):
            for _ in range(3):
                result = self.forward_pass(self.model, batch, training=True)
                self.step_with(result.loss, "discriminator")
            if self.step % 3 == 0:
                fake = self.model.generator(torch.randn(len(batch.indices), self.model.latent))
                self.step_with(-self.model.discriminator(fake).mean(), "generator")
            return result._replace(loss=result.loss.detach())

    keys = (*CONFIG, "trainer.type=Critic", f"trainer.precision={precision}")
    run = train(tmp_path, *keys)
    optimizers = state_of(run)["optimizer"]
    steps = {name: {int(state["step"]) for state in optimizers[name]["state"].values()} for name in optimizers}
    num_left_out = int(math.log2(2**16 / state_of(run)["scaler"]["scale"])) if precision == "fp16" else 0
    assert steps["generator"] == {5} or num_left_out
    assert max(steps["discriminator"]) >= 45 - num_left_out
    end = state_of(run)
    resume(run / "checkpoints/step-000000008.pt")
    assert_same_state(state_of(run), end)

    train(tmp_path, *keys, "trainer.accumulate_steps=2", "--name", "refused", code=2)
    message = "trainer.accumulate_steps: found 2, but training_loss does not call step_with for discriminator once"
    assert message in capsys.readouterr().err and not (tmp_path / "saved/refused").exists()


def test_one_that_is_not_finite_is_named(tmp_path, capfd):
    @TRAINERS.register
    class Diverging(GANTrainer):
        def training_loss(self, batch):
            result = self.forward_pass(self.model, batch, training=True)
            self.step_with(result.loss / (self.step != 6), "discriminator")
            return result

    run = train(tmp_path, *CONFIG, "trainer.type=Diverging", code=1)
    assert "the loss of discriminator is inf at step 7" in capfd.readouterr().err
    assert steps_saved(run)[-1] == 6
