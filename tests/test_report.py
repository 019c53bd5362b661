"""report/: figures are scikit-learn's, pictures are drawn of anything, and the page says what is not in them."""

import csv
import dataclasses
import html.parser
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import calibration_error

from report.confusion import draw_confusion_matrix
from report.curves import draw_roc_and_pr
from report.outcome import Outcome
from report.tables import calibration, class_figures, most_confused, shown_share, value_figures, worst_mistakes
from report.write import FILES, About, write_report
from utils.labels import Labels, shortened

pytestmark = pytest.mark.figures

ABOUT = About(
    "run <1>", "name: a & b\n", environment={"command": ["train.py", "-c", "my file.yaml"], "git": {"dirty": True}}
)
METRICS = {"checkpoint": "best.pt", "step": 7, "split": "test", "loss": 0.25, "intervals": {"loss": [0.2, 0.3]}}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, not drawn."""
    saved = []

    def keep(figure, file, **options):
        saved.append(figure)
        file.write(b"a picture")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    return saved


def of_classes(targets, scores, classes=None, **fields):
    targets, scores = np.asarray(targets), np.asarray(scores, dtype=np.float32)
    names = [f"sample {i}" for i in range(len(targets))]
    return Outcome("classes", names, targets, scores.argmax(axis=1), scores, classes=classes, **fields)


def random_classes(num_samples, num_classes, classes=None, seed=0):
    """With many ties among the scores, and no sample of the last of several classes."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, max(num_classes - 1, 2), num_samples)
    scores = rng.random((num_samples, num_classes)) + 0.5 * np.eye(num_classes)[targets]
    scores = np.round(scores / scores.sum(axis=1, keepdims=True), 2)
    return of_classes(targets, scores, classes)


def of_labels(targets, scores, classes=None):
    targets, scores = np.asarray(targets), np.asarray(scores, dtype=np.float32)
    return Outcome("labels", ["x"] * len(targets), targets, scores > 0.5, scores, classes=classes)


def of_values(targets, scores, value_names=None):
    targets, scores = (np.asarray(each, dtype=np.float32) for each in (targets, scores))
    return Outcome("values", ["x"] * len(targets), targets, scores, scores, value_names=value_names)


class Page(html.parser.HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def page_of(folder, outcome, about=ABOUT, **further):
    num_samples = 0 if isinstance(outcome, str) else len(outcome.targets)
    path = write_report(folder, outcome, {**METRICS, "num_samples": num_samples, **further}, about)
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("num_classes", [2, 7])
def test_figures_by_class_are_scikit_learns(num_classes):
    outcome = random_classes(300, num_classes)
    found = class_figures(outcome)
    expected = metrics.precision_recall_fscore_support(
        outcome.targets, outcome.predicted, labels=range(num_classes), zero_division=np.nan
    )
    for ours, theirs in zip(found[:4], expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    for i in range(num_classes):
        is_positive = outcome.targets == i
        if not is_positive.any():
            assert np.isnan(found.roc_auc[i]) and np.isnan(found.average_precision[i])
            continue
        assert found.roc_auc[i] == pytest.approx(metrics.roc_auc_score(is_positive, outcome.scores[:, i]))
        average = metrics.average_precision_score(is_positive, outcome.scores[:, i])
        assert found.average_precision[i] == pytest.approx(average)
    there = range(num_classes if num_classes == 2 else num_classes - 1)
    macro = metrics.f1_score(outcome.targets, outcome.predicted, labels=there, average="macro")
    assert found.means.f1 == pytest.approx(macro) and found.means.support == 300
    assert found.means.roc_auc == pytest.approx(np.nanmean(found.roc_auc))


@pytest.mark.parametrize("num_labels", [1, 3])
def test_figures_by_label_are_scikit_learns(num_labels):
    rng = np.random.default_rng(1)
    outcome = of_labels(rng.integers(0, 2, (50, num_labels)), np.round(rng.random((50, num_labels)), 1))
    found = class_figures(outcome)
    for i in range(num_labels):
        true, predicted = outcome.targets[:, i], outcome.predicted[:, i]
        assert found.f1[i] == pytest.approx(metrics.f1_score(true, predicted))
        assert found.precision[i] == pytest.approx(metrics.precision_score(true, predicted))
        assert found.support[i] == true.sum()
        assert found.roc_auc[i] == pytest.approx(metrics.roc_auc_score(true, outcome.scores[:, i]))


def test_the_calibration_error_is_torchmetrics():
    scores = torch.rand(500, 4, generator=torch.Generator().manual_seed(0)).mul(3).softmax(dim=1)
    targets = torch.randint(4, (500,), generator=torch.Generator().manual_seed(1))
    expected = calibration_error(scores, targets, "multiclass", n_bins=15, num_classes=4)
    found = calibration(of_classes(targets.numpy(), scores.numpy()))
    assert found.error == pytest.approx(expected.item(), abs=1e-6) and found.num_samples.sum() == 500


def test_figures_of_values_are_scikit_learns_and_a_constant_target_has_no_r2():
    targets, scores = np.random.default_rng(0).normal(size=(2, 30, 2)).astype(np.float32)
    targets[:, 1] = 5
    found = value_figures(of_values(targets, scores))
    for i in range(2):
        assert found.mae[i] == pytest.approx(metrics.mean_absolute_error(targets[:, i], scores[:, i]))
        assert found.rmse[i] == pytest.approx(metrics.root_mean_squared_error(targets[:, i], scores[:, i]))
    assert found.r2[0] == pytest.approx(metrics.r2_score(targets[:, 0], scores[:, 0])) and np.isnan(found.r2[1])


def test_the_surest_mistakes_and_the_most_frequent_confusions_come_first():
    scores = [[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0, 0.95, 0.05], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]]
    outcome = of_classes([0, 0, 2, 0, 1], scores)
    assert [(each.row, each.predicted, round(each.score, 2)) for each in worst_mistakes(outcome, 2)] == [
        (2, 1, 0.95),
        (3, 1, 0.8),
    ]
    first, *others = most_confused(outcome, 9)
    assert first == (0, 1, 2, 3) and {(each.true, each.predicted) for each in others} == {(1, 0), (2, 1)}


def test_a_share_never_looks_rounder_than_it_is():
    found = [shown_share(share) for share in (1.0, 0.9999, 0.9985, 0.0001, 0.0, np.nan)]
    assert found == ["1.000", ">0.999", "0.999", "<0.001", "0.000", "–"]


def test_the_page_escapes_all_that_comes_from_data_and_needs_no_other_file(tmp_path, figures):
    hostile = ["<script>alert(1)</script>", "a&b", '"><img src=x onerror=y>']
    outcome = random_classes(40, 3, hostile)
    outcome.names[:] = [f"</td><b>{i}" for i in range(40)]
    (tmp_path / "curves.png").write_bytes(b"curves")
    about = About("<i>run</i>", "a: '</pre><u>'", tmp_path / "curves.png", {"command": ["<s>"], "git": {"a": "&lt;"}})
    page = page_of(tmp_path, outcome, about)
    assert not {"script", "b", "i", "u", "s"} & {*page.tags}
    assert len(page.sources) == len(figures) + 1 and all(each.startswith("data:image/png;") for each in page.sources)
    for text in (*hostile, "</td><b>", "<i>run</i>: results", "</pre><u>", "'<s>'", "&lt;", "0.2 to 0.3"):
        assert text in page.text


def test_a_name_that_is_no_text_does_not_end_it(tmp_path, figures):
    outcome = random_classes(20, 2)
    outcome.names[:] = ["caf\udce9.png"] * 20
    assert "caf\\udce9.png" in page_of(tmp_path, outcome).text


def test_files_are_those_of_this_evaluation(tmp_path, figures):
    def files():
        return {path.name for path in tmp_path.iterdir()}

    page_of(tmp_path, random_classes(40, 3))
    classes = {"report.html", "per_class.csv", "confusion_matrix.png", "calibration.png", "roc_pr.png"}
    assert files() == classes
    with open(tmp_path / "per_class.csv", encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["class"] for row in rows] == ["0", "1", "2"] and sum(int(row["support"]) for row in rows) == 40
    with_pictures = dataclasses.replace(random_classes(40, 3), picture_of=lambda i: np.zeros((8, 8, 3), np.uint8))
    page_of(tmp_path, with_pictures)
    assert files() == classes | {"mistakes.png"}
    (tmp_path / "mine.png").write_bytes(b"mine")
    page_of(tmp_path, of_values(np.eye(4), np.eye(4)))
    assert files() == {"report.html", "values.png", "mine.png"} and files() - {*FILES} == {"report.html", "mine.png"}
    assert "Not shown: the samples have no target." in page_of(tmp_path, "the samples have no target").text
    assert files() == {"report.html", "mine.png"}


def test_scores_that_are_no_probabilities_have_no_calibration(tmp_path, figures):
    scores = np.array([[3.0, -1], [5, 7], [2, 1]], dtype=np.float32)
    outcome = of_classes([0, 1, 1], scores, are_probabilities=False)
    assert "The scores of this model are no probabilities." in page_of(tmp_path, outcome).text
    assert not (tmp_path / "calibration.png").exists() and (tmp_path / "confusion_matrix.png").exists()


NAN = [[np.nan, np.nan], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]]
SAYS = {
    "one sample": (of_classes([1], [[0.2, 0.8]]), "None among the 1 samples with finite scores"),
    "one class": (of_classes([1, 1], [[0.2, 0.8], [0.6, 0.4]]), "No curves: they need samples"),
    "nan": (of_classes([0, 1, 1, -100], NAN), "1 sample with scores that are not finite: counted as wrong"),
    "other targets": (of_classes([0, 1, 1, -100], NAN), "1 sample without a target among the classes: left out"),
    "nan alone": (of_classes([0, 1], np.full((2, 2), np.nan)), "No sample has finite scores."),
    "no target": (of_classes([-1], [[0.2, 0.8]]), "1 sample without a target among the classes"),
    "one label": (of_labels([[1], [0]], [[0.9], [np.nan]]), "1 sample with a score that is not finite: left out"),
    "no label": (of_labels([[0, 0]], [[0.9, 0.1]]), "No sample of 2 of 2 labels"),
    "constant": (of_values([[1], [1]], [[1], [2]]), "R² is not defined"),
    "one value": (of_values([[1]], [[1]]), "R² is not defined"),
    "no value": (of_values([[1]], [[np.inf]]), "1 sample with a score that is not finite: left out"),
}


@pytest.mark.draws
@pytest.mark.parametrize("case", SAYS)
def test_little_or_odd_data_are_drawn_without_a_warning_and_told(case, tmp_path):
    outcome, says = SAYS[case]
    assert says in page_of(tmp_path, outcome).text


def test_a_sample_without_finite_scores_is_wrong_and_no_class_of_its_own():
    found = class_figures(of_classes([0, 1, 1, -100], NAN))
    assert found.recall.tolist() == [0, 0.5] and found.support.tolist() == [1, 2]
    assert found.precision.tolist() == [0, 1]


@pytest.mark.draws
@pytest.mark.parametrize("num_classes", [1, 2, 13, 40])
def test_confusion_matrix(tmp_path, num_classes):
    names = [f"class {i} with a long name $x_" if i % 3 else f"{i} 비행기" for i in range(num_classes)]
    outcome = of_classes(np.arange(60) % num_classes, np.eye(num_classes)[np.arange(60) * 7 % num_classes], names)
    draw_confusion_matrix(outcome, tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_a_large_matrix_names_some_classes_and_its_rates_are_of_the_true_class(tmp_path, figures):
    draw_confusion_matrix(random_classes(1000, 200), tmp_path / "large.png")
    draw_confusion_matrix(of_classes([0, 0, 0, 1], np.eye(2)[[0, 0, 1, 1]]), tmp_path / "small.png")
    large, small = (figure.axes[0] for figure in figures)
    assert 50 <= len(large.get_yticklabels()) < 100 and not large.texts and "of 200 classes" in large.get_title("left")
    assert {text.get_text() for text in small.texts} == {"67%", "33%", "100%", "2", "1"}
    assert small.get_title("left") == "75.0% of 4 samples right"


def test_curves_name_the_worst_ten(tmp_path, figures):
    outcome = random_classes(500, 12)
    found = class_figures(outcome)
    draw_roc_and_pr(outcome, found, tmp_path / "roc_pr.png")
    (legend,) = figures[0].legends
    names = [text.get_text().split("\n")[0] for text in legend.get_texts()]
    assert names == [str(i) for i in np.argsort(found.average_precision, kind="stable")[:10]]
    assert "10 lowest of 11" in legend.get_title().get_text()
    assert len(figures[0].axes[1].lines) == 11  # of the last class there is no sample


def test_names_are_cut_in_the_middle_and_stay_different():
    assert shortened("a very long name", 9) == "a ve…name" and shortened("short", 9) == "short"
    assert shortened("아주 긴 이름", 8) == "아주…름"
    labels = Labels(["common_a_ending", "common_b_ending", "$x$", "two\nlines", ""])
    cut = labels.cut(10)
    assert len({*cut}) == 5 and all(len(label) <= 10 for label in cut)
    assert cut[0].startswith("#0 ") and cut[2:] == ["$x$", "two lines", "#4"]


def test_letters_without_a_font_become_numbers_and_the_page_has_the_names(tmp_path, figures, monkeypatch):
    from matplotlib.font_manager import fontManager

    from utils import labels

    monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if "DejaVu" in font.name])
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    for fonts in (labels._known_fonts, labels._new_fonts):
        fonts.cache_clear()
    try:
        page = page_of(tmp_path, random_classes(40, 3, ["비행기", "naïve", "鳥"]))
    finally:
        for fonts in (labels._known_fonts, labels._new_fonts):
            fonts.cache_clear()
    assert [label.get_text() for label in figures[0].axes[0].get_yticklabels()] == ["#0", "naïve", "#2"]
    assert "such as #0 for 비행기" in page.text and "鳥" in page.text
