"""Component names and arguments, checked against the real registries and the libraries behind them."""

import time

import data_loader  # noqa: F401  (registers its components)
import model  # noqa: F401
import trainer  # noqa: F401
from base import LOSSES, MODELS, REGISTRIES
from config.load import check_config, read_config
from config.problems import ConfigError

GOOD = """\
dataset: Digits
model: {type: resnet18, args: {num_classes: 10}}
loss: {type: CrossEntropyLoss, args: {label_smoothing: 0.1}}
metrics:
  - accuracy
  - {type: MulticlassF1Score, args: {num_classes: 10, average: macro}}
optimizer: {type: AdamW, args: {lr: 1e-3, betas: [0.9, 0.99]}}
lr_scheduler: {type: OneCycleLR, args: {max_lr: 1e-2}, interval: step}
trainer: {epochs: 2}
"""


def check(tmp_path, *overrides, text=GOOD):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    try:
        check_config(read_config([str(path)], overrides), lambda: REGISTRIES)
    except ConfigError as error:
        return str(error).replace(f"{tmp_path}/", "").splitlines()
    return []


def test_a_new_component_is_checked_against_its_own_signature(tmp_path):
    @MODELS.register
    class TwoLayers:
        """Registered for this test only."""

        def __init__(self, width: int, activation: str = "relu"):
            self.width = width

    @MODELS.register
    class TakesMore:
        def __init__(self, width: int, **more):
            self.width = width

    @LOSSES.register
    def scaled_loss(input, target, scale: float):
        return scale

    try:
        assert check(tmp_path, "model={type: TwoLayers, args: {width: 3}}") == []
        assert check(tmp_path, "loss={type: scaled_loss, args: {scale: 2}}") == []
        (line,) = check(tmp_path, "model={type: TwoLayers, args: {width: 3, activaton: x}}")
        assert line.endswith("unknown argument of TwoLayers; it takes: width, activation; did you mean 'activation'?")
        assert check(tmp_path, "model={type: TakesMore, args: {width: 3, activaton: x}}") == []
        (line,) = check(tmp_path, "loss=scaled_loss")
        assert line == "loss=scaled_loss: loss.args.scale: missing; scaled_loss needs it: expected a number"
    finally:
        del MODELS._own["TwoLayers"], MODELS._own["TakesMore"], LOSSES._own["scaled_loss"]


def test_thousands_of_unknown_components_are_refused_soon(tmp_path):
    check(tmp_path)  # loads the libraries
    start = time.process_time()
    text = GOOD.replace("  - accuracy\n", "".join(f"  - acuracy{number}\n" for number in range(3_000)))
    assert check(tmp_path, text=text)[-1] == "... and 1 more"
    assert time.process_time() - start < 3
