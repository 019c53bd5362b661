"""A run whose model is really compiled; with stand-ins for the compiler: tests/test_gpu_way.py."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters
from torch.testing import assert_close

from tests.running import evaluate, state_of, train


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_is_saved_under_its_own_names(tmp_path):
    config = ("model={type: LinearRegression, args: {in_features: 8, out_features: 3}}", "trainer.epochs=1")
    config += ("data_loader.validation_split=0",)  # one graph to compile, which takes its time, instead of two
    plain = train(tmp_path, *config)
    counters.clear()
    with torch._inductor.config.patch({"cpp.vec_isa_ok": True}):  # else three programs tell it what CPU this is
        compiled = train(tmp_path, *config, "trainer.compile=true", "--name", "compiled")
    assert sum(counters["frames"].values())
    assert_close(state_of(plain)["model"], state_of(compiled)["model"])
    assert evaluate(compiled)["loss"] == pytest.approx(evaluate(plain)["loss"], rel=1e-5)
