"""Dataclasses whose methods are written when they are first called.

`dataclasses.dataclass` writes the source of a class's methods and has it compiled as the class is made. That
is most of what it costs to import a module of such classes, and of most classes that a process imports it
makes no object. Here the standard library writes the methods too, each when it is called.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "when_called"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: Any = None, /, *, frozen: bool = False, eq: bool = True, **layout: bool) -> Any:
        """Make a dataclass, as the decorator of the standard library does; `InitVar` is not for it."""
        if cls is None:
            return partial(dataclass, frozen=frozen, eq=eq, **layout)
        own = vars(cls)
        hashed = own.get("__hash__") is not None or ("__hash__" in own and "__eq__" not in own)
        made = dataclasses.dataclass(cls, init=False, repr=False, eq=False, **layout)
        for name in ("__init__", "__repr__", "__eq__") if eq else ("__init__", "__repr__"):
            if name not in own:
                when_called(made, name, partial(_written, made, name, frozen))
        if eq and not hashed:
            made.__hash__ = None
            if frozen:
                when_called(made, "__hash__", partial(_written, made, "__hash__", frozen))
        if frozen:
            _freeze(made)
        return made


def when_called(cls: type, name: str, write: Callable[[], Any]) -> None:
    """Put something in the place of a method that has it written when it is called, and calls that."""

    def first_call(self: Any, *arguments: Any, **named: Any) -> Any:
        method = write()
        setattr(cls, name, method)
        return method(self, *arguments, **named)

    setattr(cls, name, first_call)


def _written(cls: Any, name: str, frozen: bool) -> Any:
    """Have the standard library write one method, for another class with the same fields."""
    namespace = {"__qualname__": cls.__qualname__}
    if hasattr(cls, "__post_init__"):  # which `__init__` then calls
        namespace["__post_init__"] = cls.__post_init__
    same = dataclasses.make_dataclass(
        cls.__name__,
        [(field.name, field.type, field) for field in dataclasses.fields(cls)],
        namespace=namespace,
        init=name == "__init__",
        repr=name == "__repr__",
        eq=name in ("__eq__", "__hash__"),
        frozen=frozen,
    )
    return vars(same)[name]


def _freeze(cls: Any) -> None:
    """Refuse changes of fields, as the standard library's frozen classes do."""
    names = frozenset(field.name for field in dataclasses.fields(cls))

    def change(self: object, name: str, *value: object) -> None:
        if type(self) is cls or name in names:
            refused = "assign to" if value else "delete"
            raise dataclasses.FrozenInstanceError(f"cannot {refused} field {name!r}")
        (object.__setattr__ if value else object.__delattr__)(self, name, *value)

    cls.__setattr__ = cls.__delattr__ = change
    cls.__setstate__ = _set_state


def _set_state(self: object, state: Any) -> None:
    """Fill a copy, or what comes from another process."""
    by_name, by_slot = state if isinstance(state, tuple) else (state, {})
    for name, value in ((by_name or {}) | by_slot).items():
        object.__setattr__(self, name, value)
