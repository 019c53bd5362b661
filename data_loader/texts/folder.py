"""Own texts in files, in one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base import DATASETS, Count
from data_loader.class_folders import FileKind
from data_loader.folder_parts import Division, find_part
from data_loader.folds import Fold
from data_loader.splitting import Amount
from data_loader.tables.csv_table import told
from data_loader.texts.encoded import EncodedTexts
from data_loader.texts.vocabulary import TokenChoices, Tokens, check_choices, fit_vocabulary
from data_loader.texts.word_vectors import vectors_of
from utils.errors import UserError

ENDINGS = (".txt",)
OTHER_ENDINGS = {
    ".doc", ".docx", ".eml", ".htm", ".html", ".md", ".odt", ".pdf", ".rst", ".rtf", ".tex", ".text", ".xml",
}  # fmt: skip
TEXTS = FileKind("texts", ENDINGS, ENDINGS.__contains__, OTHER_ENDINGS, "save them as .txt")


@DATASETS.register
class TextFolder(EncodedTexts):
    """Texts in .txt files in class folders: inputs int64 (N, L), padded with 0, targets class numbers.

    root: holds train/, valid/ (or val/, validation/) and test/, in any case, with class folders in them; or class
        folders only, which are then divided by split_seed into test_fraction, valid_fraction of what is left, and the
        rest. Where there is train/ but no valid/, valid_fraction of train/ are the validation part.
    group: a regular expression with one group in parentheses, such as `author(\\d+)`, searched for in each path below
        root (train/CLASS/FILE): texts for which it gives the same stay in one part, where a folder is divided.
    encoding: of the files; a byte order mark is left out. The rest is as for TextCSV.
    preprocessing: what was fitted on a training part; nothing is fitted then. test_fold: the test part, in place of
        others.
    """

    input_endings = ENDINGS

    def __init__(
        self,
        split: str,
        root: str,
        valid_fraction: Amount | None = None,
        test_fraction: Amount | None = None,
        split_seed: int = 0,
        group: str | None = None,
        tokens: Tokens = "words",
        lower: bool = True,
        vocab_size: Count | None = None,
        min_count: Count | None = None,
        max_length: Count = 256,
        vectors: str | None = None,
        encoding: str = "utf-8-sig",
        preprocessing: dict[str, Any] | None = None,
        test_fold: Fold | None = None,
    ):
        choices = TokenChoices(tokens, lower, vocab_size, min_count, max_length)
        if preprocessing is not None:
            check_choices(preprocessing, {**choices._asdict(), "vectors": vectors})
        elif split != "train":
            of_training = TextFolder(
                *("train", root, valid_fraction, test_fraction, split_seed, group, *choices, None, encoding),
                test_fold=test_fold,
            )
            preprocessing = of_training.preprocessing
        is_fitted = preprocessing is not None
        division = Division(valid_fraction, test_fold or test_fraction, split_seed, group)
        part = find_part(TEXTS, split, root, division, preprocessing and preprocessing["classes"])
        self.names, self.groups, self.part_sizes = part.names, part.groups, part.sizes
        paths = [part.folder / file for file in part.files]
        texts, classes = _read_all(paths, encoding), part.found.classes
        if not is_fitted:
            preprocessing = {**fit_vocabulary(texts, choices), "classes": classes}
            preprocessing["choices"]["vectors"] = vectors
        self.preprocessing = preprocessing
        super().__init__(texts, preprocessing, part.targets, classes, f"{split} part", [*map(str, paths)])
        self.notes += part.notes
        if vectors is not None and not is_fitted:
            self.start_from(*vectors_of(vectors, self.preprocessing["vocabulary"]))

    @classmethod
    def for_inputs(
        cls, inputs: Sequence[Any], preprocessing: dict[str, Any], encoding: str = "utf-8-sig"
    ) -> EncodedTexts:
        """The texts of files, without targets."""
        texts, unreadable = [], {}
        for number, file in enumerate(inputs):
            try:
                texts.append(_read(Path(file), encoding))
            except UserError as error:
                texts.append("")
                unreadable[number] = str(error)
        dataset = EncodedTexts(texts, preprocessing, called=[str(file) for file in inputs])
        dataset.unreadable = unreadable
        return dataset


def _read_all(paths: Sequence[Path], encoding: str) -> list[str]:
    """The texts of files. UserError with all that have none."""
    texts, wrong = [], []
    for path in paths:
        try:
            texts.append(_read(path, encoding))
        except UserError as error:
            wrong.append(f"{path}: {error}")
    if wrong:
        raise UserError(told(wrong))
    return texts


def _read(path: Path, encoding: str) -> str:
    """The text of a file, without blanks at its ends. UserError where there is none."""
    try:
        text = path.read_text(encoding).strip()
    except LookupError as error:
        raise UserError(f"dataset.args.encoding: found '{encoding}'; expected one such as utf-8 or cp1252") from error
    except UnicodeDecodeError as error:
        raise UserError(f"is no {encoding} text ({error.reason}); set dataset.args.encoding") from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from error
    if not text:
        raise UserError("there is no text in it")
    return text
