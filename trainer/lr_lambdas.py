"""Factors of the learning rate, for LambdaLR and MultiplicativeLR: functions of the steps (or epochs) done."""

from base import LR_LAMBDAS, Count


@LR_LAMBDAS.register
def inverse_square_root(step: int, warmup: Count = 100) -> float:
    """Rise linearly over `warmup` steps, then fall as 1 / sqrt(step) (Vaswani et al. 2017)."""
    return min((step + 1) / warmup, (warmup / (step + 1)) ** 0.5)


@LR_LAMBDAS.register
def linear_decay(step: int, total: Count = 100) -> float:
    """Fall linearly to zero over `total` steps or epochs."""
    return max(0.0, 1 - step / total)


@LR_LAMBDAS.register
def constant_factor(step: int, factor: float = 0.95) -> float:
    """The same factor at every step: with MultiplicativeLR an exponential decay."""
    return factor
