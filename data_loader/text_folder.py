"""Own texts in files, in one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from base import DATASETS, Count
from data_loader.csv_table import told
from data_loader.encoded_texts import EncodedTexts
from data_loader.in_memory import class_targets
from data_loader.picture_folders import class_folders, refuse_unknown, shown
from data_loader.picture_parts import divided, locate
from data_loader.splitting import Amount
from data_loader.vocabulary import TokenChoices, Tokens, check_choices, fit_vocabulary
from data_loader.word_vectors import vectors_of
from utils.errors import UserError

ENDING = ".txt"


@DATASETS.register
class TextFolder(EncodedTexts):
    """Texts in .txt files in class folders: inputs int64 (N, L), padded with 0, targets class numbers.

    root: holds train/, valid/ (or val/, validation/) and test/, in any case, with class folders in them; or class
        folders only, which are then divided by split_seed into test_fraction, valid_fraction of what is left, and the
        rest. Where there is train/ but no valid/, valid_fraction of train/ are the validation part.
    group: a regular expression with one group in parentheses, such as `author(\\d+)`, searched for in each path below
        root (train/CLASS/FILE): texts for which it gives the same stay in one part, where a folder is divided.
    encoding: of the files; a byte order mark is left out. The rest is as for TextCSV.
    preprocessing: what was fitted on a training part; nothing is fitted then.
    """

    input_endings = (ENDING,)

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
    ):
        choices = TokenChoices(tokens, lower, vocab_size, min_count, max_length)
        if preprocessing is not None:
            check_choices(preprocessing, {**choices._asdict(), "vectors": vectors})
        elif split != "train":
            of_training = TextFolder(
                "train", root, valid_fraction, test_fraction, split_seed, group, *choices, None, encoding
            )
            preprocessing = of_training.preprocessing
        is_fitted = preprocessing is not None
        place = locate(Path(root).expanduser(), split, valid_fraction, test_fraction, has_classes=is_fitted)
        classes = preprocessing["classes"] if is_fitted else list(class_folders(place.training))
        found = _find_texts(place.folder, classes, may_lack=is_fitted or place.folder != place.training)
        targets = class_targets(found.targets)
        parts, groups = divided(place, found.names, targets, group, split_seed)
        self.part_sizes = {name: len(members) for name, members in parts.items()}
        chosen = parts[split].tolist()
        self.names = [found.names[index] for index in chosen]
        self.groups = groups and [groups[index] for index in chosen]
        paths = [place.folder / name for name in self.names]
        texts = _read_all(paths, encoding)
        if not is_fitted:
            preprocessing = {**fit_vocabulary(texts, choices), "classes": classes}
            preprocessing["choices"]["vectors"] = vectors
        self.preprocessing = preprocessing
        called = [*map(str, paths)]
        super().__init__(texts, self.preprocessing, targets[parts[split]], classes, f"{split} part", called)
        self.notes += [*place.notes, *found.notes]
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


class Found(NamedTuple):
    """The texts in class folders: by class, then by name."""

    names: list[str]  # paths relative to the folder, with /
    targets: list[int]
    notes: list[str]


def _find_texts(folder: Path, classes: list[str], *, may_lack: bool) -> Found:
    """The .txt files below the class folders of `folder`, numbered by their places in `classes`.

    may_lack: some classes, but not all. UserError where a class folder is none of the classes, or a class has nothing.
    """
    folders = class_folders(folder)
    refuse_unknown(folder, folders, classes)
    names, targets, empty, others = [], [], [], []
    for number, name in enumerate(classes):
        files = Path(folder, folders[name]).rglob("*") if name in folders else ()
        paths = sorted(file.relative_to(folder).as_posix() for file in files if file.is_file())
        paths = [path for path in paths if "/." not in path]
        texts = [path for path in paths if path.lower().endswith(ENDING)]
        others += [path for path in paths if path not in texts]
        names += texts
        targets += [number] * len(texts)
        empty += [] if texts else [name]
    told_empty = f"'{folder}': no texts of {shown(empty)}; they are expected as {folder}/CLASS/NAME{ENDING}"
    if not names or (empty and not may_lack):
        raise UserError(told_empty)
    notes = (
        [f"'{folder}': left out, {len(others)} files that do not end in {ENDING}: {shown(others)}"] if others else []
    )
    return Found(names, targets, [*notes, *([told_empty] if empty else [])])


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
