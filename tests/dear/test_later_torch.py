"""What utils/torch_internals.py leaves out, with a torch that no longer has the names that it takes from there."""

import pytest

from tests.process import python
from tests.running import state_of, train
from tests.test_torch_internals import CONFIG, check_trains_to

# A later torch, in whose sources these names have changed, and one is gone from its C++ part.
LATER_TORCH = """
import sys
from importlib.machinery import SourceFileLoader
names = sys.argv.pop(1).split()
def get_code(self, module, get_code=SourceFileLoader.get_code):
    source = self.get_data(self.get_filename(module)).decode(errors="replace") if module.startswith("torch.") else ""
    if not any(name in source for name in names):
        return get_code(self, module)
    for name in names:
        source = source.replace(name, "_renamed" + name)
    return compile(source, self.get_filename(module), "exec", dont_inherit=True)
SourceFileLoader.get_code = get_code
import torch
del torch._amp_foreach_non_finite_check_and_unscale_
import train
torch.set_num_threads(1)
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def expected_state(tmp_path_factory):
    return state_of(train(tmp_path_factory.mktemp("this torch"), *CONFIG))


@pytest.mark.parametrize(
    "names", ["_engine_run_backward _optimizer_step_pre_hooks", "_global_optimizer_post_hooks _opt_called"]
)
def test_a_torch_without_the_private_names_trains_to_the_same_bits(names, expected_state, tmp_path):
    check_trains_to(expected_state, tmp_path, python, LATER_TORCH, names)
