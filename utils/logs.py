"""metrics.csv and train.log."""

import contextlib
import csv
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from utils.files import naming, write_durably


class MetricsCsv:
    """One row an epoch: epoch,step,<train metrics>,<val_ metrics>,lr,seconds,samples_per_second.

    A metric that a row lacks is an empty cell. One that the header lacks gets a column, empty in the rows before.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def write(
        self,
        *,
        epoch: int,
        step: int,
        scores: Mapping[str, float],
        lr: float,
        seconds: float,
        samples_per_second: float,
    ) -> None:
        """Adds a row; WriteError for a full disk."""
        header, rows = self._read()
        names = [*dict.fromkeys([*header[2:-3], *scores])]
        names.sort(key=lambda name: name.startswith("val_"))  # stable: train metrics, then val_ metrics
        columns = ["epoch", "step", *names, "lr", "seconds", "samples_per_second"]
        row = {"epoch": epoch, "step": step, **scores, "lr": lr}
        row |= {"seconds": seconds, "samples_per_second": samples_per_second}
        with naming(self.path):
            if columns == header:
                with open(self.path, "a", encoding="utf-8", newline="") as file:
                    file.write(_lines(columns, [row]))
            else:
                text = _lines(columns, [dict(zip(columns, columns, strict=True)), *rows, row])
                write_durably(self.path, lambda file: file.write(text.encode()))

    def _read(self) -> tuple[list[str], list[dict]]:
        if not self.path.exists():
            return [], []
        with open(self.path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), list(reader)


@contextlib.contextmanager
def logging_to(path: str | Path | None) -> Iterator[None]:
    """Sends INFO and above of the project's own code, and WARNING and above of all code, to the terminal.

    path: of a file that gets the same with the time in front; None for no file.
    """
    console = _Console()
    console.setFormatter(logging.Formatter("%(message)s"))
    handlers: list[logging.Handler] = [console]
    if path is not None:
        file = _LogFile(path)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
        handlers.append(file)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for handler in handlers:
        handler.addFilter(_is_of_interest)
        root.addHandler(handler)
    try:
        yield
    except BaseException as error:  # which goes on to the terminal by itself
        if path is not None:
            file.emit(
                logging.makeLogRecord(
                    {"levelname": "ERROR", "msg": "failed", "exc_info": (type(error), error, error.__traceback__)}
                )
            )
        raise
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _Console(logging.Handler):
    """Lines on the terminal that leave a progress bar whole: INFO on stdout, the rest on stderr.

    A run goes on, and into its files, when nobody reads them any more.
    """

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record).rstrip()  # warnings end in a line break
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        try:
            if (tqdm := sys.modules.get("tqdm")) is not None:
                tqdm.tqdm.write(text, file=stream)
            else:
                print(text, file=stream)
            stream.flush()
        except BrokenPipeError:
            write_nowhere(stream)


def write_nowhere(stream: TextIO) -> None:
    """Whoever read this stream has gone, as in `... | head`: nothing that is still to come may fail because of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _LogFile(logging.Handler):
    """Appends lines to a file that is opened for each; a full disk stops the run, which a FileHandler would not."""

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path).absolute()

    def emit(self, record: logging.LogRecord) -> None:
        with naming(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(self.format(record).rstrip() + "\n")


def _is_of_interest(record: logging.LogRecord) -> bool:
    is_library = {"site-packages", "dist-packages"} & set(Path(record.pathname).parts)
    return record.levelno >= logging.WARNING or not is_library


def _lines(columns: list[str], rows: list[dict]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
