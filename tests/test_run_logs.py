"""What a run tells: metrics.csv, TensorBoard, the terminal and files of its output."""

import contextlib
import io
import itertools
import math
import re
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from torch.nn.functional import cross_entropy

from base import LOGGERS
from tests.running import PICTURES, Recorder, by_hand, read, recorded, resume, rows, train
from trainer.loggers import MOST_UNWRITTEN, SECONDS_UNWRITTEN, TensorBoard
from utils.epoch_table import HEADER_EVERY, EpochTable

UNEVEN = ("dataset.args.size=37", "data_loader.drop_last=false", "metrics=[accuracy]")  # a last batch of five


def test_scores_are_means_over_samples(tmp_path):
    run = train(tmp_path, *UNEVEN, "trainer.epochs=1")
    seen = []  # (output, targets) of the batches
    by_hand(read(tmp_path, *UNEVEN), 1, lambda model, *batch: seen.append(batch))
    assert [len(targets) for _, targets in seen] == [8, 8, 8, 8, 5]
    (row,) = rows(run)
    mean_of_means = sum(cross_entropy(*batch).item() for batch in seen) / 5
    assert row["loss"] == pytest.approx(sum(cross_entropy(*batch, reduction="sum").item() for batch in seen) / 37)
    assert row["loss"] != pytest.approx(mean_of_means, rel=1e-4)
    assert row["accuracy"] == sum((output.argmax(1) == targets).sum().item() for output, targets in seen) / 37
    assert row["seconds"] > 0 and row["samples_per_second"] == pytest.approx(37 / row["seconds"])


def events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return accumulator.Reload()


def test_tensorboard_shows_scores_by_step_and_pictures(tmp_path):
    f1 = "{type: MulticlassF1Score, args: {num_classes: 3}}"
    run = train(tmp_path, *PICTURES, f"metrics=[accuracy, {f1}]", "trainer.tensorboard=true", "trainer.log_every=2")
    written = events(run)
    assert set(written.Tags()["scalars"]) == {
        *("loss/train", "accuracy/train", "MulticlassF1Score/train", "lr"),
        *("loss/valid", "accuracy/valid", "MulticlassF1Score/valid"),
    }
    assert [event.step for event in written.Scalars("loss/train")] == [2, 4, 6, 8, 10]
    assert [event.step for event in written.Scalars("accuracy/valid")] == [5, 10]
    columns = {f"{name}/valid": f"val_{name}" for name in ("loss", "accuracy", "MulticlassF1Score")}
    for tag, column in {**columns, "MulticlassF1Score/train": "MulticlassF1Score"}.items():
        assert [event.value for event in written.Scalars(tag)] == pytest.approx([row[column] for row in rows(run)])

    tags = written.Tags()["images"]
    assert tags and all(tag.startswith("inputs/train") for tag in tags)
    picture = written.Images(tags[0])[0]
    assert Image.open(io.BytesIO(picture.encoded_image_string)).mode == "RGB" and picture.height >= 8


def test_log_points_wait_for_each_other_but_not_for_long(tmp_path, monkeypatch):
    def shown():
        tags = events(tmp_path).Tags()["scalars"]
        return [event.step for event in events(tmp_path).Scalars("loss/train")] if tags else []

    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    board = TensorBoard(tmp_path)
    for step in range(1, MOST_UNWRITTEN):
        board.log(step, {"loss": 0.5})
    assert shown() == []
    board.log(MOST_UNWRITTEN, {"loss": 0.5})
    assert shown() == [*range(1, MOST_UNWRITTEN + 1)]

    board.log(200, {"loss": 0.25})
    now += SECONDS_UNWRITTEN + 1
    board.log(300, {"loss": 0.25})
    assert shown()[-2:] == [200, 300]
    board.log(400, {"loss": 0.25})
    board.close()
    assert shown()[-1] == 400
    times = [event.wall_time for event in events(tmp_path).Scalars("loss/train")]
    assert times == sorted(times) and times[0] < times[98] and time.time() - times[-1] < 60


def test_every_groups_learning_rate_is_logged(tmp_path):
    groups = "{lr: 0.1}, param_groups: [{params: layers.0.*, args: {lr: 0.02}}, {params: '*.bias', args: {lr: 0.3}}]"
    halved = "lr_scheduler={type: StepLR, args: {step_size: 1, gamma: 0.5}}"
    config = (f"optimizer={{type: SGD, args: {groups}}}", halved, "trainer.tensorboard=true")
    run = resume(train(tmp_path, *config, "--epochs", "1"), "--epochs", "2")
    written = events(run)
    assert {tag for tag in written.Tags()["scalars"] if tag.startswith("lr")} == {"lr", "lr/1", "lr/2"}
    for name, first in {"lr": 0.1, "lr/1": 0.02, "lr/2": 0.3}.items():
        rates = {step: first / 2 ** (step > 5) for step in range(1, 11)}
        assert recorded(run, name) == pytest.approx(rates)
        assert {event.step: event.value for event in written.Scalars(name)} == pytest.approx(rates)
    assert [row["lr"] for row in rows(run)] == pytest.approx([0.1, 0.05])
    assert not [name for name in rows(run)[0] if name.startswith("lr/")]


def pairs_of(line):
    """What a line `epoch=3 step=60 ...` says."""
    return {name: float(value) for name, value in (pair.split("=") for pair in line.split())}


def test_output_to_a_file_is_one_line_an_epoch(tmp_path, capfd):
    run = train(tmp_path, "metrics=[accuracy]", "--epochs", "12", "optimizer.args.lr=2.0", "trainer.monitor=min loss")
    assert not (run / "tensorboard").exists()
    out, err = capfd.readouterr()
    assert err == "" and "\r" not in out
    lines = [line for line in out.splitlines() if line.startswith("epoch=")]
    assert [line.split()[0] for line in lines] == [f"epoch={epoch}" for epoch in range(1, 13)]
    best = math.inf
    for line, row in zip(lines, rows(run), strict=True):
        told = pairs_of(line)
        is_best, best = row["loss"] < best, min(best, row["loss"])
        assert told.pop("best", 0) == is_best
        assert list(told) == list(row) and told == pytest.approx(row, rel=1e-5)
    *_, last, best_line, end = out.splitlines()
    assert last == lines[-1] and best_line.startswith(f"best: loss {best:.4f}")
    assert end == f"finished; to evaluate: python test.py -r {run}"
    log = (run / "train.log").read_text()
    assert all(line in log for line in lines)


def on_a_terminal(monkeypatch, act, width=100):
    """What a person sees on stderr and stdout while `act` runs on a pseudo-terminal, and gets to change its width."""
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))  # not on Windows
    reading, writing = pty.openpty()

    def resize(width):
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))  # rows and columns

    def read_all():
        seen = b""
        with open(reading, "rb", buffering=0) as file, contextlib.suppress(OSError):  # when the other end is closed
            while part := file.read(4096):
                seen += part
        return seen.decode()

    resize(width)
    with ThreadPoolExecutor(1) as thread:
        seen = thread.submit(read_all)
        with open(writing, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            patch.setattr(sys, "stdout", terminal)
            patch.setenv("COLUMNS", "40")  # as it was when the shell started
            act(resize)
        return seen.result()


def on_screen(seen):
    """The lines that stay: what a carriage return leads back to is written over."""
    lines = seen.replace("\r\n", "\n").split("\n")
    return [line.rsplit("\r", 1)[-1] for line in lines]


def test_a_bar_on_a_terminal_where_it_is_wanted(tmp_path, monkeypatch):
    many = ("dataset.args.size=1600", "trainer.log_every=10")  # 200 steps an epoch
    seen = on_a_terminal(monkeypatch, lambda _: train(tmp_path, *many))
    assert "epoch 1/2:" in seen and "epoch 2/2:" in seen and "/200 [" in seen and "step/s" in seen
    shown = on_screen(seen)  # the bar is wiped away before each line, and nothing of it is left at the end
    header = next(i for i, line in enumerate(shown) if line.startswith("epoch "))
    assert shown[header].split() == ["epoch", "step", "loss", "val", "lr", "samples/s", "left"]
    assert [line.split()[:2] for line in shown[header + 1 :][:2]] == [["1/2", "200"], ["2/2", "400"]]
    assert shown[header + 3].startswith("finished; to evaluate") and "step/s" not in "".join(shown)

    seen = on_a_terminal(monkeypatch, lambda _: train(tmp_path, "trainer.progress=false"))
    assert on_screen(seen)[-3].split()[0] == "2/2" and "step/s" not in seen
    assert "\r" not in seen.replace("\r\n", "\n")


F1, TOP_2 = "{type: MulticlassF1Score, name: f1, args: {num_classes: 3}}", "{type: top_k_accuracy, args: {k: 2}}"
STEADY = (
    f"metrics=[accuracy, {F1}, {TOP_2}]",
    "trainer.monitor=max val_f1",
    "trainer.eval_every=7 steps",
    "optimizer.args.lr=0.01",
)


def test_the_table_fits_the_terminal_which_may_be_resized(tmp_path, monkeypatch):
    widths = {1: 60, 9: 200, 14: 80, 40: 27}  # from these steps on

    def act(resize):
        monkeypatch.setattr(Recorder, "on_step", staticmethod(lambda step: step in widths and resize(widths[step])))
        train(tmp_path, *STEADY, "--epochs", "30", "trainer.loggers=[Recorder]")

    shown = on_screen(on_a_terminal(monkeypatch, act, 60))
    table = [line for line in shown if re.match(r" *(epoch |\d+(\.\d\d|/30)[ *])", line)]
    headers = {i: line.split() for i, line in enumerate(table) if line.startswith("epoch")}
    scores = ["loss", "val", "accuracy", "val", "f1", "val", "top_k_accuracy", "val"]
    wide = ["epoch", "step", *scores, "lr", "samples/s", "left"]
    assert max(len(line) for line in table) <= 120 and wide in headers.values()
    assert headers[0][:5] == ["epoch", "loss", "accuracy", "f1", "top_k_accuracy"]  # no validation yet
    assert list(headers.values())[-1] == ["epoch", "f1", "val"]  # what is monitored stays
    assert all(len(line) < 27 for line in table[-9:])
    assert max(b - a for a, b in itertools.pairwise([*headers, len(table)])) == HEADER_EVERY + 1
    scores = recorded(tmp_path / "saved/tiny/latest", "val_f1")
    best, marked = -1.0, []
    for step, score in scores.items():
        is_best, best = score > best, max(best, score)
        marked += [step] * is_best
    told = [line.split("*")[0].strip() for line in table if "*" in line]
    assert told == [f"{step / 5:.2f}" if step % 5 else f"{step // 5}/30" for step in marked] and len(told) > 1


def test_numbers_that_grow_and_scores_that_are_missing_keep_their_columns():
    table = EpochTable("val_loss")
    rate = {"lr": "1.00e-02", "lr/critic": "1.00e-03"}
    first = table.lines({"epoch": "9/10", "loss": "0.5000", "val_loss": "nan", **rate, "left": "0:01"}, True, 80)
    assert first.splitlines() == [
        "epoch     loss  val        lr  lr/critic  left",
        " 9/10*  0.5000  nan  1.00e-02   1.00e-03  0:01",
    ]
    second = table.lines({"epoch": "10/10", "loss": "1.234e+05", **rate, "left": "1:00:01"}, False, 80)
    assert second.splitlines() == [
        "epoch        loss  val        lr  lr/critic     left",
        "10/10   1.234e+05       1.00e-02   1.00e-03  1:00:01",
    ]
    long = {"epoch": "1/10", "loss": "1.0000", "a_metric_with_a_long_name": "0.5000", "val_other": "1.0000"}
    assert EpochTable().lines(long, False, 40).splitlines() == [
        "epoch     loss  a_me..name  val_other",
        " 1/10   1.0000      0.5000     1.0000",
    ]
    assert EpochTable().lines(long, False, 30).splitlines()[0] == "no room for 1 of the metrics; metrics.csv has all"


@pytest.mark.figures
def test_the_best_epoch_is_marked_in_the_curves(tmp_path, monkeypatch):
    texts = []
    keep = lambda figure, file, **options: texts.extend(text.get_text() for text in figure.texts)  # noqa: E731
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    run = train(tmp_path, "trainer.monitor=min val_loss", "trainer.eval_every=2 steps", "--epochs", "1")
    best = min(recorded(run, "val_loss").items(), key=lambda point: point[1])
    assert texts == [f"tiny/{run.name}   dashed: the best val_loss, {best[1]:.4g}, at epoch {best[0] / 5:.4g}"]
    texts.clear()
    train(tmp_path, "--epochs", "1", "--name", "nothing")
    assert len(texts) == 1 and "best" not in texts[0]


@pytest.mark.draws
def test_evaluations_within_an_epoch_are_told_and_curves_are_drawn_even_after_a_failure(tmp_path, capsys):
    run = train(tmp_path, "trainer.eval_every=2 steps")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step=")]
    scores = recorded(run, "val_loss")
    assert told == [f"step={step} val_loss={scores[step]:.6g}" for step in (2, 4, 6, 8)]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    leap = "lr_scheduler={type: StepLR, args: {step_size: 2, gamma: 1e30}}"
    failed = train(tmp_path, leap, "--epochs", "3", "--name", "failed", code=1)
    assert len(rows(failed)) == 2 and (failed / "curves.png").exists()


def test_the_last_lines_say_why_a_run_ended_and_what_next(tmp_path, capsys):
    still = ("trainer.monitor=min val_loss", "trainer.early_stop=1", "optimizer.args.lr=0", "--epochs", "5")
    run = train(tmp_path, *still)
    assert "early stop: no better val_loss in 1 evaluations; to go on: python train.py -r " in capsys.readouterr().out
    assert "best: val_loss " in (run / "train.log").read_text()
    resume(run, "trainer.max_time=0.000001 seconds", "trainer.early_stop=0", "--epochs", "50")
    assert f"stopped by max_time after step 10; to go on: python train.py -r {run}" in capsys.readouterr().out
    resume(run, "trainer.max_time=1 hour", "--epochs", "4")
    assert f"finished; to evaluate: python test.py -r {run}" in capsys.readouterr().out


@LOGGERS.register
class Diary:
    """Keeps all that it is told in a folder of its own: a file that grows, a table, and a file an epoch."""

    def __init__(self, folder):
        self.folder = folder / "diary"
        self.folder.mkdir(exist_ok=True)
        self._tell("built")

    def start(self, config, run):
        self._tell(f"start {config['optimizer']['type']} {run}")

    def log(self, step, scores):
        assert scores
        self._tell(f"{step} {sorted(scores)}")
        with open(self.folder / "losses.csv", "a") as file:
            file.write(f"{step},{scores.get('loss')}\n")
        if "val_loss" in scores:
            (self.folder / "evaluations").mkdir(exist_ok=True)
            (self.folder / "evaluations" / f"{step}.json").write_text("{}")

    def flush(self): ...

    def close(self, status):
        self._tell(f"close {status}")

    def _tell(self, line):
        with open(self.folder / "diary.txt", "a") as file:
            file.write(line + "\n")


DIARY = ("trainer.loggers=[Diary]", "trainer.save_every=1 steps", "trainer.keep_last=99")


def diary(run):
    """What is in the folder of the logger, without what it was told of the process."""
    files = sorted(path for path in (run / "diary").rglob("*") if path.is_file())
    texts = {path.relative_to(run).as_posix(): path.read_text() for path in files}
    lines = texts["diary/diary.txt"].splitlines()
    texts["diary/diary.txt"] = [line for line in lines if not line.startswith(("built", "start", "close"))]
    return texts


def test_a_loggers_own_folder_is_cut_back_and_nothing_else(tmp_path):
    run = train(tmp_path, *DIARY)
    whole = diary(run)
    assert len(whole) == 4 and len(whole["diary/diary.txt"]) == 12
    mine = [run / "test" / "mine.txt", run / "notes" / "mine.txt", run / "mine.txt", run / "diary_of_mine" / "a.txt"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("keep")
    (run / "diary" / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    (tmp_path / "elsewhere.txt").write_text("keep")
    for step in (3, 5, 7):
        resume(run / f"checkpoints/step-{step:09d}.pt")
        (run / "diary" / "link.txt").unlink(missing_ok=True)
        assert diary(run) == whole
    assert all(path.read_text() == "keep" for path in (*mine, tmp_path / "elsewhere.txt"))


def test_a_logger_is_told_of_the_start_and_the_end(tmp_path):
    run = train(tmp_path, *DIARY, "--epochs", "1")
    lines = (run / "diary/diary.txt").read_text().splitlines()
    assert lines[:2] == ["built", f"start SGD {run.name}"] and lines[-1] == "close finished"
    stopped = train(tmp_path, *DIARY, "trainer.max_time=0.001 seconds", "--name", "stopped")
    assert (stopped / "diary/diary.txt").read_text().endswith("close stopped\n")
    failed = train(tmp_path, *DIARY, "optimizer.args.lr=1e30", "--epochs", "9", "--name", "failed", code=1)
    assert (failed / "diary/diary.txt").read_text().endswith("close failed\n")


def test_a_logger_that_was_left_out_for_a_while_keeps_what_it_had(tmp_path):
    run = resume(train(tmp_path, *DIARY, "--epochs", "1"), "--epochs", "2", "trainer.loggers=[]")
    before = diary(run)
    resume(run, "--epochs", "3", "trainer.loggers=[Diary]")
    after = diary(run)
    assert after["diary/diary.txt"][: len(before["diary/diary.txt"])] == before["diary/diary.txt"]
    assert [line.split()[0] for line in after["diary/diary.txt"]] == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "5",
        "11",
        "12",
        "13",
        "14",
        "15",
        "15",
    ]
