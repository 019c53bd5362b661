"""What an evaluation may change of the config in its checkpoint."""

from .problems import Problem, dotted
from .schema import Config, TrainerConfig
from .yaml_reader import Document

# What test.py makes use of, apart from the checkpoint: all else has had its effect, and the loss is in the state.
USED_IN_TEST = (
    *("dataset", "data_loader", "model", "metrics", "seed", "device"),
    *("trainer.precision", "trainer.deterministic"),
)
LIMITS_OF_TRAINING = ("data_loader.limit_batches", "data_loader.overfit_batches")  # test.py takes all samples


# predict.py scores nothing, and reads no data but what it is given.
USED_IN_PREDICT = tuple(key for key in USED_IN_TEST if key != "metrics")


def overrides_without_effect(document: Document, script: str = "test.py") -> list[Problem]:
    """What is wrong with overrides that the script would make nothing of; unknown keys are left to the schema."""
    used = USED_IN_PREDICT if script == "predict.py" else USED_IN_TEST
    problems = []
    for path, origin in document.origins.items():
        if origin == document.origins[()]:  # the checkpoint itself
            continue
        if script == "predict.py" and path[:2] in (("dataset", "type"), ("dataset", "split_args")):
            problems.append(Problem(origin, path, "inputs are read as in training, by the dataset of the run"))
        key = path[:2] if path[0] == "trainer" else path[:1]
        known = Config.model_fields if len(key) == 1 else TrainerConfig.model_fields
        if dotted(path) in LIMITS_OF_TRAINING:
            problems.append(Problem(origin, path, "would change nothing in an evaluation, which takes all samples"))
        elif key[-1] in known and dotted(key) not in used:
            message = f"would change nothing in an evaluation; {script} takes: {', '.join(used)}"
            problems.append(Problem(origin, key, message))
    return problems
