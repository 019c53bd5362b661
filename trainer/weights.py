"""The weights that training starts from: random, or those of another run. Fine-tuning is not resuming."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from base.base_model import kept_as_it_was, summarise
from config.schema import InitFromConfig, TrainerConfig
from trainer.batch import ModelInputs
from trainer.forward import ForwardPass
from trainer.memory_format import choose_memory_format
from trainer.optimizer import freeze
from utils.checkpoint import read_plain
from utils.errors import UserError
from utils.run_folder import resolve_checkpoint


def prepare_model(
    model: nn.Module, settings: TrainerConfig, forward_pass: ForwardPass, data: Any, is_trained: bool = False
) -> str:
    """Bring a model to where training starts, on the device, initial weights loaded, layers frozen; describes it.

    data: a batch, from which lazy layers take their shapes and on which a memory format is tried. is_trained: the
    weights come from the checkpoint of a resumed run, so that `init_from` has had its effect.
    """
    report = ""
    model.to(forward_pass.device)
    example, _ = forward_pass.prepare(data, training=False)
    with _telling_what_does_not_fit(model, example), kept_as_it_was(model), torch.no_grad():
        model.eval()(*example.args, **example.kwargs)
    if settings.init_from is not None and not is_trained:
        source = settings.init_from
        if not isinstance(source, InitFromConfig):
            source = InitFromConfig(path=source)
        try:
            weights = read_weights(source.path, settings.save_dir)
        except UserError as error:
            raise UserError(f"trainer.init_from: {error}") from error
        report = load_initial_weights(model, weights, source.path, source.skip_mismatched) + "\n"
    if settings.freeze:
        freeze(model, settings.freeze)
    choose_memory_format(model, forward_pass, data, settings.channels_last)
    return report + summarise(model, *example.args, **example.kwargs)


@contextlib.contextmanager
def _telling_what_does_not_fit(model: nn.Module, example: ModelInputs) -> Iterator[None]:
    """UserError when a layer of torch refuses the data; an error in the model's own lines keeps its traceback."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        torch_folder = Path(torch.__file__).parent
        if not Path(frames[-1].filename).is_relative_to(torch_folder):
            raise
        caller = [frame for frame in frames if not Path(frame.filename).is_relative_to(torch_folder)][-1]
        shapes = [str(tuple(getattr(value, "shape", ()))) for value in (*example.args, *example.kwargs.values())]
        raise UserError(
            f"model: {type(model).__name__} cannot take the data's inputs, {', '.join(shapes)}: {error} "
            f"(from {os.path.relpath(caller.filename)}:{caller.lineno}). Mend model.args or dataset.args."
        ) from error


def read_weights(reference: str, save_dir: str = "saved") -> dict[str, Tensor]:
    """The weights in a run (its best), a checkpoint or a bare state_dict; the averaged ones where there are any.

    Prefixes that torch.compile and DistributedDataParallel put before the names are left out.
    """
    state = read_plain(resolve_checkpoint(reference, prefer="best", save_dir=save_dir))
    weights = state["ema"]["model"] if "ema" in state else state.get("model", state.get("state_dict", state))
    return {
        name.removeprefix("module.").removeprefix("_orig_mod."): tensor
        for name, tensor in weights.items()
        if isinstance(tensor, Tensor)
    }


def check_fit(model: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """UserError unless the weights have the names and shapes of the model's own."""
    there, here = ({name: _shape(tensor) for name, tensor in each.items()} for each in (weights, model.state_dict()))
    differing = [
        f"{name} {there.get(name, 'not')} there, {here.get(name, 'not')} here"
        for name in {**there, **here}
        if name not in there or name not in here or (here[name] != there[name] and here[name] is not None)
    ]
    if differing:
        more = f"; and {len(differing) - 8} more" if len(differing) > 8 else ""
        raise UserError(
            f"{source} does not fit the model: {'; '.join(differing[:8])}{more}. "
            "Have model.args or the model's code changed since?"
        )


def _shape(tensor: Tensor) -> tuple[int, ...] | None:
    return None if is_lazy(tensor) else tuple(tensor.shape)


def load_initial_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str, skip_mismatched: bool) -> str:
    """Copy the weights whose name and shape fit into the model; returns a report of the others.

    UserError when none fits, or when a shape differs and that was not allowed (`skip_mismatched`).
    """
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in weights.items() if name in own and tensor.shape == own[name].shape}
    other_shape = [name for name in weights if name in own and name not in fitting]
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    report = (
        f"init_from {source}: {len(fitting)} of {len(own)} tensors loaded"
        f"{_listed('missing there', missing)}{_listed('unexpected', unexpected)}"
        + _listed("of other shape", [f"{n} {tuple(weights[n].shape)} -> {tuple(own[n].shape)}" for n in other_shape])
    )
    if other_shape and not skip_mismatched:
        raise UserError(
            f"{report}. To leave out what has another shape (a new head): "
            f"trainer.init_from={{path: {source}, skip_mismatched: true}}"
        )
    if not fitting:
        raise UserError(f"{report}. These are the weights of another model.")
    model.load_state_dict(fitting, strict=False)
    return report


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"; {len(names)} {what}: {', '.join(names[:8])}{more}"
