"""A look at the sources never lets a mistake through that the full check would tell, and saves it where it can."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.component_check import component_problems
from config.layers import Document
from config.load import read_config
from config.problems import Origin
from config.provided import FILLED_IN, PROVIDED
from config.quick_look import COMMON, _find, surely_right
from config.source import parameters_of
from script import load_registries
from tests.test_config_components import GOOD, WRONG
from train import main

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "config" / "digits.yaml"
OTHER_MISTAKES = (
    "optimizer.args.lr=-1",
    "optimizer.args.betas=[0.9, 1.5]",
    "optimizer={type: SGD, args: {nesterov: true}}",
    "optimizer={type: LBFGS, args: {lr: 0.1}}",
    "optimizer={type: SGD, args: {lr: 0.1}, no_decay: yes}",
    "optimizer={type: Rprop, args: {etas: [2, 3]}}",
    "loss.args.reduction=none",
    "loss={type: MSELoss, class_weights: balanced}",
    "lr_scheduler={type: LinearLR, args: {start_factor: 0}}",
    "metrics=[BinaryROC]",
    "metrics=[KLDivergence]",
    "metrics=[{type: MulticlassAccuracy, args: {num_classes: 1}}]",
    "dataset={type: MNIST, args: {root: no-such-folder}}",
    "dataset={type: Digits, args: {split: train}}",
    "trainer.args={verbose: true}",
    "trainer.type=BaseTrainer",
    "model=BaseModel",
    "model={type: LeNet, args: {padding: null}}",
)
VALUES = (-1, 0, 0.5, 1, 1.5, 2, 10, True, False, None, "x", "mean", "none", [], [0.5, 0.5], [2, 3], {})


def read(tmp_path, *overrides, text=GOOD):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return read_config([str(path)], overrides)


def tell(*arguments, folder=ROOT):
    """What train.py says in a process of its own, and whether it imported torch."""
    code = "import sys, train\ntrain.main(sys.argv[1:])\nprint('torch' in sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return finished.stderr.splitlines(), finished.stdout.strip() == "True"


@pytest.mark.parametrize("override", [*WRONG, *OTHER_MISTAKES])
def test_what_the_full_check_tells_is_never_sure(tmp_path, override):
    document = read(tmp_path, override)
    if component_problems(document, load_registries()):
        assert not surely_right(document)


@pytest.mark.parametrize("kind", ["loss", "optimizer"])
def test_no_single_value_slips_through(kind):
    """Every component of a library that a look is sure of, with each of its arguments at each of many values."""
    registries = load_registries()
    num_sure = 0
    for name in registries[kind].names():
        function, is_own = _find(name, kind)
        for argument in parameters_of(function) if function and not is_own else ():
            for value in VALUES:
                config = {kind: {"type": name, "args": {argument: value}}}
                document = Document(config, {(): Origin("x")}, [])
                if surely_right(document):
                    num_sure += 1
                    assert component_problems(document, registries) == [], config
    assert num_sure > 15


@pytest.mark.parametrize("name", sorted(COMMON))
def test_what_a_look_knows_is_offered_and_found(name):
    kinds = [kind for kind, registry in load_registries().items() if name in registry]
    assert any(_find(name, kind)[0] is not None for kind in kinds)


def test_every_kind_is_known():
    assert PROVIDED.keys() == load_registries().keys() and FILLED_IN.keys() <= PROVIDED.keys()


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("model.type=LeNett", "model.type: found 'LeNett'"),
        ("optimizer.args.lrr=1", "optimizer.args.lrr: unknown argument"),
        ("optimizer.args.lr=-1", "Invalid learning rate"),
        ("lr_scheduler=StepLR", "lr_scheduler.args.step_size: missing"),
        ("model.args.hidden=wide", "model.args.hidden: found 'wide'"),
        ("dataset.args.split=test", "the program passes this argument"),
    ],
)
def test_a_mistake_in_a_component_is_told_beside_a_misspelt_key(mistake, told, capsys):
    assert main(["-c", str(DIGITS), "trainer.epoch=5", mistake]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert any(told in line for line in lines) and any("trainer.epoch: unknown key" in line for line in lines)


def test_several_mistakes_are_told_together(capsys):
    assert main(["-c", str(DIGITS), "trainer.epoch=5", "model.type=LeNett", "optimizer.args.lrr=1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_model_of_ones_own(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "tests", "benchmarks", "saved", "data", "docs"))
    (project / "model" / "mine.py").write_text(
        "from base import MODELS, BaseModel\n\n\n@MODELS.register\nclass Mine(BaseModel):\n"
        "    def __init__(self, width: int, depth: int = 2):\n        super().__init__()\n"
    )
    start = ("-c", "config/digits.yaml", "trainer.epoch=5")
    lines, has_torch = tell(*start, "model={type: Mine, args: {width: 3}}", folder=project)
    assert len(lines) == 1 and not has_torch
    lines, has_torch = tell(*start, "model={type: Mine, args: {widht: 3}}", folder=project)
    assert len(lines) == 3 and has_torch
    (project / "model" / "odd.py").write_text("from base import MODELS\n\nMODELS.register(dict, name='Odd')\n")
    lines, has_torch = tell(*start, folder=project)
    assert has_torch
