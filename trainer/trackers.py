"""Trackers of others, each a thin adapter over its own package, which whoever names one installs (docs/trackers.md)."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy
from torch import Tensor

from base import LOGGERS
from trainer.loggers import stretched
from utils.files import write_durably
from utils.plain_data import values_by_key


@LOGGERS.register
class WandB:
    """Weights & Biases. project: null, the config's name; mode: null, as its own settings say (WANDB_MODE).

    Its files are in trackers/ of the run's folder. Source: https://docs.wandb.ai
    """

    package = "wandb"

    def __init__(
        self,
        folder: Path,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
    ):
        self.folder = folder / "trackers"  # not `wandb`: what is there would be cut when the run is resumed
        self.chosen = {"project": project, "entity": entity, "group": group, "tags": tags, "mode": mode}

    def start(self, config: dict[str, Any], run: str) -> None:
        import wandb

        self.place = Place(self.folder / "wandb.txt", config["name"], run)
        about = {**self.chosen, "project": self.chosen["project"] or config["name"], "name": run, "config": config}
        quiet = wandb.Settings(console="off")  # the terminal is the run's own
        self.run = wandb.init(id=self.place.id, resume="allow", dir=self.folder, settings=quiet, **about)
        self.run.define_metric("*", step_metric="step")  # its own count takes nothing that comes late to a step

    def log(self, step: int, scores: dict[str, Any]) -> None:
        if self.place.is_new(step, scores):
            self.run.log({"step": step, **scores}, step=max(step, self.run.step))

    def log_pictures(self, step: int, pictures: Tensor, name: str) -> None:
        import wandb

        self.log(step, {name: [wandb.Image(array) for array in arrays_of(pictures)]})

    def flush(self) -> None:
        """Its own process writes what it is given."""

    def close(self, status: str) -> None:
        self.run.summary["status"] = status
        self.run.finish(exit_code=int(status == "failed"))


@LOGGERS.register
class MLflow:
    """MLflow. tracking_uri: null, as its own settings say (MLFLOW_TRACKING_URI); experiment: null, the config's name.

    Source: https://mlflow.org/docs/latest
    """

    package = "mlflow"

    def __init__(self, folder: Path, tracking_uri: str | None = None, experiment: str | None = None):
        self.folder, self.tracking_uri, self.experiment = folder / "trackers", tracking_uri, experiment

    def start(self, config: dict[str, Any], run: str) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client, name = MlflowClient(self.tracking_uri), self.experiment or config["name"]
        self.place = Place(self.folder / "mlflow.txt", config["name"], run)
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self.client.create_experiment(name)
        if found := self.client.search_runs([experiment], f"tags.run = '{self.place.id}'"):
            self.id = found[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
            return
        if self.place.is_known:  # a new run would lack what this one was told
            raise LookupError(f"it has no run {self.place.id}: is tracking_uri where it was? (docs/trackers.md)")
        self.id = self.client.create_run(experiment, run_name=run, tags={"run": self.place.id}).info.run_id
        params = [Param(key, str(value)[:500]) for key, value in values_by_key(config)]
        for first in range(0, len(params), 100):  # no more at once
            self.client.log_batch(self.id, params=params[first : first + 100])

    def log(self, step: int, scores: dict[str, float]) -> None:
        from mlflow.entities import Metric

        if self.place.is_new(step, scores):
            now = int(1000 * time.time())
            self.client.log_batch(self.id, [Metric(name, float(score), now, step) for name, score in scores.items()])

    def log_pictures(self, step: int, pictures: Tensor, name: str) -> None:
        if self.place.is_new(step, [name]):
            self.client.log_image(self.id, numpy.concatenate(arrays_of(pictures), axis=1), key=name, step=step)

    def flush(self) -> None:
        """Each call has been answered."""

    def close(self, status: str) -> None:
        statuses = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        self.client.set_terminated(self.id, statuses[status])


class Place:
    """Which run of a tracker this one is, and how far it has been told: a file in the run's folder, a line a call.

    A resumed run goes on in the same run. It takes steps again, with the same scores, that the tracker knows already:
    these are not told twice. id: unique also where others give their runs the same names at the same second.
    """

    def __init__(self, path: Path, name: str, run: str):
        path.parent.mkdir(exist_ok=True)
        lines = path.read_text().split("\n")[:-1] if path.exists() else []  # without one that was cut
        if not lines:
            lines = [re.sub(r"[^\w-]", "-", f"{name}-{run}-{uuid.uuid4().hex[:8]}")]
        self.id = lines[0]
        told = [line.split("\t") for line in lines[1:]]
        self._before = int(told[-1][0]) if told else -1
        self._names = {name for step, *names in told if int(step) == self._before for name in names}
        text = "".join(f"{line}\n" for line in lines)
        write_durably(path, lambda file: file.write(text.encode()))
        self._path = path

    @property
    def is_known(self) -> bool:
        """Whether a process before has told the tracker of something."""
        return self._before >= 0

    def is_new(self, step: int, names: Iterable[str]) -> bool:
        """Whether the tracker has not been told of these at a step by a process before; it is now.

        Of the last step then, some may be missing: a run that is stopped in an evaluation does it when it goes on.
        """
        if step < self._before or (step == self._before and {*names} <= self._names):
            return False
        with open(self._path, "a") as file:
            file.write("\t".join((str(step), *names)) + "\n")
        return True


def arrays_of(pictures: Tensor) -> list[numpy.ndarray]:
    """Pictures (N, C, H, W) as uint8 (H, W, C) or (H, W), each stretched to its own range."""
    arrays = (255 * stretched(pictures)).byte().permute(0, 2, 3, 1).numpy()
    return [array.squeeze(2) if array.shape[2] == 1 else array for array in arrays]
