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


def test_nothing_is_taken_for_a_leak_at_the_end():
    """As torch's compiler does, which own code that imports torchvision imports too."""
    done = python("-c", "import torchvision, sys, train; sys.exit(train.main(['--list', 'loss']))")
    assert "CrossEntropyLoss" in done.stdout and "leak" not in done.stderr


DIGITS = ("-c", "config/digits.yaml", "--epochs", "1")
USED = {"torch", "kornia", "tqdm"}
DRAWN = {"matplotlib", "tensorboard"}


@pytest.mark.parametrize(
    ("arguments", "may_import"),
    [
        (("--help",), set()),
        ((*DIGITS, "--dry-run"), USED),
        ((*DIGITS, "--dry-run", "metrics=[]"), USED),
        (DIGITS, USED | DRAWN),
        ((*DIGITS, "optimizer={type: SGD, args: {lr: 0.1}}", "lr_scheduler=LinearLR"), USED | DRAWN),
    ],
)
def test_a_command_imports_what_it_uses(arguments, may_import, tmp_path):
    """torch imports its compiler when an optimizer is made, takes its first step and is saved: as long as torch."""
    assert imported(*arguments, f"trainer.save_dir={tmp_path}") <= may_import
    assert any(tmp_path.glob("digits/*/checkpoints/step-*.pt")) == (may_import >= DRAWN)
