"""Datasets, transforms and the order in which samples are read."""

from base.discovery import import_modules

import_modules(__name__, __path__)
