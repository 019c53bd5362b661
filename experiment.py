"""What the scripts share: the rooms' components, the objects that both training and evaluation need, exit codes."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from config.problems import ConfigError
from utils.errors import RunError, UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from config.schema import ComponentConfig, Config, LossConfig
    from trainer.forward import ForwardPass


def exit_code_of(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command; a mistake of the user (2) or a failed run (1) is told in one message, without a traceback."""
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except ConfigError as mistakes:
        if not mistakes.is_told:
            tell(mistakes)
        return 2
    except UserError as mistake:
        tell(mistake)
        return 2
    except BrokenPipeError:  # `test.py ... | head`: whoever read has enough
        from utils.logs import write_nowhere

        write_nowhere(sys.stdout)
        return 128 + 13  # as a shell tells of SIGPIPE
    except (RunError, OSError) as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # outside of training, which saves and stops
        return 130


def tell(mistake: object) -> None:
    """Show a mistake at once: what is found later may take seconds more."""
    print(mistake, file=sys.stderr, flush=True)


def build_model(model: ComponentConfig, seed: int, is_trained: bool) -> nn.Module:
    """The model with the initial weights of this seed; is_trained: they will be replaced, so none are downloaded."""
    from base import MODELS
    from utils.seeding import seed_everything

    weights = None if MODELS.is_own(model.type) else model.args.get("weights")
    if weights is None:
        seed_everything(seed, "model")
        return MODELS.build(model.type, model.args)
    if not is_trained and "num_classes" not in model.args:
        seed_everything(seed, "model")
        return build_pretrained(model.type, model.args)

    # torchvision refuses another number of classes than that of the weights, so the new head is left out here.
    pretrained = None if is_trained else build_pretrained(model.type, {"weights": weights}).state_dict()
    seed_everything(seed, "model")
    built = MODELS.build(model.type, {**model.args, "weights": None})
    if pretrained is not None:
        from trainer.weights import load_initial_weights

        print(load_initial_weights(built, pretrained, f"model.args.weights={weights}", skip_mismatched=True))
    return built


def build_pretrained(name: str, args: Mapping[str, Any]) -> nn.Module:
    """A library's model with its downloaded weights; UserError where that fails."""
    import torch

    from base import MODELS

    try:
        return MODELS.build(name, args)
    except OSError as error:
        raise UserError(
            f"model.args.weights: {args['weights']} of {name} could not be downloaded ({error}), "
            f"and are not in {torch.hub.get_dir()}/checkpoints"
        ) from error


def build_forward_pass(config: Config, loss: LossConfig, device: torch.device) -> ForwardPass:
    """What a batch goes through, besides the model."""
    from data_loader.build import build_batch_transforms
    from model.loss import build_loss
    from trainer.forward import ForwardPass

    return ForwardPass(
        loss_fn=build_loss(loss),
        train_transforms=build_batch_transforms(config.dataset.batch_transforms.train),
        eval_transforms=build_batch_transforms(config.dataset.batch_transforms.eval),
        device=device,
        precision=config.trainer.precision,
    )


@cache
def load_registries() -> dict[str, Any]:
    """Import the rooms, so that every decorated class and function is in its registry."""
    gc.disable()  # an import makes many objects and hardly any garbage: to look for it takes a fifth of a start
    try:
        import data_loader  # noqa: F401
        import model  # noqa: F401
        import trainer  # noqa: F401
        from base import REGISTRIES
    finally:
        gc.freeze()
        gc.enable()
    return REGISTRIES
