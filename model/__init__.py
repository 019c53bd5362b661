"""Models, losses and metrics."""

from base.discovery import import_modules

import_modules(__name__, __path__)
