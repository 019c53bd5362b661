"""Datasets, transforms and the order in which samples are read."""

from base.discovery import import_modules
from data_loader.batch_loader import BatchLoader
from data_loader.build import build_batch_transforms
from data_loader.loader import build_loader, build_loaders
from data_loader.reading import Batch, DataError, SampleError

import_modules(__name__, __path__)

__all__ = [
    "Batch",
    "BatchLoader",
    "DataError",
    "SampleError",
    "build_batch_transforms",
    "build_loader",
    "build_loaders",
]
