"""The weights that training starts from: random, or those of another run. Fine-tuning is not resuming."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from base import MODELS
from base.base_model import kept_as_it_was
from base.batch import ModelInputs, map_tensors
from base.input_form import forming, told_forms
from config.schema import Config, DatasetConfig, InitFromConfig, TrainerConfig
from utils.checkpoint import read_plain
from utils.errors import UserError
from utils.find_run import resolve_checkpoint

logger = logging.getLogger(__name__)

NAMES_OF_TOKENS = ("vocabulary", "characters")  # in the `preprocessing` of texts: by their places, what tokens are
MOST_TO_START_FROM = 5000  # training samples that a model's `start_from_data` gets


def first_weights(
    model: nn.Module,
    config: Config,
    inputs_of: Callable[[int], ModelInputs],
    example: ModelInputs,
    dataset: Any,
) -> str:
    """Give a model the weights that data and config say it starts from; returns what to tell of them.

    inputs_of: what the model gets in evaluation of so many training samples; example: of a few. dataset: may have some
    of them as `initial_weights`.
    """
    if hasattr(model, "start_from_data"):
        start_from_data(model, inputs_of(MOST_TO_START_FROM), example)
    given = getattr(dataset, "initial_weights", {})
    load_weights_of_data(model, given, type(dataset).__name__)
    report, settings = "", config.trainer
    if settings.init_from is not None:  # what does not fit comes from data
        fitted = getattr(dataset, "preprocessing", None)
        report, loaded = start_from(model, settings, config.dataset, fitted)
        given = {*given, *loaded}
    is_trained = config.model.args.get("weights") is not None and not MODELS.is_own(config.model.type)
    if settings.freeze and not is_trained and not hasattr(model, "start_from_data"):
        tell_of_random(model, settings.freeze, given)
    return report


def tell_of_random(model: nn.Module, globs: str | Sequence[str], given: Collection[str]) -> None:
    """A warning where weights are frozen as they were drawn. given: the names of those that came from elsewhere."""
    globs = [globs] if isinstance(globs, str) else globs
    left = [name for name in dict(model.named_parameters()) if name not in given]
    frozen = [name for name in left if any(fnmatchcase(name, glob) for glob in globs)]
    if frozen:
        told = "trainer.freeze: %d tensors stay as they were drawn, unless the model itself loads them: %s; %s"
        names = ", ".join(frozen[:3]) + (", ..." if len(frozen) > 3 else "")
        remedy = "to start from others: trainer.init_from of another run, or model.args.weights of a library's model"
        logger.warning(told, len(frozen), names, remedy)


def start_from(
    model: nn.Module, settings: TrainerConfig, dataset: DatasetConfig, fitted: Any = None
) -> tuple[str, set[str]]:
    """Load what `trainer.init_from` names into the model; returns what to tell of it, and which weights it has given.

    dataset: what the model is to be trained on; fitted: its `preprocessing`. Raises UserError.
    """
    source = settings.init_from
    if not isinstance(source, InitFromConfig):
        source = InitFromConfig(path=source)
    try:
        state = read_plain(resolve_checkpoint(source.path, prefer="best", save_dir=settings.save_dir))
    except UserError as error:
        raise UserError(f"trainer.init_from: {error}") from error
    report, loaded = load_initial_weights(model, weights_of(state), source.path, source.skip_mismatched)
    return f"{report}{told_of_tokens(state, fitted)}{told_of_inputs(state, dataset)}\n", loaded


def told_of_tokens(state: Mapping[str, Any], fitted: Any) -> str:
    """A line where tokens had other numbers in a checkpoint's training: an embedding of its size would fit, and lie."""
    data = state.get("data")
    trained = data.get("preprocessing") if isinstance(data, dict) else None
    if not isinstance(trained, dict) or not isinstance(fitted, dict):
        return ""
    if all(trained.get(name) == fitted.get(name) for name in NAMES_OF_TOKENS if name in fitted):
        return ""
    return "\nwarning: there, the numbers of tokens stand for others than here: what was learned of them is of no use"


def told_of_inputs(state: Mapping[str, Any], dataset: DatasetConfig) -> str:
    """A line where a run that a checkpoint is of normalised its inputs, or made spectrograms, otherwise than here."""
    data = state.get("data")
    if not isinstance(data, dict) or "fingerprint" not in data:  # it is not of this program
        return ""
    there, here = (forming(each, "eval") for each in (state["config"]["dataset"], dataset.model_dump()))
    if there == here:
        return ""
    return f"\nwarning: there, inputs went through {told_forms(there)}; here they go through {told_forms(here)}"


def load_weights_of_data(model: nn.Module, weights: Mapping[str, Tensor], dataset: str) -> None:
    """Copy weights that a dataset has for a model into it. UserError for one that it lacks, or has in another shape."""
    own = model.state_dict()
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            found = f"is {tuple(own[name].shape)} there" if name in own else "is not there"
            raise UserError(
                f"dataset {dataset} has {name} {tuple(tensor.shape)} for a model to start from, but it {found}, in "
                f"{type(model).__name__}: mend model.args"
            )
    model.load_state_dict(weights, strict=False)


def start_from_data(model: nn.Module, inputs: ModelInputs, example: ModelInputs) -> None:
    """Let a model compute weights from training samples. UserError for what it sets that no checkpoint would hold.

    example: inputs to try the model on, and a copy with nothing but its state.
    """
    resumed = copy.deepcopy(model)
    with torch.no_grad():
        model.start_from_data(*inputs.args, **inputs.kwargs)
    if not _becomes(resumed, model, example):
        raise UserError(
            f"model: {type(model).__name__}.start_from_data sets something that state_dict() does not hold, and that "
            "a resumed run and test.py would go without: set parameters and persistent buffers only, in their shapes"
        )


def _becomes(copied: nn.Module, model: nn.Module, example: ModelInputs) -> bool:
    """Whether a copy with the model's state gives what the model gives."""
    state = model.state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != {n: t.shape for n, t in copied.state_dict().items()}:
        return False
    copied.load_state_dict(state)
    pairs = zip(_outputs(copied, example), _outputs(model, example), strict=True)
    return all(torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True) for one, other in pairs)


def _outputs(model: nn.Module, inputs: ModelInputs) -> list[Tensor]:
    """All tensors that it puts out in evaluation, with the same random numbers each time."""
    tensors: list[Tensor] = []
    with kept_as_it_was(model), torch.no_grad():
        map_tensors(model.eval()(*inputs.args, **inputs.kwargs), tensors.append)
    return tensors


def weights_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint or a bare state_dict; the averaged ones where there are any.

    Prefixes that torch.compile and DistributedDataParallel put before the names are left out.
    """
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


def load_initial_weights(
    model: nn.Module, weights: Mapping[str, Tensor], source: str, skip_mismatched: bool
) -> tuple[str, set[str]]:
    """Copy the weights whose name and shape fit into the model; returns a report of the others, and the names of these.

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
    return report, {*fitting}


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"; {len(names)} {what}: {', '.join(names[:8])}{more}"
