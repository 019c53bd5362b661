"""What every test can rely on."""

import os
import signal

import pytest

from tests.paper import REAL, Paper, figures_are


def pytest_runtest_setup(item):
    """Tests marked `cuda` are skipped where there is none of the device that tests/gpu.py has for them."""
    if item.get_closest_marker("cuda") is not None:
        import torch

        from tests.gpu import IS_GPU

        if IS_GPU and not torch.cuda.is_available():
            pytest.skip("needs a CUDA GPU; TEMPLATE_CUDA_TESTS_ON=cpu runs it on the CPU")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread for each process, also for those that tests start: they share the cores, where threads wait for each
    other, and another number of threads gives other bits."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    """Whatever started pytest, the runs of the tests are of one process, and have no terminal's width to respect."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def figures_of_paper():
    """Most of a small run's time, and of its evaluation's, would go into pictures."""
    with figures_are(Paper):
        yield


@pytest.fixture(autouse=True)
def drawn_where_it_is_looked_at(request, monkeypatch):
    """Tests marked `draws` have real pictures, and those marked `figures` all but their drawing."""
    marks = {mark.name for mark in request.node.iter_markers()}
    with figures_are(REAL if marks & {"draws", "figures"} else Paper):
        if "draws" not in marks:
            monkeypatch.setattr("matplotlib.figure.Figure.savefig", Paper.savefig)
        yield


@pytest.fixture
def hears_hangup():
    """SIGHUP arrives, though nohup may have started pytest."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
