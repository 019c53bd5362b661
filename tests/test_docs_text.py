"""What docs/text.md shows is run here, to the letter, in a copy of the project, on a small play."""

import csv
import random
import re
import shlex

import pytest

from tests.forks import forked
from tests.make_data import write_reviews
from tests.test_readme import ROOT, commands, copy_of_project

PAGE = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which all commands of the page have run, and what each printed."""
    folder = tmp_path_factory.mktemp("clone")
    copy = copy_of_project(folder / "project", PAGE)
    write_reviews(copy / "TABLE.csv", size=150, header="target\ttext\n")
    random.seed(0)
    words = ["light", "sword", "my lord", "sun", "night", "crown"]
    speeches = []
    for _ in range(60):
        speaker = random.randrange(12)
        lines = [f"Speak of {words[speaker % 6]} and {random.choice(words)}," for _ in range(random.randint(1, 4))]
        speeches.append("\n".join([f"SPEAKER {speaker}:", *lines]))
    (copy / "data").mkdir(exist_ok=True)
    (copy / "data/tinyshakespeare.txt").write_text("\n\n".join(speeches) + "\n")
    return copy, {command: forked(*shlex.split(command)[1:], folder=copy).stdout for command in commands(PAGE)}


def test_the_commands_do_what_the_page_says(project):
    copy, printed = project
    with open(copy / "lines.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    play = (copy / "data/tinyshakespeare.txt").read_text()
    assert len({row["target"] for row in rows}) == 10 and all(f"\n{row['text']}\n" in play for row in rows)
    of_sweep, of_predict, of_tfidf = (
        next(text for command, text in printed.items() if words in command)
        for words in ("sweep.py", "predict.py", "tfidf.py")
    )
    log = (copy / "saved/text_classification/latest/train.log").read_text()
    assert "data: TextCSV" in log and "texts of the test part are in the training part too" in log
    assert re.search(r"accuracy +0\.\d", of_sweep) and "5 runs, each on its test part" in of_sweep
    assert re.search(r'^"But soft, .*",SPEAKER \d+,0\.\d+,$', of_predict, re.MULTILINE)
    assert re.search(r"^accuracy 0\.\d{4}$", of_tfidf, re.MULTILINE)
