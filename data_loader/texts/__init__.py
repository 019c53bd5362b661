"""Texts: a class or a number each, and long ones as windows for language models."""

from base.discovery import import_modules

import_modules(__name__, __path__)
