"""AirbenchNet, what it takes from the data before its first step, and config/cifar10_fast.yaml at a tiny size."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from base import MODELS
from experiment import build_trainer
from model.airbench import AirbenchNet
from tests.make_data import write_cifar
from tests.running import assert_same_state, evaluate, read, resume, rows, state_of, train

CONFIG = (Path(__file__).resolve().parent.parent / "config" / "cifar10_fast.yaml").read_text(encoding="utf-8")
SMALL = ("device=cpu", "model.args.widths=[4, 8, 8]", "data_loader.batch_size=16", "trainer.tensorboard=false")
NOTICED: list[torch.Tensor] = []  # what each call of Noticing.start_from_data was given


@MODELS.register
class Noticing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def start_from_data(self, inputs):
        NOTICED.append(inputs.clone())
        nn.init.constant_(self.layer.bias, 7)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Overrides for 100 + 20 pictures in CIFAR-10's format."""
    write_cifar(tmp_path, monkeypatch)
    return (*SMALL, f"dataset.args.root={tmp_path}")


def test_the_first_layer_whitens_the_patches_of_the_training_pictures(tmp_path, small):
    trainer = build_trainer(read(tmp_path, *small, config=CONFIG))
    inputs, _ = trainer.forward_pass.prepare(trainer.train_loader.example(100).data, training=False)
    layer = trainer.model.whitening
    assert not layer.weight.requires_grad and layer.bias.requires_grad and not layer.bias.any()
    with torch.no_grad():
        outputs = layer.double()(inputs.args[0].double()).transpose(0, 1).flatten(1)  # (24, patches)
    directions, negatives = outputs.chunk(2)
    assert_close(directions, -negatives)
    moments = directions @ directions.T / directions.shape[1]
    assert_close(moments, torch.eye(12, dtype=torch.float64), atol=0.02, rtol=0)
    assert (moments.diagonal() < 1).all()  # eigenvalue / (eigenvalue + eps)


def test_pictures_of_one_colour_are_whitened_to_finite_weights():
    network = AirbenchNet()
    network.start_from_data(torch.ones(4, 3, 32, 32))
    assert network.whitening.weight.isfinite().all()


def test_convolutions_begin_as_the_identity_on_their_first_channels():
    network = MODELS.build("AirbenchNet", {"widths": (30, 30, 20)})
    features = torch.rand(2, 24, 6, 6)
    first = network.groups[1][0](features)
    assert first.shape[1] == 30 and torch.equal(first[:, :24], features) and not torch.equal(first[:, 24:30], features)
    assert torch.equal(network.groups[1][4](first), first)
    assert torch.equal(network.groups[3][0](first), first[:, :20])


def test_only_the_biases_of_norms_are_trained():
    network = MODELS.build("AirbenchNet", {})
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert all(norm.bias.requires_grad and not norm.weight.requires_grad for norm in norms)


@pytest.mark.parametrize("views", [1, 2, 6])
def test_scores_are_a_mean_over_views_in_evaluation_only(views):
    args = {"widths": (4, 8, 8)}
    network = MODELS.build("AirbenchNet", {**args, "test_time_views": views})
    plain = MODELS.build("AirbenchNet", {**args, "test_time_views": 1})
    plain.load_state_dict(network.state_dict())
    pictures = torch.rand(3, 3, 32, 32)
    assert_close(network(pictures), plain(pictures))
    network.eval(), plain.eval()
    padded = nn.functional.pad(pictures, (1, 1, 1, 1), mode="reflect")
    shifted = (padded[:, :, :32, :32], padded[:, :, 2:, 2:])
    seen = {1: [pictures], 2: [pictures, pictures.flip(3)]}
    seen[6] = 2 * seen[2] + [view for picture in shifted for view in (picture, picture.flip(3))]
    assert_close(network(pictures), torch.stack([plain(view) for view in seen[views]]).mean(dim=0))


def test_the_experiment_trains_resumes_to_the_same_bits_and_is_evaluated(tmp_path, small):
    short = (*small, "--epochs", "2", "trainer.save_every=1 epoch")
    run = train(tmp_path, *short, config=CONFIG)
    end = state_of(run)
    assert [row["epoch"] for row in rows(run)] == [1, 2] and end["step"] == 12
    first, last = (state_of(run, step)["model"] for step in (6, 12))
    assert torch.equal(first["whitening.weight"], last["whitening.weight"])
    assert not torch.equal(first["groups.1.2.bias"], last["groups.1.2.bias"])
    resume(run / "checkpoints/step-000000006.pt")
    assert_same_state(state_of(run), end)
    assert evaluate(run)["num_samples"] == 20


def test_the_rates_are_those_of_the_recipe(tmp_path, small):
    """Whose loss is a sum over the batch: its step times the batch size is ours."""
    groups = build_trainer(read(tmp_path, *small, config=CONFIG)).optimizer.param_groups
    scale = 1024 * (1 + 1 / (1 - 0.85))
    for group, rate in zip(groups, (10 / scale, 64 * 10 / scale), strict=True):
        assert group["max_lr"] == pytest.approx(1024 * rate)
        assert group["max_lr"] * group["weight_decay"] == pytest.approx(0.0153 * 1024 / scale)
        assert group["lr"] == pytest.approx(group["max_lr"] / 5)
    assert [len(group["params"]) for group in groups] == [8, 6]


def test_only_a_new_run_starts_from_data(tmp_path):
    NOTICED.clear()
    run = train(tmp_path, "model=Noticing", "--epochs", "1")
    (inputs,) = NOTICED
    dataset = build_trainer(read(tmp_path)).train_loader.dataset
    assert torch.equal(inputs, dataset.__getitems__(torch.arange(40))[0])
    assert (state_of(run)["model"]["layer.bias"] > 6).all()
    resume(run, "--epochs", "2")
    evaluate(run)
    assert len(NOTICED) == 1


@MODELS.register
class Forgetful(nn.Module):
    """Takes the mean of the data as a buffer that is saved, one that is not, or a new one; or as a plain number."""

    def __init__(self, keeps: str):
        super().__init__()
        self.keeps = keeps
        self.layer = nn.Linear(8, 3)
        self.mean = 0.0
        if keeps in ("saved", "not saved"):
            del self.mean
            self.register_buffer("mean", torch.zeros(8), persistent=keeps == "saved")

    def start_from_data(self, inputs):
        if self.keeps == "new":
            self.register_buffer("scale", inputs.std(dim=0))
        else:
            self.mean = float(inputs.mean()) + 1 if self.keeps == "number" else inputs.mean(dim=0)
        self.layer.weight.copy_(torch.ones(3, 8))

    def forward(self, inputs):
        return self.layer(inputs - self.mean)


def test_what_no_checkpoint_would_hold_of_a_start_is_refused(tmp_path, capsys):
    for keeps in ("not saved", "number", "new"):
        train(tmp_path, f"model={{type: Forgetful, args: {{keeps: {keeps}}}}}", code=2)
        told = "Forgetful.start_from_data sets something that state_dict() does not hold"
        assert told in capsys.readouterr().err
    run = train(tmp_path, "model={type: Forgetful, args: {keeps: saved}}")
    assert evaluate(run, "--split", "valid")["loss"] == pytest.approx(rows(run)[-1]["val_loss"])


def test_weights_of_another_run_lie_over_those_from_the_data(tmp_path):
    """What does not fit there, such as a first layer of another model, comes from the data."""
    torch.save({"layer.weight": torch.full((3, 8), 5.0)}, tmp_path / "half.pt")
    tuned = build_trainer(read(tmp_path, "model=Noticing", f"trainer.init_from={tmp_path / 'half.pt'}")).model
    assert (tuned.layer.weight == 5).all() and (tuned.layer.bias == 7).all()


def test_what_a_model_starts_from_are_some_samples_as_it_gets_them_in_evaluation(tmp_path):
    NOTICED.clear()
    normalize = "{type: Normalize, args: {mean: [0.5], std: [0.25]}}"
    pictures = ("dataset.args.shape=[8, 1, 1]", "dataset.args.size=6000", "dataset.args.dtype=uint8")
    trainer = build_trainer(
        read(tmp_path, "model=Noticing", *pictures, f"dataset.batch_transforms={{train: [], eval: [{normalize}]}}")
    )
    stored = trainer.train_loader.dataset.__getitems__(torch.arange(5000) * 6000 // 5000)[0]
    (inputs,) = NOTICED
    assert_close(inputs, (stored / 255 - 0.5) / 0.25)
