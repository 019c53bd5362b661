"""Settings that are written as a few words: `2 epochs`, `8 hours`, `max val_accuracy`."""

import re
from typing import Any, NamedTuple

from pydantic_core import core_schema

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class _Words:
    """Lets pydantic read a NamedTuple from its text, and write it back as that text."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


def _count_and_unit(text: Any, units: tuple[str, ...], number: str) -> tuple[str, str]:
    match = re.fullmatch(rf"({number}) +({'|'.join(units)})s?", text) if isinstance(text, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError("not a count and a unit")
    return match[1], match[2]


class _Every(NamedTuple):
    count: int
    unit: str  # "epoch" | "step" | "minute"


class Every(_Words, _Every):
    """How often something happens: `1 epoch`, `500 steps`, `10 minutes`."""

    @classmethod
    def parse(cls, text: Any) -> "Every":
        """Read `N epochs | steps | minutes`. Raises ValueError for anything else."""
        count, unit = _count_and_unit(text, ("epoch", "step", "minute"), "[0-9]{1,15}")
        return cls(int(count), unit)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'s' if self.count != 1 else ''}"


class _Duration(NamedTuple):
    count: float
    unit: str  # a key of SECONDS


class Duration(_Words, _Duration):
    """A length of time: `90 seconds`, `30 minutes`, `8 hours`."""

    @classmethod
    def parse(cls, text: Any) -> "Duration":
        """Read `N seconds | minutes | hours | days`. Raises ValueError for anything else."""
        count, unit = _count_and_unit(text, tuple(SECONDS), r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
        return cls(float(count), unit)

    @property
    def seconds(self) -> float:
        return self.count * SECONDS[self.unit]

    def __str__(self) -> str:
        count = int(self.count) if self.count.is_integer() else self.count
        return f"{count} {self.unit}{'s' if count != 1 else ''}"


class _Monitor(NamedTuple):
    mode: str  # "min" | "max"
    metric: str


class Monitor(_Words, _Monitor):
    """What decides which checkpoint is best: `max val_accuracy`, `min val_loss`."""

    @classmethod
    def parse(cls, text: Any) -> "Monitor":
        """Read `min METRIC` or `max METRIC`. Raises ValueError for anything else."""
        match = re.fullmatch(r"(min|max) +(\S+)", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError("not a mode and a metric")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.mode} {self.metric}"
