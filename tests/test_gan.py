"""A trainer with two optimizers, written by subclassing: a GAN, trained, interrupted and resumed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from base import LOSSES, METRICS, MODELS, TRAINERS, BaseModel
from tests.running import assert_same, assert_same_state, evaluate, recorded, resume, rows, state_of, table_of, train
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
    """One step of the discriminator, by the config's loss, then one of the generator, by the config's optimizer."""

    def __init__(self, discriminator_lr: float = 1e-3, **parts):
        super().__init__(**parts)
        self.discriminator_optimizer = torch.optim.Adam(self.model.discriminator.parameters(), lr=discriminator_lr)
        self.parts["discriminator_optimizer"] = self.discriminator_optimizer

    def train_step(self, batches):
        (batch,) = batches
        result = self.forward_pass(self.model, batch.data, training=True)
        self.loss_guard.take(self.step, result, batch.indices)
        result.loss.backward()
        self.discriminator_optimizer.step()
        self.train_sums.update(result, len(batch.indices))

        self.model.discriminator.requires_grad_(False)
        fake = self.model.generator(torch.randn(len(batch.indices), self.model.latent, device=result.loss.device))
        F.softplus(-self.model.discriminator(fake)).mean().backward()
        self.model.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad()  # an optimizer passes over parameters without gradients
        self.update_weights()


CONFIG = (
    *("model=GAN", "loss=discriminator_loss", "metrics=[caught]", "optimizer={type: Adam, args: {lr: 1e-3}}"),
    *("lr_scheduler={type: ExponentialLR, args: {gamma: 0.9}}", "trainer.type=GANTrainer", "--epochs", "3"),
    *("trainer.args.discriminator_lr=2e-3", "trainer.monitor=min val_caught"),
    *("trainer.save_every=1 steps", "trainer.keep_last=99"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("gan"), *CONFIG)


def test_both_networks_learn_with_their_own_optimizer(run, tmp_path):
    first, last = state_of(run, 1), state_of(run)
    assert not any(torch.equal(weight, first["model"][name]) for name, weight in last["model"].items())
    (generator,) = last["optimizer"]["param_groups"]
    (discriminator,) = last["discriminator_optimizer"]["param_groups"]
    assert generator["lr"] == pytest.approx(1e-3 * 0.9**2) and discriminator["lr"] == 2e-3
    assert len(last["optimizer"]["state"]) == len(last["discriminator_optimizer"]["state"]) == 4

    still = train(tmp_path, *CONFIG, "optimizer.args.lr=0.0", "lr_scheduler=null")
    first, last = state_of(still, 1)["model"], state_of(still)["model"]
    for name in first:
        assert torch.equal(first[name], last[name]) == name.startswith("generator."), name


def test_losses_and_metrics_are_reported_and_evaluated(run):
    assert [*rows(run)[0]][:6] == ["epoch", "step", "loss", "caught", "val_loss", "val_caught"]
    assert len(recorded(run, "caught")) == 15
    results = evaluate(run, "--split", "valid")
    best = min(rows(run), key=lambda row: row["val_caught"])
    assert results["caught"] == best["val_caught"] and results["loss"] == pytest.approx(best["val_loss"])


def test_a_gan_resumed_from_any_step_ends_with_the_same_bits(run):
    end, table = state_of(run), table_of(run)
    for step in (3, 5, 13, 15):
        resume(run / f"checkpoints/step-{step:09d}.pt")
        assert_same_state(state_of(run), end)
        assert_same(table_of(run), table)
