"""Pixels as models that make pictures give them: shares of white, from 0 to 1."""

from math import nan

import torch
from torch import Tensor

from utils.errors import UserError

ROUNDING = 1e-4  # by which means of pixels, such as transforms take that turn or blur, may be outside


def shares_of_white(pictures: Tensor) -> Tensor:
    """The same pictures. UserError where numbers are not from 0 to 1: no made picture would ever be like them.

    A GPU is not waited for: there they are nan, which stops the run.
    """
    is_outside = (pictures < -ROUNDING) | (pictures > 1 + ROUNDING)
    if pictures.is_cpu and not torch.compiler.is_compiling() and is_outside.any():
        raise UserError(
            f"pixels are shares of white here, from 0 to 1, and these are from {pictures.min():.3g} to "
            f"{pictures.max():.3g}: take Normalize, or what else moves them, out of dataset.batch_transforms"
        )
    return pictures.masked_fill(is_outside, nan).clamp(0, 1)
