"""How a field of an event is stored and shown: what `core.event` declares of each, once.

From it are made the column and its value both ways (`ledger.engine`), the JSON key (`ledger.log.shape`), the
model of the API and the label on the page of an entry (`review`), and what each level of `log.privacy` keeps.
"""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from enum import Enum, auto
from typing import Any, get_args


class Form(Enum):
    """What kind of value a field holds."""

    CODE = auto()  # text of our own making, stored as it is
    WORD = auto()  # a word of ours (an enumeration's value), which has a plain form for people
    TEXT = auto()  # text from outside, made storable first
    URL = auto()  # text from outside whose query is cut off at `log.privacy: 1`
    MOMENT = auto()  # Unix seconds; RFC 3339 outside
    MILLISECONDS = auto()
    SIZE = auto()  # an integer of 64 bits
    COUNT = auto()  # an integer of 32 bits
    FLAG = auto()
    DIGEST = auto()  # bytes; hexadecimal outside, and not in the API
    JSON = auto()  # a mapping


class Reveals(Enum):
    """What a field gives away about a person, and so from which level of `log.privacy` on it is not kept."""

    NOTHING = auto()  # kept at every level
    VISIT = auto()  # who, and which host: not kept where only counts are
    PAGE = auto()  # which page or file: not kept where only hosts are, either


@dataclass(frozen=True, slots=True)
class Field:
    """The description that stands in the annotation of a field."""

    form: Form
    label: str | None = None  # on the page of an entry; None: not among its facts
    reveals: Reveals = Reveals.NOTHING
    name: str | None = None  # of column and key, where Python has taken the word


@dataclass(frozen=True, slots=True)
class NamedField:
    """A field with its names: `attribute` in Python, `name` everywhere else."""

    attribute: str
    name: str
    form: Form
    label: str | None
    reveals: Reveals
    optional: bool
    enum: type[Enum] | None


def fields_of(record: type[Any]) -> Iterator[NamedField]:
    """Yield the fields of a dataclass whose annotations are `Annotated[…, Field(…)]`, in their order."""
    for each in fields(record):
        annotation: Any = each.type
        (field,) = annotation.__metadata__
        value_type, *_ = get_args(annotation.__origin__) or (annotation.__origin__,)
        yield NamedField(
            attribute=each.name,
            name=field.name or each.name,
            form=field.form,
            label=field.label,
            reveals=field.reveals,
            optional=each.default is not MISSING,
            enum=value_type if isinstance(value_type, type) and issubclass(value_type, Enum) else None,
        )
