"""What happens in one step, and everything an optimizer needs."""

from base.discovery import import_modules

import_modules(__name__, __path__)
