"""Runs from a shell: outputs that are closed, and a locale without the letters of a name."""

import os
import subprocess
import sys
from pathlib import Path

from tests.process import ROOT, start_python
from tests.running import TINY, rows, status
from tests.test_stopping import runs


def shell(folder: Path, command: str) -> subprocess.CompletedProcess:
    """A command line in a folder with tiny.yaml; $TRAIN and $TEST are the scripts, which $PYTHON can import too."""
    (folder / "tiny.yaml").write_text(TINY.replace("[Recorder]", "[]"))
    names = {script.upper(): f"{sys.executable} {ROOT / script}.py" for script in ("train", "test")}
    environment = {**os.environ, **names, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    options = dict(cwd=folder, env=environment, capture_output=True, shell=True)
    return subprocess.run(command, **options)


def test_closed_outputs_end_no_run(tmp_path):
    assert shell(tmp_path, "$TRAIN -c tiny.yaml <&- >&- 2>&-").returncode == 0
    run = (tmp_path / "saved/tiny/latest").resolve()
    assert status(run) == "finished" and len(rows(run)) == 2
    assert shell(tmp_path, "$TRAIN -c tiny.yaml --lr x >&- 2>&-").returncode == 2
    assert shell(tmp_path, "$TEST -r saved/tiny/latest --no-report > /dev/full").returncode in (0, 1)


def test_other_letters_in_an_ascii_locale(tmp_path):
    ascii_locale = "LC_ALL=C PYTHONUTF8=0"
    (tmp_path / "over.yaml").write_text("trainer: {save_dir: Übung}", encoding="utf-8")
    for more in ("trainer.save_dir=Übung", "--name Übung", "-c over.yaml"):
        done = shell(tmp_path, f"{ascii_locale} $TRAIN -c tiny.yaml {more}")
        assert done.returncode == 2 and b"Traceback" not in done.stderr
        assert b"is no text in this locale (ascii): set PYTHONUTF8=1 or LC_ALL=C.UTF-8" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.yaml", "over.yaml"}
    (folder := tmp_path / "Übung").mkdir()
    run = "'-r', 'saved/tiny/latest'"
    commands = f"train.main(['-c', 'tiny.yaml']), train.main([{run}, '--epochs', '3']), test.main([{run}])"
    done = shell(folder, f'{ascii_locale} $PYTHON -c "import test, train; print([{commands}])"')
    assert done.stdout.endswith(b"[0, 0, 0]\n"), done.stderr


def test_a_run_outlives_whoever_reads_its_output(tmp_path):
    def unread(*command):
        """The exit code of a script whose output nobody reads."""
        reading, writing = os.pipe()
        os.close(reading)
        with start_python(*command, stdout=writing) as process:
            os.close(writing)
            assert process.stderr.read() == ""
        return process.returncode

    (tmp_path / "tiny.yaml").write_text(TINY.replace("[Recorder]", "[]"))
    assert unread("train.py", "-c", tmp_path / "tiny.yaml", f"trainer.save_dir={tmp_path / 'saved'}") == 0
    (run,) = runs(tmp_path)
    assert status(run) == "finished" and "finished; to evaluate" in (run / "train.log").read_text()
    assert unread("test.py", "-r", run, "--no-report") == 141
