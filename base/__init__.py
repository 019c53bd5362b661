"""What a user's own components subclass or register with."""

from base.base_model import BaseModel
from base.base_trainer import BaseTrainer
from base.discovery import BROKEN, import_modules
from base.plan import Plan
from base.registries import (
    BATCH_TRANSFORMS,
    DATASETS,
    LOGGERS,
    LOSSES,
    LR_LAMBDAS,
    LR_SCHEDULERS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    ORDERS,
    REGISTRIES,
    TRAINERS,
    TRANSFORMS,
)
from base.registry import Registry
from base.shipped import replaced_components
from base.signature import Count, Share

__all__ = [
    "BATCH_TRANSFORMS",
    "BROKEN",
    "DATASETS",
    "LOGGERS",
    "LOSSES",
    "LR_LAMBDAS",
    "LR_SCHEDULERS",
    "METRICS",
    "MODELS",
    "OPTIMIZERS",
    "ORDERS",
    "REGISTRIES",
    "TRAINERS",
    "TRANSFORMS",
    "BaseModel",
    "BaseTrainer",
    "Count",
    "Plan",
    "Registry",
    "Share",
    "import_modules",
    "replaced_components",
]
