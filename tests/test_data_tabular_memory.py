"""How much memory the reading of a table takes."""

import platform

import pytest

from benchmarks.table import write_table
from tests.process import python

READ = """
import sys
from data_loader.tables.tabular import TabularCSV

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

peaks = []
for path in sys.argv[1:]:
    TabularCSV("train", "y", "regression", path)
    peaks.append(peak())
print(peaks[1] - peaks[0])
"""
NUM_ROWS = 200_000


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_reading_takes_little_more_memory_than_the_table(tmp_path):
    """Beyond what a tenth of it takes, which loads the code of the libraries; 3.5 times when a thing was kept twice."""
    for name, num_rows in (("a tenth", NUM_ROWS // 10), ("whole", NUM_ROWS)):
        write_table(tmp_path / f"{name}.csv", num_rows)
    read = python("-c", READ, tmp_path / "a tenth.csv", tmp_path / "whole.csv", POLARS_MAX_THREADS="2")
    assert int(read.stdout) < 1.5 * NUM_ROWS * 22 * 4
