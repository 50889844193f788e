"""Which settings a file shows, each by its place, with what its comments say of those that are not set.

A comment belongs to the key that it stands behind or right above. In it settings are shown as they are written:

    #   - url: https://…        three blanks in: what stands below the next key
    # timeout: 10s              a key that is not set
    key: # {url: …, name: …}    what would stand in its place
    # …, further keys: a, b     words: keys right below
"""

import re
from collections.abc import Iterator

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_LINE = re.compile(r"( *)(?:- )?([a-z_0-9]+):(?: (.*))?$")
_INNER = re.compile(
    r"[{\[][^{}\[\]]*(?:[{\[][^{}\[\]]*(?:[{\[][^{}\[\]]*[}\]][^{}\[\]]*)*[}\]][^{}\[\]]*)*[}\]]"
)


def places_shown(text: str) -> set[str]:
    """Return the dotted places; those of a list or of names given by the operator stand right below its key."""
    found: set[str] = set()
    stack: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        comment = re.match(r" *#(.*)", line)
        unset = re.match(r"( *)# ([a-z_]+:(?: .*)?)$", line)
        if unset is not None:
            line = unset[1] + unset[2]  # noqa: PLW2901
        elif comment is not None:
            above.append(comment[1])
            if stack and line.index("#") > stack[-1][0]:  # it goes on with what stands behind the last key
                found |= {f"{_place(stack)}.{word}" for word in _words(comment[1])}
            continue
        key = _LINE.match(line)
        if key is None:
            above = []
            continue
        indent = len(key[1]) + (2 if line.lstrip().startswith("- ") else 0)
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, key[2]))
        place = _place(stack)
        found.add(place)
        said = [*above, key[3] or ""]
        example = "\n".join(each for each in above if each.startswith("   "))
        found |= {f"{place}.{inner}" for inner in _inner(example)}
        for each in said:
            found |= {f"{place}.{word}" for word in _words(each)}
            for shown in _INNER.findall(each):
                found |= {f"{place}.{inner}" for inner in _inner(shown)}
        above = []
    return found


def _place(stack: list[tuple[int, str]]) -> str:
    return ".".join(name for _, name in stack)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z_]+", text)


def _inner(text: str) -> Iterator[str]:
    try:
        yield from _places(YAML(typ="safe").load(text))
    except YAMLError:
        return


def _places(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from (f"{name}.{each}" for each in _places(inner))
    elif isinstance(value, list):
        for each in value:
            yield from _places(each)
