"""A trained model as a program of torch.export, with inputs and the original's outputs to compare it on."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from base import DATASETS
from base.batch import ModelInputs, map_tensors, split_target
from commands.exported_metadata import metadata_of, names_of_outputs
from data_loader.build import build_loader
from trained import Trained
from trainer.forward import ForwardPass
from trainer.memory_format import set_memory_format
from utils.errors import UserError, is_out_of_memory, own_line_of

SIZES = (1, 7, 64)  # of the batches that a file is compared on, as far as there are samples


class Samples(NamedTuple):
    """Batches to export with and compare on, the largest last. told: where they come from."""

    dataset: Any  # has the scale of the targets, if any
    batches: list[Any]
    told: str


class Way(nn.Module):
    """What the file holds: all that test.py does to a batch up to the output, in the data's own unit.

    with_preprocessing: from the batch as the loader gives it; else from what the model gets.
    """

    def __init__(self, model: nn.Module, forward_pass: ForwardPass, with_preprocessing: bool):
        super().__init__()
        self.model = model
        self.forward_pass = forward_pass
        self.with_preprocessing = with_preprocessing
        self.transforms = forward_pass.eval_transforms  # known as its buffers, which a program can move to a GPU
        mean, deviation = forward_pass.target_scale or (torch.zeros(()), torch.ones(()))
        self.is_scaled = forward_pass.target_scale is not None
        self.register_buffer("mean", mean.clone())  # each with a storage of its own: files hold storages
        self.register_buffer("deviation", deviation.clone())

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        inputs = ModelInputs(args, kwargs)
        if self.with_preprocessing:
            inputs, _ = self.forward_pass.prepare(kwargs or (args, None), training=False)
        output = self.model(*inputs.args, **inputs.kwargs)
        return output * self.deviation + self.mean if self.is_scaled else output


class Program(NamedTuple):
    """The exported program, inputs and the original's outputs to compare it on, and what it says of itself."""

    exported: ExportedProgram
    inputs: list[ModelInputs]
    outputs: list[list[Tensor]]
    metadata: dict[str, Any]
    told: str

    @classmethod
    def of(cls, trained: Trained, with_preprocessing: bool, data_are_asked_for: bool) -> Program:
        """UserError for a model, or inputs, of which there is no program."""
        config, samples = trained.config, samples_for(trained, data_are_asked_for)
        model, forward_pass = trained.load(torch.device("cpu"), samples.dataset)
        set_memory_format(forward_pass, model, channels_last=False)
        way = Way(model, forward_pass, with_preprocessing).eval()
        if any(getattr(each, "makes_views", False) for each in forward_pass.eval_transforms):
            raise UserError(
                f"{config.model.type} compares views of a picture, and answers none: export what starts from it"
            )
        stored = [split_target(data)[0] for data in samples.batches]
        check_inputs(stored[-1], config.dataset.type)
        inputs, outputs = [], []
        with torch.no_grad():
            for data in samples.batches:
                prepared, _ = forward_pass.prepare(map_tensors(data, torch.clone), training=False)
                inputs.append(split_target(data)[0] if with_preprocessing else copied(prepared))
                output = Way(model, forward_pass, False)(*prepared.args, **prepared.kwargs)
                outputs.append(tensors_in(output))
            again = tensors_in(Way(model, forward_pass, False)(*prepared.args, **prepared.kwargs))
        check_outputs(outputs, again, config.model.type)
        names = input_names(model, inputs[-1])
        hint = "; without --with-preprocessing, the batch transforms stay outside" if with_preprocessing else ""
        with telling_what_cannot(f"{config.model.type}: no program can be made of it{hint}", has_own_line=True):
            exported = exported_from(way, inputs, names)
        all_names = names, names_of_outputs(output, len(outputs[-1]), names)
        metadata = metadata_of(trained, all_names, inputs, outputs, stored[-1], with_preprocessing)
        return cls(exported, inputs, outputs, metadata, samples.told)


def samples_for(trained: Trained, are_asked_for: bool) -> Samples:
    """Real samples of the run's data, or random ones where they are not to be had.

    are_asked_for: the command line says where the data are: UserError where they are not.
    """
    config, reason = trained.config, None
    for split in ("test", "valid", "train"):
        if config.dataset.type not in DATASETS:
            reason = f"there is no dataset {config.dataset.type}"
            break
        try:
            loader = build_loader(
                without_download(config.dataset),
                config.data_loader,
                split,
                config.seed,
                torch.device("cpu"),
                preprocessing=trained.preprocessing,
            )
            batches = [loader.example(size).data for size in SIZES]
        except (UserError, OSError) as error:
            reason = reason or error
            continue
        if loader.num_samples > 1:
            return Samples(loader.dataset, batches, f"{min(SIZES[-1], loader.num_samples)} samples of the {split} part")
    described = trained.data.get("inputs")
    if are_asked_for or described is None:
        hint = "" if described else "; the checkpoint does not say how they look: give their place with dataset.args"
        raise UserError(f"the data of the run cannot be read: {reason}{hint}")
    dataset = SimpleNamespace(target_scale=trained.data["target_scale"])
    told = f"RANDOM inputs, as the data of the run cannot be read ({reason})"
    return Samples(dataset, [random_data(described, size) for size in SIZES], told)


def without_download(dataset: Any) -> Any:
    return dataset.model_copy(update={"args": {k: v for k, v in dataset.args.items() if k != "download"}})


def random_data(described: dict[str, Any], size: int) -> Any:
    """A batch of inputs as a checkpoint describes them (data_loader/facts.py)."""
    generator = torch.Generator().manual_seed(size)

    def drawn(tensor: dict[str, Any]) -> Tensor:
        dtype, low, high = getattr(torch, tensor["dtype"]), tensor["low"], tensor["high"]
        longer = {place: size.bit_length() for place in tensor["varying"]}  # another length in each batch
        shape = [size, *(length + longer.get(place, 0) for place, length in enumerate(tensor["shape"]))]
        if dtype.is_floating_point:
            return (torch.rand(shape, generator=generator) * (high - low) + low).to(dtype)
        return torch.randint(int(low), int(high) + 1, shape, generator=generator).to(dtype)

    if described["kwargs"]:
        return {name: drawn(tensor) for name, tensor in described["kwargs"].items()}
    return (tuple(map(drawn, described["args"])),)


def check_inputs(inputs: ModelInputs, dataset: str) -> None:
    """UserError unless all that the model gets is tensors with the batch as their first dimension."""
    values = [*inputs.args, *inputs.kwargs.values()]
    if other := [type(value).__name__ for value in values if not isinstance(value, Tensor)]:
        raise UserError(f"{dataset} gives the model a {other[0]} in each batch; a program takes tensors only")
    if not values or len({value.shape[:1] for value in values}) != 1 or not values[0].ndim:
        shapes = ", ".join(str(tuple(value.shape)) for value in values)
        raise UserError(f"{dataset} gives the model inputs {shapes}: all must have the batch as their first dimension")


def check_outputs(outputs: list[list[Tensor]], again: list[Tensor], model: str) -> None:
    """UserError where a model gives other tensors for one sample than for many, or others again for the last batch."""
    if not all(torch.allclose(*pair, equal_nan=True) for pair in zip(outputs[-1], again, strict=True)):
        raise UserError(f"{model} draws random numbers in evaluation: nothing could tell whether a file gives the same")
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in outputs]
    if len({(*map(len, each),) for each in shapes}) > 1:
        told = " and ".join(", ".join(map(str, each)) for each in (shapes[0], shapes[-1]))
        raise UserError(f"{model} gives {told} for batches of two sizes: a squeeze() may have taken a batch of 1 away")


def input_names(model: nn.Module, inputs: ModelInputs) -> list[str]:
    """What forward() calls its inputs."""
    parameters = inspect.signature(model.forward).parameters.values()
    named = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return [*(named + [f"input_{i}" for i in range(len(inputs.args))])[: len(inputs.args)], *inputs.kwargs]


def exported_from(way: Way, inputs: list[ModelInputs], names: list[str]) -> ExportedProgram:
    """The program for batches of any size, traced on the last of the inputs."""

    def forward(*args: Tensor, **kwargs: Tensor) -> Any:
        return Way.forward(way, *args, **kwargs)

    # Programs of torch.export check free sizes by the parameters' names, and fail in `**kwargs`.
    forward.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    way.forward = forward
    batch, last = Dim("batch"), inputs[-1]

    def free(*tensors: Tensor) -> dict[int, Any]:
        sizes = [set(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
        return {0: batch} | {place: Dim.AUTO for place in range(1, len(sizes)) if len(sizes[place]) > 1}

    each_input = zip(*((*each.args, *each.kwargs.values()) for each in inputs), strict=True)
    shapes = {name: free(*tensors) for name, tensors in zip(names, each_input, strict=True)}
    last = copied(last)
    with torch.no_grad():
        program = torch.export.export(way, last.args, last.kwargs, dynamic_shapes=shapes)
    check_free(program, shapes)
    return program


def check_free(program: ExportedProgram, shapes: dict[str, dict[int, Any]]) -> None:
    """UserError where a size that is to be free has become a number in the program. shapes: the free ones by input."""
    inputs = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"}
    for name, input_name in zip(shapes, program.graph_signature.user_inputs, strict=True):
        for place in shapes[name]:
            if str(size := inputs[input_name][place]).isdigit():  # a symbol of torch, or what one has become
                raise UserError(
                    f"no program takes inputs of any size here: dimension {place} of {name} is {size} in it, as where "
                    "recurrent layers are written out step by step"
                )


@contextlib.contextmanager
def telling_what_cannot(what: str, has_own_line: bool = False) -> Iterator[None]:
    """UserError for whatever a tracer, a converter or a runtime says of a model that it cannot do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what these libraries will do otherwise in their next versions
            yield
    except UserError:
        raise
    except Exception as error:  # each of the three has dozens of its own, without a common base
        if is_out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:600] or type(error).__name__
        place = f" (at {own_line_of(error)})" if has_own_line else ""
        raise UserError(f"{what}: {said}{place}") from error


def copied(inputs: ModelInputs) -> ModelInputs:
    """A copy, as a model may change its inputs in place."""
    return ModelInputs(*map_tensors(tuple(inputs), torch.clone))


def tensors_in(output: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    map_tensors(output, tensors.append)
    return tensors
