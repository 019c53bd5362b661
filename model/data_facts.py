"""What the data say of a model's arguments: filled in where a config leaves them out, and held against it."""

from __future__ import annotations

from collections.abc import Mapping

from base import LOSSES, MODELS
from base.registries import DATA_FACTS
from base.signature import parameters_of
from config.schema import ModelConfig
from utils.errors import UserError

# The data's own words for each number, for messages.
_OF_THE_DATA = {
    "num_classes": "{} classes",
    "out_features": "{} outputs to learn",
    "in_channels": "{} channels",
    "in_features": "{} numbers a sample",
    "vocab_size": "a vocabulary of {}",
    "context_length": "windows of {} tokens",
    "max_length": "texts of up to {} tokens",
    "category_sizes": "columns of {} categories",
}
AT_LEAST = ("vocab_size", "context_length", "max_length")  # a model may have room for more than the data have


def with_facts(config: ModelConfig, facts: Mapping[str, int], loss_type: str) -> ModelConfig:
    """The model's config with what the data say, as far as its signature has it and it is left out there.

    UserError for a number that contradicts the data, or one that is needed and that neither of them gives. More room
    for tokens than the data need is no contradiction; nor, with a loss of one's own, are other outputs than there are
    targets: embeddings, quantiles, a mean and a variance.
    """
    parameters = parameters_of(MODELS.find(config.type)).by_name
    args = dict(config.args)
    for name in DATA_FACTS:
        if name not in parameters:
            continue
        given, said = args.get(name), facts.get(name)
        if given is None and said is not None:
            args[name] = said
        elif given is None and parameters[name].required:
            raise UserError(f"model.args.{name}: missing; {config.type} needs it, and the data do not tell it")
        elif said not in (None, given) and not (name in AT_LEAST and given > said):
            if LOSSES.is_own(loss_type) and name in ("num_classes", "out_features"):
                continue
            words = _OF_THE_DATA[name].format(said)
            raise UserError(f"model.args.{name}: found {given}, but the data have {words}; leave it out, or mend it")
    return config.model_copy(update={"args": args})
