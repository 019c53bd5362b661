"""What utils/torch_internals.py leaves out: nobody misses it, with any torch, and all of it can be turned off."""

import functools
import types
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LinearLR
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from base import OPTIMIZERS
from tests.forks import forked
from tests.running import TINY, assert_same_state, state_of, train
from trainer.loss_guard import values_of
from utils import torch_internals
from utils.torch_internals import any_non_finite, backward, clear_gradients, take_step


def sgd(kind: type[SGD] = SGD) -> tuple[Optimizer, Tensor]:
    """An optimizer, and its one weight (), which is 1 and has a gradient of 1."""
    weight = nn.Parameter(torch.ones(()))
    weight.grad = torch.ones(())
    return kind([weight], lr=0.1), weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
@pytest.mark.parametrize("optimizer", [SGD, AdamW, RMSprop])
def test_a_step_has_the_bits_of_torchs(dtype, private, optimizer, monkeypatch):
    if not private:
        monkeypatch.setattr(torch_internals, "PUBLIC_ONLY", True)
        monkeypatch.setattr(torch_internals, "_run_engine", None)
        monkeypatch.setattr(torch_internals, "_can_step_bare", False)
    weights = []
    for is_ours in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).to(dtype)
        made = optimizer(model.parameters(), lr=0.1)
        for step in range(3):
            inputs = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(step)).to(dtype)
            for loss in [model(batch).square().mean() * 0.5 for batch in inputs]:
                backward(loss) if is_ours else loss.backward()
            take_step(made) if is_ours else made.step()
            clear_gradients(made) if is_ours else made.zero_grad()
            assert all(p.grad is None for p in model.parameters())
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_what_goes_into_every_backward_pass_stays_as_it_is():
    for _ in range(2):
        weight = nn.Parameter(torch.tensor(3.0))
        backward(weight)  # whose gradient is the very tensor that goes in
        assert weight.grad.item() == 1
        weight.grad.add_(5)


def test_a_loss_without_gradients_is_told_as_torch_tells_it():
    with pytest.raises(RuntimeError, match="does not require grad"):
        backward(torch.ones(()))


def test_a_tensor_of_an_own_class_goes_its_own_way():
    class Own(Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            called.append(function.__name__)
            return super().__torch_function__(function, types, args, kwargs)

    called = []
    weight = nn.Parameter(torch.ones(()))
    backward((weight * 2).as_subclass(Own))
    assert "backward" in called and weight.grad.item() == 2


HOOKS_ON_ALL = [register_optimizer_step_pre_hook, register_optimizer_step_post_hook]


@pytest.mark.parametrize("register", ["register_step_pre_hook", "register_step_post_hook", *HOOKS_ON_ALL])
def test_hooks_on_an_optimizer_and_on_all_are_heard(register):
    optimizer, weight = sgd()
    seen = []
    handle = (getattr(optimizer, register) if isinstance(register, str) else register)(lambda *_: seen.append("hook"))
    try:
        take_step(optimizer)
    finally:
        handle.remove()
    assert seen == ["hook"] and weight.item() == pytest.approx(0.9)


@pytest.mark.parametrize("schedule", ["before", "after", None])
@pytest.mark.parametrize("wraps", [True, False])
def test_a_step_put_on_the_optimizer_is_taken(schedule, wraps):
    optimizer, weight = sgd()
    calls = []
    if schedule == "before":
        LinearLR(optimizer)
    original = optimizer.step

    def step(self, closure=None):
        calls.append(1)
        return original()

    optimizer.step = types.MethodType(functools.wraps(original)(step) if wraps else step, optimizer)
    if schedule == "after":
        LinearLR(optimizer)
    take_step(optimizer)
    assert calls == [1] and weight.item() < 1


def test_a_step_of_ones_own_class_has_gradients_where_torch_lets_it():
    class Own(SGD):
        def step(self, closure=None):
            seen.append(torch.is_grad_enabled())

    seen = []
    take_step(sgd(Own)[0])
    assert seen == [True]


@pytest.mark.parametrize("where", ["class", "object"])
def test_a_zero_grad_of_ones_own_is_called(where):
    class Own(SGD):
        def zero_grad(self, set_to_none=True):
            super().zero_grad(set_to_none=False)

    optimizer, weight = sgd(Own if where == "class" else SGD)
    if where == "object":
        optimizer.zero_grad = functools.partial(SGD.zero_grad, optimizer, set_to_none=False)
    clear_gradients(optimizer)
    assert weight.grad == 0


def test_a_scheduler_hears_of_the_steps():
    optimizer, _ = sgd()
    scheduler = LinearLR(optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take_step(optimizer)
        scheduler.step()


def test_a_run_leaves_pythons_warnings_and_torchs_optimizers_as_they_are(tmp_path):
    before = list(warnings.filters), dict(vars(Optimizer))
    OPTIMIZERS.names()
    train(tmp_path, "lr_scheduler=LinearLR")
    assert (warnings.filters, vars(Optimizer)) == before


@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), None])
def test_what_is_not_finite_is_found_in_any_gradient(bad, private, monkeypatch):
    if not private:
        monkeypatch.setattr(torch_internals, "_non_finite_kernel", None)
    assert any_non_finite([]) == 0
    largest = torch.full((3,), torch.finfo(torch.float32).max)  # whose norm would be infinite
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64):
        odd = torch.ones(2, 2, dtype=dtype)
        odd[1, 0] = 1 if bad is None else bad
        gradients = [largest, None, torch.ones(0), odd.to_sparse() if dtype == torch.float32 else odd]
        assert any_non_finite(values_of(gradients)) == (bad is not None), dtype
    assert largest.max() == torch.finfo(torch.float32).max


# The way of the private names, with all that can go along.
CONFIG = (
    *("lr_scheduler={type: OneCycleLR, args: {max_lr: 0.1}, interval: step}", "optimizer=AdamW", "metrics=[accuracy]"),
    *("trainer.accumulate_steps=2", "trainer.clip_grad_norm=1", "trainer.ema_decay=0.9", "trainer.precision=bf16"),
)


@pytest.fixture(scope="module")
def expected_state(tmp_path_factory):
    return state_of(train(tmp_path_factory.mktemp("this torch"), *CONFIG))


def check_trains_to(expected_state, folder, start, code, *arguments, **variables):
    (folder / "tiny.yaml").write_text(TINY.replace(", loggers: [Recorder]", ""))
    arguments = (*arguments, "-c", folder / "tiny.yaml", f"trainer.save_dir={folder / 'saved'}", *CONFIG)
    done = start("-c", code, *arguments, **variables)
    assert "Warning" not in done.stderr
    assert_same_state(expected_state, state_of((folder / "saved/tiny/latest").resolve()))
    return done


SWITCHED = """
import sys, train
from utils import torch_internals as private
code = train.main(sys.argv[1:])
print(private.PUBLIC_ONLY, private._can_step_bare, private._run_engine)
sys.exit(code)
"""


def test_with_the_switch_all_are_off_nothing_is_lost_and_the_bits_are_the_same(expected_state, tmp_path):
    done = check_trains_to(expected_state, tmp_path, forked, SWITCHED, TEMPLATE_PUBLIC_ONLY="1")
    assert done.stdout.endswith("True False None\n")
    forked("-m", "tests.torture", "chain", "--count", "1", TEMPLATE_PUBLIC_ONLY="1")
