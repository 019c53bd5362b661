"""Settings that are written as a few words: `2 epochs`, `8 hours`, `max val_accuracy`."""

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Every:
    """How often something happens: `1 epoch`, `500 steps`, `10 minutes`, or once: `end`."""

    count: float
    unit: str
    pattern: ClassVar = r"([0-9]{1,15}) +(epoch|step|minute)s?"

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read a count and a unit, or `end`. Raises ValueError for anything else."""
        if text == "end" and cls is Every:
            return cls(math.inf, "end")
        match = re.fullmatch(cls.pattern, text) if isinstance(text, str) else None
        if match is None or float(match[1]) == 0:
            raise ValueError("not a count and a unit")
        return cls(float(match[1]), match[2])

    def __str__(self) -> str:
        if self.unit == "end":
            return "end"
        count = f"{self.count:.15f}".rstrip("0").rstrip(".")  # never as 1e-05, which would not be read back
        return f"{count} {self.unit}{'s' if self.count != 1 else ''}"


class Duration(Every):
    """A length of time: `90 seconds`, `30 minutes`, `1.5 hours`."""

    pattern = rf"([0-9]{{1,15}}(?:\.[0-9]{{1,15}})?) +({'|'.join(SECONDS)})s?"

    @property
    def seconds(self) -> float:
        return self.count * SECONDS[self.unit]


@dataclass(frozen=True)
class Monitor:
    """What decides which checkpoint is best: `max val_accuracy`, `min val_loss`."""

    mode: str  # "min" | "max"
    metric: str

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read `min METRIC` or `max METRIC`. Raises ValueError for anything else."""
        match = re.fullmatch(r"(min|max) +(\S+)", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError("not a mode and a metric")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.mode} {self.metric}"
