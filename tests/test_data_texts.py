"""Texts in tables and folders: tokens, the vocabulary of the training part, padding, and what is wrong with them."""

from pathlib import Path

import pytest
import torch

from config.schema import DataLoaderConfig, DatasetConfig
from data_loader.parts import build_parts
from data_loader.texts.folder import TextFolder
from data_loader.texts.table import TextCSV
from data_loader.texts.vocabulary import TokenChoices, encode, fit_vocabulary
from tests.make_data import write_csv
from tests.running import loader_of
from utils.errors import UserError

LOADER = DataLoaderConfig(validation_split=None)
WORDS = TokenChoices("words", lower=True, vocab_size=None, min_count=1, max_length=100)


def encoded(texts, fitted):
    """The numbers of each text."""
    tokens, lengths, *_ = encode(texts, fitted)
    return [part.tolist() for part in tokens.split(lengths.tolist())]


@pytest.fixture
def table(tmp_path):
    """80 texts of two kinds, each with a word of its own; `speech` goes over two rows."""
    kinds = ["salt" if row % 4 < 2 else "sugar" for row in range(80)]
    texts = [f"{kind} {kind} only{row}" for row, kind in enumerate(kinds)]
    columns = {"text": texts, "target": kinds, "speech": [row // 2 for row in range(80)], "size": map(float, range(80))}
    write_csv(tmp_path / "texts.csv", columns)
    return str(tmp_path / "texts.csv")


def parts_of(path, **args):
    config = DatasetConfig(type="TextCSV", args={"path": path, **args})
    return {split: part.dataset for split, part in build_parts(config, LOADER, ("train", "valid", "test"), 1).items()}


@pytest.mark.parametrize(
    "tokens, text, expected",
    [
        ("words", "Don't stop: O’er 3.5 €!", ["don't", "stop", ":", "o’er", "3", ".", "5", "€", "!"]),
        ("characters", "Aé \n😀", ["a", "é", " ", "\n", "😀"]),
    ],
)
def test_what_a_token_is(tokens, text, expected):
    fitted = fit_vocabulary([text], WORDS._replace(tokens=tokens))
    assert sorted(fitted["vocabulary"]) == sorted(set(expected))
    assert encoded([text], fitted) == [[2 + fitted["vocabulary"].index(token) for token in expected]]


@pytest.mark.parametrize("tokens", ["words", "characters", "bytes"])
def test_what_looks_the_same_is_the_same(tokens, tmp_path):
    """An accent may be a character of its own, as macOS writes it."""
    one, other = "caf\u00e9", "cafe\u0301"
    fitted = fit_vocabulary([one], WORDS._replace(tokens=tokens, min_count=None if tokens == "bytes" else 1))
    assert encoded([one], fitted) == encoded([other], fitted) and 1 not in encoded([other], fitted)[0]
    write_csv(tmp_path / "cafes.csv", {"text": [one, other, *"abcdefgh"], "target": ["a", "b"] * 5})
    notes = parts_of(str(tmp_path / "cafes.csv"), tokens="characters", min_count=1)["train"].notes
    assert "1 of 10 texts are copies of others; equal texts stay in one part" in notes


def test_bytes_need_no_vocabulary():
    fitted = fit_vocabulary(["x"], TokenChoices("bytes", False, None, None, 3))
    assert encoded(["aé", "", "abcd"], fitted) == [[2 + 97, 2 + 0xC3, 2 + 0xA9], [], [2 + 97, 2 + 98, 2 + 99]]
    for choice in ("vocab_size", "min_count"):
        with pytest.raises(UserError, match="vocab_size and min_count change nothing"):
            fit_vocabulary(["x"], TokenChoices("bytes", False, None, None, 3)._replace(**{choice: 5}))


def test_the_commonest_tokens_are_the_vocabulary():
    texts = ["b b b a a", "c a B d"]
    assert fit_vocabulary(texts, WORDS)["vocabulary"] == ["b", "a", "c", "d"]  # equal ones by the alphabet
    assert fit_vocabulary(texts[::-1], WORDS)["vocabulary"] == ["b", "a", "c", "d"]
    assert fit_vocabulary(texts, WORDS._replace(min_count=None))["vocabulary"] == ["b", "a"]
    assert fit_vocabulary(texts, WORDS._replace(vocab_size=3))["vocabulary"] == ["b"]
    fitted = fit_vocabulary(texts, WORDS._replace(lower=False, min_count=3))
    assert encoded(["b B", "zz"], fitted) == [[3, 1], [1]]
    with pytest.raises(UserError, match=r"none of the 4 different words .* min_count \(9\) times"):
        fit_vocabulary(texts, WORDS._replace(min_count=9))


def test_the_vocabulary_is_that_of_the_training_part(table):
    parts = parts_of(table, min_count=1)
    words = set(parts["train"].preprocessing["vocabulary"])
    assert {text.split()[2] for text in parts["train"].texts} < words
    assert words == {word for text in parts["train"].texts for word in text.split()}
    for split in ("valid", "test"):
        assert parts[split].preprocessing == parts["train"].preprocessing and len(parts[split]) > 2
        assert all(parts[split][i][0][2] == 1 for i in range(len(parts[split])))  # its words of its own are unknown
        assert any(f"{split} part: 33.3% of" in note for note in parts[split].notes)
    alone = TextCSV("test", path=table, min_count=1)  # without the others
    assert alone.preprocessing == parts["train"].preprocessing


def test_a_batch_is_padded_to_its_longest_text(table):
    dataset = parts_of(table, tokens="characters")["train"]
    short, long = dataset.lengths.argmin(), dataset.lengths.argmax()
    inputs, targets = dataset.__getitems__(torch.stack([short, long]))
    assert inputs.shape == (2, dataset.lengths.max()) and inputs.dtype == targets.dtype == torch.int64
    assert (inputs != 0).sum(1).tolist() == [dataset.lengths.min(), dataset.lengths.max()]
    one, target = dataset[int(short)]
    assert torch.equal(inputs[0, : len(one)], one) and not inputs[0, len(one) :].any() and target == targets[0]
    collated = dataset.collate([dataset[int(short)], dataset[int(long)]])
    assert torch.equal(collated[0], inputs) and torch.equal(collated[1], targets)


def test_examples_show_how_long_texts_may_be(table):
    loader = loader_of("TextCSV", args={"path": table, "tokens": "characters"}, validation_split=None)
    lengths = [loader.example(number).data[0].shape[1] for number in (1, 2, 5)]
    assert lengths == [loader.dataset.lengths.min(), *[loader.dataset.lengths.max()] * 2] and lengths[0] < lengths[1]


def test_groups_stay_together_and_copies_are_told(table, tmp_path):
    parts = parts_of(table, group="speech")
    groups = {split: set(part.groups) for split, part in parts.items()}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 40
    write_csv(
        tmp_path / "copies.csv",
        {"text": ["same", "Same ", "SAME"] * 3 + [f"text {i}" for i in range(40)], "target": ["a", "b"] * 24 + ["a"]},
    )
    parts = parts_of(str(tmp_path / "copies.csv"))
    assert [sum(text.lower() == "same" for text in part.texts) for part in parts.values()].count(0) == 2
    assert "8 of 49 texts are copies of others; equal texts stay in one part" in parts["train"].notes
    lines = [f"text {i % 30}" for i in range(90)]
    write_csv(tmp_path / "groups.csv", {"text": lines, "target": ["a", "b"] * 45, "group": range(90)})
    notes = parts_of(str(tmp_path / "groups.csv"), group="group")["train"].notes
    assert any("texts of the valid part are in the training part too" in note for note in notes)


def test_numbers_as_targets(table, tmp_path):
    plain = parts_of(table, target="size", task="regression")
    scaled = parts_of(table, target="size", task="regression", standardise_target=True)
    assert plain["train"].target_scale is None and plain["train"].classes is None
    for split in plain:
        mean, deviation = scaled[split].target_scale
        assert plain[split].targets.shape == (len(plain[split]), 1)
        assert torch.allclose(scaled[split].targets * deviation + mean, plain[split].targets, atol=1e-4)
    assert scaled["train"].targets.mean().abs() < 1e-6
    with pytest.raises(UserError, match="standardise_target: found true, but classes are not numbers"):
        parts_of(table, standardise_target=True)
    with pytest.raises(UserError, match=r"texts.csv:2: column 'target': found 'salt'; expected a finite number"):
        parts_of(table, task="regression")
    write_csv(tmp_path / "huge.csv", {"text": ["a", "b"], "target": ["1e39", "2"]})
    with pytest.raises(UserError, match=r"huge.csv:2: column 'target': found '1e39'; expected a finite number"):
        parts_of(str(tmp_path / "huge.csv"), task="regression")


@pytest.mark.parametrize(
    ("targets", "is_told"),
    [(["1", "2.5", "3"], True), ([*map(str, range(21))], True), (["1", "2", "3.0"], False), (["1", "2.5", "x"], False)],
)
def test_numbers_that_are_taken_for_classes_are_told(targets, is_told, tmp_path):
    write_csv(tmp_path / "stars.csv", {"text": [f"word {i}" for i in range(120)], "target": (targets * 120)[:120]})
    notes = "".join(parts_of(str(tmp_path / "stars.csv"), min_count=1)["train"].notes)
    told = f"each of {len(targets)} numbers in column 'target' is taken for a class; to predict numbers: dataset.args"
    assert (told in notes) is is_told


def test_texts_are_as_they_were_written(tmp_path):
    """None, NA and ? are missing numbers, but texts all the same; quotes may hold lines and commas."""
    texts = ["None", "NA", "?", "two\nlines, and a comma", "null", "  ends  "] * 4
    write_csv(tmp_path / "odd.csv", {"text": texts, "target": ["a", "b"] * 12})
    parts = parts_of(str(tmp_path / "odd.csv"), min_count=1)
    assert {text for part in parts.values() for text in part.texts} == {text.strip() for text in texts}


def test_what_is_wrong_with_a_table(table, tmp_path):
    write_csv(tmp_path / "gaps.csv", {"text": ["a", "", "  ", "b"], "target": ["x", "y", "x", "y"]})
    with pytest.raises(UserError) as told:
        parts_of(str(tmp_path / "gaps.csv"))
    assert [line.split("gaps.csv")[1] for line in str(told.value).splitlines()] == [
        ":3: column 'text': no text",
        ":4: column 'text': no text",
    ]
    write_csv(tmp_path / "targets.csv", {"text": ["a", "b"], "target": ["x", ""]})
    with pytest.raises(UserError, match=r"column 'target' holds 1 different values; task classification expects"):
        parts_of(str(tmp_path / "targets.csv"))
    write_csv(tmp_path / "other.csv", {"text": ["a", "b"], "target": ["salt", "slat"]})
    with pytest.raises(UserError, match=r"other.csv:3: column 'target': found 'slat'; expected one of .* salt, sugar"):
        parts_of(table, test_path=str(tmp_path / "other.csv"))
    with pytest.raises(UserError, match=r"no column 'txet' \(dataset.args.text\); did you mean 'text'"):
        parts_of(table, text="txet")
    with pytest.raises(UserError, match="text, target and group are to be different columns"):
        parts_of(table, text="target")


def test_nothing_is_fitted_for_a_checkpoint_and_other_choices_are_refused(table, tmp_path):
    fitted = parts_of(table)["train"].preprocessing
    write_csv(tmp_path / "new.csv", {"text": ["Sugar new", "salt"], "target": ["sugar", "salt"]})
    new = TextCSV("test", test_path=str(tmp_path / "new.csv"), preprocessing=fitted)
    assert new.targets.tolist() == [1, 0] and new[0][0].tolist() == [2 + fitted["vocabulary"].index("sugar"), 1]
    for name, value in {"tokens": "characters", "lower": False, "max_length": 3, "task": "regression"}.items():
        with pytest.raises(UserError, match=f"dataset.args.{name}: found {value}, but the model was trained with"):
            TextCSV("test", path=table, preprocessing=fitted, **{name: value})
    assert "texts are cut" not in "".join(new.notes)
    cut = parts_of(table, max_length=2)["train"]
    assert cut.lengths.unique().tolist() == [2]
    assert f"train part: {len(cut)} of {len(cut)} texts are cut: they have more than 2 words" in "".join(cut.notes)


def test_another_file_of_the_same_name_is_told(table):
    fitted = parts_of(table)["train"].preprocessing
    same = TextCSV("test", path=table, preprocessing=fitted)
    assert "of 80 rows are the test part" in "".join(same.notes) and "warning" not in "".join(same.notes)
    text = Path(table).read_text()
    Path(table).write_text(text.replace("only", "other"))
    assert "not the one that training held out" in "".join(TextCSV("test", path=table, preprocessing=fitted).notes)


def test_word_vectors(table, tmp_path):
    (tmp_path / "glove.txt").write_text("unused 9 9\nsugar 1 2\n. . . 1 2\nsalt 3 4\n")
    dataset = parts_of(table, vectors=str(tmp_path / "glove.txt"), min_count=1)["train"]
    vectors, vocabulary = dataset.initial_weights["embedding.weight"], dataset.preprocessing["vocabulary"]
    assert vectors.shape == (dataset.vocab_size, 2)
    rows = {token: vectors[place].tolist() for place, token in enumerate(vocabulary, start=2)}
    assert rows.pop("sugar") == [1, 2] and rows.pop("salt") == [3, 4]
    assert all(row == [2, 3] for row in [*rows.values(), vectors[1].tolist()]) and not vectors[0].any()
    assert f"vectors of 2 numbers for 2 of {len(vocabulary)} tokens" in dataset.notes[-1]
    assert not hasattr(parts_of(table)["train"], "initial_weights")
    (tmp_path / "word2vec.txt").write_text("2 3\nsugar 1 2 3\nsalt 3 4 x\n")
    with pytest.raises(UserError, match=r"word2vec.txt:3: expected a token and 3 numbers"):
        parts_of(table, vectors=str(tmp_path / "word2vec.txt"))
    for damaged, told in (
        ("sugar 1 2\nsalt 3\n", "2: expected a token and 2 numbers: found 1"),
        ("9 300\nsugar 1 2\n", "2: expected a token and 300 numbers: found 2"),
        ("sugar 1 nan\n", "1: expected a token and 2 numbers: found nan, or one that is too large"),
        ("sugar 1 1e39\n", "1: expected a token and 2 numbers: found nan, or one that is too large"),
    ):
        (tmp_path / "damaged.txt").write_text(damaged)
        with pytest.raises(UserError, match=f"damaged.txt:{told}"):
            parts_of(table, vectors=str(tmp_path / "damaged.txt"))
    (tmp_path / "marked.txt").write_text("sugar 1 2\n", encoding="utf-8-sig")
    assert "for 1 of 2 tokens" in parts_of(table, vectors=str(tmp_path / "marked.txt"))["train"].notes[-1]
    (tmp_path / "none.txt").write_text("Sugar 1 2\n")
    with pytest.raises(UserError, match="has a vector for none of the 2 tokens"):
        parts_of(table, vectors=str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match="bytes have no word vectors"):
        parts_of(table, vectors=str(tmp_path / "none.txt"), tokens="bytes")


@pytest.fixture
def folder(tmp_path):
    for part, num_each in (("train", 20), ("test", 4)):
        for name in ("ham", "spam"):
            place = tmp_path / "mails" / part / name
            place.mkdir(parents=True)
            for number in range(num_each):
                (place / f"{number}.txt").write_text(f"\ufeffa {name} mail\n\nof {part} {number}\n", encoding="utf-8")
    return tmp_path / "mails"


def folder_parts(root, **args):
    config = DatasetConfig(type="TextFolder", args={"root": str(root), **args})
    return {split: part.dataset for split, part in build_parts(config, LOADER, ("train", "valid", "test"), 1).items()}


def test_class_folders_of_texts(folder):
    parts = folder_parts(folder)
    assert [len(parts["train"]) + len(parts["valid"]), len(parts["test"])] == [40, 8] and len(parts["valid"]) > 1
    assert parts["test"].classes == ["ham", "spam"] and parts["test"].targets.tolist() == [0] * 4 + [1] * 4
    assert "test" not in parts["train"].preprocessing["vocabulary"]
    assert (
        parts["test"].name_of(0) == str(folder / "test/ham/0.txt")
        and parts["test"].texts[0] == "a ham mail\n\nof test 0"
    )
    assert TextFolder("valid", str(folder)).preprocessing == parts["train"].preprocessing
    inputs = TextFolder.for_inputs(
        [str(folder / "test/spam/1.txt"), str(folder / "no.txt")], parts["train"].preprocessing
    )
    assert torch.equal(inputs[0][0], parts["test"][5][0]) and inputs.name_of(0).endswith("spam/1.txt")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        inputs[1]


def test_what_is_wrong_with_a_folder(folder):
    (folder / "train/ham/notes.md").write_text("no text of the data")
    told = "left out, 1 texts of a kind that cannot be read here; save them as .txt (.md): ham/notes.md"
    assert told in "".join(folder_parts(folder)["train"].notes)
    (folder / "train/ham/empty.txt").write_text(" \n")
    (folder / "train/ham/latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(UserError) as told:
        folder_parts(folder, valid_fraction=0)
    assert "empty.txt: there is no text in it" in str(told.value)
    assert "latin.txt: is no utf-8-sig text" in str(told.value)
    (folder / "train/none").mkdir()
    with pytest.raises(UserError, match="no texts in the class folder none"):
        folder_parts(folder)
    for name in ("train/ham/empty.txt", "train/ham/latin.txt"):
        (folder / name).unlink()
    (folder / "train/none").rmdir()
    (folder / "test/span").mkdir()
    with pytest.raises(UserError, match=r"none of the 2 classes trained on: span \(did you mean spam\?\)"):
        folder_parts(folder)
