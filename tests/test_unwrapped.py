import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, RMSprop
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from trainer import unwrapped
from trainer.unwrapped import backward, clear_gradients, take_step


def loss_of(model: nn.Module, seed: int, dtype: torch.dtype) -> Tensor:
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return model(inputs).square().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("engine", ["torch's", "a later torch without it"])
@pytest.mark.parametrize("optimizer", [SGD, AdamW, RMSprop])
def test_a_step_has_the_bits_of_torchs(dtype, engine, optimizer, monkeypatch):
    if engine != "torch's":
        monkeypatch.setattr(unwrapped, "_run_engine", None)
    weights = []
    for is_ours in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).to(dtype)
        made = optimizer(model.parameters(), lr=0.1)
        for step in range(3):
            losses = [loss_of(model, seed, dtype) * 0.5 for seed in (step, step + 10)]
            for loss in losses:
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


@pytest.mark.parametrize("register", [register_optimizer_step_pre_hook, register_optimizer_step_post_hook])
def test_hooks_on_all_optimizers_are_heard(register):
    weight = nn.Parameter(torch.ones(()))
    weight.grad = torch.ones(())
    seen = []
    handle = register(lambda *_: seen.append("hook"))
    try:
        take_step(SGD([weight], lr=0.1))
    finally:
        handle.remove()
    assert seen == ["hook"] and weight.item() == pytest.approx(0.9)
