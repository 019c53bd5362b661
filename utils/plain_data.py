"""Plain data and tensors: the only things a checkpoint may hold, going in and coming out."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

import torch
from torch import Tensor

MAX_DEPTH = 64
MAX_VALUES = 5_000_000  # their instructions stay under the limit of utils/archive.py
_SCALARS = (str, int, float, bool, type(None))
_MAPPINGS = (dict, OrderedDict, Counter)
_SEQUENCES = (list, tuple, torch.Size)
_TENSORS = (Tensor, torch.nn.Parameter)
Place = tuple[object, ...]  # keys and indices from the top down to a value


def copy_plain(value: object, tensor_fn: Callable[[Place, Tensor], Tensor], path: Place = ()) -> object:
    """A copy of nested dicts, lists and tuples, with `tensor_fn(path, tensor)` in place of each tensor.

    An OrderedDict becomes a dict, a torch.Size a tuple, a Parameter its tensor; a Counter stays one, as
    MultiStepLR needs it. Types must be exact: a NumPy float is a float to isinstance, but an object to whoever
    reads the file. ValueError naming the place of anything else.
    """
    _check_depth(path)
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind in _MAPPINGS:
        _check_keys(value, path)
        items = {key: copy_plain(item, tensor_fn, (*path, key)) for key, item in value.items()}
        return Counter(items) if kind is Counter else items
    if kind in _SEQUENCES:
        items = [copy_plain(item, tensor_fn, (*path, i)) for i, item in enumerate(value)]
        return items if kind is list else tuple(items)
    if kind in _TENSORS:
        _check_tensor(value, path)
        return tensor_fn(path, value.detach().resolve_conj().resolve_neg())
    raise ValueError(
        f"{name_of(path)} is a {_name_of_type(kind)}; a checkpoint holds only None, bool, int, float, str, list, "
        "tuple, dict and tensors, so convert it: float(x), str(path), torch.as_tensor(array)"
    )


def compact(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy if it is a view: saving a view saves the whole storage behind it."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def digest_of(value: object) -> str:
    """A digest of plain data and tensors, by their bits."""

    def bits(_: Place, tensor: Tensor) -> tuple[str, str]:
        data = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{tensor.dtype} {tuple(tensor.shape)}", blake2b(data, digest_size=16).hexdigest()

    return blake2b(ascii(copy_plain(value, bits)).encode(), digest_size=16).hexdigest()


def check_plain(value: object) -> None:
    """ValueError for what is not plain data in what a file gave, or unfolds to far more than it holds."""
    num_values = _count(value, (), {})
    if num_values > MAX_VALUES:
        raise ValueError(f"it unfolds to {num_values} values")


def name_of(path: Place) -> str:
    """The place of a value, as messages name it: `optimizer/state/0/exp_avg`."""
    return "/".join(map(str, path))[:200] or "the state"


def _count(value: object, path: Place, counted: dict[int, int]) -> int:
    """Number of values in a tree; each container is visited once, however often it occurs in it."""
    kind = type(value)
    if kind in _SCALARS:
        return 1
    if kind in _TENSORS:
        _check_tensor(value, path)
        if value.nbytes > value.untyped_storage().nbytes() or value.dim() > MAX_DEPTH:
            raise ValueError(f"{name_of(path)} claims {value.numel()} elements in {value.dim()} dimensions")
        return 1
    if kind not in _MAPPINGS + _SEQUENCES:
        raise ValueError(f"{name_of(path)} is a {_name_of_type(kind)}")
    if kind is OrderedDict and vars(value).keys() - {"_metadata"}:  # versions, from Module.state_dict()
        raise ValueError(f"{name_of(path)} has attributes")
    _check_depth(path)  # also the end of a container that holds itself
    if id(value) not in counted:
        items: Iterable[tuple[object, object]] = enumerate(value)
        if kind in _MAPPINGS:
            _check_keys(value, path)
            items = value.items()
        counted[id(value)] = 1 + sum(_count(item, (*path, key), counted) for key, item in items)
    return counted[id(value)]


def _check_tensor(tensor: Tensor, path: Place) -> None:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ValueError(f"{name_of(path)} is a {tensor.layout} tensor on {tensor.device}: no checkpoint can hold it")


def _check_depth(path: Place) -> None:
    if len(path) > MAX_DEPTH:
        raise ValueError(f"{name_of(path)} is nested deeper than {MAX_DEPTH} levels, or holds itself")


def _check_keys(mapping: dict, path: Place) -> None:
    for key in mapping:
        if type(key) not in _SCALARS:
            raise ValueError(f"{name_of(path)} has a key of type {_name_of_type(type(key))}; use str or int")


def _name_of_type(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def values_by_key(data: object, key: str = "") -> Iterator[tuple[str, object]]:
    """What plain data hold, by dotted keys; a list is a value, unless there are dicts in it."""
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        items = enumerate(data)
    else:
        yield key, data
        return
    for name, value in items:
        yield from values_by_key(value, f"{key}.{name}" if key else str(name))
