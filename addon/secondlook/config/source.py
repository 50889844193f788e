"""From a YAML file to frozen settings: every fault with its file, line and key, all of them at once.

The file is read with positions kept, `${NAME}` is replaced from the environment, `--set` values are
laid over it, and the whole is validated in one go; what pydantic reports is told in the operator's
words at the operator's line.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from secondlook.config.agent import Settings
from secondlook.config.service import ServerSettings
from secondlook.config.traffic import INSTEAD_OF_MITMPROXY_OPTION
from secondlook.config.value import Quoted
from secondlook.ground.errors import ConfigError

_VARIABLE = re.compile(r"\$(\$|\{([^}]*)\})")
_MAX_FILE_BYTES = 16 << 20
_PLAIN_WORDS = {
    "model_type": "keys with values",
    "dict_type": "keys with values",
    "model_attributes_type": "keys with values",
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

INSTEAD_OF_KEY: dict[tuple[str | int, ...], str] = {("actions", "tell_on_next_page"): "notify.next_page"}

type Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where it stands and what was expected."""

    line: int | None
    key: str
    message: str
    origin: str  # file name, or the option that set the value
    of_environment: bool = False  # another process may have what is missing

    def __str__(self) -> str:
        where = self.origin if self.line is None else f"{self.origin}:{self.line}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class InvalidConfigError(ConfigError):
    """A configuration with faults; the message lists every one, one a line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        self.of_environment = all(fault.of_environment for fault in faults)
        super().__init__("\n".join(str(fault) for fault in faults))


@dataclass(slots=True)
class Document:
    """A YAML document as plain values, with the line of every key and item."""

    origin: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)  # keys set by an option
    faults: list[Fault] = field(default_factory=list)

    def place(self, key: Key) -> tuple[int | None, str]:
        """Find line and origin of a key, else of its nearest parent."""
        for length in range(len(key), -1, -1):
            part = key[:length]
            if part in self.origins:
                return None, self.origins[part]
            if part in self.lines:
                return self.lines[part], self.origin
        return None, self.origin

    def fault(self, key: Key, message: str) -> Fault:
        """Return a fault at a key."""
        line, origin = self.place(key)
        return Fault(line, _dotted(key), message, origin)


def load_settings(
    path: Path | None,
    *,
    overrides: Sequence[str] = (),
    state: Path | None = None,
    listen: Sequence[str] = (),
    review: str | None = None,
    workers: int | None = None,
    serving: bool = False,
    content: bytes | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Load `proxy.yaml` (None: the defaults) with command-line values over it.

    `overrides` are `dotted.key=value`, the value in YAML; `serving` also tries the files of TLS;
    `content` is read in place of what stands in the file. Raises InvalidConfigError.
    """
    document = _document(path, environ, content)
    _override(document, overrides)
    if listen:
        _put(document, ("listen",), list(listen), "--listen")
    if review is not None:
        _put(document, ("review", "listen"), review, "--review")
    if workers is not None:
        _put(document, ("workers",), workers, "--workers")
    if state is not None:
        _put(document, ("state",), str(state.absolute()), "--state")
    base = path.absolute().parent if path is not None else Path.cwd()
    return _validated(Settings, document, base, serving=serving)


def load_server_settings(
    path: Path | None,
    *,
    overrides: Sequence[str] = (),
    state: Path | None = None,
    listen: Sequence[str] = (),
    serving: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> ServerSettings:
    """Load `server.yaml` as `load_settings` loads `proxy.yaml`. Raises InvalidConfigError."""
    document = _document(path, environ)
    _override(document, overrides)
    if listen:
        _put(document, ("listen",), list(listen), "--listen")
    if state is not None:
        _put(document, ("state",), str(state.absolute()), "--state")
    base = path.absolute().parent if path is not None else Path.cwd()
    return _validated(ServerSettings, document, base, serving=serving)


def _document(path: Path | None, environ: Mapping[str, str], content: bytes | None = None) -> Document:
    if path is None:
        return Document("defaults")
    # ruamel.yaml is slow to import and only a file needs it
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    document = Document(str(path))
    raw = b""
    try:
        raw = _read(path) if content is None else content
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidConfigError(
            [Fault(None, "", f"cannot read the configuration: {error.strerror or error}", str(path))]
        ) from error
    except UnicodeDecodeError as error:
        bad_line = raw[: error.start].count(b"\n") + 1
        raise InvalidConfigError([Fault(bad_line, "", "expected UTF-8 text", str(path))]) from error
    if len(raw) > _MAX_FILE_BYTES:
        raise InvalidConfigError([Fault(None, "", "expected a file of at most 16 MiB", str(path))])
    try:
        reader = YAML(typ="rt", pure=True)
        reader.preserve_quotes = True
        tree = reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        told = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidConfigError([Fault(line, "", f"not valid YAML: {told}", str(path))]) from error
    except (YAMLError, ValueError) as error:
        raise InvalidConfigError([Fault(None, "", f"not valid YAML: {error}", str(path))]) from error
    if tree is None:
        return document
    if not isinstance(tree, dict):
        raise InvalidConfigError(
            [Fault(1, "", "expected keys with values, such as listen: 127.0.0.1:8080", str(path))]
        )
    document.values = _plain(document, tree, (), environ)
    return document


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE_BYTES + 1)


def _plain(document: Document, node: Any, key: Key, environ: Mapping[str, str]) -> Any:
    """Turn a ruamel node into plain values, noting lines and replacing `${NAME}`."""
    if isinstance(node, dict):
        values = {}
        for name, value in node.items():
            inner = (*key, str(name))
            document.lines[inner] = node.lc.key(name)[0] + 1  # type: ignore[attr-defined]
            plain = _plain(document, value, inner, environ)
            if plain is not None:  # `key:` without a value means the default
                values[str(name)] = plain
        return values
    if isinstance(node, list):
        items = []
        for index, value in enumerate(node):
            inner = (*key, index)
            document.lines[inner] = node.lc.item(index)[0] + 1  # type: ignore[attr-defined]
            items.append(_plain(document, value, inner, environ))
        return items
    if isinstance(node, str):
        text = _VARIABLE.sub(lambda found: _variable(document, found, key, environ), str(node))
        # ruamel gives a subclass for a text in quotes; "${NAME}" may stand in them: it is a text either way
        return Quoted(text) if type(node) is not str and text == node else text
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node)
    return str(node)  # dates and tagged scalars


def _variable(document: Document, found: re.Match[str], key: Key, environ: Mapping[str, str]) -> str:
    if found[1] == "$":
        return "$"
    value = environ.get(found[2])
    if value is None:
        fault = document.fault(key, f"environment variable {found[2]} is not set")
        document.faults.append(replace(fault, of_environment=True))
        return ""
    return value


def _override(document: Document, overrides: Sequence[str]) -> None:
    from ruamel.yaml import YAML  # noqa: PLC0415 - see _document
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted.strip():
            document.faults.append(Fault(None, "", f"expected dotted.key=value, got {override}", "--set"))
            continue
        try:
            value = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            value = text
        key = tuple(int(part) if part.isdigit() else part for part in dotted.strip().split("."))
        _put(document, key, value, "--set")


def _put(document: Document, key: Key, value: Any, origin: str) -> None:
    document.origins[key] = origin
    node: Any = document.values
    for part, following in zip(key, [*key[1:], None], strict=True):
        if isinstance(node, dict):
            part = str(part)  # noqa: PLW2901
            if following is None:
                node[part] = value
                return
            inner = node.get(part)
            if not isinstance(inner, dict | list):
                inner = _section_of(part, inner)
                node[part] = inner
            node = inner
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            if following is None:
                node[part] = value
                return
            node = node[part]
        else:
            document.faults.append(Fault(None, _dotted(key), "no such key or item", origin))
            return


def _section_of(name: str, value: Any) -> dict[str, Any]:
    """Spell out a section that was written in its short form, so that a key can be set in it."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"enabled": value}
    return {"listen" if name == "review" else "url": value}


def _validated[Model: BaseModel](
    model: type[Model], document: Document, base: Path, *, serving: bool
) -> Model:
    try:
        settings = model.model_validate(document.values, context={"base": base, "serving": serving})
    except ValidationError as error:
        known = {fault.key for fault in document.faults}
        told = (_told(model, document, details) for details in error.errors())
        faults = [*document.faults, *(fault for fault in told if fault.key not in known)]
        raise InvalidConfigError(sorted(faults, key=lambda fault: fault.line or 0)) from None
    if document.faults:
        raise InvalidConfigError(document.faults)
    state = getattr(settings, "state", None)
    if isinstance(state, Path) and not state.is_absolute():
        return settings.model_copy(update={"state": base / state})
    return settings


def _told(model: type[BaseModel], document: Document, details: ErrorDetails) -> Fault:
    """Return one pydantic error in our words."""
    key = tuple(_real_parts(document, details["loc"]))
    context = details.get("ctx", {})
    pointed = context.get("key")
    if pointed:
        key = (*key, *(int(part) if part.isdigit() else part for part in str(pointed).split(".")))
    match details["type"]:
        case "extra_forbidden":
            return document.fault(key, _unknown_key(model, key))
        case "missing":
            return document.fault(key, "expected a value, found none")
        case "problem":
            return document.fault(key, str(context["what"]))
        case kind if kind in _PLAIN_WORDS:
            message = "expected " + _PLAIN_WORDS[kind].format(**context)
        case _:
            message = details["msg"].replace("Input should be ", "expected ").replace("Input", "the value")
    given = details["input"]
    if isinstance(given, str | int | float | bool) and "key" not in context and not _is_secret(key):
        message += f", got {_short(given)}"
    elif isinstance(given, dict | list):
        message += f", got {'keys' if isinstance(given, dict) else 'a list'}"
    return document.fault(key, message)


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


def _unknown_key(model: type[BaseModel], key: Key) -> str:
    owner: type[BaseModel] | None = model
    for part in key[:-1]:
        if isinstance(part, str) and owner is not None and part in owner.model_fields:
            owner = _model_in(owner.model_fields[part].annotation)
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
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"{message}; did you mean {close[0]}?"
    return f"{message}; expected one of {', '.join(names)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the model inside an annotation such as `tuple[Model, ...] | None`."""
    annotation = getattr(annotation, "__value__", annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _is_secret(key: Key) -> bool:
    return bool(key) and str(key[-1]) in {
        "key",
        "token",
        "password",
        "url",
        "urls",
        "values",
        "tokens",
        "users",
    }


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "…"  # noqa: PLR2004


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
