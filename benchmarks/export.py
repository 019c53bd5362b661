"""Every shipped model as a file: how far its outputs are from the original's, in batches of 1, 7 and 64."""

import contextlib
import io
import re
import tempfile
from pathlib import Path

from benchmarks.harness import Result, Row, clock
from commands.exported_file import MOST_DIFFERENCE

# The shape of a sample, and the arguments of the model.
MODELS = {
    "LeNet": ("[1, 28, 28]", "{in_channels: 1}"),
    "MnistModel": ("[1, 28, 28]", "{}"),
    "MLP": ("[1, 28, 28]", "{hidden: [64, 64], dropout: 0.2}"),
    "LinearRegression": ("[1, 28, 28]", "{}"),
    "SmallResNet": ("[3, 32, 32]", "{width: 16, blocks: [1, 0, 1]}"),
    "AirbenchNet": ("[3, 32, 32]", "{test_time_views: 6}"),
    "resnet18": ("[3, 64, 64]", "{}"),
}


def exported(folder: Path, name: str, file_format: str, *options: str) -> tuple[float, float, float]:
    """The largest difference, megabytes and seconds of one export of a run that has taken two steps."""
    import export

    started, told = clock(), io.StringIO()
    with contextlib.redirect_stdout(told):
        code = export.main(["-r", str(folder / name / "latest"), "--format", file_format, *options])
    assert code == 0, f"{name} as {file_format}: {code}"
    (largest,) = re.findall(r"64 samples .* largest difference (\S+)", told.getvalue())
    return float(largest), float(re.findall(r"([\d.]+) MB", told.getvalue())[0]), clock() - started


def trained(folder: Path, name: str) -> None:
    import train

    shape, args = MODELS[name]
    channels = int(shape[1])
    config = folder / f"{name}.yaml"
    config.write_text(f"""
dataset:
  type: Synthetic
  args: {{shape: {shape}, size: 64, valid_size: 8, test_size: 80, num_classes: 10, dtype: uint8}}
  batch_transforms:
    train: [{{type: Normalize, args: {{mean: {[0.45] * channels}, std: {[0.2] * channels}}}}}]
    eval: [{{type: Normalize, args: {{mean: {[0.45] * channels}, std: {[0.2] * channels}}}}}]
data_loader: {{batch_size: 32, num_workers: 0}}
model: {{type: {name}, args: {args}}}
loss: {"nll_loss" if name == "MnistModel" else "CrossEntropyLoss"}
optimizer: {{type: SGD, args: {{lr: 1e-3}}}}
trainer: {{max_steps: 2, ema_decay: 0.5, precision: bf16, tensorboard: false, save_dir: {folder}}}
""")
    with contextlib.redirect_stdout(io.StringIO()):
        assert train.main(["-c", str(config), "-d", "cpu"]) == 0


def run(rounds: int, scale: float) -> Result:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS if scale >= 1 else ["LeNet"]:
            trained(Path(folder), name)
            for file_format in ("onnx", "pt2"):
                for options in ((), ("--with-preprocessing",)):
                    largest, size, seconds = exported(Path(folder), name, file_format, *options)
                    what = f"{name}, {file_format}{', with preprocessing' if options else ''}"
                    value = f"{largest:.2g} ({size:.1f} MB, {seconds:.1f} s)"
                    rows.append(Row(what, value, f"<= {MOST_DIFFERENCE}", largest <= MOST_DIFFERENCE))
    return Result("Largest difference on 64 real samples, in batches of 1, 7 and 64; one thread, once each.", rows)
