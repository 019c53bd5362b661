"""Sounds: class folders of recordings, and their spectrograms."""

from base.discovery import import_modules

import_modules(__name__, __path__)
