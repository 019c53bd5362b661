"""What is peculiar to texts, sounds, pixels and tables, in several processes: as in one, or within what docs say."""

import itertools
import json

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import test as test_script
from base import DATASETS, MODELS, BaseModel
from tests.ranks import Ranks, train_together
from tests.running import recorded, state_of
from tests.together.test_training import FSDP, assert_close
from tests.torture.domains import EXPERIMENTS
from tests.torture.experiment import CONFIG as TORTURE

IGNORED = -100
LINES = """\
name: tiny
device: cpu
dataset: {type: UnevenLines}
data_loader: {batch_size: 8, num_workers: 0, drop_last: false}
model: {type: LanguageLSTM, args: {vocab_size: 7, width: 8, layers: 1}}
loss: CrossEntropyLoss
metrics: [accuracy, {type: log_loss, name: bits, args: {in_bits: true}}]
optimizer: {type: SGD, args: {lr: 0.1, momentum: 0.9}}
trainer: {epochs: 2, tensorboard: false, log_every: 1, loggers: [Recorder]}
"""
# What the ground takes of a picture, which is ignored here, differs from picture to picture.
PIXELS = LINES.replace("{type: UnevenLines}", "{type: Shapes, args: {size: 45, side: 8}}")
PIXELS = PIXELS.replace("{type: LanguageLSTM, args: {vocab_size: 7, width: 8, layers: 1}}", "PixelNet")
PIXELS = PIXELS.replace("loss: CrossEntropyLoss", "loss: {type: CrossEntropyLoss, args: {ignore_index: 0}}")
PIXELS = PIXELS.replace("{type: log_loss, name: bits, args: {in_bits: true}}", "MulticlassJaccardIndex")


@DATASETS.register
class UnevenLines(Dataset):
    """Lines of 1 to 12 numbers, each of which is to be told from those before it; shorter ones are padded."""

    def __init__(self, split: str):
        generator = torch.Generator().manual_seed(len(split))
        self.lengths = torch.randint(1, 13, (45 if split == "train" else 21,), generator=generator).tolist()
        self.lines = [torch.randint(1, 7, (length + 1,), generator=generator) for length in self.lengths]

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        return self.lines[index][:-1], self.lines[index][1:]

    def collate(self, samples):
        inputs, targets = zip(*samples, strict=True)
        padded = nn.utils.rnn.pad_sequence
        return padded(inputs, batch_first=True), padded(targets, batch_first=True, padding_value=IGNORED)


@MODELS.register
class PixelNet(BaseModel):
    """A model without norms, which would go by the share of a process."""

    def __init__(self, num_classes: int, in_channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, num_classes, 3, padding=1)
        )

    def forward(self, pictures):
        return self.layers(pictures)


@pytest.mark.parametrize("config", [LINES, PIXELS], ids=["lines", "pixels"])
def test_each_token_and_pixel_weighs_alike_however_a_step_is_divided(tmp_path, config):
    whole = train_together(tmp_path / "whole", 1, config=config)
    in_four = ("data_loader.batch_size=2", "trainer.accumulate_steps=4")
    in_two = ("data_loader.batch_size=4", "trainer.accumulate_steps=2")
    for num, overrides in ((1, in_four), (2, ()), (2, in_two), (4, ()), (2, (FSDP,)), (2, (FSDP, *in_two))):
        run = train_together(tmp_path / "-".join([str(num), *overrides]), num, *overrides, config=config)
        assert_close(run, whole)
        assert recorded(run, "loss") == pytest.approx(recorded(whole, "loss"), rel=1e-5)


@pytest.mark.parametrize("order", ["bucketed", "{type: bucketed, args: {batches_a_bucket: 2}}"])
def test_batches_of_like_length_are_those_of_one_process(tmp_path, order):
    settings = (f"data_loader.order={order}", "data_loader.num_workers=1")
    one = train_together(tmp_path / "one", 1, *settings, config=LINES)
    assert_close(train_together(tmp_path, 4, *settings, config=LINES), one)


DRY = {  # without random numbers of its own, a step does not depend on the number of processes
    "text": ("model.args.dropout=0", "model.args.token_dropout=0"),
    "text-folder": ("model.args.dropout=0", "model.args.token_dropout=0", "model.args.layer_dropout=0"),
    "gpt": ("model.args.dropout=0",),
    "lstm": ("model.args.dropout=0",),
    "table": ("model.args.dropout=0",),
    "linear": (),
}
SHORT = ("data_loader.num_workers=0", "trainer.save_every=1 epoch", "trainer.epochs=2", "trainer.loggers=[]")


@pytest.fixture
def start(request, tmp_path):
    """Trains an experiment of the torture in several processes; returns the run's folder."""
    domain, folders = tmp_path / "domain.yaml", itertools.count()
    domain.write_text(EXPERIMENTS[request.param].prepared(tmp_path / "data"))

    def start(num, *overrides):
        folder = tmp_path / f"run-{next(folders)}"
        return train_together(folder, num, "-c", str(domain), *SHORT, *overrides, config=TORTURE)

    return start


@pytest.mark.parametrize(("start", "dry"), DRY.items(), indirect=["start"], ids=DRY)
def test_as_one_process(start, dry):
    plain = ("trainer.precision=fp32", "optimizer={type: SGD, args: {lr: 0.1}}", "lr_scheduler=null", *dry)
    one = start(1, *plain)
    for overrides in ((), (FSDP,)):
        assert_close(start(2, *overrides, *plain), one)


# A GAN makes other pictures in each process, and SimCLR is refused in several.
@pytest.mark.parametrize("start", sorted(EXPERIMENTS.keys() - {"pictures", "gan", "simclr"}), indirect=True)
def test_in_low_precision_and_evaluated_by_any_number(start, tmp_path):
    """With all that draws random numbers or goes by the share of a process: two of them keep the same weights."""
    runs = [start(2, *overrides) for overrides in ((), (FSDP,))]
    assert all(state_of(run)["step"] == 8 for run in runs)
    scores = {}
    for num in (1, 3):  # each forked: what reads tables has threads, which the forks of this process would lack
        out = tmp_path / f"results-{num}"
        given = ("-r", str(runs[1]), "--out", str(out), "--split", "valid", "trainer.precision=fp32")
        ranks = Ranks(tmp_path, num, *given, script=test_script.main)
        assert ranks.wait() == [0] * num, ranks.output()
        found = json.loads((out / "metrics.json").read_text())
        scores[num] = {name: value for name, value in found.items() if isinstance(value, float)}
    assert scores[3] == pytest.approx(scores[1], rel=1e-6)
