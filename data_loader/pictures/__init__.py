"""Pictures: class folders of files, torchvision's datasets, digits, made-up shapes."""

from base.discovery import import_modules

import_modules(__name__, __path__)
