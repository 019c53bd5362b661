"""Cases of tests/golden/*.txt: a config, and the exact lines that it is answered with.

    | model: LeNet              lines of the file x.yaml, kept for the cases below; ⇥ is a tab, ␀ a NUL
    $ seed=x trainer.epohcs=3   a case: overrides, quoted as in a shell, or a whole command (train.py ...)
    seed=x: seed: found ...     what is told, in this order; nothing where all is right; … stands for any text

`python -m tests.golden` writes the files anew, keeping what still fits; read the difference before you commit it.
"""

import contextlib
import io
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import test as test_script
import train as train_script
from config.load import check_config, read_config
from config.problems import ConfigError
from script import load_registries

FOLDER = Path(__file__).parent / "golden"
COMMANDS = {"train.py": train_script.main, "test.py": test_script.main}


class Case(NamedTuple):
    file: Path
    line: int  # of the `$`, from 0
    text: str
    command: str
    expected: list[str]

    def told(self) -> list[str]:
        """What this version says."""
        words = shlex.split(self.command)
        if words and words[0] in COMMANDS:
            return _told_by_command(*words)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.yaml")
            path.write_text(self.text)
            told: list[str] = []
            try:
                document = read_config([str(path)], words)
                if self.file.stem == "yaml":  # only what is wrong with the text
                    raise ConfigError(document.problems)
                # Names and arguments of components take the registries, which the other cases do without.
                check_config(document, load_registries if self.file.stem == "components" else None, told.append)
            except ConfigError as error:
                assert not error.is_told or str(error).splitlines() == told
                return str(error).replace(f"{folder}/", "").splitlines()
            return []


def _told_by_command(name: str, *arguments: str) -> list[str]:
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        try:
            code = COMMANDS[name](list(arguments))
        except SystemExit as end:
            code = end.code
    assert code == 2
    return stderr.getvalue().splitlines()


def cases() -> Iterator[Case]:
    for file in sorted(FOLDER.glob("*.txt")):
        lines = file.read_text().splitlines()
        text: list[str] = []
        for number, line in enumerate(lines):
            if line.startswith("|"):
                text = [*(text if lines[number - 1].startswith("|") else []), line[2:]]
            elif line.startswith("$"):
                following = lines[number + 1 :]
                end = next((i for i, other in enumerate(following) if not other or other[0] in "|$#"), len(following))
                yaml = "\n".join(text).replace("⇥", "\t").replace("␀", "\0")
                yield Case(file, number, yaml, line[1:].strip(), following[:end])


def fits(told: str, expected: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), told) is not None


def main() -> None:
    for case in reversed(list(cases())):  # from the end, so that the numbers of earlier lines stay right
        lines = case.file.read_text().splitlines()
        told = [next((old for old in case.expected if fits(line, old)), line) for line in case.told()]
        lines[case.line + 1 : case.line + 1 + len(case.expected)] = told
        case.file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
