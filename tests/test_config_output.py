"""What is written of a config: config.yaml, --print-config and the README's reference."""

import math
import re

import pytest
import yaml

from config.load import check_config, document_from, read_config
from config.reference import reference
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
optimizer: {type: SGD, args: {lr: 1e-5}, no_decay: true, param_groups: [{params: "head.*", args: {lr: 1.0}}]}
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


def dump(config):
    return write_yaml(config.model_dump())


def annotated(config, document):
    return write_annotated(config.model_dump(), document.origins)


def read_back(text, tmp_path, file="again.yaml"):
    path = tmp_path / file
    path.write_text(text)
    return check_config(read_config([str(path)]))


def test_the_written_config_reads_back_equal(document, tmp_path):
    config = check_config(document)
    assert read_back(dump(config), tmp_path) == config
    assert read_back(annotated(config, document), tmp_path) == config
    assert dump(read_back(dump(config), tmp_path)) == dump(config)


def test_a_checkpoints_config_reads_back_equal(document):
    config = check_config(document)
    assert check_config(document_from(config.model_dump(), "last.pt")) == config


def test_another_yaml_reader_sees_the_same(document):
    """YAML 1.1 readers are everywhere; texts such as `on` are quoted for them."""
    config = check_config(document)
    assert yaml.safe_load(dump(config)) == config.model_dump()


def test_the_config_is_written_whole(document):
    written = check_config(document).model_dump()
    assert list(written) == list(Config.model_fields)
    assert set(written["trainer"]) == set(Config.model_fields["trainer"].annotation.model_fields)


def test_every_value_is_annotated_with_its_origin(document, tmp_path):
    lines = annotated(check_config(document), document).splitlines()
    for line in lines:
        # A key or a dash that opens a block stands alone; whatever holds a value says where it was written.
        assert re.fullmatch(r" *(- )*(-|[\w'\"]+:)|.*\S +# (default|override .+|.+/first\.yaml:\d+)", line), line
    assert [line for line in lines if line.endswith("  # override trainer.log_every=3")]


def test_the_annotation_of_a_short_config(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    document = read_config([str(path)], ["--lr 0.5"])
    text = annotated(check_config(document), document).replace(str(tmp_path), "config")
    shown = [re.sub(" +# ", "  # ", line) for line in text.splitlines()]
    assert {
        *("name: short  # default", "dataset:", "  type: Digits  # config/short.yaml:1", "  transforms:"),
        *("    train: []  # default", "optimizer:", "  type: SGD  # config/short.yaml:4", "  args:"),
        *("    lr: 0.5  # override --lr 0.5", "  epochs: 1  # config/short.yaml:5", "  monitor: 'off'  # default"),
        "  save_every: 1 epoch  # default",
    } <= set(shown)


def test_an_origin_cannot_break_out_of_its_comment(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    document = read_config([str(path)], ["seed=\n 3\n", "name='a\n\n b'"])
    assert document.data["seed"] == 3
    document = read_config([str(path)], ["seed=\n 3\n"])
    text = annotated(check_config(document), document)
    assert "seed: 3" in text and r"# override 'seed=\n 3\n'" in text
    assert read_back(text, tmp_path, "short2.yaml").seed == 3


@pytest.mark.parametrize(
    "value",
    ["on", "off", "yes", "~", "null", "", " ", "1e-3", "1E5", "+1", "0o17", "0x1F", ".inf", ".nan", "1_000", "12:30:45",
     "2024-01-01", "=", "<<", "a: b", "a #b", "#", "- a", "*a", "&a", "!a", "%a", "@a", "'", '"', "\\", "a\nb",
     "\n", "\t", "\x07", "\x85", "\u2028", "\ufeff", "ä", "\U0001f600", "x" * 500, "a b " * 100, "9" * 200,
     "true", "[1]", "{a: b}", "---", "...", "?"],
)  # fmt: skip
def test_every_text_survives(value):
    for data in ({"k": value}, {"k": [value, {"k": value}]}, {"k": {"a": value}}):
        assert read_text(write_yaml(data), "x").data == data
        assert read_text(write_annotated(data, {}), "x").data == data


@pytest.mark.parametrize(
    "value", [0, -1, 10**30, 0.1, 1e-5, 1e300, -2.5e-300, 1 / 3, math.inf, -math.inf, True, False, None, [], {}]
)
def test_every_number_survives(value):
    data = {"k": value, "l": [value], "m": [[value]]}
    for text in (write_yaml(data), write_annotated(data, {})):
        result = read_text(text, "x").data
        assert result == data
        assert type(result["k"]) is type(value)


def test_the_reference_explains_every_key():
    text = reference()
    for name in ("batch_size", "validation_split", "no_decay", "milestone", "skip_mismatched", "split_args"):
        assert f"| `{name}` |" in text
    assert "| `save_every` | 'N epochs', 'N steps' or 'N minutes', N >= 1 | 1 epoch |" in text
    assert "| `monitor` | 'min METRIC', 'max METRIC' (such as 'max val_accuracy') or 'off' | 'off' |" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(re.fullmatch(r"(\| [^|]+ ){2}\| [^|]* \| [^|]+ \|", line.replace("\\|", "/")) for line in rows)
    assert not [line for line in rows if line.split(" | ")[-1].startswith("None")]
