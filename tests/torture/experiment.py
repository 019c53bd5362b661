"""The run that is tormented: it has everything that could differ after an interruption. domains.py has others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from base import DATASETS, LOGGERS, METRICS, MODELS, TRAINERS, BaseModel
from trainer.trainer import Trainer

# Ten batches an epoch, of which the last has half of the samples; four steps, of which the last has one batch. Four
# batches of validation data.
CONFIG = """\
name: torture
seed: 7
device: cpu
dataset:
  type: TortureData
  args: {size: 76}
  transforms: {train: [RandomHorizontalFlip, {type: RandomCrop, args: {size: 8, padding: 1}}]}
  batch_transforms:
    train: [{type: RandomCrop, args: {size: 8, padding: 2}}, {type: Normalize, args: {mean: [0.5], std: [0.3]}}]
    eval: [{type: Normalize, args: {mean: [0.5], std: [0.3]}}]
data_loader: {batch_size: 8, num_workers: 1, drop_last: false}
model: TortureNet
loss: {type: CrossEntropyLoss, args: {label_smoothing: 0.1}}
metrics: [accuracy, watched]
optimizer: {type: AdamW, args: {weight_decay: 0.01}, no_decay: true}
lr_scheduler: {type: OneCycleLR, args: {max_lr: 1e-2}, interval: step}
trainer: {epochs: 3, monitor: min val_loss, early_stop: 9, log_every: 1, save_every: 1 steps, accumulate_steps: 3,
  clip_grad_norm: 1.0, ema_decay: 0.9, precision: bf16, progress: false, loggers: [Watched]}
"""


# What a torture wants to happen at a place of the run: set in the process of that run before it starts; and before all
# of them, what lies over CONFIG where another experiment is tormented.
here = SimpleNamespace(
    changes="",
    on_step=lambda step: None,  # after this many steps
    on_read=lambda split, index, picture: picture,
    on_output=lambda pictures, output: output,
    on_metric=lambda values: values,
)


def write_configs(folder: Path) -> list[str]:
    """Write the config into a folder, made if need be; returns the options of train.py that name its files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"torture.yaml": CONFIG} | ({"domain.yaml": here.changes} if here.changes else {})
    for name, text in texts.items():
        if not (folder / name).exists():  # another run may be reading it
            (folder / name).write_text(text)
    return [option for name in texts for option in ("-c", name)]


@DATASETS.register
class TortureData(Dataset):
    """Pictures (1, 8, 8) in three classes, one file each on paper; uint8, or floats where `on_read` spoils them."""

    def __init__(self, split: str, size: int, is_float: bool = False):
        self.split, self.size = split, size if split == "train" else size // 3
        generator = torch.Generator().manual_seed(len(split))
        self.targets = torch.randint(3, (self.size,), generator=generator)
        noise = torch.randint(160, (self.size, 1, 8, 8), generator=generator)
        self.pictures = (noise + 40 * self.targets[:, None, None, None]).to(torch.uint8)
        if is_float:
            self.pictures = self.pictures / 255

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return here.on_read(self.split, index, self.pictures[index]), self.targets[index]

    def name_of(self, index: int) -> str:
        return f"{self.split}/{index:03d}.png"


@MODELS.register
class TortureNet(BaseModel):
    """Convolution, batch normalisation, dropout, linear: (N, 1, 8, 8) -> (N, 3)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * width, 3),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        return here.on_output(pictures, self.layers(pictures))


@TRAINERS.register
class GentleTrainer(Trainer):
    """Another trainer, with an argument of its own."""

    def __init__(self, patience: int = 0, **parts: Any):
        super().__init__(**parts)


@METRICS.register
def watched(output: Tensor, target: Tensor) -> Tensor:
    """One value a sample (N,), as `on_metric` wants it."""
    return here.on_metric(torch.ones(len(target)))


@LOGGERS.register
class Watched:
    """Calls `on_step` after every step, before anything else that is due then."""

    def __init__(self, folder: Path): ...

    def log(self, step: int, scores: dict[str, float]) -> None:
        if "loss" in scores:
            here.on_step(step)

    def flush(self) -> None: ...

    def close(self) -> None: ...
