"""What a command imports: what takes seconds to import is left alone until it is needed."""

import pytest

from tests.process import python

HEAVY = (
    *("torch", "torch._dynamo", "torchvision", "torchmetrics", "kornia"),
    *("matplotlib", "sklearn", "scipy", "tensorboard", "tqdm"),
)


def imported(*arguments: str) -> set[str]:
    """Those of HEAVY that train.py imports for these arguments."""
    code = f"""
import contextlib, sys, train
with contextlib.suppress(SystemExit):
    train.main(sys.argv[1:])
print("imported:", *(name for name in {HEAVY} if name in sys.modules))
"""
    return set(python("-c", code, *arguments).stdout.rpartition("imported:")[2].split())


def test_garbage_is_looked_for_again_once_the_rooms_are_imported():
    code = """
import gc, torch, weakref
from script import load_registries
assert load_registries() is load_registries()
assert gc.isenabled() and gc.get_freeze_count() > 100_000
class Ring:
    def __init__(self): self.me, self.weights = self, torch.ones(10)
ring = weakref.ref(Ring())
gc.collect()
assert ring() is None
"""
    python("-c", code)


def test_help_imports_nothing():
    assert imported("--help") == set()


@pytest.mark.parametrize("metrics", ["[accuracy]", "[]"])
def test_a_run_imports_what_it_uses(metrics):
    assert imported("-c", "config/digits.yaml", f"metrics={metrics}", "--dry-run") <= {"torch", "kornia", "tqdm"}


@pytest.mark.parametrize("overrides", [(), ("optimizer={type: SGD, args: {lr: 0.1}}", "lr_scheduler=LinearLR")])
def test_a_run_leaves_the_compiler_alone(overrides, tmp_path):
    """torch imports it when an optimizer is made, takes its first step and is saved, and it takes as long as torch."""
    run = ("-c", "config/digits.yaml", "--epochs", "1", f"trainer.save_dir={tmp_path}", *overrides)
    assert "torch._dynamo" not in imported(*run)
    assert list(tmp_path.glob("digits/*/checkpoints/step-*.pt"))
