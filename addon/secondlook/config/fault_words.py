"""What pydantic reports, in the operator's words at the operator's line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from secondlook.config.document import Document, Fault, Key, dotted
from secondlook.config.traffic import INSTEAD_OF_MITMPROXY_OPTION
from secondlook.config.value import SECRET_KEYS

_KEYS = "keys with values"
_PLAIN_WORDS = {
    "model_type": _KEYS,
    "dict_type": _KEYS,
    "model_attributes_type": _KEYS,
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "string_type": "a text",
    "string_too_short": "at least {min_length} characters",
    "string_pattern_mismatch": "letters, digits, dots, dashes and underscores, a letter or digit first",
    "tuple_type": "a list, such as [one, two]",
    "list_type": "a list, such as [one, two]",
    "too_short": "at least {min_length} of them",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}
"""What was expected, by the type of pydantic's error (its own words speak of tuples and parsing)."""

MOST_EXAMPLES = 4
MOST_PLACES = 3
SECRET_PLACES = SECRET_KEYS | {"url", "tokens"}  # faults go into the log and to whoever reads it
_JOINED = re.compile(r"(\w+)[:\s]+\S")
_LOGIN = re.compile(r"://[^/]*@")
INSTEAD_OF_KEY: dict[tuple[str | int, ...], str] = {("actions", "tell_on_next_page"): "notify.next_page"}


def fault_from(model: type[BaseModel], document: Document, details: ErrorDetails) -> Fault:
    """Return one pydantic error in our words."""
    key = tuple(_real_parts(document, details["loc"]))
    context = details.get("ctx", {})
    pointed = context.get("key")
    if pointed:
        key = (*key, *(int(part) if part.isdigit() else part for part in str(pointed).split(".")))
    match details["type"]:
        case "extra_forbidden":
            joined = _JOINED.match(str(key[-1])) if details["input"] is None else None
            if joined:  # `password:secret` is a key without a value: only its first word is shown
                known = joined[1]
                return document.fault((*key[:-1], known), f"no colon with a space after it: {known}: …")
            return document.fault(key, _unknown_key(model, key))
        case "missing":
            return document.fault(key, "expected a value, found none")
        case "problem":
            return document.fault(key, str(context["what"]))
        case _:
            message = plainly(details)
    given = details["input"]
    if _PLAIN_WORDS.get(details["type"]) == _KEYS:
        message += _examples(model, key)
    if isinstance(given, dict | list):
        message += f", got {'keys' if isinstance(given, dict) else 'a list'}"
    elif isinstance(given, str) and _PLAIN_WORDS.get(details["type"]) == _KEYS:
        message += ", got a text"  # it may be the one secret of that section
    elif isinstance(given, str | int | float | bool) and not (
        "key" in context or _is_secret((*key, *details["loc"]), given)
    ):
        message += f", got {_short(given)}"
    return document.fault(key, message)


def plainly(details: ErrorDetails) -> str:
    """Return what pydantic expected, without the place."""
    words = _PLAIN_WORDS.get(details["type"])
    if words is not None:
        return "expected " + words.format(**details.get("ctx", {}))
    fault = details["msg"].removeprefix("Value error, ")
    return fault.replace("Input should be ", "expected ").replace("Input", "the value")


def _real_parts(document: Document, loc: Sequence[str | int]) -> Iterator[str | int]:
    """Leave out the parts that pydantic adds for unions and dictionary keys."""
    node: Any = document.values
    for position, part in enumerate(loc):
        if isinstance(node, dict) and str(part) in node:
            node = node[str(part)]
            yield str(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            yield part
        elif position == len(loc) - 1 and isinstance(node, dict) and part != "[key]":
            yield str(part)  # a missing key


def _examples(model: type[BaseModel], key: Key) -> str:
    """Name some of the keys that a section has, after `keys with values`."""
    section = _section_at(model, key)
    if section is None:
        return ""
    names = list(section.model_fields)
    return f" ({', '.join(names[:MOST_EXAMPLES])}{' …' if len(names) > MOST_EXAMPLES else ''})"


def _section_at(model: type[BaseModel], key: Key) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    for part in key:
        if isinstance(part, str) and section is not None and part in section.model_fields:
            section = model_in(section.model_fields[part].annotation)
    return section


def _unknown_key(model: type[BaseModel], key: Key) -> str:
    owner = _section_at(model, key[:-1])
    names = sorted(owner.model_fields) if owner is not None else []
    name = str(key[-1])
    if key[:1] == ("mitmproxy",):
        instead = INSTEAD_OF_MITMPROXY_OPTION.get(name)
        if instead is not None:
            return f"this mitmproxy option would switch a check off or is set elsewhere; use {instead}"
        message = "not one of the mitmproxy options that may be set here"
    else:
        message = "unknown key"
    if key in INSTEAD_OF_KEY:
        return f"this key did nothing; use {INSTEAD_OF_KEY[key]}"
    if name != name.strip():
        return (
            f"{message}; beside it stands what looks like a space, such as a no-break space: use plain spaces"
        )
    if name in model.model_fields:
        return f"{message}; {name} stands at the beginning of its line"
    elsewhere = _places(model, name)
    if elsewhere:
        return f"{message}; did you mean {' or '.join(elsewhere)}?"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"{message}; did you mean {close[0]}?"
    return f"{message}; expected one of {', '.join(names)}"


def _places(model: type[BaseModel], name: str) -> list[str]:
    """Return where a key of this name stands, where these are few."""
    found = list(_paths(model, name))
    highest = min(map(len, found), default=0)
    nearest = [dotted(path) for path in found if len(path) == highest]
    return nearest if len(nearest) <= MOST_PLACES else []


def _paths(model: type[BaseModel], name: str, at: Key = ()) -> Iterator[Key]:
    for field, info in model.model_fields.items():
        if field == name:
            yield (*at, field)
        inner = model_in(info.annotation)
        if inner is not None:
            yield from _paths(inner, name, (*at, field))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the model inside an annotation such as `tuple[Model, ...] | None`."""
    annotation = getattr(annotation, "__value__", annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = model_in(inner)
        if found is not None:
            return found
    return None


def _is_secret(place: Sequence[str | int], value: object) -> bool:
    """Return whether a value stays untold: it is below a key of secrets, or an address with a password."""
    return not SECRET_PLACES.isdisjoint(place) or _LOGIN.search(str(value)) is not None


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "…"  # noqa: PLR2004
