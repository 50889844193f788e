"""Frozen dataclasses that are made as fast as open ones, for what is made anew for every request.

The `__init__` that `dataclass(frozen=True)` writes sets each field by `object.__setattr__`, which looks it up
by its name: an object of 21 fields takes six times as long as one of an open class. With `quickly_made` a new
object is of an open class with the same slots while its fields are set, and is frozen before anybody else has
seen it. Classes of one layout may take each other's place so (`object.__class__` in Python's data model).
"""

from dataclasses import MISSING, fields
from functools import update_wrapper
from typing import Any, NoReturn


def quickly_made[T](cls: type[T]) -> type[T]:
    """Give a frozen dataclass with slots a faster `__init__`, with the same parameters.

    Raise TypeError for one that does more than take its fields. It cannot be subclassed.
    """
    frozen: Any = cls
    given = sorted(fields(frozen), key=lambda field: bool(field.kw_only))
    layout = {"__slots__": tuple(field.name for field in fields(frozen))}
    names = {
        "_become": vars(object)["__class__"].__set__,
        "_frozen": frozen,
        "_open": type("_Open", (), layout),
    }
    parameters = []
    for field in given:
        if not field.init or field.default_factory is not MISSING or hasattr(frozen, "__post_init__"):
            raise TypeError(f"{frozen.__name__} does more than take its fields: {field.name}")
        if field.kw_only and "*" not in parameters:
            parameters.append("*")
        if field.default is MISSING:
            parameters.append(field.name)
        else:
            names[f"_default_{field.name}"] = field.default
            parameters.append(f"{field.name}=_default_{field.name}")
    source = "\n".join(
        [
            f"def make({', '.join(names)}):",
            f"    def __init__(self, {', '.join(parameters)}):",
            "        _become(self, _open)",
            *(f"        self.{field.name} = {field.name}" for field in given),
            "        _become(self, _frozen)",
            "    return __init__",
        ]
    )
    made: dict[str, Any] = {}
    exec(source, made)  # noqa: S102 - made of the names of fields alone, as `dataclasses` does it
    frozen.__init__ = update_wrapper(made["make"](**names), frozen.__init__)
    frozen.__init_subclass__ = classmethod(_no_subclass)
    return cls


def _no_subclass(cls: type, /, **_: object) -> NoReturn:
    raise TypeError(f"{cls.__name__}: a class that is made quickly has no subclasses")
