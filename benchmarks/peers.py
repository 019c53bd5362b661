"""What people would use instead, doing the same: one epoch, loss and accuracy to TensorBoard every 10 steps, a
progress bar, validation and a checkpoint.

Each takes (model, optimizer, train batches, valid batches, folder) and returns seconds.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from benchmarks.harness import clock
from benchmarks.template import Terminal

LOG_EVERY = 10
cross_entropy = nn.functional.cross_entropy


def bare(model: nn.Module, optimizer: Optimizer, train: Iterable, valid: Iterable, folder: Path) -> float:
    """The arithmetic and nothing else: the floor."""
    start = clock()
    model.train()
    for inputs, target in train:
        loss = cross_entropy(model(inputs), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with torch.inference_mode():
        for inputs, target in valid:
            output = model(inputs)
            cross_entropy(output, target)
            (output.argmax(1) == target).sum()
    return clock() - start


def hand_written(model: nn.Module, optimizer: Optimizer, train: Iterable, valid: Iterable, folder: Path) -> float:
    """A loop in the manner of PyTorch's official MNIST example."""
    from torch.utils.tensorboard import SummaryWriter
    from tqdm import tqdm

    start = clock()
    writer = SummaryWriter(folder)
    model.train()
    for step, (inputs, target) in enumerate(tqdm(train, file=Terminal()), 1):
        optimizer.zero_grad()
        output = model(inputs)
        loss = cross_entropy(output, target)
        loss.backward()
        optimizer.step()
        if step % LOG_EVERY == 0:
            writer.add_scalar("loss/train", loss.item(), step)
            writer.add_scalar("accuracy/train", (output.argmax(1) == target).float().mean().item(), step)
    _validate(model, valid)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "checkpoint.pt")
    writer.close()
    return clock() - start


def accelerate(model: nn.Module, optimizer: Optimizer, train: Iterable, valid: Iterable, folder: Path) -> float:
    from accelerate import Accelerator
    from tqdm import tqdm

    start = clock()
    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=str(folder))
    accelerator.init_trackers("benchmark")
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    for step, (inputs, target) in enumerate(tqdm(train, file=Terminal()), 1):
        with accelerator.accumulate(model):
            output = model(inputs)
            loss = cross_entropy(output, target)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        if step % LOG_EVERY == 0:
            accuracy = (output.argmax(1) == target).float().mean()
            accelerator.log({"loss": loss.item(), "accuracy": accuracy.item()}, step=step)
    _validate(model, valid)
    accelerator.save_state(str(folder / "state"))
    accelerator.end_training()
    return clock() - start


def ignite(model: nn.Module, optimizer: Optimizer, train: Iterable, valid: Iterable, folder: Path) -> float:
    from ignite.contrib.handlers import ProgressBar
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import ModelCheckpoint
    from ignite.handlers.tensorboard_logger import TensorboardLogger
    from ignite.metrics import Accuracy, Loss, RunningAverage

    start = clock()
    trainer = create_supervised_trainer(
        model, optimizer, cross_entropy, output_transform=lambda x, y, output, loss: (loss.item(), output, y)
    )
    RunningAverage(output_transform=lambda out: out[0]).attach(trainer, "loss")
    RunningAverage(Accuracy(output_transform=lambda out: out[1:])).attach(trainer, "accuracy")
    evaluator = create_supervised_evaluator(model, {"loss": Loss(cross_entropy), "accuracy": Accuracy()})
    logger = TensorboardLogger(log_dir=str(folder))
    every = Events.ITERATION_COMPLETED(every=LOG_EVERY)
    logger.attach_output_handler(trainer, every, tag="train", metric_names=["loss", "accuracy"])
    ProgressBar(file=Terminal()).attach(trainer, event_name=every)
    if len(valid):
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(valid))
    saved = {"model": model, "optimizer": optimizer}
    trainer.add_event_handler(Events.EPOCH_COMPLETED, ModelCheckpoint(str(folder), require_empty=False), saved)
    trainer.run(train, max_epochs=1)
    logger.close()
    return clock() - start


def lightning(model: nn.Module, optimizer: Optimizer, train: Iterable, valid: Iterable, folder: Path) -> float:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, index):
            return self._log("train", batch)

        def validation_step(self, batch, index):
            self._log("valid", batch)

        def _log(self, split, batch):
            inputs, target = batch
            output = self.model(inputs)
            loss = cross_entropy(output, target)
            accuracy = (output.argmax(1) == target).float().mean()
            size = len(target)
            self.log(f"{split}_loss", loss, prog_bar=True, batch_size=size)
            self.log(f"{split}_accuracy", accuracy, batch_size=size)
            return loss

        def configure_optimizers(self):
            return optimizer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(Terminal()), contextlib.redirect_stderr(Terminal()):
        warnings.simplefilter("ignore")
        start = clock()
        pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            log_every_n_steps=LOG_EVERY,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            logger=TensorBoardLogger(str(folder)),
        ).fit(Module(), train, valid or None)
        return clock() - start


LIBRARIES = {"Ignite": ignite, "accelerate": accelerate, "Lightning": lightning}
NOT_INSTALLED = [name for name in LIBRARIES if find_spec(name.lower()) is None]
PEERS = {"hand-written loop": hand_written}
PEERS |= {name: peer for name, peer in LIBRARIES.items() if name not in NOT_INSTALLED}


def _validate(model: nn.Module, valid: Iterable) -> None:
    model.eval()
    loss_sum, num_right, num_samples = 0.0, 0, 0
    with torch.inference_mode():
        for inputs, target in valid:
            output = model(inputs)
            loss_sum += cross_entropy(output, target, reduction="sum").item()
            num_right += (output.argmax(1) == target).sum().item()
            num_samples += len(target)
