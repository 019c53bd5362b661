"""In place of matplotlib's figures where nobody looks at them: to make their axes takes longer than a small run."""

import contextlib
import itertools
from collections.abc import Iterator

import matplotlib.figure
import matplotlib.pyplot  # which needs the real ones, and would find these if it were imported later
import numpy

REAL = matplotlib.figure.Figure


class Paper:
    """A figure and all that is in it: takes whatever is drawn, and saves it as a file that is no picture."""

    def __init__(self, figsize=(6.0, 4.0), **options):
        self._inches = figsize

    def __getattr__(self, name):
        return self

    def __call__(self, *given, **options):
        return self

    def __getitem__(self, key):
        return self

    def get_size_inches(self):
        return self._inches

    def get_legend_handles_labels(self):
        return [], []

    def subplots(self, num_rows=1, num_columns=1, squeeze=True, **options):
        panels = numpy.empty((num_rows, num_columns), object)
        for place in itertools.product(range(num_rows), range(num_columns)):
            panels[place] = self
        return panels.squeeze() if squeeze else panels

    def subfigures(self, *shape, **options):
        return self.subplots(*shape)

    def savefig(self, file, **options):
        file.write(b"a picture")


@contextlib.contextmanager
def figures_are(kind: type) -> Iterator[None]:
    """Paper or REAL, for as long as it lasts."""
    before, matplotlib.figure.Figure = matplotlib.figure.Figure, kind
    try:
        yield
    finally:
        matplotlib.figure.Figure = before
