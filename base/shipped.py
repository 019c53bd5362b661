"""The modules of the template that register components: one of a user's own file goes before one of these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base.registry import Registry

SHIPPED = frozenset(
    {
        *("data_loader.batch_transforms", "data_loader.linear_data", "data_loader.mixing", "data_loader.order"),
        *("data_loader.pictures.digits", "data_loader.pictures.folder", "data_loader.pictures.shapes"),
        *("data_loader.pictures.torchvision_sets", "data_loader.sounds.folder", "data_loader.sounds.spectrograms"),
        *("data_loader.synthetic", "data_loader.tables.tabular", "data_loader.texts.folder"),
        *("data_loader.texts.table", "data_loader.texts.windows"),
        *("model.airbench", "model.autoencoder", "model.dcgan", "model.gpt", "model.lenet", "model.linear"),
        *("model.loss", "model.lstm", "model.metric", "model.mlp", "model.resnet", "model.simclr", "model.sound_cnn"),
        *("model.table_net", "model.text_rnn", "model.text_transformer", "model.unet"),
        *("trainer.adversarial", "trainer.loggers", "trainer.lr_lambdas", "trainer.trackers", "trainer.trainer"),
    }
)

KINDS_OF_TORCH = ("loss", "optimizer", "lr_scheduler")


def file_of(component: Any) -> str:
    """The file that defines a component, such as model/lenet.py."""
    return f"{component.__module__.replace('.', '/')}.py"


def replaced_components(registries: Iterable[Registry]) -> list[str]:
    """A line for each component of the template or of torch in whose place there is one of a file of the user's.

    Whether a name is one of torchvision's, torchmetrics' or kornia's is not looked at: to import them takes seconds.
    """
    return [
        f"{registry.kind} {name} is {file_of(own)}'s, not {whose}"
        for registry in registries
        for name, own in sorted(registry.users.items())
        if (whose := _replaced(registry, name))
    ]


def _replaced(registry: Registry, name: str) -> str | None:
    if name in registry.shipped:
        return f"the template's {file_of(registry.shipped[name])}"
    return "torch's" if registry.kind in KINDS_OF_TORCH and registry.is_in_library(name) else None
