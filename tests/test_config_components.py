"""Component names and arguments, checked against the real registries and the libraries behind them."""

import time

import pytest

import data_loader  # noqa: F401  (registers its components)
import model  # noqa: F401
import trainer  # noqa: F401
from base import LOSSES, MODELS, REGISTRIES
from config.command_line import KINDS
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


def test_the_command_line_knows_the_kinds():
    assert list(KINDS) == list(REGISTRIES)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("dataset={type: FakeData, args: {size: 10, image_size: [3, 8, 8]}}",),
        ("dataset={type: EMNIST, args: {root: ., split: letters}}",),
        ("dataset={type: EMNIST, args: {root: .}, split_args: {train: {split: letters}, test: {split: letters}}}",),
        ("dataset={type: EMNIST, args: {root: ., split: letters}, split_args: {valid: {train: false}}}",),
        ("dataset={type: STL10, args: {root: .}, split_args: {train: {split: train+unlabeled}}}",),
        ("dataset={type: VOCSegmentation, args: {root: .}, split_args: {test: {image_set: val}}}",),
        ("dataset.batch_transforms.train=[{type: RandomAffine, args: {degrees: [-5, 5]}}]",),
        ("dataset.transforms.train=[{type: ToDtype, args: {dtype: float32, scale: true}}]",),
        ("dataset.transforms.eval=[{type: Resize, args: {size: [8, 8], interpolation: bilinear}}]",),
        ("model={type: resnet18, args: {weights: DEFAULT}}",),
        ("model.args.weights=IMAGENET1K_V1",),
        ("loss={type: cross_entropy, args: {weight: [1, 2]}}",),
        ("loss={type: focal_loss, args: {gamma: 1, weight: [1, 2]}}",),
        ("loss={type: BCEWithLogitsLoss, args: {pos_weight: [2]}}",),
        ("optimizer={type: SGD, args: {lr: 1, momentum: 0.9, nesterov: true}}",),
        ("optimizer.param_groups=[{params: 'fc.*', args: {lr: 0.1}}]",),
        ("lr_scheduler={type: CosineAnnealingLR}",),
        ("lr_scheduler={type: LambdaLR, args: {lr_lambda: linear_decay}}",),
        ("lr_scheduler=[{type: LinearLR, milestone: 1}, {type: ExponentialLR, args: {gamma: 0.9}}]",),
        ("trainer.monitor=min val_loss", "lr_scheduler={type: ReduceLROnPlateau, args: {patience: 3}}"),
    ],
    ids=" ".join,
)
def test_what_is_right_is_let_through(tmp_path, overrides):
    assert check(tmp_path, *overrides) == []


def num_names(kind):
    return len(REGISTRIES[kind].names())


WRONG = {
    "model=resnet81": "model.type: found 'resnet81' (text); no model has this name; `--list model` shows all "
    "{model}; did you mean 'resnet18'?",
    "model=lenet": "model.type: found 'lenet' (text); no model has this name; `--list model` shows all {model}; "
    "did you mean 'LeNet'?",
    "dataset=Digit": "dataset.type: found 'Digit' (text); no dataset has this name; `--list dataset` shows all "
    "{dataset}; did you mean 'Digits'?",
    "metrics=[acuracy]": "metrics.0.type: found 'acuracy' (text); no metric has this name; `--list metric` shows all "
    "{metric}; did you mean 'accuracy'?",
    "optimizer=Adamw": "optimizer.type: found 'Adamw' (text); no optimizer has this name; `--list optimizer` "
    "shows all {optimizer}; did you mean 'AdamW'?",
    "dataset.transforms.train=[RandomFlip]": "dataset.transforms.train.0.type: found 'RandomFlip' (text); "
    "no transform has this name; `--list transform` shows all {transform}; did you mean",
    "dataset.batch_transforms.eval=[Normalise]": "dataset.batch_transforms.eval.0.type: found 'Normalise' (text); "
    "no batch transform has this name; `--list batch_transform` shows all {batch_transform}; did you mean 'Normalize'?",
    "trainer.type=Trianer": "trainer.type: found 'Trianer' (text); no trainer has this name; "
    "expected one of: {own_trainers}; did you mean 'Trainer'?",
    "trainer.loggers=[Tensorbord]": "trainer.loggers.0.type: found 'Tensorbord' (text); no logger has this name; "
    "expected one of: {own_loggers}; did you mean 'TensorBoard'?",
    "model.args.num_clases=3": "model.args.num_clases: unknown argument of resnet18; it takes: weights, progress,",
    "optimizer.args.learning_rate=3": "optimizer.args.learning_rate: unknown argument of AdamW; it takes: lr, betas, "
    "eps, weight_decay,",
    "metrics.1.args.averge=macro": "metrics.1.args.averge: unknown argument of MulticlassF1Score; it takes: "
    "num_classes, top_k, average,",
    "metrics.0.args.k=3": "metrics.0.args.k: unknown argument of accuracy; it takes: threshold",
    "optimizer.args.lr=fast": "optimizer.args.lr: found 'fast' (text); expected a number or a list of numbers",
    "optimizer.args.betas=[0.9]": "optimizer.args.betas: found [...] (a list); expected a list [",
    "optimizer.args.amsgrad=1": "optimizer.args.amsgrad: found 1 (a whole number); expected true or false",
    "loss.args.label_smoothing=true": "loss.args.label_smoothing: found true; expected a number",
    "loss.args.weight=balanced": "loss.args.weight: found 'balanced' (text); "
    "expected a number or a list of numbers or null",
    "model.args.num_classes=ten": "model.args.num_classes: found 'ten' (text); expected a whole number",
    "model.args.norm_layer=BatchNorm2d": "model.args.norm_layer: found 'BatchNorm2d' (text); expected Callable "
    "(which a config cannot hold: leave it out) or null",
    "metrics.1.args.average=mean": "metrics.1.args.average: found 'mean' (text); "
    "expected 'micro' or 'macro' or 'weighted' or 'none' or null",
    "model.args.weights=IMAGENET": "model.args.weights: found 'IMAGENET' (text); "
    "expected one of IMAGENET1K_V1, DEFAULT or null",
    "metrics=[MulticlassF1Score]": "metrics.0.args.num_classes: missing; MulticlassF1Score needs it: "
    "expected a whole number",
    "lr_scheduler=StepLR": "lr_scheduler.args.step_size: missing; StepLR needs it: expected a whole number",
    "dataset.batch_transforms.train=[RandomAffine]": "dataset.batch_transforms.train.0.args.degrees: missing; "
    "RandomAffine needs it: expected a",
    "dataset={type: EMNIST, args: {root: .}}": "dataset.args.split: missing; EMNIST needs it: expected",
    "dataset={type: EMNIST, args: {root: ., split: letters, train: true}}": "dataset.args.train: found true; "
    "the program passes this argument to EMNIST itself: leave it out",
    "dataset={type: STL10, args: {root: ., split: test}}": "dataset.args.split: found 'test' (text); "
    "the program passes this argument to STL10 itself: leave it out",
    "dataset={type: STL10, args: {root: .}, split_args: {test: {transform: 1}}}": "dataset.split_args.test.transform: "
    "found 1 (a whole number); the program passes this argument",
    "optimizer.args.params=[1]": "optimizer.args.params: found [...] (a list); "
    "the program passes this argument to AdamW itself: leave it out",
    "lr_scheduler.args.optimizer=x": "lr_scheduler.args.optimizer: found 'x' (text); "
    "the program passes this argument to OneCycleLR itself: leave it out",
    "loss={type: cross_entropy, args: {input: 3}}": "loss.args.input: found 3 (a whole number); "
    "the program passes this argument to cross_entropy itself: leave it out",
    "optimizer.param_groups=[{params: 'fc.*', args: {lrr: 1}}]": "optimizer.param_groups.0.args.lrr: "
    "unknown argument of AdamW; it takes: lr,",
    "optimizer.param_groups=[{params: 'fc.*', args: {lr: x}}]": "optimizer.param_groups.0.args.lr: found 'x' (text); "
    "expected a number or a list of numbers",
    "dataset={type: FakeData, split_args: {test: {sise: 3}}}": "dataset.split_args.test.sise: "
    "unknown argument of FakeData; it takes: size,",
    "lr_scheduler={type: LambdaLR, args: {lr_lambda: linear_decy}}": "lr_scheduler.args.lr_lambda: found 'linear_decy' "
    "(text); no lr lambda has this name; expected one of: constant_factor, inverse_square_root, linear_decay; "
    "did you mean 'linear_decay'?",
    "lr_scheduler={type: LambdaLR, args: {lr_lambda: [linear_decay, x]}}": "lr_scheduler.args.lr_lambda.1: found 'x' "
    "(text); no lr lambda has this name;",
    "lr_scheduler={type: LambdaLR, args: {lr_lambda: 0.5}}": "lr_scheduler.args.lr_lambda: found 0.5 (a number); "
    "expected a registered function: its name, or {{type: NAME, args: {{...}}}}",
    "lr_scheduler={type: LambdaLR, args: {lr_lambda: {type: linear_decay, args: {x: 1}}}}":
    "lr_scheduler.args.lr_lambda.args.x: unknown argument of linear_decay",
    "lr_scheduler=LambdaLR": "lr_scheduler.args.lr_lambda: missing; LambdaLR needs it",
    "dataset.batch_transforms.train=[{type: RandomPerspective, args: {distortion_scale: 2.0}}]":
    "dataset.batch_transforms.train.0.args: batch_transform RandomPerspective: 'distortion_scale' must be",
    "dataset.batch_transforms.train=[{type: RandomChannelDropout, args: {fill_value: 2.0}}]":
    "dataset.batch_transforms.train.0.args: batch_transform RandomChannelDropout: Invalid value in `fill_value`",
}  # fmt: skip


@pytest.mark.parametrize("override", WRONG)
def test_wrong_components_and_arguments(tmp_path, override):
    (line,) = check(tmp_path, override)
    # Other tests register trainers and loggers of their own.
    own = {f"own_{kind}s": ", ".join(REGISTRIES[kind].names()) for kind in ("trainer", "logger")}
    expected = WRONG[override].format(**{kind: num_names(kind) for kind in KINDS}, **own)
    assert line.startswith(f"{override}: {expected}")


def test_a_misspelt_argument_names_the_nearest(tmp_path):
    (line,) = check(tmp_path, "model.args.num_clases=3")
    assert line.endswith("; did you mean 'num_classes'?")


def test_file_and_line_of_an_argument_and_of_the_component_that_lacks_one(tmp_path):
    text = GOOD.replace("num_classes: 10, average", "averge").replace("lr: 1e-3", "lr: fast")
    told = check(tmp_path, text=text)
    assert [line[: line.index(" ", 12)] for line in told] == [
        "x.yaml:6: metrics.1.args.averge:",
        "x.yaml:6: metrics.1.args.num_classes:",
        "x.yaml:7: optimizer.args.lr:",
    ]


def test_values_that_the_component_itself_refuses_are_told_before_the_run(tmp_path):
    (line,) = check(tmp_path, "optimizer.args.lr=-1")
    assert line == "x.yaml:7: optimizer.args: optimizer AdamW: Invalid learning rate: -1"


def test_a_dotted_name_is_never_looked_up(tmp_path):
    for name in ("torch.nn.Linear", "os.system", "resnet18.__init__", "__import__('os')", "a/b"):
        (line,) = check(tmp_path, f'model="{name}"')
        assert "expected the plain name of a component" in line


def test_schema_and_component_problems_are_told_together(tmp_path):
    text = GOOD.replace("epochs: 2", "epohcs: 2").replace("resnet18", "resnet81").replace("betas", "beta")
    told = check(tmp_path, "metrics.1.args.average=x", "seed=y", text=text)
    assert [line.split(": ")[:2] for line in told] == [
        ["x.yaml:2", "model.type"],
        ["x.yaml:7", "optimizer.args.beta"],
        ["x.yaml:9", "trainer.epohcs"],
        ["metrics.1.args.average=x", "metrics.1.args.average"],
        ["seed=y", "seed"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1",
        "model: [3]",
        "model: {type: [3]}",
        "model: {type: LeNet, args: 3}",
        "lr_scheduler: [[[3]]]",
        "lr_scheduler: {type: LambdaLR, args: {lr_lambda: {type: {}}}}",
        "dataset: {split_args: 3}",
        "dataset: {transforms: [1]}",
        "optimizer: {type: SGD, param_groups: {a: 3}}",
        "metrics: {a: 1}",
        "trainer: [1]",
        "trainer: {type: {a: 1}, loggers: 3}",
    ],
)
def test_the_component_check_survives_every_shape(tmp_path, text):
    assert check(tmp_path, text=text)


def test_a_new_component_is_checked_against_its_own_signature(tmp_path):
    @MODELS.register
    class TwoLayers:
        """Registered for this test only."""

        def __init__(self, width: int, activation: str = "relu", **kwargs):
            self.width = width

    @LOSSES.register
    def scaled_loss(input, target, scale: float):
        return scale

    try:
        assert check(tmp_path, "model={type: TwoLayers, args: {width: 3}}") == []
        assert check(tmp_path, "loss={type: scaled_loss, args: {scale: 2}}") == []
        (line,) = check(tmp_path, "model={type: TwoLayers, args: {width: 3, activaton: x}}")
        assert line.endswith("unknown argument of TwoLayers; it takes: width, activation; did you mean 'activation'?")
        (line,) = check(tmp_path, "loss=scaled_loss")
        assert line == "loss=scaled_loss: loss.args.scale: missing; scaled_loss needs it: expected a number"
    finally:
        del MODELS._own["TwoLayers"], LOSSES._own["scaled_loss"]


def test_thousands_of_unknown_components_are_refused_soon(tmp_path):
    check(tmp_path)  # loads the libraries
    start = time.process_time()
    text = GOOD.replace("  - accuracy\n", "".join(f"  - acuracy{number}\n" for number in range(3_000)))
    assert check(tmp_path, text=text)[-1] == "... and 1 more"
    assert time.process_time() - start < 3
