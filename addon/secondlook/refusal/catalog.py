"""Reads a gettext catalog (`.po`) for the standard library, which takes the compiled form (`.mo`) alone.

These lines are read: `#` comments (skipped), `msgid`, `msgid_plural`, `msgstr`, `msgstr[N]`, and quoted lines
that go on. All others are refused, `msgctxt` and `#,` flags among them: nothing here needs them.
<https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html>
"""

import ast
import gettext
import io
import re
import struct
from dataclasses import dataclass, field

_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr(?:\[\d\])?) )?("(?:[^"\\]|\\[n"\\])*")')
_MAGIC = 0x950412DE


@dataclass(frozen=True, slots=True)
class Message:
    """One entry: what the source has, and its translations: one, or one for each plural form."""

    source: str
    plural: str | None
    translations: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    parts: dict[str, str] = field(default_factory=dict)

    def message(self) -> Message:
        forms = tuple(text for name, text in self.parts.items() if name.startswith("msgstr"))
        return Message(self.parts["msgid"], self.parts.get("msgid_plural"), forms)


def read_catalog(text: str) -> tuple[Message, ...]:
    """Return the entries of a `.po` file, its header first. Raise ValueError with the line at fault."""
    entries: list[_Entry] = []
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or (line.startswith("#") and not line.startswith("#,")):
            continue
        found = _LINE.fullmatch(line)
        if found is None or not (found[1] or entries):
            raise ValueError(
                f"line {number}: expected msgid, msgid_plural, msgstr or a quoted text, got {line}"
            )
        if found[1] == "msgid":
            entries.append(_Entry())
        name = found[1] or name
        if not entries or (found[1] in entries[-1].parts):
            raise ValueError(f"line {number}: expected msgid first, and each part once, got {line}")
        entries[-1].parts[name] = entries[-1].parts.get(name, "") + ast.literal_eval(found[2])
    return tuple(entry.message() for entry in entries)


def translations(text: str) -> gettext.GNUTranslations:
    """Make the translations of a `.po` file. Raise ValueError where it cannot be read."""
    return gettext.GNUTranslations(io.BytesIO(_compiled(read_catalog(text))))


def _compiled(messages: tuple[Message, ...]) -> bytes:
    """Write the `.mo` form: a header, two tables of (length, offset), the texts, each ended by a zero."""
    pairs = sorted(
        (
            "\0".join((one.source, one.plural) if one.plural is not None else (one.source,)).encode(),
            "\0".join(one.translations).encode(),
        )
        for one in messages
    )
    count = len(pairs)
    tables = 28
    head = struct.pack("<7I", _MAGIC, 0, count, tables, tables + 8 * count, 0, 0)
    rows, texts = b"", b""
    start = tables + 16 * count
    for column in (0, 1):
        for pair in pairs:
            rows += struct.pack("<2I", len(pair[column]), start + len(texts))
            texts += pair[column] + b"\0"
    return head + rows + texts
