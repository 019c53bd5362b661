"""What an exported file says of itself: plain data, for whoever has the file alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from base.batch import ModelInputs, is_picture_batch, uint8_to_float
from config.schema import ComponentConfig
from trained import Trained

MOST_FITTED = 1 << 20  # characters
# What a model puts out that is trained with a loss: the task, and what one number means.
OF_LOSSES = {
    **dict.fromkeys(
        ("CrossEntropyLoss", "cross_entropy"),
        ("classification", "a score for each class; their softmax are probabilities, the largest is the prediction"),
    ),
    **dict.fromkeys(
        ("NLLLoss", "nll_loss"),
        ("classification", "the logarithm of each class' probability; the largest is the prediction"),
    ),
    **dict.fromkeys(
        ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
        ("binary classification", "scores; the sigmoid of one is a probability, above 0 is a yes"),
    ),
    **dict.fromkeys(
        ("BCELoss", "binary_cross_entropy"), ("binary classification", "probabilities; above 0.5 is a yes")
    ),
    **dict.fromkeys(
        ("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"),
        ("regression", "numbers in the unit of the targets"),
    ),
}


def metadata_of(
    trained: Trained,
    names: tuple[list[str], list[str]],
    inputs: list[ModelInputs],
    outputs: list[list[Tensor]],
    stored: ModelInputs,
    with_preprocessing: bool,
) -> dict[str, Any]:
    """Plain data. names: of inputs and outputs, which are of several sizes; stored: a batch as the loader gives it."""
    config = trained.config
    task, meaning = OF_LOSSES.get(config.loss.type, ("custom", f"what the loss {config.loss.type} was given"))
    if task == "binary classification" and outputs[-1][0].shape[1:].numel() > 1:
        task = "multi-label classification"
    before, within = steps_of(trained, stored, with_preprocessing)
    given = [[*each.args, *each.kwargs.values()] for each in inputs]
    numbers = [len(each[0]) for each in given]
    return {
        "made_by": "pytorch-template, export.py",
        "model": config.model.type,
        "task": task,
        "classes": trained.classes,
        "inputs": described(names[0], given, numbers),
        "outputs": described(names[1], outputs, numbers),
        "output_meaning": meaning,
        "with_preprocessing": with_preprocessing,
        "before_the_file": before,
        "in_the_file": within,
        "normalisation": [each.model_dump() for each in config.dataset.batch_transforms.eval],
        "dataset": config.dataset.type,
        "fitted": fitted(trained.preprocessing),
        "loss": config.loss.type,
        "checkpoint": trained.path.name,
        "step": trained.state["step"],
    }


def steps_of(trained: Trained, stored: ModelInputs, with_preprocessing: bool) -> tuple[list[str], list[str]]:
    """What becomes of a sample before the model gets it: by another program, and within the file."""
    values = [*stored.args, *stored.kwargs.values()]
    before, of_batch = [], []
    if trained.preprocessing is not None:
        before.append(f"what {trained.config.dataset.type} does by what it has fitted (metadata: fitted)")
    before += map(written, trained.config.dataset.transforms.eval)
    if any(str(value.dtype) == "torch.uint8" for value in values):
        of_batch.append("uint8 becomes float32, divided by 255")
    if any(is_picture_batch(uint8_to_float(value)) for value in values):
        of_batch += map(written, trained.config.dataset.batch_transforms.eval)
    return (before, of_batch) if with_preprocessing else (before + of_batch, [])


def written(component: ComponentConfig) -> str:
    return f"{component.type}({', '.join(f'{name}={value}' for name, value in component.args.items())})"


def names_of_outputs(output: Any, number: int, taken: list[str]) -> list[str]:
    """`output`, or numbered, or the keys of a dict; `output_KEY` where an input has that name."""
    if isinstance(output, Mapping) and len(output) == number:
        return [f"output_{key}" if key in taken else str(key) for key in output]
    names = ["output"] if number == 1 else [f"output_{i}" for i in range(number)]
    return [f"{name}_" if name in taken else name for name in names]


def described(names: list[str], batches: list[list[Tensor]], numbers: list[int]) -> list[dict[str, Any]]:
    """Name, dtype and shape of each tensor; `batch` and `any` stand for sizes that are not always the same.

    numbers: of samples in each batch.
    """
    about = []
    for name, tensors in zip(names, zip(*batches, strict=True), strict=True):
        sizes = [list(found) for found in zip(*(tensor.shape for tensor in tensors), strict=True)]
        shape = [found[-1] if len({*found}) == 1 else "batch" if found == numbers else "any" for found in sizes]
        about.append({"name": name, "dtype": str(tensors[0].dtype).removeprefix("torch."), "shape": shape})
    return about


def shape_of_all(about: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['name']} {each['dtype']} ({', '.join(map(str, each['shape']))})" for each in about)


def fitted(preprocessing: Any) -> Any:
    """Plain data of JSON; of very much, a word that it is left out."""
    text = json.dumps(preprocessing, default=Tensor.tolist)
    return json.loads(text) if len(text) <= MOST_FITTED else "too much for metadata; it is in the checkpoint"
