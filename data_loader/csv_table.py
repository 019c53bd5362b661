"""Read a CSV file as text, by column, with messages that name the line."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from config.problems import did_you_mean
from utils.errors import UserError

SCIKIT_LEARN = "scikit-learn:"  # begins the name of a table that ships with scikit-learn: scikit-learn:diabetes
MISSING = frozenset(("", "?", "na", "n/a", "nan", "null", "none"))


class Table:
    """The columns of a CSV file with a header: name -> texts, stripped; `lines` are the line numbers of the rows."""

    def __init__(self, path: Path, columns: dict[str, list[str]], lines: list[int]):
        self.path = path
        self.columns = columns
        self.lines = lines

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The texts of a column; UserError when there is none of this name."""
        if name not in self.columns:
            hint = did_you_mean(name, self.columns)
            raise UserError(f"{self.path}:1: no column '{name}'{hint} Columns: {', '.join(self.columns)}")
        return self.columns[name]

    def numbers(self, name: str) -> list[float]:
        """A column as numbers, nan where a value is missing; UserError for other text and for infinity."""
        numbers = [as_number(text) for text in self.column(name)]
        for row, number in enumerate(numbers):
            if number is None or math.isinf(number):
                raise self.error(row, name, "expected a finite number")
        return numbers

    def error(self, row: int, name: str, expected: str) -> UserError:
        return UserError(
            f"{self.path}:{self.lines[row]}: column '{name}': found '{self.columns[name][row]}'; {expected}"
        )


def as_number(text: str) -> float | None:
    """nan for a missing value, None for text that is no number."""
    if text.lower() in MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None


def read_csv(path: str, delimiter: str = ",") -> Table:
    """The table in a CSV file in UTF-8, or `scikit-learn:NAME`. UserError when absent, empty, ragged or no text."""
    if path.startswith(SCIKIT_LEARN):
        return _scikit_learn_table(path)
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise UserError(f"dataset.args.delimiter: found {delimiter!r}; expected one character, such as ; or '\\t'")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter)
            numbered = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}") from error
    if len(numbered) < 2:
        raise UserError(f"{path}: {'no rows below the header' if numbered else 'the file is empty'}")
    (_, header), *rows = numbered
    names = [name.strip() for name in header]
    if len(names) == 1:
        raise UserError(f"{path}:1: only one column ({names[0]}) between '{delimiter}': set dataset.args.delimiter")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}:1: two columns are called '{twice}'")
    for line, row in rows:
        if len(row) != len(names):
            raise UserError(f"{path}:{line}: {len(row)} values, but the header has {len(names)} columns")
    columns = {name: [row[place].strip() for _, row in rows] for place, name in enumerate(names)}
    return Table(Path(path), columns, [line for line, _ in rows])


def _scikit_learn_table(path: str) -> Table:
    """A table that ships with scikit-learn, with the column `target`, as if it had been read from a CSV file."""
    from sklearn import datasets

    name = path.removeprefix(SCIKIT_LEARN)
    names = ("breast_cancer", "diabetes", "iris", "wine")
    if name not in names:
        raise UserError(f"dataset.args.path: scikit-learn ships no table '{name}'; there are {', '.join(names)}")
    loaded = getattr(datasets, f"load_{name}")()
    columns = dict(zip(loaded.feature_names, loaded.data.T, strict=True)) | {"target": loaded.target}
    texts = {column: [repr(number) for number in values.tolist()] for column, values in columns.items()}
    return Table(Path(path), texts, list(range(2, len(loaded.target) + 2)))
