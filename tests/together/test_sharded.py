"""What goes with weights that are divided among processes, and what is refused before the first step."""

import pytest
import torch

from base import TRAINERS
from tests.ranks import train_together
from tests.running import recorded, state_of
from tests.together.test_steps import BodyAndHead  # noqa: F401, a model that the tests name
from tests.together.test_training import CONFIG, FSDP, NORMS, assert_close, start
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


def settings_of(way):
    return ("model=BodyAndHead", f"trainer={{type: OwnWayTrainer, args: {{way: {way}}}, epochs: 2}}")


def test_a_model_that_is_called_twice_is_as_in_one_process(tmp_path):
    one = train_together(tmp_path / "one", 1, *settings_of("again"), config=CONFIG)
    assert_close(train_together(tmp_path, 4, *settings_of("again"), FSDP, config=CONFIG), one)


@pytest.mark.parametrize("way", ["part", "weights", "number"])
def test_a_part_of_the_model_by_itself_is_refused(tmp_path, way):
    """torch ends with an error of its own, and a number that is read off a weight would be that of one process."""
    ranks = start(tmp_path, 2, *settings_of(way), FSDP)
    assert 2 in (codes := ranks.wait()) and 0 not in codes, codes
    assert ranks.output().count("weights are gathered while the model is called as a whole") == 1, ranks.output()
    assert "Traceback" not in ranks.output() and not list(tmp_path.glob("saved/tiny/2*"))
