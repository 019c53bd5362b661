"""Where scores go besides metrics.csv. A logger has `log(step, scores)`, `flush()` and `close()`."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from base.registry import LOGGERS


@LOGGERS.register
class TensorBoard:
    """TensorBoard event files: `loss/train`, `loss/valid`, `accuracy/train`, `lr`, ... by step."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard")

    def log(self, step: int, scores: dict[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        # One event for all of them: add_scalar would make one each, and take 25 us a score.
        values = [Summary.Value(tag=tag_of(name), simple_value=value) for name, value in scores.items()]
        self._writer.file_writer.add_summary(Summary(value=values), step)

    def log_pictures(self, step: int, pictures: Tensor) -> None:
        """Show pictures (N, C, H, W), each stretched to its own range: they may be normalised."""
        low = pictures.amin(dim=(1, 2, 3), keepdim=True)
        high = pictures.amax(dim=(1, 2, 3), keepdim=True)
        self._writer.add_images("inputs/train", (pictures - low) / (high - low).clamp_min(1e-8), step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def tag_of(name: str) -> str:
    """The tag that puts training and validation side by side: val_loss -> loss/valid, loss -> loss/train."""
    if name == "lr":
        return name
    return f"{name.removeprefix('val_')}/{'valid' if name.startswith('val_') else 'train'}"
