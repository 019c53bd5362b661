"""Two hundred steps on real digits: the losses of several processes stay those of one, but for rounding."""

import pytest
from torch import nn

from base import MODELS, BaseModel
from model.lenet import LeNet
from tests.ranks import train_together
from tests.running import recorded

CONFIG = """\
name: drift
device: cpu
dataset: {type: Digits, batch_transforms: {train: [{type: Normalize, args: {mean: [0.3], std: [0.37]}}]}}
data_loader: {batch_size: 32, validation_split: 0, num_workers: 0, drop_last: false}
model: {type: LeNet, args: {channels: [8, 16], hidden: 32, dropout: 0}}
loss: CrossEntropyLoss
optimizer: {type: SGD, args: {lr: 0.01, momentum: 0.9}}
trainer: {max_steps: 200, tensorboard: false, log_every: 1, loggers: [Recorder], save_every: end, eval_every: end}
"""
MLP = "model={type: MLP, args: {hidden: [32], out_features: 10}}"


@MODELS.register
class DoubleLeNet(LeNet):
    """Computes in float64, in which rounding is too small to hide anything else."""

    def __init__(self):
        super().__init__(channels=(4, 8), hidden=16, dropout=0.0)
        self.double()

    def forward(self, pictures):
        return super().forward(pictures.double())


def losses(folder, num, *settings):
    run = train_together(folder, num, *settings, config=CONFIG)
    found = recorded(run, "loss")
    assert len(found) >= 200
    return found


@pytest.mark.parametrize(
    ("settings", "tolerance"), [((), 1e-5), ((MLP,), 1e-5), (("model=DoubleLeNet", "optimizer.args.lr=0.05"), 1e-11)]
)
def test_losses_of_200_steps_are_those_of_one_process(tmp_path, settings, tolerance):
    one = losses(tmp_path / "one", 1, *settings)
    for num in (2, 4):
        for parallel in ("ddp", "fsdp"):
            found = losses(tmp_path / f"{num}-{parallel}", num, f"trainer.parallel={parallel}", *settings)
            assert found == pytest.approx(one, rel=tolerance), (num, parallel)


@MODELS.register
class Remembering(BaseModel):
    """Adds to its output a mean over the inputs it has seen: a buffer that training reads, beside a norm's."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(1), nn.Linear(64, 10)
        self.register_buffer("mean", self.layer.bias.detach() * 0)

    def forward(self, pictures):
        output = self.layer(self.norm(pictures).flatten(1)) + self.mean
        if self.training:
            self.mean.lerp_(output.detach().mean(dim=0), 0.1)
        return output


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_buffers_that_training_reads_are_those_of_the_main_process(tmp_path, parallel):
    """Resumed, all begin with what the main one has saved: without that, the rest would have other bits."""
    settings = ("model=Remembering", f"trainer.parallel={parallel}")
    whole = losses(tmp_path / "whole", 2, *settings, "trainer.max_steps=200")
    run = train_together(tmp_path / "parts", 2, *settings, "trainer.max_steps=100", config=CONFIG)
    train_together(tmp_path / "parts", 2, "-r", str(run), *settings, config=CONFIG)
    assert recorded(run, "loss") == whole
