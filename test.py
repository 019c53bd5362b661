"""Evaluate a trained model: python test.py -r saved/digits/latest"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.command_line import parse_test_options
from script import exit_code_of, tell

if TYPE_CHECKING:  # what takes its time to import waits until the options are known to be right
    import torch

    from base.batch import Batch, Forward
    from data_loader.batch_loader import BatchLoader
    from trained import Trained
    from trainer.intervals import Samples
    from trainer.results import Predictions


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(test, parse_test_options, argv)


def test(options: argparse.Namespace) -> int:
    """Rebuild everything from a checkpoint, evaluate one split, write and print the results."""
    from trained import Trained
    from utils.distributed import joined
    from utils.find_run import resolve_checkpoint

    trained = Trained.read(resolve_checkpoint(options.resume, prefer="best"), options.overrides)
    with joined(trained.config.device, trained.config.trainer.timeout.seconds):
        return evaluate_part(trained, options)


def evaluate_part(trained: Trained, options: argparse.Namespace) -> int:
    from base.score_sums import ScoreSums
    from data_loader.class_names import batches_with_classes
    from model.build_metrics import build_metrics
    from model.sample_losses import losses_by_sample
    from trainer.evaluation import evaluate
    from trainer.intervals import Samples
    from trainer.results import Predictions
    from utils.distributed import is_main
    from utils.errors import UserError, telling_of_memory
    from utils.files import obstacle_to
    from utils.machine import prepare_device

    config, path = trained.config, trained.path
    folder = Path(options.out) if options.out else results_folder(path, options.split)
    if obstacle := obstacle_to(folder):
        raise UserError(f"no results can be written to {folder}: {obstacle}; give another folder with --out DIR")

    device = prepare_device(config.device, config.trainer.deterministic)
    loader = loader_for(trained, options.split, device)
    predictions = Predictions(loader.name_of, partial(trained.answers_for, loader.dataset))
    with telling_of_memory(lambda: "in the evaluation", config.data_loader.batch_size):
        model, forward_pass = trained.load(device, loader.dataset)
        sums = ScoreSums(build_metrics(config.metrics, config.loss, trained.data.get("facts")))
        samples = Samples(sums.metrics, partial(losses_by_sample, forward_pass.loss_fn, forward_pass.target_scale))

        def visit(batch: Batch, result: Forward) -> None:
            predictions.visit(batch, result)
            samples.visit(batch, result)

        batches = batches_with_classes(loader, trained.classes)
        scores = evaluate(forward_pass, model, batches, sums, config.seed, visit=visit)
    predictions.put_together()
    samples.put_together()
    if is_main():
        metrics = write_results(trained, options.split, folder, loader, scores, predictions, samples)
        write_page(folder, trained, loader.dataset, predictions, metrics, options.no_report)
        print(f"results in {folder}")
    return 0


def write_results(
    trained: Trained,
    split: str,
    folder: Path,
    loader: BatchLoader,
    scores: dict[str, float],
    predictions: Predictions,
    samples: Samples,
) -> dict[str, Any]:
    """Write the results of an evaluation, and print the scores with their intervals; returns metrics.json."""
    from trainer.results import table_of_scores

    intervals = samples.intervals(scores, trained.config.seed)
    about = {"checkpoint": str(trained.path), "step": trained.state["step"], "split": split}
    found = {"intervals": intervals.bounds, "num_resamples": intervals.num_resamples}
    metrics = {**about, "num_samples": loader.num_samples, **scores, **found}
    predictions.write(folder, metrics)
    in_all = sum(getattr(loader.dataset, "part_sizes", {}).values())
    of_all = f" of {in_all:,}" if in_all > loader.num_samples else ""
    print(f"{trained.path}, {split}: {loader.num_samples:,}{of_all} samples")
    print("".join(f"{note}\n" for note in trained.notes), end="")
    print(table_of_scores(scores, intervals.bounds))
    for name, reason in intervals.reasons.items():
        print(f"{name} has no interval: {reason}")
    if predictions.why_none:
        print(f"no predictions.csv: {predictions.why_none}")
    return metrics


def write_page(
    folder: Path,
    trained: Trained,
    dataset: Any,
    predictions: Predictions,
    metrics: dict[str, Any],
    is_unwanted: bool,
) -> None:
    """report.html and its pictures, with what is found of the run beside the checkpoint; of before, none is left."""
    from config.yaml_writer import write_yaml
    from data_loader.shown_sample import picture_of, text_of
    from report.outcome import Outcome
    from report.write import About, remove_report, write_report
    from utils.run_folder import RunFolder

    if is_unwanted:
        remove_report(folder)
        return
    run = RunFolder(results_folder(trained.path, "test").parent.resolve())
    about = About(
        name=f"{trained.config.name}/{run.path.name}" if run.info() else trained.config.name,
        config=write_yaml(trained.config.model_dump()),
        notes=trained.notes,
        curves=run.path / "curves.png",
        environment=run.info() or trained.state.get("machine", {}),
    )
    found = predictions.outcome(picture_of=partial(picture_of, dataset), text_of=partial(text_of, dataset))
    write_report(folder, predictions.why_no_outcome if found is None else Outcome(**found), metrics, about)


def loader_for(trained: Trained, split: str, device: torch.device) -> BatchLoader:
    """The loader of a part of the data, with the preprocessing of the training; what differs from then is told."""
    from data_loader.build import build_loader
    from utils.errors import UserError

    config = trained.config
    try:
        loader = build_loader(
            config.dataset, config.data_loader, split, config.seed, device, preprocessing=trained.preprocessing
        )
    except UserError as error:
        is_missing = split == "test" and not str(error).startswith("data_loader.")
        hint = "\nTo evaluate on the validation part: --split valid" if is_missing else ""
        raise UserError(f"{error}{hint}") from error
    trained.check_targets(loader, split)
    if config.data_loader.fold is not None and split == "test":
        from data_loader.folds import check_fold_is_new

        parts = (config.dataset, config.data_loader, "train", config.seed, device)
        check_fold_is_new(trained.changes_of_data(build_loader(*parts, preprocessing=trained.preprocessing), "train"))
    if changes := trained.changes_of_data(loader, split):
        tell(f"warning: the {split} part is not as it was in training: {'; '.join(changes)}")
    for note in getattr(loader.dataset, "notes", ()):
        print(note)
    return loader


def results_folder(checkpoint: Path, split: str) -> Path:
    """Where results go: RUN/test for a checkpoint in a run folder, else a folder beside the checkpoint."""
    parent = checkpoint.parent if checkpoint.parent.name == "checkpoints" else checkpoint.resolve().parent
    run = parent.parent if parent.name == "checkpoints" else parent
    return run / ("test" if split == "test" else f"test-{split}")


if __name__ == "__main__":
    sys.exit(main())
