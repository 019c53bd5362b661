"""Components judged by their sources alone: importing them takes seconds, which a misspelt key is not worth.

Only a sure yes counts: in any doubt the caller imports everything and checks in full. One thing no source tells: what
a constructor, or a check that you add to a registry, makes of values that fit their types (a translation of more than
the picture, more `top_k` than classes). Where the schema is broken as well, that may be told one start later.
"""

import ast
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

from .component_check import components_of
from .layers import Document
from .provided import FILLED_IN, PROVIDED
from .source import Parameter, constructor, definition, fits, parameters_of

ROOMS = ("data_loader/**/*.py", "model/**/*.py", "trainer/**/*.py")
# Where the components of libraries are defined, and the commonest of them; any other is imported to be checked.
LIBRARIES = {
    "batch_transform": ("kornia/augmentation/_2d/geometric/*.py",),
    "loss": ("torch/nn/modules/loss.py", "torch/nn/functional.py"),
    "metric": ("torchmetrics/classification/*.py", "torchmetrics/regression/*.py"),
    "optimizer": ("torch/optim/*.py",),
    "lr_scheduler": ("torch/optim/lr_scheduler.py",),
}
COMMON = {
    *("RandomAffine", "RandomHorizontalFlip"),
    *("CrossEntropyLoss", "NLLLoss", "BCEWithLogitsLoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"),
    *("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "huber_loss"),
    *("MulticlassAUROC", "MulticlassF1Score", "BinaryAUROC", "BinaryF1Score", "R2Score"),
    *("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "SGD"),
    *("StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
    *("OneCycleLR", "LinearLR", "PolynomialLR", "ReduceLROnPlateau"),
}
# A key beside `args` that asks for an argument of the component's.
NEEDS = {"no_decay": "weight_decay", "class_weights": "pos_weight"}
# Arguments of losses that have a check of their own.
REDUCTIONS = ("reduction", "size_average", "reduce")


def surely_right(document: Document) -> bool:
    """Whether the full check would find nothing wrong with any component."""
    return all(_is_right(component, kind) for _, kind, component in components_of(document))


def _is_right(component: Any, kind: str) -> bool:
    if not isinstance(component, dict) or not isinstance(name := component.get("type"), str):
        return True  # the full check too leaves this to the schema
    args = component.get("args", {})
    function, is_own = _find(name, kind)
    if function is None or not isinstance(args, dict) or component.get("split_args") or component.get("param_groups"):
        return False
    parameters = parameters_of(function)
    passed = {*args, *PROVIDED[kind], *FILLED_IN.get(kind, ())}
    return (
        all(key in passed for key, parameter in parameters.items() if parameter.required)
        and all(argument in parameters for key, argument in NEEDS.items() if component.get(key))
        and not args.keys() & {*PROVIDED[kind], *REDUCTIONS}
        and all(key in parameters and fits(value, parameters[key].annotation) for key, value in args.items())
        and (is_own or all(_is_harmless(value, parameters[key], kind) for key, value in args.items()))
        and not (kind == "dataset" and _misses_file(args))
    )


def _find(name: str, kind: str) -> tuple[ast.FunctionDef | None, bool]:
    """What is called with a component's arguments, None where that isn't sure, and whether it is of the project."""
    if not re.fullmatch(r"[A-Za-z]\w*", name) or any(".register(" in text for text in _sources(ROOMS)):
        return None, True  # called by hand, it may give a component any name
    texts = _defining(name, ROOMS)
    is_own = bool(texts)
    if not is_own and name in COMMON:
        texts = _defining(name, LIBRARIES.get(kind, ()))
    if len(texts) != 1 or (node := definition(texts[0], name)) is None:
        return None, is_own
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    registers = rf"(\w+\.)?{kind.upper()}(S|ES)\.register"
    is_plain = len(decorators) == 1 and re.fullmatch(registers, decorators[0]) if is_own else not decorators
    return constructor(node, texts[0]) if is_plain else None, is_own


def _defining(name: str, patterns: tuple[str, ...]) -> list[str]:
    texts = [text for text in _sources(patterns) if name in text]  # the search alone takes 25 times as long
    return [text for text in texts if re.search(rf"\b(class|def) {name}\b", text)]


@cache
def _sources(patterns: tuple[str, ...]) -> list[str]:
    """The text of every file that a pattern, which begins with a package, matches."""
    texts = []
    for pattern in patterns:
        package, _, below = pattern.partition("/")
        found = find_spec(package)  # imports nothing, as the name has no dot
        for folder in (found and found.submodule_search_locations) or ():
            texts += [path.read_text("utf-8", "replace") for path in FilePath(folder).glob(below)]
    return texts


def _is_harmless(value: Any, parameter: Parameter, kind: str) -> bool:
    """Whether a library's constructor surely takes a value, whose type fits: it knows the range best."""
    if isinstance(value, list):
        if kind == "batch_transform":  # from, to
            return len(value) == 2 and value == sorted(value)
        # A scheduler wants as many rates as the optimizer has groups.
        is_known = kind != "lr_scheduler" or all(isinstance(item, int) for item in value)
        return bool(value) and is_known and all(_is_harmless(item, parameter, kind) for item in value)
    if value is None or isinstance(value, bool):
        return not parameter.guarded
    text = ast.unparse(parameter.annotation)
    if isinstance(value, str):
        return repr(value) in text  # one of those that the annotation lists
    is_count = isinstance(value, int) and ("float" not in text or kind == "batch_transform")
    return 0 < value < 1 or (value == 0 and kind == "optimizer") or (value > 1 and is_count)


def _misses_file(args: dict[str, Any]) -> bool:
    """Whether a dataset may be given a file or folder that is not there."""
    texts = {key: value for key, value in args.items() if isinstance(value, str)}
    return args.get("download") is not True and any(
        re.search("root|path|file", key.lower()) and not value.startswith("scikit-learn:") and not os.path.exists(value)
        for key, value in texts.items()
    )
