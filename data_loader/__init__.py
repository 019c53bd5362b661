"""Datasets, transforms and the order in which samples are read."""

from base import DATASETS
from base.discovery import import_modules
from data_loader.batch_loader import BatchLoader
from data_loader.batch_reader import DataError, SampleError
from data_loader.build_dataset import build_batch_transforms, check_dataset_arguments
from data_loader.build_loaders import build_loader, build_loaders

import_modules(__name__, __path__)
DATASETS.checks.append(check_dataset_arguments)

__all__ = [
    "BatchLoader",
    "DataError",
    "SampleError",
    "build_batch_transforms",
    "build_loader",
    "build_loaders",
    "check_dataset_arguments",
]
