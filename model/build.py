"""The model of a config, with its first weights and the shapes that the data give it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from base import MODELS
from base.base_model import kept_as_it_was
from base.batch import ModelInputs
from config.schema import ComponentConfig
from model.initial_weights import load_initial_weights
from utils.errors import UserError, is_devices, is_torchs, own_line_of
from utils.seeding import seed_everything


def build_model(config: ComponentConfig, seed: int, is_trained: bool) -> nn.Module:
    """The model with the initial weights of this seed; is_trained: they will be replaced, so none are downloaded."""
    weights = None if MODELS.is_own(config.type) else config.args.get("weights")
    if weights is None:
        seed_everything(seed, "model")
        return MODELS.build(config.type, config.args)
    if not is_trained and "num_classes" not in config.args:
        seed_everything(seed, "model")
        return _build_pretrained(config.type, config.args)

    # torchvision refuses another number of classes than that of the weights, so the new head is left out here.
    pretrained = None if is_trained else _build_pretrained(config.type, {"weights": weights}).state_dict()
    seed_everything(seed, "model")
    model = MODELS.build(config.type, {**config.args, "weights": None})
    if pretrained is not None:
        print(load_initial_weights(model, pretrained, f"model.args.weights={weights}", skip_mismatched=True)[0])
    return model


def _build_pretrained(name: str, args: Mapping[str, Any]) -> nn.Module:
    """A library's model with its downloaded weights; UserError where that fails."""
    try:
        return MODELS.build(name, args)
    except OSError as error:
        raise UserError(
            f"model.args.weights: {args['weights']} of {name} could not be downloaded ({error}), "
            f"and are not in {torch.hub.get_dir()}/checkpoints"
        ) from error


def try_on(model: nn.Module, example: ModelInputs) -> None:
    """One forward pass, from which lazy layers take their shapes. UserError when the inputs do not fit the model."""
    with _telling_what_does_not_fit(model, example), kept_as_it_was(model), torch.no_grad():
        model.eval()(*example.args, **example.kwargs)


@contextlib.contextmanager
def _telling_what_does_not_fit(model: nn.Module, example: ModelInputs) -> Iterator[None]:
    """UserError when a layer of torch refuses the data; an error in the model's own lines keeps its traceback."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        if is_devices(error) or not is_torchs(error):
            raise
        shapes = [str(tuple(getattr(value, "shape", ()))) for value in (*example.args, *example.kwargs.values())]
        hint = " A sample (a, b) is an input and its target, ((a, b),) is two inputs."
        raise UserError(
            f"model: {type(model).__name__} cannot take the data's inputs, {', '.join(shapes)}: {error} "
            f"(from {own_line_of(error)}). Mend model.args or dataset.args.{hint if 'positional' in str(error) else ''}"
        ) from error
