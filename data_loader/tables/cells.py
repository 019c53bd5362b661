"""What the texts of a column say: numbers, shares, dates, times of day, truth values; or categories.

Each function takes a Series of different texts, stripped and never missing, and gives one of equal length that is null
where a text says nothing of the kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polars import Series

MISSING = ("", "?", "na", "n/a", "#n/a", "nan", "null", "none")
EXPECTED = {
    "number": "a finite number",
    "percentage": "a percentage, such as 12.5 %",
    "boolean": "true or false, yes or no",
    "date": "a date, such as 2024-01-31 or 2024-01-31 14:30",
    "time": "a time of day, such as 14:30",
}
# A number with groups of three digits, between the marks of groups and the decimal mark.
_GROUPED = r"^[+-]?(?:[1-9]\d{{0,2}}(?:[{group}'\u00a0\u202f ]\d{{3}})+|\d*)(?:{mark}\d*)?(?:[eE][+-]?\d+)?$"
GROUPS_OF = {".": ",", ",": r"\."}
POINT_AS_GROUPS = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"  # 1.234 and its like, which may be a thousand or one
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_MONTH = r"[A-Za-z]{3,9}"
# What strptime calls it, and what it looks like. Of those that look alike, day_first tells.
DATES = {
    "%Y-%m-%d": r"\d{4}-\d{1,2}-\d{1,2}",
    "%Y/%m/%d": r"\d{4}/\d{1,2}/\d{1,2}",
    "%d.%m.%Y": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "%d/%m/%Y": r"\d{1,2}/\d{1,2}/\d{4}",
    "%m/%d/%Y": r"\d{1,2}/\d{1,2}/\d{4}",
    "%d-%m-%Y": r"\d{1,2}-\d{1,2}-\d{4}",
    "%m-%d-%Y": r"\d{1,2}-\d{1,2}-\d{4}",
    "%d %b %Y": rf"\d{{1,2}} {_MONTH} \d{{4}}",
    "%d-%b-%Y": rf"\d{{1,2}}-{_MONTH}-\d{{4}}",
    "%b %d, %Y": rf"{_MONTH} \d{{1,2}}, \d{{4}}",
}
_TIME = r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))? ?([AaPp][Mm])?"
_ZONE = r" ?(?:(Z)|([+-]\d{2}):?(\d{2}))?"


def cleaned(texts: Series) -> Series:
    """Any texts, stripped, null where one stands for a missing value."""
    import polars

    stripped = polars.col(texts.name).cast(polars.String).str.strip_chars()
    is_missing = (stripped.str.len_bytes() <= 4) & stripped.str.to_lowercase().is_in(MISSING)
    return texts.to_frame().select(polars.when(~is_missing).then(stripped).alias(texts.name)).to_series()


def as_plain_numbers(texts: Series) -> Series:
    """Float64; nan and infinity are none."""
    import polars

    numbers = texts.cast(polars.Float64, strict=False)
    return numbers.set(~numbers.is_finite(), None)


def as_numbers(texts: Series, decimal: str) -> Series:
    """Float64, with this decimal mark; the other one, blanks and ' divide groups of three digits."""
    import polars

    mark = r"\." if decimal == "." else ","
    texts = texts.str.replace("^\u2212", "-")  # a typographic minus
    is_number = texts.str.contains(_GROUPED.format(group=GROUPS_OF[decimal], mark=mark)) & texts.str.contains(r"\d")
    plain = texts.str.replace_all(rf"[{GROUPS_OF[decimal]}'\u00a0\u202f ]", "")
    return as_plain_numbers(polars.select(polars.when(is_number).then(plain)).to_series().str.replace(",", "."))


def as_shares(texts: Series, decimal: str) -> Series:
    """`12 %` -> 0.12. Float64."""
    import polars

    numbers = as_numbers(texts.str.strip_suffix("%").str.strip_chars(), decimal) / 100
    return polars.select(polars.when(texts.str.ends_with("%")).then(numbers)).to_series()


def as_truth(texts: Series) -> Series:
    """1 for true and yes, 0 for false and no, in any case. Float64."""
    import polars

    lower = texts.str.to_lowercase()
    is_true = lower.is_in(_TRUE)
    return polars.select(polars.when(is_true | lower.is_in(_FALSE)).then(is_true.cast(polars.Float64))).to_series()


def as_times(texts: Series) -> Series:
    """The share of a day that is over, Float64."""
    return _share_of_day(texts, rf"^{_TIME}$", 1)


def as_days(texts: Series, form: str) -> Series:
    """Days since 1970, with the share of the day that is over where a time stands beside the date, in UTC. Float64.

    form: one of DATES.
    """
    import polars

    pattern = rf"^({DATES[form]})(?:(?:T| +){_TIME}{_ZONE})?$"
    dates = texts.str.extract(pattern, 1)
    months = [form, form.replace("%b", "%B")] if "%b" in form else [form]
    parsed = [dates.str.to_date(each, strict=False) for each in months]
    days = polars.select(polars.coalesce(parsed)).to_series().to_physical().cast(polars.Float64)
    has_time = texts.str.contains(":", literal=True)
    time = _share_of_day(texts, pattern, 2)
    sign = polars.select(polars.when(texts.str.extract(pattern, 7).str.starts_with("-")).then(-1.0).otherwise(1.0))
    hours, minutes = (texts.str.extract(pattern, place).cast(polars.Float64) for place in (7, 8))
    zone = (hours / 24 + sign.to_series() * minutes / 1440).fill_null(0.0)
    return polars.select(polars.when(has_time).then(days + time - zone).otherwise(days)).to_series()


def _share_of_day(texts: Series, pattern: str, first: int) -> Series:
    import polars

    hours, minutes, seconds = (
        texts.str.extract(pattern, place).cast(polars.Float64) for place in range(first, first + 3)
    )
    half = texts.str.extract(pattern, first + 3).str.to_lowercase()
    hours = polars.select(
        polars.when(half.is_null())
        .then(hours)
        .when((hours >= 1) & (hours <= 12))
        .then(hours % 12 + 12 * half.eq("pm").cast(polars.Float64))
    ).to_series()
    seconds = seconds.fill_null(0.0)
    is_time = (hours < 24) & (minutes < 60) & (seconds < 61)
    return polars.select(polars.when(is_time).then(((hours * 60 + minutes) * 60 + seconds) / 86400)).to_series()


def canonical(texts: Series) -> Series:
    """One spelling for what is the same: `1.0` is 1, `TRUE` is true. A leading zero, as in 007, is kept."""
    import polars

    numbers = as_plain_numbers(texts)
    is_whole = (numbers == numbers.round()) & (numbers.abs() < 2.0**53)
    whole = numbers.set(~is_whole.fill_null(False), None).cast(polars.Int64).cast(polars.String)
    is_code = texts.str.contains(r"^[+-]?0\d|^\+|^-?[1-9]\d*$")
    lower = texts.str.to_lowercase()
    return polars.select(
        polars.when(is_code)
        .then(texts)
        .when(whole.is_not_null())
        .then(whole)
        .when(numbers.is_not_null())
        .then(numbers.cast(polars.String))
        .when(lower.is_in(["true", "false"]))
        .then(lower)
        .otherwise(texts)
    ).to_series()


def names_of_classes(texts: Series) -> list[str]:
    """The classes that texts name, each once, in sorted order: by value where they are numbers."""
    names = canonical(texts).unique()
    numbers = as_plain_numbers(names)
    classes = names.to_list()
    return sorted(classes, key=None if numbers.null_count() else dict(zip(classes, numbers, strict=True)).get)


def values_of(texts: Series, kind: str, decimal: str, form: str | None = None) -> Series:
    """The numbers that texts of a kind say, Float64."""
    if kind == "date":
        return as_days(texts, form)
    if kind in ("number", "percentage"):
        return (as_numbers if kind == "number" else as_shares)(texts, decimal)
    return (as_truth if kind == "boolean" else as_times)(texts)
