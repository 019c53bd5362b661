"""The scores that no config knows: the named parts of a loss, and what a step logs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor

from base.running_mean import RunningMean
from config.rules import why_not_a_score
from utils.distributed import gathered
from utils.errors import UserError

NO_PARTS: frozenset[str] = frozenset()


class NamedMeans(dict[str, RunningMean]):
    """A running mean for each name, from the first number on that comes under it.

    taken: names that are none of these.
    """

    def __init__(self, taken: Collection[str]):
        super().__init__()
        self.taken = taken
        self.part_names: frozenset[str] | None = None  # of the loss; known from its first batch on

    def log(self, name: str, value: Tensor | float, num_samples: Tensor | int) -> None:
        """Add the mean of so many samples. UserError for a name that is taken, and for what is no number."""
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise UserError(f"log({name!r}, ...) got a tensor of shape {tuple(value.shape)}; it takes one number")
            value = value.detach().reshape(())
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(f"log({name!r}, ...) got {value!r:.80}; it takes a number, or a tensor of one")
        mean = self._mean_of(name)
        if isinstance(value, Tensor):
            mean.add_mean(value, num_samples)
        else:
            mean.add(value * num_samples, num_samples)

    def add_parts(self, parts: Mapping[str, Tensor], weight: Tensor | float) -> None:
        """Add the parts of the loss of a batch, as loss_NAME. UserError unless they are those of the batch before."""
        if self.part_names is None:
            self.part_names = frozenset(parts)
        elif self.part_names != parts.keys():
            told = " and ".join(f"({', '.join(sorted(names))})" for names in (self.part_names, parts))
            raise UserError(f"the loss has other parts for one batch than for another, {told}: return all each time")
        for name, part in parts.items():
            self._mean_of(f"loss_{name}").add_mean(part, weight)

    def with_numbers(self) -> list[str]:
        """The names under which numbers have come since the last reset, in any process."""
        return self._of_all(name for name, mean in self.items() if isinstance(mean.weight, Tensor) or mean.weight)

    def with_recent_numbers(self) -> list[str]:
        """The names under which numbers have come since they were last looked at, in any process."""
        return self._of_all(
            name for name, mean in self.items() if isinstance(mean.weight, Tensor) or mean.weight != mean.seen[1]
        )

    def _of_all(self, names: Iterable[str]) -> list[str]:
        """The names of all processes; one that this process lacks gets a mean of nothing."""
        of_all = list(dict.fromkeys(itertools.chain.from_iterable(gathered(list(names)))))
        for name in of_all:
            self._mean_of(name)
        return of_all

    def state_dict(self) -> dict[str, Any]:
        return {name: mean.state_dict() for name, mean in self.items()}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, or add it to what was counted so far."""
        for name, values in state.items():
            self.setdefault(name, RunningMean()).merge(values)

    def _mean_of(self, name: str) -> RunningMean:
        if name not in self:
            if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]{,99}", name):
                raise UserError(f"found the score {name!r:.120}; expected a name of letters, digits, '_' and '-'")
            if reason := why_not_a_score(name):
                raise UserError(f"found the score {name!r}, but {reason}; expected another name")
            if name.lower() in {other.lower() for other in (*self.taken, *self)}:
                raise UserError(f"two scores are called {name!r}; call one of them otherwise")
            self[name] = RunningMean()
        return self[name]
