"""Changing single values in the text of a YAML file: every byte beside them stays, comments too.

```
text ──► nodes with their places ──► the value's place in the text ──► new text
  └────► values ──► the same change in them ───────── equal? ─────────────┘
```

ruamel.yaml finds where a value stands, the text is changed there and nowhere else, and what ruamel.yaml then
reads of it has to be what the change meant. Where it is not (anchors, tags, unusual layouts) the change is
refused: somebody has to write it by hand.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from secondlook.config.document import Key, dotted
from secondlook.ground.errors import ConfigError

INDENT = 2
_WIDEST = 1 << 20


class CannotEditError(ConfigError):
    """A change that cannot be made in this text without touching more than is meant."""


def set_value(text: str, key: Key, value: object) -> str:
    """Return the text with a value put at a key; missing sections are made. Raises CannotEditError."""
    return _checked(text, key, value, _set)


def append_item(text: str, key: Key, item: Mapping[str, object]) -> str:
    """Return the text with an item put at the end of the list at a key. Raises CannotEditError."""
    return _checked(text, key, item, _append)


def values_of(text: str) -> dict[str, Any]:
    """Return what a file holds, as plain values. Raises CannotEditError."""
    try:
        found = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise CannotEditError(f"not valid YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CannotEditError("expected keys with values")
    return found


def _checked(text: str, key: Key, value: Any, change: Any) -> str:
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(bom)
    values = values_of(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += newline
    try:
        meant = _meant(values, key, value, append=change is _append)
        found = YAML(typ="safe", pure=True).compose(text)
        changed: str = change(text, found, key, value).replace("\x00", newline)
        if values_of(changed) == meant:
            return bom + changed
    except (YAMLError, ValueError, LookupError, TypeError, RecursionError):
        pass
    raise CannotEditError(f"{dotted(key)} is written in a way that is not changed from here")


def _meant(values: dict[str, Any], key: Key, value: Any, *, append: bool) -> dict[str, Any]:
    """Make the change in plain values."""
    meant: dict[str, Any] = _apart(values)
    node: Any = meant
    for part in key[:-1]:
        if isinstance(node, dict) and node.get(str(part)) is None:
            node[str(part)] = {}
        node = _child(node, part)
    if append:
        node[key[-1]] = [*(node.get(key[-1]) or ()), value]
    else:
        node[key[-1]] = value
    return meant


def _apart(node: Any) -> Any:
    """Copy values; what an anchor shares is copied each time, as a change is meant for one place."""
    if isinstance(node, dict):
        return {name: _apart(value) for name, value in node.items()}
    return [_apart(item) for item in node] if isinstance(node, list) else node


def _child(node: Any, part: str | int) -> Any:
    return node[part]  # what it is not, the caller refuses


def _set(text: str, root: Node | None, key: Key, value: Any) -> str:
    node, place = root, 0  # the value so far, and where it begins where it is empty
    for at, part in enumerate(key):
        if isinstance(node, SequenceNode) and isinstance(part, int):
            node = node.value[part]
            continue
        if not isinstance(node, MappingNode):
            if at == 0:
                return text + _block(_nested(key, value), 0)
            _must_be_empty(node)
            return _below(text, place, _column(text, place) + INDENT, _nested(key[at:], value))
        found = next((pair for pair in node.value if pair[0].value == part), None)
        if found is None:
            return _insert(text, node, _nested(key[at:], value))
        name, node = found
        place = _after_colon(text, name)
    return _replace(text, node, place, value)


def _append(text: str, root: Node | None, key: Key, item: Any) -> str:
    node, place = root, 0
    for part in key:
        found = None
        if isinstance(node, MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
        if found is None:
            return _set(text, root, key, [item])
        name, node = found
        place = _after_colon(text, name)
    if isinstance(node, SequenceNode) and node.value:
        last = node.value[-1]
        if node.flow_style:
            end = last.end_mark.index
            return f"{text[:end]}, {_flow(item)}{text[end:]}"
        line = _line_begin(text, last.start_mark.index)
        dash = text.rindex("-", line, last.start_mark.index) - line
        end = _line_end(text, _deep_end(text, last))
        return text[:end] + _block([item], dash) + text[end:]
    if isinstance(node, SequenceNode):  # `[]` makes room for lines; a comment beside it stays
        begin = len(text[: node.start_mark.index].rstrip(" "))
        text = text[:begin] + text[node.end_mark.index :]
    else:
        _must_be_empty(node)
    return _below(text, place, _column(text, place) + INDENT, [item])


def _must_be_empty(node: Node | None) -> None:
    if not (isinstance(node, ScalarNode) and node.value in {"", "null", "~"}):
        raise ValueError("something else stands there")


def _nested(key: Key, value: object) -> Any:
    for part in reversed(key):
        if isinstance(part, int):
            raise TypeError("no such item")
        value = {part: value}
    return value


def _replace(text: str, node: Node | None, place: int, value: object) -> str:
    assert node is not None
    written = _flow(value)
    if not _is_block(node):
        begin, end = node.start_mark.index, node.end_mark.index
        if begin == end:  # empty: its mark may be on a later line
            return f"{text[:place]} {written}{text[place:]}"
        return text[:begin] + written + text[end:]
    return f"{text[:place]} {written}{text[_deep_end(text, node) :]}"


def _insert(text: str, node: MappingNode, pairs: Mapping[str, object]) -> str:
    """Put a key at the end of a section."""
    if node.flow_style:
        end = node.end_mark.index - 1
        joint = ", " if node.value else ""
        end = len(text[:end].rstrip(" ")) if node.value else end
        return text[:end] + joint + _flow(pairs)[1:-1] + text[end:]
    end = _line_end(text, _deep_end(text, node))
    return text[:end] + _block(pairs, node.start_mark.column) + text[end:]


def _below(text: str, place: int, column: int, value: object) -> str:
    """Put lines below a key that had no value."""
    end = _line_end(text, place)
    return text[:end] + _block(value, column) + text[end:]


def _deep_end(text: str, node: Node) -> int:
    """Return where the text of a value ends: what a block is followed by (comments) is not in it."""
    if not _is_block(node) or not node.value:
        return int(node.end_mark.index)
    if isinstance(node, MappingNode):
        name, last = node.value[-1]
        empty = isinstance(last, ScalarNode) and last.start_mark.index == last.end_mark.index
        return _after_colon(text, name) if empty else _deep_end(text, last)
    return _deep_end(text, node.value[-1])


def _is_block(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style


def _after_colon(text: str, name: Node) -> int:
    return text.index(":", name.end_mark.index) + 1


def _column(text: str, place: int) -> int:
    """Return the column of the key on the line of a place."""
    line = text[_line_begin(text, place) : place]
    return len(line) - len(line.lstrip(" -"))


def _line_begin(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _line_end(text: str, place: int) -> int:
    return text.index("\n", place) + 1


def _flow(value: object) -> str:
    """Write a value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(name)}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    stream = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = _WIDEST
    writer.dump([value], stream)
    return stream.getvalue().strip()[1:-1]


def _block(value: object, column: int) -> str:
    """Write keys or items in lines of their own; each ends with NUL, which stands for the file's line end."""
    lines: list[str] = []
    _lines(value, column, lines)
    return "".join(f"{line}\x00" for line in lines)


def _lines(value: object, column: int, lines: list[str]) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, Mapping) or (isinstance(inner, list) and inner and _has_keys(inner)):
                lines.append(f"{' ' * column}{_flow(name)}:")
                _lines(inner, column + INDENT, lines)
            else:
                lines.append(f"{' ' * column}{_flow(name)}: {_flow(inner)}")
    elif isinstance(value, Sequence):
        for item in value:
            own: list[str] = []
            _lines(item, column + INDENT, own)
            own[0] = f"{' ' * column}- {own[0].lstrip(' ')}"
            lines += own


def _has_keys(items: Sequence[object]) -> bool:
    return all(isinstance(item, Mapping) for item in items)
