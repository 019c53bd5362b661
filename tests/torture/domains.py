"""A run of each domain to torment: what lies over experiment.CONFIG, and what writes its data.

Each has ten batches an epoch and four batches of validation data, as a torture expects.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy

from tests.make_data import write_csv, write_mnist, write_pictures, write_reviews, write_spoken_digits, write_text


class Experiment(NamedTuple):
    """changes: YAML, in which DATA stands for the folder that `write` fills."""

    changes: str
    write: Callable[[Path], object]

    def prepared(self, folder: Path) -> str:
        """Write the data; returns what lies over the config."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder)
        return self.changes.replace("DATA", str(folder))


def write_nothing(folder: Path) -> None: ...


def write_tables_of_texts(folder: Path) -> None:
    """Tables of texts, and vectors for some of their words."""
    for name, size in (("train", 76), ("valid", 26)):
        write_reviews(folder / f"{name}.tsv", size, header="target\ttext\n")
    numbers = numpy.random.default_rng(0).normal(size=(4, 6))
    words = zip(("good", "bad", "fair", "word"), numbers, strict=True)
    (folder / "vectors.txt").write_text("\n".join(" ".join([word, *map(str, vector)]) for word, vector in words))


def write_folders_of_texts(folder: Path) -> None:
    write_tables_of_texts(folder)
    for part in ("train", "valid"):
        lines = (folder / f"{part}.tsv").read_text().splitlines()[1:]
        for number, line in enumerate(lines):
            name, text = line.split("\t")
            (folder / "folders" / part / name).mkdir(parents=True, exist_ok=True)
            (folder / "folders" / part / name / f"{number:02d}.txt").write_text(text)


def write_plays(folder: Path) -> None:
    """76 windows of 16 tokens, one at every fifth; 25 one after the other, of which the last has 5 to predict."""
    write_text(folder / "train.txt", num_characters=392)
    write_text(folder / "valid.txt", num_characters=390)


def write_sounds(folder: Path) -> None:
    for part, num_each in (("train", 8), ("valid", 3)):
        write_spoken_digits(folder / part, num_each)


def write_table(folder: Path) -> None:
    """Numbers of which some are missing, categories, and a class that follows from both."""
    generator = numpy.random.default_rng(0)
    height, colours = generator.normal(size=136), generator.integers(3, size=136)
    classes = (height > 0).astype(int) + (colours == 0)
    heights = ["" if number % 9 == 0 else value for number, value in enumerate(height)]
    weights = generator.normal(100, 20, size=136)
    names = numpy.array(["red", "green", "blue"])[colours]
    write_csv(folder / "table.csv", {"height": heights, "weight": weights, "colour": names, "class": classes})


def write_folders_of_pictures(folder: Path) -> None:
    for part, num_each in (("train", 25), ("valid", 9)):
        write_pictures(folder / part, num_each=num_each, size=(8, 8))


SOUNDS = """\
dataset:
  type: SoundFolder
  args: {root: DATA, label: '^(\\d)_', seconds: 0.2, in_memory: IN_MEMORY}
  batch_transforms:
    train:
      - {type: LogMel, args: {window: 128, hop: 64, num_mels: 16}}
      - {type: SpecAugment, args: {bands: 1, widest_band: 4, stretches: 2, longest_stretch: 4}}
      - {type: Normalize, args: {mean: [-40.0], std: [20.0]}}
    eval:
      - {type: LogMel, args: {window: 128, hop: 64, num_mels: 16}}
      - {type: Normalize, args: {mean: [-40.0], std: [20.0]}}
model: {type: SoundCNN, args: {channels: [4, 4]}}
"""

EXPERIMENTS = {
    "pictures": Experiment("", write_nothing),
    "cached-pictures": Experiment(
        """\
dataset: {type: ImageFolder, args: {root: DATA, cache: disk}, transforms: {train: [RandomHorizontalFlip]}}
model: {type: LeNet, args: {in_channels: 3}}
""",
        write_folders_of_pictures,
    ),
    "text": Experiment(
        """\
dataset:
  type: TextCSV
  args: {train_path: DATA/train.tsv, valid_path: DATA/valid.tsv, vectors: DATA/vectors.txt, max_length: 24}
data_loader: {order: {type: bucketed, args: {batches_a_bucket: 3}}}
model: {type: TextRNN, args: {cell: LSTM, width: 6, hidden: 5, num_layers: 2, pooling: last, token_dropout: 0.1}}
""",
        write_tables_of_texts,
    ),
    "text-folder": Experiment(
        """\
dataset: {type: TextFolder, args: {root: DATA/folders, tokens: characters, max_length: 60}}
data_loader: {order: bucketed}
model: {type: TextTransformer, args: {width: 8, num_heads: 2, hidden: 8, token_dropout: 0.1}}
""",
        write_folders_of_texts,
    ),
    "gpt": Experiment(
        """\
dataset: {type: TextWindows, args: {path: DATA/train.txt, valid_path: DATA/valid.txt, context_length: 16, stride: 5}}
model: {type: GPT, args: {layers: 2, heads: 2, width: 8, dropout: 0.2}}
loss: CrossEntropyLoss
metrics: [watched, {type: log_loss, name: bits_per_token, args: {in_bits: true}}]
""",
        write_plays,
    ),
    "lstm": Experiment(
        """\
dataset:
  type: TextWindows
  args: {path: DATA/train.txt, valid_path: DATA/valid.txt, context_length: 16, stride: 5, tokens: bytes}
model: {type: LanguageLSTM, args: {width: 6, layers: 2, dropout: 0.2, tied: true}}
loss: CrossEntropyLoss
""",
        write_plays,
    ),
    "sound": Experiment(SOUNDS.replace("IN_MEMORY", "true"), write_sounds),
    "sound-files": Experiment(SOUNDS.replace("IN_MEMORY", "false"), write_sounds),
    "segmentation": Experiment(
        """\
dataset: {type: Shapes, args: {size: 101, side: 8}}
data_loader: {validation_split: 25}
model: {type: UNet, args: {widths: [4, 4]}}
metrics: [watched, accuracy, {type: MulticlassJaccardIndex, name: mean_iou}]
""",
        write_nothing,
    ),
    "vae": Experiment(
        """\
dataset: {type: MNIST, args: {root: DATA}}
data_loader: {validation_split: 25}
model: {type: VAE, args: {hidden: 8, latent: 3}}
loss: vae_loss
metrics: [watched, pixel_error]
""",
        lambda folder: write_mnist(folder, num_train=101, num_test=10),
    ),
    "gan": Experiment(
        """\
dataset: {type: MNIST, args: {root: DATA}}
data_loader: {validation_split: 25}
model: {type: DCGAN, args: {width: 4, latent: 4}}
loss: adversarial_loss
metrics: [watched, energy_score]
optimizer:
  generator: {type: Adam, params: "generator.*"}
  discriminator: {type: AdamW, args: {lr: 1e-3}, params: "discriminator.*"}
lr_scheduler:
  generator: {type: OneCycleLR, args: {max_lr: 1e-3}, interval: step}
trainer: {type: AdversarialTrainer}
""",
        lambda folder: write_mnist(folder, num_train=101, num_test=10),
    ),
    "simclr": Experiment(
        """\
dataset:
  type: TortureData
  args: {size: 76}
  batch_transforms:
    train: [TwoViews, {type: RandomCrop, args: {size: 8, padding: 2}}]
    eval: [TwoViews, {type: RandomCrop, args: {size: 8, padding: 2}}]
model: {type: SimCLR, args: {in_channels: 1, width: 4, projection: 6}}
loss: nt_xent_loss
metrics: [watched, finds_other_view]
""",
        write_nothing,
    ),
    "table": Experiment(
        """\
dataset: {type: TabularCSV, args: {path: DATA/table.csv, target: class, task: multiclass, valid_fraction: 25}}
data_loader: {order: balanced, validation_split: null, fold: {index: 1, of: 4}}
model: {type: TableNet, args: {hidden: [8], embedding: 2, dropout: 0.2}}
loss: {type: CrossEntropyLoss, class_weights: balanced}
""",
        write_table,
    ),
    "linear": Experiment(
        """\
dataset: {type: LinearData, args: {size: 101}}
data_loader: {validation_split: 25, order: sequential}
model: LinearRegression
loss: MSELoss
metrics: [watched, mean_absolute_error]
""",
        write_nothing,
    ),
}
