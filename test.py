"""Evaluate a trained model: python test.py -r saved/digits/latest"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from config.command_line import parse_test_options
from script import exit_code_of, load_registries, tell


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(test, parse_test_options(argv))


def test(options: argparse.Namespace) -> int:
    """Rebuild everything from a checkpoint, evaluate one split, write and print the results."""
    from base.score_sums import ScoreSums
    from config.compare import overrides_without_effect
    from config.load import check_config, document_from
    from config.schema import LossConfig
    from data_loader.build import build_loader
    from experiment import build_forward_pass
    from model.build import build_model
    from model.build_metrics import build_metrics, takes_probabilities
    from model.initial_weights import check_fit
    from trainer.evaluation import evaluate
    from trainer.memory_format import set_memory_format
    from trainer.results import Predictions
    from utils.checkpoint import read_checkpoint
    from utils.errors import UserError, telling_of_memory
    from utils.files import obstacle_to
    from utils.find_run import resolve_checkpoint
    from utils.machine import prepare_device

    path = resolve_checkpoint(options.resume, prefer="best")
    state = read_checkpoint(path)
    document = document_from(state["config"], str(path), options.overrides)
    document.problems.extend(overrides_without_effect(document))
    config = check_config(document, load_registries, tell)
    folder = Path(options.out) if options.out else results_folder(path, options.split)
    if obstacle := obstacle_to(folder):
        raise UserError(f"no results can be written to {folder}: {obstacle}; give another folder with --out DIR")

    device = prepare_device(config.device, config.trainer.deterministic)
    try:
        loader = build_loader(config.dataset, config.data_loader, options.split, config.seed, device)
    except UserError as error:
        is_missing = options.split == "test" and not str(error).startswith("data_loader.")
        hint = "\nTo evaluate on the validation part: --split valid" if is_missing else ""
        raise UserError(f"{error}{hint}") from error
    threshold = 0.5 if takes_probabilities(config.loss.type) else 0.0
    predictions = Predictions(loader.name_of, state["classes"], threshold)
    with telling_of_memory(lambda: "in the evaluation", config.data_loader.batch_size):
        model = build_model(config.model, config.seed, is_trained=True)
        weights = state["ema"]["model"] if "ema" in state else state["model"]
        check_fit(model, weights, path)
        model.load_state_dict(weights)
        model.to(device)
        forward_pass = build_forward_pass(config, LossConfig(**state["loss"]), device)
        set_memory_format(forward_pass, model, state.get("channels_last", False))
        sums = ScoreSums(build_metrics(config.metrics, config.loss))
        scores = evaluate(forward_pass, model, loader.batches(), sums, config.seed, visit=predictions.visit)

    about = {"checkpoint": str(path), "step": state["step"], "split": options.split, "num_samples": loader.num_samples}
    predictions.write(folder, {**about, **scores})
    print(f"{path}, {options.split}: {loader.num_samples:,} samples")
    for name, value in scores.items():
        print(f"  {name}: {value:.6g}")
    print(f"results in {folder}")
    return 0


def results_folder(checkpoint: Path, split: str) -> Path:
    """Where results go: RUN/test for a checkpoint in a run folder, else a folder beside the checkpoint."""
    parent = checkpoint.parent if checkpoint.parent.name == "checkpoints" else checkpoint.resolve().parent
    run = parent.parent if parent.name == "checkpoints" else parent
    return run / ("test" if split == "test" else f"test-{split}")


if __name__ == "__main__":
    sys.exit(main())
