"""What a GPU does otherwise, as far as a CPU can show it: memory formats, graphs, averages, errors of the device."""

import functools
import math
import re
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from base import DATASETS, MODELS, OPTIMIZERS, TRAINERS
from base.batch import Forward
from base.optimizer_state import load_optimizer
from config.schema import LossConfig, MetricConfig
from data_loader.batch_loader import BatchReader
from data_loader.in_memory import InMemoryDataset
from data_loader.pictures.folder import ImageFolder
from data_loader.prefetch import pinned_memory
from data_loader.resident import resident_data
from model import torch_metric
from model.build_metrics import build_metrics
from tests.make_data import write_pictures, write_reviews
from tests.running import (
    PICTURES,
    Recorder,
    assert_same,
    assert_same_end,
    assert_same_state,
    evaluate,
    first_model,
    loader_of,
    read,
    recorded,
    resume,
    state_of,
    status,
    train,
)  # fmt: skip
from trainer import memory_format
from trainer.ema import EMA
from trainer.loss_guard import LossGuard, NonFiniteLossError
from trainer.trainer import Trainer
from utils import torch_internals
from utils.errors import UserError

DIGITS = (
    "dataset=Digits",
    "model={type: LeNet, args: {num_classes: 10, dropout: 0}}",
    "data_loader.validation_split=0.1",
)
TEXTS = """\
name: texts
device: cpu
dataset: {{type: TextCSV, args: {{path: {path}, max_length: 40}}}}
data_loader: {{batch_size: 8, num_workers: 0, order: bucketed, validation_split: null}}
model: {{type: TextTransformer, args: {{width: 8, num_layers: 0}}}}
loss: CrossEntropyLoss
optimizer: Adam
trainer: {{epochs: 1, tensorboard: false}}
"""
NO_GPU_CHOICE = lambda forward_pass, model: False  # noqa: E731  (as on CUDA with fp32)


@pytest.mark.parametrize(
    "optimizer", ["{type: SGD, args: {lr: 0.1, momentum: 0.9}}", "{type: AdamW, args: {lr: 0.01}}"]
)
@pytest.mark.parametrize("is_first_channels_last", [True, False])
def test_momentum_follows_the_memory_format_of_the_weights(optimizer, is_first_channels_last, tmp_path, monkeypatch):
    """A run that goes on where `channels_last: auto` chooses otherwise, as on another device."""
    config = (*PICTURES, f"optimizer={optimizer}", "trainer.ema_decay=0.9", "trainer.keep_last=9")
    whole = train(tmp_path, *config, "--epochs", "3")
    if is_first_channels_last:
        monkeypatch.setattr(memory_format, "_gains", NO_GPU_CHOICE)
        run = whole
    else:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(memory_format, "_gains", NO_GPU_CHOICE)
            run = train(tmp_path, *config, "--epochs", "3", "--name", "other")
    end = state_of(run)
    resume(run / "checkpoints/step-000000005.pt")
    again = state_of(run)
    assert again["channels_last"] is not end["channels_last"]
    for part in ("model", "ema", "optimizer"):
        assert_close(again[part], end[part], rtol=1e-4, atol=1e-5)


def test_the_kernels_of_an_optimizer_are_chosen_by_the_device_at_hand():
    """As a checkpoint from Apple's GPU has them, where there is no fused kernel; and a count of steps goes along."""
    weight = nn.Parameter(torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last))
    weight.grad = torch.ones_like(weight)
    saved, here = (OPTIMIZERS.build("Adam", {"lr": 0.1, "fused": fused}, params=[weight]) for fused in (None, True))
    saved.step()
    load_optimizer(here, saved.state_dict())
    assert here.param_groups[0]["fused"] is True
    here.step()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        load_optimizer(here, {"state": {}, "param_groups": []})


def test_averages_are_torchs_to_the_bit(tmp_path):
    model = first_model(read(tmp_path, *PICTURES, "model={type: SmallResNet, args: {num_classes: 3, width: 4}}"))
    ours, torchs = EMA(model, 0.7), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    for _ in range(4):
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data.add_(torch.rand_like(tensor, dtype=torch.float32).to(tensor.dtype))
        ours.update(model)
        torchs.update_parameters(model)
        assert_same(ours.model.state_dict(), torchs.module.state_dict())


def test_each_size_of_batch_gets_one_graph_from_the_batch_to_the_loss(tmp_path, monkeypatch):
    """Also in evaluation with averaged weights. What a graph gets: pictures as they were read, and targets."""
    sizes = []

    def count(graph, inputs):
        sizes.append([(tuple(value.shape), value.dtype) for value in inputs if not value.dtype.is_floating_point])
        assert not any(isinstance(value, torch.SymInt) for value in inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))
    odd = ("dataset.args.size=43", "data_loader.drop_last=false", "dataset.args.valid_size=16")
    made = ("dataset.args.dtype=uint8", "dataset.batch_transforms.train=[RandomHorizontalFlip]", "metrics=[accuracy]")
    settings = (
        "trainer.compile=true",
        "trainer.ema_decay=0.5",
        "trainer.precision=bf16",
        "loss.class_weights=[1, 2, 3]",
    )
    for _ in range(3):  # runs in one process: torch allows for eight graphs of the same code
        sizes.clear()
        train(tmp_path, *PICTURES, *odd, *made, *settings)
        assert sizes == [
            [((size, 3, 8, 8), torch.uint8), ((size,), torch.int64)] for size in (8, 3, 8)
        ]  # in training, and of the averaged weights in evaluation


def test_texts_of_many_lengths_share_a_few_graphs(tmp_path, monkeypatch):
    """For training and for evaluation, and for batches with the longest."""
    graphs, config = [], TEXTS.format(path=tmp_path / "texts.tsv")

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    write_reviews(tmp_path / "texts.tsv", 120, header="target\ttext\n")
    plain = train(tmp_path, config=config)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))
    assert_same_end(train(tmp_path, "trainer.compile=true", config=config), plain)
    assert len(graphs) <= 4 < 8  # of which torch would make as many as it allows for


def test_transforms_of_other_libraries_stay_before_the_graph(tmp_path, monkeypatch):
    """Also where they move pixels: what a graph gets is what they have made."""
    seen = []

    def look(graph, inputs):
        seen.extend(value.dtype for value in inputs if value.shape == (8, 3, 8, 8))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=look))
    config = ("dataset.args.dtype=uint8", "dataset.batch_transforms.train=[{type: RandomAffine, args: {degrees: 9}}]")
    train(tmp_path, *PICTURES, *config, "data_loader.validation_split=0", "trainer.compile=true")
    assert seen[0] is torch.uint8 and torch.float32 in seen[1:]


def test_metrics_keep_what_a_cuda_graph_would_write_over(tmp_path, monkeypatch):
    """A backend whose outputs lie where those before lay, as a replayed graph's do."""

    def replayed(graph, inputs):
        memory = {}

        def run(*values):
            outputs = graph(*values)
            kept = [memory.setdefault((i, value.shape), value.detach().clone()) for i, value in enumerate(outputs)]
            for value, place in zip(outputs, kept, strict=True):
                value.data = place.copy_(value.detach())
            return outputs

        return run

    config = ("dataset.args.num_classes=null", "model.args.out_features=1", "loss=MSELoss", "optimizer.args.lr=0.001")
    config += ("metrics=[{type: SpearmanCorrCoef, name: rank}]",)
    plain = train(tmp_path, *config)
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: torch_compile(model, backend=replayed))
    graphs = train(tmp_path, *config, "trainer.compile=reduce-overhead", "--name", "graphs")
    assert recorded(graphs, "val_rank") == pytest.approx(recorded(plain, "val_rank"))


torch_compile = torch.compile


def without_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.\nC++ stack")


def with_a_failed_assert():
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


# What fails for want of memory, and what is said of it; all but the first fail really.
GREEDY = {
    "GPU": (without_memory, "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.\n"),
    "CPU": (lambda: torch.empty(2**46), "can't allocate memory: you tried to allocate 281474976710656 bytes"),
    "Python": (lambda: bytearray(2**62), "MemoryError\n"),
}


@MODELS.register
class Greedy(nn.Linear):
    """Fails in one of its phases, as the test says."""

    phase: str | None = None  # building, training or evaluation
    fail = staticmethod(without_memory)

    def __init__(self):
        super().__init__(8, 3)
        self.conv = nn.Conv2d(1, 1, 1)  # for which channels last are tried
        if self.phase == "building":
            self.fail()

    def forward(self, x):
        if self.phase == ("training" if self.training else "evaluation"):
            self.fail()
        return super().forward(x)


def failing(monkeypatch, fail, phase, after_step=0):
    """Have Greedy fail in a phase, from the log point after a step on."""

    def on_step(step):
        if step == after_step:
            monkeypatch.setattr(Greedy, "phase", phase)

    monkeypatch.setattr(Greedy, "fail", staticmethod(fail))
    monkeypatch.setattr(Recorder, "on_step", staticmethod(on_step))
    on_step(0)


@pytest.mark.parametrize(
    ("kind", "phase", "where"),
    [
        ("GPU", "building", "at the start, with batches of 9"),
        ("GPU", "training", "in the rehearsal, with batches of 8"),
        ("GPU", "evaluation", "at the start, with batches of 9"),  # in which channels last are tried
        ("CPU", "training", "in the rehearsal, with batches of 8"),
        ("Python", "building", "at the start, with batches of 9"),
    ],
)
def test_memory_that_runs_out_before_training_is_told(kind, phase, where, tmp_path, capsys, monkeypatch):
    fail, said = GREEDY[kind]
    failing(monkeypatch, fail, phase)
    train(tmp_path, "model=Greedy", "--batch-size", "9", code=1)
    error = capsys.readouterr().err
    assert re.match(rf"failed: out of memory {where} \(at tests.test_gpu_way.py:\d+\): ", error)
    assert said in error and "Lower data_loader.batch_size" in error and "Traceback" not in error
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("kind", "phase", "after_step", "where", "saved"),
    [
        ("GPU", "training", 7, "after step 7, with batches of 8", 5),
        ("CPU", "evaluation", 10, "in the evaluation after step 10, with batches of 8", 5),
        ("Python", "training", 3, "after step 3, with batches of 8", None),
    ],
)
def test_memory_that_runs_out_in_a_run_loses_nothing(
    kind, phase, after_step, where, saved, tmp_path, capsys, monkeypatch
):
    whole = train(tmp_path, "model=Greedy", "--name", "whole")
    fail, said = GREEDY[kind]
    failing(monkeypatch, fail, phase, after_step)
    run = train(tmp_path, "model=Greedy", "--name", "greedy", code=1)
    told = capsys.readouterr()
    assert f"error: out of memory {where} (at " in told.err and said in told.err and "Traceback" not in told.err
    assert said.strip() in (run / "train.log").read_text() and status(run) == "failed"
    going_on = f"saved: step-00000000{saved}.pt; to go on from there: python train.py -r {run}\n"
    assert told.out.endswith(going_on) if saved else "saved:" not in told.out
    monkeypatch.undo()
    resume(run)
    assert_same_end(run, whole)


def test_memory_that_runs_out_in_test_py_is_told(tmp_path, capsys, monkeypatch):
    run = train(tmp_path, "model=Greedy")
    for phase in ("building", "evaluation"):
        failing(monkeypatch, without_memory, phase)
        evaluate(run, code=1)
        error = capsys.readouterr().err
        assert "failed: out of memory in the evaluation, with batches of 8" in error and "Tried to allocate" in error


@pytest.mark.parametrize("after_step", [0, 7])
def test_another_error_of_the_device_keeps_its_traceback_and_gets_a_hint(after_step, tmp_path, monkeypatch):
    failing(monkeypatch, with_a_failed_assert, "training", after_step)
    with pytest.raises(torch.AcceleratorError) as caught:
        train(tmp_path, "model=Greedy")
    (note,) = caught.value.__notes__
    assert "CUDA_LAUNCH_BLOCKING=1" in note
    if after_step:
        run = next((tmp_path / "saved/tiny").glob("2*"))
        assert note in (run / "train.log").read_text() and status(run) == "failed"


def test_what_lies_on_a_device_already_is_not_pinned():
    there = torch.empty(3, device="meta")
    assert pinned_memory(there) is there


def test_nothing_is_tuned_for_examples(tmp_path):
    seen = []

    @MODELS.register
    class Tuned(nn.Linear):
        def __init__(self):
            super().__init__(8, 3)

        def forward(self, x):
            seen.append(torch.backends.cudnn.benchmark)
            return super().forward(x)

    train(tmp_path, "model=Tuned", "--epochs", "1", "trainer.max_time=0.001 seconds")
    assert not any(seen[:4]) and torch.backends.cudnn.benchmark


FOLDER = "dataset={type: ImageFolder, args: {root: ROOT, size: 8, cache: ram}}"
LENET = "model={type: LeNet, args: {num_classes: 2, in_channels: 3, dropout: 0}}"


@pytest.mark.parametrize("kind", ["digits", "folder"])
def test_data_that_live_on_the_device_are_the_same(kind, tmp_path):
    for part in ("train", "valid"):
        write_pictures(tmp_path / "pictures" / part, classes=("cat", "dog"), num_each=6)
    folder = FOLDER.replace("ROOT", str(tmp_path / "pictures"))
    data = {"digits": (*DIGITS, "--batch-size", "50"), "folder": (folder, LENET, "--batch-size", "5")}[kind]
    config = (*data, "data_loader.drop_last=false")
    elsewhere = train(tmp_path, *config, "data_loader.on_device=false")
    there = train(tmp_path, *config, "data_loader.on_device=true", "trainer.max_time=0.01 seconds")
    resume(there, "trainer.max_time=null")
    assert_same_state(state_of(there), state_of(elsewhere))
    assert evaluate(there, "--split", "valid") == evaluate(there, "--split", "valid", "data_loader.on_device=false")


def test_data_that_live_on_the_device_follow_their_dataset():
    """A trainer of one's own may change targets, or put others in their place."""
    loader = loader_of("Digits", on_device=True)
    first = next(loader.batches())
    loader.dataset.targets[first.indices] += 1
    assert torch.equal(next(loader.batches()).data[1], first.data[1] + 1)
    loader.dataset.inputs = torch.zeros_like(loader.dataset.inputs)
    assert not next(loader.batches()).data[0].any()


def test_without_a_count_of_changes_data_on_the_device_are_copied_again(monkeypatch):
    monkeypatch.setattr(torch_internals, "PUBLIC_ONLY", True)
    test_data_that_live_on_the_device_follow_their_dataset()


@DATASETS.register
class NoisyInputs(InMemoryDataset):
    """Takes its samples in a way of its own."""

    def __init__(self, split):
        super().__init__(torch.zeros(40, 8), torch.zeros(40, dtype=torch.int64))

    def __getitems__(self, indices):
        inputs, targets = super().__getitems__(indices)
        return inputs + torch.rand_like(inputs), targets


@DATASETS.register
class MirroredFolder(ImageFolder):
    @property
    def __getitems__(self):
        take = super().__getitems__
        return lambda indices: (take(indices)[0].flip(3), take(indices)[1])


def test_a_folder_that_takes_its_pictures_in_a_way_of_its_own_stays_where_it_is(tmp_path):
    write_pictures(tmp_path / "train", classes=("cat", "dog"), num_each=6)
    folder = {"root": str(tmp_path), "size": 8, "cache": "ram"}
    assert loader_of("ImageFolder", args=folder, on_device=True)
    with pytest.raises(UserError, match=r"MirroredFolder .* takes them in a way of its own"):
        loader_of("MirroredFolder", args=folder, on_device=True)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (("dataset=NoisyInputs",), "NoisyInputs does not hold its samples in memory as tensors, or takes them in a"),
        ((*DIGITS, "dataset.transforms.train=[RandomHorizontalFlip]"), "dataset.transforms work on single samples"),
        ((*DIGITS, "data_loader.num_workers=2"), "the 2 processes of data_loader.num_workers read on the CPU"),
    ],
)
def test_data_that_cannot_live_on_the_device_are_refused(settings, why, tmp_path, capsys):
    train(tmp_path, *settings, "data_loader.on_device=true", code=2)
    assert f"data_loader.on_device: found true, but {why}" in capsys.readouterr().err


def test_the_refusal_of_test_py_advises_nothing_else(tmp_path, capsys):
    run = train(tmp_path, "--epochs", "1")
    evaluate(run, "data_loader.on_device=true", code=2)
    assert "on_device: found true" in (told := capsys.readouterr().err) and "--split valid" not in told


def test_inputs_and_targets_in_memory_are_as_many():
    with pytest.raises(UserError, match="InMemoryDataset: 3 inputs, but 2 targets"):
        InMemoryDataset(torch.zeros(3, 1), torch.zeros(2))


def test_auto_leaves_data_where_they_are_without_room(monkeypatch):
    digits = DATASETS.build("Digits", {}, split="train")
    reader, needed = BatchReader(digits, None, 0), digits.inputs.nbytes + digits.targets.nbytes
    for free, is_there in ((4 * needed, True), (4 * needed - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        assert (resident_data(reader, torch.device("cuda"), "auto", "auto") is not None) is is_there
    assert resident_data(reader, torch.device("cpu"), "auto", "auto") is None


class Elsewhere(torch.Tensor):
    """A tensor that says it is not on a CPU."""

    is_cpu = False

    def __deepcopy__(self, memo):
        return self.clone()


@pytest.mark.parametrize("name", ["MulticlassF1Score", "MulticlassAUROC"])
def test_what_waits_for_a_gpu_is_not_counted_in_the_step(name, monkeypatch):
    def metric():
        return next(
            iter(build_metrics([MetricConfig(type=name, args={"num_classes": 3})], LossConfig(type="NLLLoss")).values())
        )

    at_once, later = metric(), metric()
    for _ in range(4):
        output, target = torch.randn(6, 3), torch.randint(3, (6,))
        at_once.update(output, target)
        later.update(output.as_subclass(Elsewhere), target)
        assert not later.metric.update_called
    assert later.compute() == at_once.compute()
    later.update(output.as_subclass(Elsewhere), target)
    at_once.update(output, target)
    resumed = metric()
    resumed.merge(later.state_dict())
    assert resumed.compute() == at_once.compute()
    resumed.reset()
    resumed.update(output.as_subclass(Elsewhere), target)
    resumed.reset()
    assert math.isnan(resumed.compute()[name])
    monkeypatch.setattr(torch_metric, "MOST_KEPT", output.nbytes + target.nbytes)
    for is_counted in (False, True):
        later.reset()
        later.update(output.as_subclass(Elsewhere), target)
        if is_counted:
            later.update(output.as_subclass(Elsewhere), target)
        assert later.metric.update_called is is_counted


def test_the_first_loss_that_was_wrong_is_told_when_they_are_looked_at():
    guard = LossGuard(str)
    for step, loss in enumerate([1.0, 2.0, math.inf, 1.0, math.nan]):
        result = Forward(None, None, None, torch.tensor(loss).as_subclass(Elsewhere))
        guard.take(step, result.loss, torch.tensor([10 * step]), result.output)
    with pytest.raises(NonFiniteLossError, match=r"the loss is inf at step 3;.*Samples: 20"):
        guard.check()
    guard.check()  # what was told is not told again


@TRAINERS.register
class NewHead(Trainer):
    """Trains another last layer from step 3 on, whose gradient is nan at step 5."""

    def train_step(self, batches):
        if self.step == 2:
            head, group = self.model.layers[-1], self.optimizer.param_groups[0]
            old, head.weight = head.weight, nn.Parameter(torch.zeros_like(head.weight))
            group["params"] = [head.weight if parameter is old else parameter for parameter in group["params"]]
        if self.step == 4:
            self.model.layers[-1].weight.register_hook(lambda gradient: gradient * math.nan)
        super().train_step(batches)


def test_gradients_of_weights_that_replaced_others_are_looked_at(tmp_path, capsys):
    train(tmp_path, "trainer.type=NewHead", "optimizer={type: Adam, args: {lr: 0.01}}", code=1)
    assert "a gradient is nan or infinite at step 5" in capsys.readouterr().err


@TRAINERS.register
class Saves(Trainer):
    """Tells when it saves."""

    steps: ClassVar = []

    def save(self, is_best=False):
        self.steps.append(self.step)
        super().save(is_best)


def test_save_every_end_saves_there_and_where_a_run_stops(tmp_path):
    config = ("trainer.type=Saves", "trainer.save_every=end", "trainer.eval_every=end", "trainer.keep_last=9")
    whole = train(tmp_path, *config)
    assert Saves.steps == [10] and recorded(whole, "val_loss") and len(recorded(whole, "val_loss")) == 1
    stopped = train(tmp_path, *config, "trainer.max_time=0.001 seconds", "--name", "stopped")
    assert len(Saves.steps) == 2 and Saves.steps[1] < 10
    resume(stopped, "trainer.max_time=null")
    assert_same_state(state_of(stopped), state_of(whole))
    Saves.steps.clear()
    train(tmp_path, *config, "trainer.eval_every=1 epoch", "trainer.monitor=min loss")
    assert Saves.steps == [5, 10]  # the best, and the end
