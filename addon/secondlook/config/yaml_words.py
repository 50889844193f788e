"""What the YAML reader reports, in the operator's words, at the line that has to be mended.

The reader speaks of tokens and scalars, and names the place where it gave up: for a bracket or a quote that
was never closed that is the end of the file. Of the file only a key is repeated: a value may be a secret.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

type Lines = Sequence[str]

_INDENTED = (
    "this line is indented otherwise than those of its section before it: "
    "keys of one section begin in the same column"
)
_NO_COLON = "no colon with a space after it: key: value"
_NO_COLON_ABOVE = f"the line above has {_NO_COLON}"
_QUOTED = "a text that {} stands in quotes"
_KEY = re.compile(r"\s*(?:- +)*[^\s#'\"{}\[\],][^#'\"{}\[\],]*?:(?=\s|$)")


def yaml_fault(error: Any, text: str) -> tuple[int | None, str]:
    """Return the line, from 1, and what is wrong there, of an error of ruamel.yaml."""
    if hasattr(error, "position"):
        line = text.count("\n", 0, error.position) + 1
        return line, f"a control character stands here (U+{error.character:04X})"
    if not hasattr(error, "problem"):
        return None, str(error)
    context, problem = str(error.context or ""), str(error.problem or "")
    end, begin = error.problem_mark or error.context_mark, error.context_mark or error.problem_mark
    for expression, from_the_beginning, words in _FAULTS:
        found = re.match(expression, f"{problem}|{context}", re.DOTALL)
        if found:
            mark = begin if from_the_beginning else end
            told = words if isinstance(words, str) else words(found, text.splitlines(), mark)
            return (mark.line + 1 if mark is not None else None), told
    reason = " ".join(part for part in (context, problem) if part).partition(" with value ")[0]
    return (end.line + 1 if end is not None else None), reason


def _colon(_: re.Match[str], lines: Lines, mark: Any) -> str:
    """Say why a colon cannot stand where it does: by what stands before it, in its line or the one above."""
    line = lines[mark.line] if mark.line < len(lines) else ""
    if _KEY.match(line[: mark.column]):
        return _QUOTED.format("has a colon followed by a space")
    if _KEY.match(_above(lines, mark)):
        return "this line is indented further than the one above, which has its value already"
    return _NO_COLON_ABOVE


def _outdented(_: re.Match[str], lines: Lines, mark: Any) -> str:
    """Say why the file goes on to the left of where it began."""
    return _INDENTED if _KEY.match(_above(lines, mark)) else _NO_COLON_ABOVE


def _above(lines: Lines, mark: Any) -> str:
    """Return the line before a place that is neither empty nor a comment."""
    return next(
        (each for each in reversed(lines[: mark.line]) if each.strip() and each.strip()[0] != "#"), ""
    )


def _twice(found: re.Match[str], _: Lines, __: Any) -> str:
    return f"{found[1]} stands here a second time in its section: keep one of them"


_FAULTS: tuple[tuple[str, bool, str | Callable[[re.Match[str], Lines, Any], str]], ...] = (
    (r"found character '\\t'", False, "a tab stands here: only spaces indent and separate in YAML"),
    (r"found character '([@`%])'", False, lambda found, _, __: _QUOTED.format(f"begins with {found[1]}")),
    (r"found undefined alias", False, _QUOTED.format("begins with *")),
    (r'found duplicate key "([^"]{1,64})"', False, _twice),
    (r"mapping values are not allowed", False, _colon),
    (r"could not find expected ':'", True, _NO_COLON),
    (
        r"expected ',' or '([\]}])'",
        True,
        lambda found, _, __: (
            f"what begins here is not closed with {found[1]}, or a comma is missing, "
            "or a text with one of { } [ ] , : in it has no quotes"
        ),
    ),
    (
        r"found unexpected end of stream\|while scanning a quoted",
        True,
        "the quote that begins here is not closed",
    ),
    (
        r"(?:expected escape sequence|found unknown escape)",
        False,
        "a backslash in double quotes has a meaning of its own: use single quotes, or write it twice",
    ),
    (
        r"expected <block end>, but found '<scalar>'",
        False,
        "text after the end of a quote: inside single quotes a ' is written twice",
    ),
    (r"expected <block end>, but found", False, _INDENTED),
    (r"expected '<document start>', but found", False, _outdented),
    (r"but found another document", False, "a second document begins here: one file holds one"),
    (
        r"expected the node content, but found '<stream end>'",
        False,
        "the file ends before a [ or { is closed",
    ),
    (
        r"expected the node content, but found '([\]},])'",
        False,
        lambda found, _, __: f"a value is missing before {found[1]}",
    ),
    (r"expected chomping", False, _QUOTED.format("begins with | or >")),
)  # what the reader reports (problem|context), whether the fault is where that began, our words
