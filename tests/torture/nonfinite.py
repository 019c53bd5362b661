"""nan and infinity in the loss, in a gradient and in a metric."""

import itertools
import math
import random
import re
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tests.torture import experiment
from tests.torture.harness import Run, Tally, digest, run_folder, start
from tests.torture.stop import EVERY_EPOCH
from utils.checkpoint import read_checkpoint

FLOATS = "dataset.args.is_float=true"
NO_CROP = "dataset.batch_transforms.train=[]"  # so that the mark of a sample arrives at the model
MARK = 1000.0
VALUES = (math.nan, math.inf)


def nan(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: samples to spoil, one a run, in the loss and in the gradient, with nan and infinity."""
    tally, choose = Tally(), random.Random(seed)
    untouched = start(folder / "untouched", FLOATS, NO_CROP, "trainer.keep_last=99")
    assert untouched.wait() == 0, untouched.output()
    indices = choose.sample(range(76), min(count, 76))
    places = {"loss": spoil_sample, "gradient": spoil_gradient}
    for index, value, (what, spoil) in itertools.product(indices, VALUES, places.items()):
        run = start(folder / f"{what}-{value}-{index}", FLOATS, NO_CROP, prepare=partial(spoil, index, value))
        check_stopped(tally, run, untouched, index, f"{value} in the {what} by sample {index}")
    for value, mode in itertools.product((*VALUES, -math.inf), ("min", "max")):
        check_metric(tally, folder / f"metric-{mode}-{value}", mode, value)
    return tally


def spoil_sample(index: int, value: float) -> None:
    experiment.here.on_read = lambda split, i, picture: (
        torch.full_like(picture, value) if (split, i) == ("train", index) else picture
    )


def spoil_gradient(index: int, value: float) -> None:
    """The loss stays as it is: the root of nothing has an infinite slope, and zero times that is nan."""
    spoil_sample(index, MARK)

    def on_output(pictures: Tensor, output: Tensor) -> Tensor:
        is_marked = (pictures.amax(dim=(1, 2, 3)) >= MARK).unsqueeze(1)
        nothing = output - output.detach()
        return torch.where(is_marked, output + (nothing * (value if value == value else 0)).abs().sqrt(), output)

    experiment.here.on_output = on_output


def check_stopped(tally: Tally, run: Run, untouched: Run, index: int, what: str) -> None:
    """Exit code 1, the cause, the step and the sample named, and the last checkpoint that of the step before."""
    run.wait()
    output = run.output()
    said = "the loss is (?:nan|-?inf)" + ("" if " in the loss " in what else "|a gradient is nan or infinite")
    found = re.search(rf"(?:{said}) at step (\d+);.*Samples: (.*)\. Look", output)
    is_right = run.code == 1 and found is not None
    if not tally.check(is_right, f"{what}: {run.code} {output[-400:]}", what.split(" by ")[0]):
        return
    tally.check(f"train/{index:03d}.png" in found[2] or "more" in found[2], f"{what}: named are {found[2]}")
    step = int(found[1])
    if step == 1:
        return
    newest = max((run_folder(run.folder) / "checkpoints").glob("step-*.pt"))
    if not tally.check(newest.stem == f"step-{step - 1:09d}", f"{what}: {newest.name} is the newest after step {step}"):
        return
    expected = run_folder(untouched.folder) / "checkpoints" / newest.name
    weights = {digest(read_checkpoint(path)["model"]) for path in (newest, expected)}
    tally.check(len(weights) == 1, f"{what}: the weights of step {step - 1} differ")


def check_metric(tally: Tally, folder: Path, mode: str, value: float) -> None:
    """A metric that is not finite in the second of three epochs: that one is never the best, and the run goes on."""
    num_evaluations = 0

    def on_metric(values: Tensor) -> Tensor:
        nonlocal num_evaluations
        if not torch.is_inference_mode_enabled():
            return values
        num_evaluations += 1
        is_second = 4 < num_evaluations <= 8  # four batches of validation data
        return values * value if is_second else values * num_evaluations * (1 if mode == "max" else -1)

    overrides = (EVERY_EPOCH, "metrics=[watched]", f"trainer.monitor={mode} val_watched", "data_loader.num_workers=0")
    run = start(folder, *overrides, prepare=lambda: setattr(experiment.here, "on_metric", on_metric))
    run.wait()
    state = read_checkpoint(run_folder(folder) / "checkpoints/best.pt")
    is_right = run.code == 0 and state["step"] == 12 and math.isfinite(state["best"]["value"])
    tally.check(is_right, f"{mode} {value}: {run.code}, best {state['best']}: {run.output()[-300:]}", "metric")
