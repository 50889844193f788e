"""A YAML file as plain values with the line of every key, `${NAME}` replaced, `--set` values laid over it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from secondlook.config.value import Quoted
from secondlook.config.yaml_words import yaml_fault
from secondlook.ground.errors import ConfigError

_VARIABLE = re.compile(r"\$(\$|\{([^}]*)\})")
_MAX_FILE_BYTES = 16 << 20

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
        return Fault(line, dotted(key), message, origin)


def read_document(path: Path | None, environ: Mapping[str, str], content: bytes | None = None) -> Document:
    """Read a file, or `content` in its place; None: no values. Raises InvalidConfigError."""
    if path is None:
        return Document("defaults")
    # ruamel.yaml is slow to import and only a file needs it
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415
    from ruamel.yaml.parser import Parser  # noqa: PLC0415
    from ruamel.yaml.scanner import Scanner  # noqa: PLC0415

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
        reader.Scanner, reader.Parser = Scanner, Parser  # they keep no comments: a third of the time
        tree = reader.load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        line, reason = yaml_fault(error, text)
        raise InvalidConfigError([Fault(line, "", f"not valid YAML: {reason}", str(path))]) from error
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
            document.lines[inner] = _line(node, name)
            values[str(name)] = _plain(document, value, inner, environ)
        return values
    if isinstance(node, list):
        items = []
        for index, value in enumerate(node):
            inner = (*key, index)
            document.lines[inner] = _line(node, index)
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


def _line(node: Any, at: Any) -> int:
    """Return the line of a key or item; the section's where that came with an anchor (`<<: *other`)."""
    place = (node.lc.data or {}).get(at)
    return int(place[0] if place else node.lc.line) + 1


def _variable(document: Document, found: re.Match[str], key: Key, environ: Mapping[str, str]) -> str:
    if found[1] == "$":
        return "$"
    value = environ.get(found[2])
    if value is None:
        fault = document.fault(key, f"environment variable {found[2]} is not set")
        document.faults.append(replace(fault, of_environment=True))
        return ""
    return value


def lay_over(document: Document, overrides: Sequence[str]) -> None:
    """Set `dotted.key=value` for each, the value in YAML; what cannot be read is a fault of the document."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - see `read_document`
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted.strip():
            document.faults.append(Fault(None, "", f"expected dotted.key=value, got {override}", "--set"))
            continue
        try:
            value = YAML(typ="safe", pure=True).load(text)
        except (YAMLError, ValueError, RecursionError):
            value = text
        key = tuple(
            int(part) if part.isdecimal() and part.isascii() else part for part in dotted.strip().split(".")
        )
        put(document, key, value, "--set")


def put(document: Document, key: Key, value: Any, origin: str) -> None:
    """Set a key; a section on the way is made, and spelled out where it has its short form."""
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
            document.faults.append(Fault(None, dotted(key), "no such key or item", origin))
            return


def _section_of(name: str, value: Any) -> dict[str, Any]:
    """Spell out a section that was written in its short form, so that a key can be set in it."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"enabled": value}
    return {"listen" if name == "review" else "url": value}


def dotted(key: Key) -> str:
    """Return a key as it is written for `--set`."""
    return ".".join(str(part) for part in key)
