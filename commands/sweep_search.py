"""A search for better settings with Optuna: trials of a config, each a run, of which the hopeless ones end early."""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from commands.sweep_journal import open_journal
from commands.sweep_results import Row, tell_best, write_results
from commands.sweep_space import Dimension, check_space, read_space
from commands.sweeping import Sweep, Task, TaskLock
from config.problems import ConfigError
from script import load_registries, tell
from utils.errors import RunError, UserError
from utils.seeding import derive_seed
from utils.stopping import Stopping
from utils.terminal import duration, formatted

if TYPE_CHECKING:
    from optuna import Study, Trial

STUDY = "sweep"


class Search(Sweep):
    """Trials until there are as many as asked for. Its records: optuna.log, Optuna's journal."""

    record_name = "trials.yaml"

    def __init__(self, options: argparse.Namespace):
        if find_spec("optuna") is None:
            raise UserError("--trials needs Optuna: pip install -r requirements-sweep.txt")
        self.num_runs = options.trials
        self.space, problems = read_space(options.space, options.space_file)
        given = (options.config, options.overrides, self.space, problems)
        super().__init__(options, check_space(*given, load_registries, tell))
        self.about = {"space": {each.key: each.as_data() for each in self.space}}

    @cached_property
    def study(self) -> Study:
        """Optuna's view of all trials, of every process."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(
            storage=self._storage,
            study_name=STUDY,
            direction="maximize" if self.config.trainer.monitor.mode == "max" else "minimize",
            pruner=optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )

    @cached_property
    def _storage(self) -> Any:
        return open_journal(self.folder)

    def scored_part(self, has_validation: bool) -> str:
        return "valid"

    def claim(self) -> Task | None:
        from optuna.trial import TrialState

        study = self.study
        with self.locked():
            trials = study.get_trials(deepcopy=False)
            for frozen in trials:  # whose process is dead
                if frozen.state == TrialState.RUNNING and (held := self.taken(f"trial-{frozen.number}")) is not None:
                    return self._task(self._trial(frozen.number), held)
            if len(trials) >= self.num_runs:
                return None
            held = TaskLock(self.folder / f".trial-{len(trials)}.lock")
            self._seed(len(trials))
            return self._task(study.ask(), held)

    def _trial(self, number: int) -> Trial:
        """One that was begun."""
        import optuna

        study_id = self._storage.get_study_id_from_name(STUDY)
        self._seed(number)
        return optuna.trial.Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _seed(self, number: int) -> None:
        """What a trial draws is a function of the seed, its number and the trials before: no draw comes twice."""
        import optuna

        self.study.sampler = optuna.samplers.TPESampler(seed=derive_seed("sweep", self.config.seed, number) % 2**32)

    def _task(self, trial: Trial, held: TaskLock) -> Task:
        """Values for all dimensions, and a run folder, as far as the trial lacks them."""
        overrides = [f"{each.key}={_suggested(trial, each)}" for each in self.space]
        run = self.run_of(trial.user_attrs.get("run"))
        trial.set_user_attr("run", run.path.name)
        return Task(f"trial {trial.number}", overrides, run, held)

    def do(self, task: Task) -> int:
        from optuna.trial import TrialState

        trial = self._trial(int(task.label.split()[1]))
        started, why = time.monotonic(), ""
        try:
            code, trainer = self.train(task, lambda trainer: self._begin(trainer, trial))
        except (ConfigError, UserError, RunError) as mistake:  # of values that do not go together, or need more memory
            code, trainer, why = 1, None, str(mistake)
            task.run.set_status("failed")
            task.run.unlock()
        if code not in (0, 1):
            return code
        best = None if trainer is None else trainer.best.value
        if code == 0 and trainer.stopping.reason == PRUNED:
            state = TrialState.PRUNED
        elif code == 0 and best is not None:
            state = TrialState.COMPLETE
        else:
            state = TrialState.FAIL
            why = (
                why or f"{task.run.path / 'train.log'} says why"
                if code
                else f"no finite {self.config.trainer.monitor.metric}"
            )
        with self.locked():
            if why:
                trial.set_user_attr("why", why)
            self.study.tell(trial, best if state == TrialState.COMPLETE else None, state, skip_if_finished=True)
            task.lock.path.unlink()
            write_results(self.folder, self.rows(), self.space, self.config)
        told = formatted(best) if state == TrialState.COMPLETE else f"{state.name.lower()}{': ' * bool(why)}{why}"
        seconds = duration(time.monotonic() - started)
        print(f"{task.label}: {told}  {' '.join(task.overrides)}  ({seconds}, {task.run.path})", flush=True)
        return 0

    def _begin(self, trainer: Any, trial: Trial) -> None:
        """UserError for a trial whose validation part is not that of the first: no scores could be compared."""
        fingerprint = trainer.metadata["data"]["fingerprint"]
        found = [fingerprint["num_samples"]["valid"], fingerprint["targets"]["valid"]]
        with self.locked():
            before = self.study.user_attrs.setdefault("valid", found)
            self.study.set_user_attr("valid", before)
        if before != found:
            raise UserError("it is validated on other samples or targets than the trials before: they are not compared")
        watch(trainer, trial)

    def rows(self) -> list[Row]:
        """All trials, by their numbers."""
        return [
            Row(
                number=trial.number,
                state=trial.state.name.lower(),
                value=trial.value if trial.state.name == "COMPLETE" else None,
                values={key: _plain(value) for key, value in trial.params.items()},
                run=trial.user_attrs.get("run", ""),
                why=trial.user_attrs.get("why", ""),
            )
            for trial in self.study.get_trials(deepcopy=False)
        ]

    def conclude(self, code: int) -> int:
        """Print the best trial, and draw all."""
        from commands.sweep_plots import draw_search

        rows = self.rows()
        with self.locked():
            write_results(self.folder, rows, self.space, self.config)
            draw_search(self.study, rows, self.space, self.config.trainer.monitor, self.folder)
        left = max(0, self.num_runs - sum(row.state != "running" for row in rows))
        if left:
            print(f"{left} of {self.num_runs} trials are left; the same command again goes on with them")
        tell_best(self.parent, rows, self.config.trainer.monitor)
        return code


def _suggested(trial: Trial, dimension: Dimension) -> str:
    """The value of a dimension in a trial, as it is set: drawn the first time."""
    if dimension.kind == "choice":
        return trial.suggest_categorical(dimension.key, dimension.choices)
    if dimension.kind == "int":
        return json.dumps(trial.suggest_int(dimension.key, dimension.low, dimension.high))
    return json.dumps(trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.kind == "log"))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


PRUNED = "pruned"


class Pruning(Stopping):
    """Another reason to stop: a trial that is worse than half of those before were at its age."""

    is_pruned = False

    @property
    def reason(self) -> str | None:
        return super().reason or (PRUNED if self.is_pruned else None)


def watch(trainer: Any, trial: Trial) -> None:
    """Have a trainer report each evaluation, and stop where there is no hope; epochs are counted, or else steps."""
    metric, after_evaluation = trainer.settings.monitor.metric, trainer.after_evaluation
    is_by_epoch = trainer.settings.eval_every.unit == "epoch"
    trainer.stopping = Pruning(None)

    def report(scores: dict[str, float]) -> None:
        after_evaluation(scores)
        when = trainer.plan.epoch_of(trainer.step - 1) + 1 if is_by_epoch else trainer.step
        if math.isfinite(scores[metric]):
            if when not in reported:  # else by this trial, before it was killed
                reported.add(when)
                trial.report(scores[metric], when)
            trainer.stopping.is_pruned = trainer.step < trainer.plan.total_steps and trial.should_prune()

    reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    trainer.after_evaluation = report
