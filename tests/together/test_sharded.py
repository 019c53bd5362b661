"""What goes with weights that are divided among processes, and what is refused before the first step."""

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import linear

from base import TRAINERS
from tests.ranks import train_together
from tests.running import recorded, state_of, steps_saved
from tests.together.test_steps import BodyAndHead  # noqa: F401, a model that the tests name
from tests.together.test_training import CONFIG, FSDP, NORMS, assert_close, start
from trainer.sharding import is_divided
from trainer.trainer import Trainer


@pytest.mark.parametrize("settings", [(), ("trainer.freeze=stem.*", "trainer.log_grad_norm=true")])
def test_norms_compute_in_bf16_as_with_ddp(tmp_path, settings):
    pictures = ("dataset.args.shape=[3, 16, 16]", NORMS, "trainer.channels_last=false", "trainer.precision=bf16")
    found = []
    for parallel in ("ddp", "fsdp"):
        args = (*pictures, f"trainer.parallel={parallel}", "optimizer.args.lr=0.01", *settings)
        run = train_together(tmp_path / parallel, 2, *args, config=CONFIG)
        found.append(list(recorded(run, "loss").values())[:5])
        assert torch.float32 in {weight.dtype for weight in state_of(run)["model"].values()}
    assert found[1] == pytest.approx(found[0], rel=0.02)


@TRAINERS.register
class OwnWayTrainer(Trainer):
    """Takes the model in some way of its own."""

    def __init__(self, way, **parts):
        super().__init__(**parts)
        self.way = getattr(self, way)

    def training_loss(self, batch):
        result = super().training_loss(batch)
        return result._replace(loss=result.loss + 0.1 * self.way(*result.inputs.args))

    def again(self, inputs):
        return self.model(-inputs).square().mean()

    def part(self, inputs):
        return self.model.head(inputs).square().mean()

    def weights(self, inputs):
        return sum(weight.square().sum() for weight in self.model.parameters())

    def number(self, inputs):
        return float(self.model.head.weight.abs().max())

    def whole_number(self, inputs):
        weight = self.model.head.weight.detach()
        return float((weight.full_tensor() if is_divided(weight) else weight).abs().max())

    def whole(self, inputs):
        weight = self.model.head.weight
        return linear(inputs, weight.full_tensor() if is_divided(weight) else weight).square().mean()

    def local(self, inputs):
        return self.model.head.weight.to_local().square().sum()

    def others(self, inputs):
        weight = self.model.head.weight.detach().full_tensor() / 2
        return functional_call(self.model, {"head.weight": weight}, (inputs,)).square().mean()

    def late(self, inputs):
        return self.whole(inputs) if self.step > 4 else 0


def settings_of(way):
    return ("model=BodyAndHead", f"trainer={{type: OwnWayTrainer, args: {{way: {way}}}, epochs: 2}}")


def assert_refused(ranks):
    assert 2 in (codes := ranks.wait()) and 0 not in codes, codes
    assert ranks.output().count("weights are gathered while the model is called as a whole") == 1, ranks.output()
    assert "Traceback" not in ranks.output()


@pytest.mark.parametrize("way", ["again", "whole_number"])
def test_a_model_that_is_called_twice_or_read_as_a_whole_is_as_in_one_process(tmp_path, way):
    one = train_together(tmp_path / "one", 1, *settings_of(way), config=CONFIG)
    assert_close(train_together(tmp_path, 4, *settings_of(way), FSDP, config=CONFIG), one)


@pytest.mark.parametrize("way", ["part", "weights", "number", "whole", "local", "others"])
def test_a_part_of_the_model_by_itself_is_refused(tmp_path, way):
    """torch ends with an error of its own, or goes by what is one process's, or by other weights than it was given."""
    assert_refused(start(tmp_path, 2, *settings_of(way), FSDP))
    assert not list(tmp_path.glob("saved/tiny/2*"))


def test_a_later_step_that_takes_the_gradient_of_a_whole_weight_is_refused(tmp_path):
    assert_refused(start(tmp_path, 2, *settings_of("late"), FSDP))


def test_a_number_of_a_part_is_refused_in_a_resumed_run_too(tmp_path, monkeypatch):
    """It has no rehearsal, and own code may have changed."""
    run = train_together(tmp_path, 2, *settings_of("again"), FSDP, "trainer.epochs=1", config=CONFIG)
    monkeypatch.setattr(OwnWayTrainer, "again", OwnWayTrainer.number)
    assert_refused(start(tmp_path, 2, "-r", str(run), *settings_of("again"), FSDP))
    assert max(steps_saved(run)) == 6
