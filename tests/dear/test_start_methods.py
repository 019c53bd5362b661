"""Loader processes that are not forked, as on macOS, on Windows and from Python 3.14 on."""

import pytest

from tests.process import python
from tests.running import assert_same_end
from tests.torture.domains import EXPERIMENTS
from tests.torture.experiment import CONFIG
from train import main

CODE = """
import multiprocessing, sys
import tests.torture.experiment, train

multiprocessing.set_start_method(sys.argv[1])
sys.exit(train.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("method", "name"), [("spawn", "gpt"), ("forkserver", "cached-pictures")])
def test_the_same_bits(method, name, tmp_path):
    (tmp_path / "torture.yaml").write_text(CONFIG)
    (tmp_path / "domain.yaml").write_text(EXPERIMENTS[name].prepared(tmp_path / "data"))
    given = ["-c", tmp_path / "torture.yaml", "-c", tmp_path / "domain.yaml", "trainer.epochs=2", "trainer.loggers=[]"]
    alone, with_others = (f"trainer.save_dir={tmp_path / name}" for name in ("alone", "with-others"))
    assert main([*map(str, given), alone, "data_loader.num_workers=0"]) == 0
    python("-c", CODE, method, *given, with_others, "data_loader.num_workers=2", OMP_NUM_THREADS="1")
    assert_same_end(tmp_path / "with-others/torture/latest", tmp_path / "alone/torture/latest")
