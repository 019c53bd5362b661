"""A small GPT on characters: steps of ours against a loop by hand in the manner of nanoGPT, with the same model."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from benchmarks.harness import Result, Row, clock, interleaved, ratio
from benchmarks.template import fit
from model.gpt import GPT

NUM_STEPS, BATCH, CONTEXT = 400, 12, 64
SIZES = {"layers": 4, "heads": 4, "width": 128}
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.99], "weight_decay": 0.1}
LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:!?'-\n&$3"


def config_of(path: str, num_steps: int) -> dict[str, Any]:
    windows = {"path": path, "context_length": CONTEXT, "stride": 1, "valid_fraction": 0.0}
    return {
        "dataset": {"type": "TextWindows", "args": windows},
        "data_loader": {"batch_size": BATCH, "validation_split": 0},
        "model": {"type": "GPT", "args": SIZES},
        "loss": {"type": "CrossEntropyLoss"},
        "optimizer": {"type": "AdamW", "args": ADAMW, "no_decay": True},
        "trainer": {"max_steps": num_steps, "clip_grad_norm": 1.0, "monitor": "off", "save_every": "end"},
    }


def by_hand(tokens: torch.Tensor, vocab_size: int, num_steps: int) -> float:
    """Seconds of a loop with windows from random places; it logs, validates and saves nothing."""
    model = GPT(vocab_size, CONTEXT, **SIZES).train()
    matrices = [each for each in model.parameters() if each.ndim >= 2]
    others = [each for each in model.parameters() if each.ndim < 2]
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, **ADAMW, fused=True)
    start = clock()
    for _ in range(num_steps):
        places = torch.randint(len(tokens) - CONTEXT, (BATCH,)).tolist()
        inputs = torch.stack([tokens[place : place + CONTEXT] for place in places])
        targets = torch.stack([tokens[place + 1 : place + 1 + CONTEXT] for place in places])
        logits = model(inputs).transpose(1, 2)
        loss = nn.functional.cross_entropy(logits.reshape(-1, vocab_size), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return clock() - start


def run(rounds: int, scale: float) -> Result:
    num_steps = max(10, int(NUM_STEPS * scale))
    text = "".join(random.Random(0).choices(LETTERS, k=200_000))
    known = sorted(set(text))
    tokens = torch.from_numpy(numpy.array([known.index(letter) for letter in text]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.txt")
        path.write_text(text)
        contenders = {
            "by hand": lambda: by_hand(tokens, len(known) + 1, num_steps),
            "ours": lambda: fit(config_of(str(path), num_steps)),
        }
        taken = interleaved(contenders, rounds)
    own = ratio(taken, "ours", "by hand")
    milliseconds = [seconds / num_steps * 1000 for seconds in taken["by hand"]]
    rows = [
        Row("loop by hand", f"{sorted(milliseconds)[len(milliseconds) // 2]:.1f} ms a step"),
        Row("ours, with logs and a checkpoint", f"{own:.3f} x", "<= 1.0 x", own <= 1.0),
    ]
    work = f"{num_steps:,} steps, batches of {BATCH} windows of {CONTEXT} characters, 0.80 million weights"
    return Result(f"{work}, median of {rounds} rounds.", rows)
