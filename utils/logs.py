"""metrics.csv and train.log."""

import contextlib
import csv
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.errors import UserError
from utils.files import naming, write_durably
from utils.streams import write_nowhere

# What libraries warn of and nobody can act on: how the message begins, by its logger.
POINTLESS = {
    # torch.compile on a machine that has CUDA's compiler, but no GPU: it takes the CPU's, as it should.
    "torch.utils.cpp_extension": "No CUDA runtime is found, using CUDA_HOME",
    # torch.compile of a model that DistributedDataParallel is around: its own ranges in traces are left out.
    "torch._dynamo.variables.ctx_manager": "Profiler record function",
}


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
        header, rows = read_metrics(self.path)
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


def read_metrics(path: Path, num_lines: int | None = None) -> tuple[list[str], list[dict[str, str]]]:
    """The header of a metrics.csv and its rows, or of its first `num_lines`; none of a file that is not there.

    UserError where it is no metrics.csv, or its last line is not whole.
    """
    lines = path.read_bytes().splitlines(keepends=True)[:num_lines] if path.exists() else []
    if not lines:
        return [], []
    try:
        reader = csv.DictReader(io.StringIO(b"".join(lines).decode(), newline=""), strict=True)
        header, rows = list(reader.fieldnames or []), list(reader)
        if header[:2] != ["epoch", "step"] or header[-3:] != ["lr", "seconds", "samples_per_second"]:
            raise ValueError("its first line does not name the columns")
        if not lines[-1].endswith((b"\n", b"\r")):
            raise ValueError("its last line is cut short")
        for number, row in enumerate(rows, start=2):
            if row.keys() != {*header} or None in row.values():
                raise ValueError(f"line {number} has not as many cells as the first")
            for cell in filter(None, row.values()):
                float(cell)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} has been damaged or changed: {error}; bring it back, or remove it") from error
    return header, rows


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
    for name in POINTLESS:  # whose own handlers would print it too
        logging.getLogger(name).addFilter(_is_to_the_point)
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
        for name in POINTLESS:
            logging.getLogger(name).removeFilter(_is_to_the_point)
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _Console(logging.Handler):
    """Lines on the terminal that leave a progress bar whole: INFO on stdout, the rest on stderr.

    A run goes on, and into its files, when nobody reads them any more.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "is_told", False):  # by another process
            return
        text = self.format(record).rstrip()  # warnings end in a line break
        if sys.stdout.isatty():
            text = getattr(record, "on_terminal", text)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        try:
            if (tqdm := sys.modules.get("tqdm")) is not None:
                tqdm.tqdm.write(text, file=stream)
            else:
                print(text, file=stream)
            stream.flush()
        except OSError:  # the other end of a pipe or a terminal is gone, or the disk is full that a shell writes it to
            write_nowhere(stream)


class _LogFile(logging.Handler):
    """Appends lines to a file that is opened for each; a full disk stops the run, which a FileHandler would not."""

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path).absolute()

    def emit(self, record: logging.LogRecord) -> None:
        with naming(self.path), open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(self.format(record).rstrip() + "\n")


def _is_of_interest(record: logging.LogRecord) -> bool:
    is_library = {"site-packages", "dist-packages"} & set(Path(record.pathname).parts)
    return record.levelno >= logging.WARNING or not is_library


def _is_to_the_point(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(POINTLESS[record.name])


def _lines(columns: list[str], rows: list[dict]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
