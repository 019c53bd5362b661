"""The arguments of components that the program passes, by kind."""

# A config must not give these. An own loss gets output and target, torch's functions the others.
PROVIDED: dict[str, tuple[str, ...]] = {
    "dataset": ("split", "train", "transform", "transforms", "target_transform"),
    "transform": (),
    "batch_transform": (),
    "model": (),
    "loss": (
        *("output", "target", "input", "input1", "input2", "var", "anchor", "positive", "negative"),
        *("log_probs", "targets", "input_lengths", "target_lengths"),
    ),
    "metric": ("output", "target"),
    "optimizer": ("params",),
    "lr_scheduler": ("optimizer", "last_epoch"),
    "lr_lambda": ("step",),
    "trainer": (
        *("settings", "plan", "seed", "model", "forward_pass", "metrics", "optimizer", "lr_schedule"),
        *("train_loader", "valid_loader", "metadata", "description", "loop"),
    ),
    "logger": ("folder",),
}
# These are passed where a config leaves them out.
FILLED_IN: dict[str, tuple[str, ...]] = {"lr_scheduler": ("total_steps", "T_max", "mode")}
