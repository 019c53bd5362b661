"""What a command imports: what takes seconds to import is left alone until it is needed."""

import gc
import weakref

import torch

from script import load_registries
from tests.process import python

HEAVY = (
    *("torch", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor"),
    *("torchvision", "torchmetrics", "kornia"),
    *("matplotlib", "sklearn", "scipy", "tensorboard", "tqdm"),
)


def test_garbage_is_looked_for_again_once_the_rooms_are_imported():
    class Ring:
        def __init__(self):
            self.me, self.weights = self, torch.ones(10)

    assert load_registries() is load_registries()
    assert gc.isenabled() and gc.get_freeze_count() > 100_000
    ring = weakref.ref(Ring())
    gc.collect()
    assert ring() is None


def test_nothing_is_taken_for_a_leak_at_the_end():
    """As torch's compiler does, which own code that imports torchvision imports too."""
    done = python("-c", "import torchvision, sys, train; sys.exit(train.main(['--list', 'loss']))")
    assert "CrossEntropyLoss" in done.stdout and "leak" not in done.stderr


DIGITS = ["-c", "config/digits.yaml", "--epochs", "1"]
USED = {"torch", "kornia", "tqdm"}
# One after the other in one process: arguments of train.py, and what may have been imported when it has ended.
COMMANDS = [
    (["--help"], set()),
    ([*DIGITS, "--dry-run", "metrics=[]"], USED),
    ([*DIGITS, "--dry-run"], USED),
    (DIGITS, USED | {"matplotlib", "tensorboard"}),
    (
        [*DIGITS, "optimizer={type: SGD, args: {lr: 0.1}}", "lr_scheduler=LinearLR"],
        USED | {"matplotlib", "tensorboard"},
    ),
]
RUN = f"""
import contextlib, sys, train
for arguments in {[arguments for arguments, _ in COMMANDS]}:
    with contextlib.suppress(SystemExit):
        train.main([*arguments, "trainer.save_dir=" + sys.argv[1]])
    print("imported:", *(name for name in {HEAVY} if name in sys.modules))
"""


def test_a_command_imports_what_it_uses(tmp_path):
    """torch imports its compiler when an optimizer is made, takes its first step and is saved: as long as torch."""
    lines = [line.split() for line in python("-c", RUN, tmp_path).stdout.splitlines() if line.startswith("imported:")]
    for (arguments, may_import), (_, *imported) in zip(COMMANDS, lines, strict=True):
        assert {*imported} <= may_import, arguments
    assert len([*tmp_path.glob("digits/2*/checkpoints/last.pt")]) == 2
