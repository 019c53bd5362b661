"""Datasets, transforms and the order in which samples are read."""

from base import DATASETS
from base.discovery import import_modules
from data_loader.build import check_dataset_arguments

import_modules(__name__, __path__)
DATASETS.checks.append(check_dataset_arguments)
