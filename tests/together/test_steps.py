"""Steps of one's own go by the mean over all processes, whatever a loss is a mean over."""

import pytest
import torch
from torch import nn

from base import MODELS, TRAINERS, BaseModel
from tests.ranks import train_together
from tests.together.test_training import CONFIG, assert_close, start
from trainer.trainer import Trainer, weight_of
from utils.distributed import rank


@MODELS.register
class BodyAndHead(BaseModel):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(self.body(inputs))


@TRAINERS.register
class HeadFirstTrainer(Trainer):
    """Two optimizers by the loss of the config, one after the other."""

    def __init__(self, gives_weight=True, **parts):
        super().__init__(**parts)
        self.gives_weight = gives_weight

    def training_loss(self, batch):
        for name in ("head", "body"):
            result = self.forward_pass(self.model, batch, training=True)
            self.step_with(result.loss, name, weight=result.weight if self.gives_weight else None)
        return result._replace(loss=result.loss.detach())


STEPS = (
    *("model=BodyAndHead", "trainer.type=HeadFirstTrainer"),
    "optimizer={head: {type: SGD, args: {lr: 0.1}, params: head.*}, body: {type: AdamW, params: body.*}}",
)
WEIGHTED = "loss={type: CrossEntropyLoss, class_weights: [1.0, 2.0, 3.0]}"


@pytest.mark.parametrize("settings", [(), (WEIGHTED,), (WEIGHTED, "trainer.accumulate_steps=2")])
def test_own_steps_as_in_one_process(tmp_path, settings):
    one = train_together(tmp_path / "one", 1, *STEPS, *settings, config=CONFIG)
    assert_close(train_together(tmp_path, 4, *STEPS, *settings, config=CONFIG), one)


@pytest.mark.parametrize(("gives_weight", "times"), [("false", 1), ("true", 0)])
def test_a_weighted_loss_that_is_taken_for_a_mean_over_samples_is_told_once(tmp_path, gives_weight, times):
    run = train_together(tmp_path, 2, *STEPS, WEIGHTED, f"trainer.args.gives_weight={gives_weight}", config=CONFIG)
    assert (run / "train.log").read_text().count("call step_with(loss, optimizer, weight=result.weight)") == times


@TRAINERS.register
class UnevenTrainer(Trainer):
    def training_loss(self, batch):
        result = self.forward_pass(self.model, batch, training=True)
        self.step_with(result.loss, "head" if rank() == 0 or self.step < 2 else "body")
        return result._replace(loss=result.loss.detach())


def test_processes_at_steps_of_different_optimizers_are_told(tmp_path):
    ranks = start(tmp_path, 2, *STEPS, "trainer.type=UnevenTrainer")
    assert ranks.wait() == [1, 1]
    assert ranks.output().count("a step of head in one process and body in another: call step_with alike") == 1
    assert "Traceback" not in ranks.output()


@TRAINERS.register
class ByHandTrainer(Trainer):
    """A step as docs/distributed.md has it for those who write all of it."""

    def train_step(self, batches):
        for batch in batches:
            result = self.forward_pass(self.model, batch, training=True)
            (result.loss * self.own_steps.share_of(batch.num_samples)).backward()
            self.train_sums.update(result, batch)
        self.parallel.reduce(self.model.parameters())
        self.update_weights()


@pytest.mark.parametrize("settings", [(), ("trainer.accumulate_steps=2",), ("trainer.parallel=fsdp",)])
def test_a_step_by_hand_as_in_one_process(tmp_path, settings):
    """The last batch has five samples: of eight processes, three have none."""
    settings = ("trainer.type=ByHandTrainer", *settings)
    one = train_together(tmp_path / "one", 1, *settings, config=CONFIG)
    for num in (2, 8):
        assert_close(train_together(tmp_path / str(num), num, *settings, config=CONFIG), one)


@TRAINERS.register
class EvenTrainer(Trainer):
    """As in one process: takes the shares of all for equal, but the last batch is of five samples."""

    def train_step(self, batches):
        result = self.training_loss(batches[0])
        result.loss.backward()
        self.train_sums.update(result, batches[0])
        self.parallel.reduce(self.model.parameters())
        self.update_weights()


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_step_by_hand_that_forgets_uneven_shares_is_refused(tmp_path, parallel):
    ranks = start(tmp_path, 2, "trainer.type=EvenTrainer", f"trainer.parallel={parallel}")
    assert 2 in (codes := ranks.wait()) and 0 not in codes, codes
    assert ranks.output().count("multiply the loss of each batch by self.own_steps.share_of(") == 1, ranks.output()
    assert not list(tmp_path.glob("saved/tiny/2*"))


@TRAINERS.register
class WeighingTrainer(Trainer):
    """A step by hand for a loss that is a mean over weights."""

    def train_step(self, batches):
        weights = []
        for batch in batches:
            result = self.forward_pass(self.model, batch, training=True)
            weights.append(weight_of(result, batch))
            (result.loss * self.own_steps.share_of(weights[-1])).backward()
            self.train_sums.update(result, batch)
        self.parallel.reduce(self.model.parameters())
        self.own_steps.correct(sum(weights), self.model.parameters())
        self.update_weights()


def test_a_step_by_hand_of_a_weighted_loss_as_in_one_process_or_told(tmp_path):
    args = ("trainer.type=WeighingTrainer", WEIGHTED)
    one = train_together(tmp_path / "one", 1, *args, config=CONFIG)
    run = train_together(tmp_path, 4, *args, config=CONFIG)
    assert_close(run, one)
    told = "train_step of {} takes CrossEntropyLoss for a mean over samples"
    assert told.format("WeighingTrainer") not in (run / "train.log").read_text()
    run = train_together(tmp_path / "by", 2, "trainer.type=ByHandTrainer", WEIGHTED, config=CONFIG)
    assert (run / "train.log").read_text().count(told.format("ByHandTrainer")) == 1


@TRAINERS.register
class NoisyTrainer(Trainer):
    def update_weights(self):
        for weight in self.model.parameters():
            weight.grad.add_(torch.randn_like(weight), alpha=0.01)
        super().update_weights()


def test_noise_in_gradients_is_the_same_in_all_processes(tmp_path):
    train_together(tmp_path, 2, "trainer.type=NoisyTrainer", "trainer.log_every=1", config=CONFIG)
