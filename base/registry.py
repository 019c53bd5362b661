"""Components by name: the project's own first, then those of the library behind the registry."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

from base.component_check import Found, component_problems
from base.conversion import convert
from base.shipped import SHIPPED, file_of
from base.signature import parameters_of
from utils.errors import UserError, is_torchs, own_line_of
from utils.torch_internals import without_compiler

Component = Callable[..., Any]
Check = Callable[..., Iterable[tuple[str, str]]]


class Registry:
    """A dict of components of one kind and a decorator that fills it.

    kind: what a component is called in messages and on the command line, singular.
    library: returns the names that stand behind the project's own; called when first needed.
    provided: the arguments that the program passes; a config must not give them.
    fills: the arguments that the program passes where a config leaves them out.
    references: arguments that name a component themselves, and the registry that knows it.
    check: what is wrong beyond the arguments' names and types, see `check` below: called with a component's name and
        args, and as keywords with what the config says of it besides.
    trial: called with a component's args, it returns stand-ins for what the program passes, with which a library's
        component can be built at no cost while the config is checked: its constructor knows the ranges of its
        arguments best. Those that the component does not take are left out.
    left_out: what of the library a config cannot name, and why.
    """

    def __init__(
        self,
        kind: str,
        library: Callable[[], dict[str, Component]] = dict,
        *,
        provided: Collection[str] = (),
        fills: Collection[str] = (),
        references: Mapping[str, Registry] | None = None,
        check: Check | None = None,
        trial: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
        left_out: Mapping[str, str] | None = None,
    ):
        self.kind = kind
        self.provided = frozenset(provided)
        self.fills = frozenset(fills)
        self.references = references or {}
        self.left_out = left_out or {}
        self._load_library = library
        self._check = check
        self.trial = trial
        self.shipped: dict[str, Component] = {}
        self.users: dict[str, Component] = {}
        self._own = ChainMap(self.users, self.shipped)

    @cached_property
    def _library(self) -> dict[str, Component]:
        return self._load_library()

    def register(self, component: Component | None = None, *, name: str | None = None) -> Component:
        """Enter a class or function under its own name, or under `name`, over one of the template's.

        UserError where another file of the user's has one of this name.
        """
        if component is None:
            return lambda decorated: self.register(decorated, name=name)
        name = name or component.__name__
        place = self.shipped if component.__module__ in SHIPPED else self.users
        known = place.get(name)
        if known is not None and known.__module__ != component.__module__:
            raise UserError(
                f"{self.kind} {name} is in two files, {file_of(known)} and {file_of(component)}: rename one"
            )
        place[name] = component
        return component

    def forget(self, module: str) -> None:
        """Take back what a module, or one within it, has registered."""
        for place in (self.users, self.shipped):
            for name in [name for name, own in place.items() if f"{own.__module__}.".startswith(f"{module}.")]:
                del place[name]

    def own_names(self) -> list[str]:
        return sorted(self._own)

    def names(self) -> list[str]:
        return sorted({*self._own, *self._library})

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._library  # in this order: an own component imports no library

    def is_own(self, name: str) -> bool:
        return name in self._own

    def is_in_library(self, name: str) -> bool:
        return name in self._library

    def find(self, name: str) -> Component:
        """The component called `name`; KeyError when there is none."""
        return self._own[name] if name in self._own else self._library[name]

    def build(self, name: str, args: Mapping[str, Any], **provided: Any) -> Any:
        """Call the component with a config's arguments and the program's.

        Lists become tensors or tuples and texts become dtypes where the signature wants them. What a library's
        constructor refuses is the config's mistake (UserError), and so is what an own one refuses of its arguments,
        by a ValueError, an IndexError or in a line of torch; any other error in own code keeps its traceback.
        """
        component = self.find(name)
        parameters = parameters_of(component)
        converted = {key: convert(value, parameters.annotation(key)) for key, value in args.items()}
        with without_compiler():  # an optimizer's constructor would import it
            try:
                return component(**converted, **provided)
            except (OSError, UserError):  # an OSError of a download
                raise
            except Exception as error:  # kornia asserts, and has errors of its own
                is_own, is_refusal = self.is_own(name), isinstance(error, (ValueError, IndexError)) or is_torchs(error)
                if is_own and not (args and is_refusal):
                    raise
                place = f" (at {own_line_of(error)}, with {dict(args)})" if is_own else ""
                raise UserError(f"{self.kind} {name}: {error}{place}") from error

    def problems(self, component: Mapping[str, Any]) -> Found:
        """What is wrong with a component of a config: see base/component_check.py."""
        return component_problems(self, component)

    def check(self, name: str, args: Mapping[str, Any], /, **keys: Any) -> Iterable[tuple[str, str]]:
        """What is wrong beyond the arguments' names and types: pairs of argument or key and message.

        keys: what a config says of the component besides its type and args, such as `class_weights` of a loss.
        """
        return self._check(name, args, **keys) if self._check is not None else ()
