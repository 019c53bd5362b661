"""Tables: CSV, TSV, Excel, Parquet and scikit-learn's own."""

from base.discovery import import_modules

import_modules(__name__, __path__)
