"""What is written of a config: config.yaml, --print-config and the reference in docs/config.md."""

import math
import re

import pytest
import yaml

from base.catalog import reference
from config.load import check_config, document_from, read_config
from config.schema import Config
from config.yaml_reader import read_text
from config.yaml_writer import write_annotated, write_yaml

EVERYTHING = """\
name: everything
seed: 7
device: cpu
dataset:
  type: ImageFolder
  args: {root: "~/my pictures", classes: ["on", "1e-3", "null", "0o17", "2024-01-01", "ä", "a: b", "x #y", "*a", ""]}
  split_args: {train: {part: train}, test: {part: test}}
  transforms: {train: [{type: RandomCrop, args: {size: [8, 8]}}, RandomHorizontalFlip]}
  batch_transforms: {eval: [{type: Normalize, args: {mean: [0.5], std: [1e-5]}}]}
data_loader: {batch_size: 8, num_workers: 2, validation_split: 100, drop_last: false}
model: {type: LeNet, args: {nested: {deep: [[1, 2], [{a: .inf}]]}, text: "two\\nlines\\t\\x07", big: 1e300}}
loss: {type: CrossEntropyLoss, class_weights: [1, 2.5]}
metrics: [accuracy, {type: top_k_accuracy, name: top3, args: {k: 3}}]
optimizer: {type: AdamW, args: {lr: 1e-5}, no_decay: true, param_groups: [{params: "head.*", args: {lr: 1.0}}]}
lr_scheduler: [{type: LinearLR, interval: step, milestone: 10}, {type: CosineAnnealingLR, interval: step}]
trainer:
  max_steps: 100
  max_time: 1.5 hours
  monitor: max val_top3
  early_stop: 3
  save_dir: "1e-3"
  save_every: 10 minutes
  eval_every: 50 steps
  compile: max-autotune
  clip_grad_norm: 1
  ema_decay: 0.999
  init_from: {path: saved/x, skip_mismatched: true}
  freeze: ["*.bn", "on"]
"""
SHORT = """\
dataset: Digits
model: LeNet
loss: CrossEntropyLoss
optimizer: SGD
trainer: {epochs: 1}
"""


@pytest.fixture(params=[EVERYTHING, SHORT], ids=["everything", "short"])
def document(request, tmp_path):
    path = tmp_path / "first.yaml"
    path.write_text(request.param)
    return read_config([str(path)], ["trainer.log_every=3", "--lr 0.5", "metrics=[{type: F1Score, name: top3}]"])


def annotated(document):
    return write_annotated(check_config(document).model_dump(), document.origins)


def read_back(text, tmp_path):
    path = tmp_path / "again.yaml"
    path.write_text(text)
    return check_config(read_config([str(path)]))


def test_the_written_config_is_whole_and_reads_back_equal(document, tmp_path):
    config = check_config(document)
    data = config.model_dump()
    assert list(data) == list(Config.model_fields)
    assert set(data["trainer"]) == set(Config.model_fields["trainer"].annotation.model_fields)
    text = write_yaml(data)
    assert read_back(text, tmp_path) == read_back(annotated(document), tmp_path) == config
    assert write_yaml(read_back(text, tmp_path).model_dump()) == text
    assert yaml.safe_load(text) == data  # YAML 1.1 readers are everywhere; texts such as `on` are quoted for them
    assert check_config(document_from(data, "last.pt")) == config


def test_every_value_is_annotated_with_its_origin(document):
    lines = annotated(document).splitlines()
    for line in lines:
        # A key or a dash that opens a block stands alone; whatever holds a value says where it was written.
        assert re.fullmatch(r" *(- )*(-|[\w'\"]+:)|.*\S +# (default|override .+|.+/first\.yaml:\d+)", line), line
    assert [line for line in lines if line.endswith("  # override trainer.log_every=3")]


def test_the_annotation_of_a_short_config(tmp_path):
    """A line break in an override cannot break out of its comment."""
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    text = annotated(read_config([str(path)], ["--lr 0.5", "seed=\n 3\n"])).replace(str(tmp_path), "config")
    assert {
        *("name: short  # default", r"seed: 3  # override 'seed=\n 3\n'", "dataset:", "  transforms:"),
        *("  type: Digits  # config/short.yaml:1", "    train: []  # default", "optimizer:", "  args:"),
        *("  type: SGD  # config/short.yaml:4", "    lr: 0.5  # override --lr 0.5", "  monitor: 'off'  # default"),
        *("  type: Trainer  # default", "  epochs: 1  # config/short.yaml:5", "  save_every: 1 epoch  # default"),
    } <= {re.sub(" +# ", "  # ", line) for line in text.splitlines()}
    assert read_back(text, tmp_path).seed == 3


@pytest.mark.parametrize(
    "value",
    ["on", "off", "yes", "~", "null", "", " ", "1e-3", "1E5", "+1", "0o17", "0x1F", ".inf", ".nan", "1_000", "12:30:45",
     "2024-01-01", "=", "<<", "a: b", "a #b", "#", "- a", "*a", "&a", "!a", "%a", "@a", "'", '"', "\\", "a\nb",
     "\n", "\t", "\x07", "\x85", "\u2028", "\ufeff", "ä", "\U0001f600", "x" * 500, "a b " * 100, "9" * 200,
     "true", "[1]", "{a: b}", "---", "...", "?",
     0, -1, 10**30, 0.1, 1e-5, 1e300, -2.5e-300, 1 / 3, math.inf, -math.inf, True, False, None, [], {}],
)  # fmt: skip
def test_every_value_survives(value):
    for data in ({"k": value}, {"k": [value, {"k": value}]}, {"k": {"a": value}}, {"k": [[value]]}):
        for text in (write_yaml(data), write_annotated(data, {})):
            assert repr(read_text(text, "x").data) == repr(data)


def test_the_reference_has_four_cells_for_every_key():
    """What they say is checked against docs/config.md, which people read."""
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    for row in rows:
        assert re.fullmatch(r"(\| [^|]+ ){2}\| [^|]* \| (?!None)[^|]+ \|", row.replace("\\|", "/")), row
