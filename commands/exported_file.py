"""The files that export.py writes: each is loaded again and compared before it is there."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from commands.exported_metadata import shape_of_all
from commands.exporting import Program, copied, telling_what_cannot, tensors_in
from utils.checkpoint import read_checkpoint, read_plain
from utils.errors import RunError, UserError
from utils.files import make_folder, obstacle_to, write_durably

MOST_DIFFERENCE = 1e-4
MOST_BYTES = 2**31 - 2**24  # of weights in one ONNX file, which protobuf limits to 2 GiB
SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "plain": ".pt"}
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages(file_format: str) -> None:
    """UserError where the packages for a format are not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None] if file_format == "onnx" else []
    if missing:
        raise UserError(f"--format onnx needs {', '.join(missing)}: pip install -r requirements-export.txt")


def file_for(checkpoint: Path, file_format: str, out: str | None) -> Path:
    """The file to write: `out`, or model.FORMAT in the run's folder or beside a lone checkpoint. UserError if none."""
    suffix = SUFFIXES[file_format]
    if out is not None:
        file = Path(out)
    elif checkpoint.parent.name == "checkpoints":
        file = checkpoint.parent.parent / f"{'weights' if file_format == 'plain' else 'model'}{suffix}"
    else:
        file = checkpoint.with_name(f"{checkpoint.stem}{'-weights' if file_format == 'plain' else ''}{suffix}")
    if file.suffix != suffix or file.is_dir():
        raise UserError(f"--out: found {file}; expected a file that ends in {suffix}, for --format {file_format}")
    if file.resolve() == checkpoint.resolve() or file.resolve().parent.name == "checkpoints":
        raise UserError(f"--out: {file} is the place of a checkpoint; give another file")
    if obstacle := obstacle_to(file.parent):
        raise UserError(f"--out: {file} cannot be written: {obstacle}")
    return file


def write_weights(checkpoint: Path, file: Path) -> str:
    """Write the weights alone, the averaged ones where there are any; returns what to say of it."""
    state = read_checkpoint(checkpoint)
    weights = state["ema"]["model"] if "ema" in state else state["model"]

    def check(temporary: Path) -> None:
        found = read_plain(temporary)
        if found.keys() != weights.keys() or not all(torch.equal(found[name], weights[name]) for name in weights):
            raise RunError(f"{file}: what was written is not what is in {checkpoint}; nothing is left of it")

    make_folder(file.parent)
    write_durably(file, lambda to: torch.save(weights, to), check)
    kind = "averaged weights (trainer.ema_decay)" if "ema" in state else "weights"
    return (
        f"{file}: the {kind} of {state['config']['model']['type']} at step {state['step']:,}, "
        f"{len(weights)} tensors, read again and found equal\n"
        f"to start a run from them: python train.py -c CONFIG trainer.init_from={file}\n"
        f'in any program: model.load_state_dict(torch.load("{file}", weights_only=True)); model.eval()'
    )


def write_program(program: Program, file: Path, file_format: str) -> str:
    """Write the file if it gives what the original gives; returns what to say of it. RunError where it does not."""
    write, run = {"pt2": (write_pt2, run_pt2), "onnx": (write_onnx, run_onnx)}[file_format]
    differences: list[float] = []

    def check(temporary: Path) -> None:
        with telling_what_cannot(f"{file} cannot be run as it was written"):
            found = run(temporary, program)
        differences.extend(map(difference, program.outputs, found))
        if not max(differences) <= MOST_DIFFERENCE:
            raise RunError(
                f"the exported program does not give what the model gives: on {program.told} they differ by "
                f"{max(differences):.2g}, where {MOST_DIFFERENCE} is allowed; nothing was written. "
                "A model that draws random numbers in evaluation, or decides by its inputs' values, is such a one"
            )

    make_folder(file.parent)
    with telling_what_cannot(f"{program.metadata['model']} cannot be written as {file_format}"):
        to_write = write(program)
    write_durably(file, to_write, check)
    inputs, outputs = (shape_of_all(program.metadata[part]) for part in ("inputs", "outputs"))
    return "\n".join(
        [
            f"{file}: {program.metadata['model']}, {file.stat().st_size / 1e6:.1f} MB",
            f"takes {inputs}; gives {outputs}",
            *(f"before the file: {step}" for step in program.metadata["before_the_file"]),
            *(f"in the file: {step}" for step in program.metadata["in_the_file"]),
            f"compared on {program.told}: largest difference {max(differences):.2g}",
        ]
    )


def write_pt2(program: Program) -> Callable[[BinaryIO], None]:
    files = {"metadata.json": json.dumps(program.metadata, indent=2)}
    return lambda file: torch.export.save(program.exported, file, extra_files=files)


def run_pt2(file: Path, program: Program) -> list[list[Tensor]]:
    with open(file, "rb") as opened, torch.no_grad():
        module = torch.export.load(opened).module()
        return [tensors_in(module(*inputs.args, **inputs.kwargs)) for inputs in map(copied, program.inputs)]


def write_onnx(program: Program) -> Callable[[BinaryIO], None]:
    """UserError for more weights than one file can hold."""
    if (size := sum(tensor.nbytes for tensor in program.exported.state_dict.values())) > MOST_BYTES:
        raise UserError(f"the weights take {size / 1e9:.1f} GB, and an ONNX file holds 2 GB: use --format pt2")
    made = torch.onnx.export(program.exported, dynamo=True, verbose=False)
    graph, inputs, outputs = made.model.graph, program.metadata["inputs"], program.metadata["outputs"]
    names = {each["name"] for each in (*inputs, *outputs)}
    for value in (value for node in graph for value in node.outputs if value.name in names):
        value.name += "_inner"  # the name of an operator, such as `view`
    for value, about in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        value.name = about["name"]
    made.rename_axes(
        {
            str(size): described if described == "batch" else f"{value.name}_{place}"
            for value, about in zip(graph.inputs, inputs, strict=True)
            for place, (size, described) in enumerate(zip(value.shape, about["shape"], strict=True))
            if not isinstance(size, int)
        }
    )
    for key, value in program.metadata.items():
        made.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    content = made.model_proto.SerializeToString()
    return lambda file: file.write(content)


def run_onnx(file: Path, program: Program) -> list[list[Tensor]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [each["name"] for each in program.metadata["inputs"]]
    found = []
    for inputs in program.inputs:
        values = (tensor.contiguous().numpy() for tensor in (*inputs.args, *inputs.kwargs.values()))
        found.append([torch.as_tensor(array) for array in session.run(None, dict(zip(names, values, strict=True)))])
    return found


def difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """The largest; of outputs above 1, as a share of the largest of them. Infinity where one alone is nan."""
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return float("inf")
    largest = 0.0
    for one, other in zip(expected, found, strict=True):
        one, other = one.double(), other.double()
        scale = one[one.isfinite()].abs().max().clamp_min(1) if one.isfinite().any() else 1
        is_same = (one == other) | (one.isnan() & other.isnan())
        gaps = ((one - other).abs() / scale).where(~is_same, 0).nan_to_num(nan=float("inf"), posinf=float("inf"))
        largest = max(largest, gaps.max().item() if gaps.numel() else 0.0)
    return largest
