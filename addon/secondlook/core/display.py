"""Names and messages in the form in which people read them; what is hostile is made inert."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import idna

from secondlook.core.neutralize import inert

_HOST_CHARS: Final = 80
_ACE: Final = "xn--"
_INTERNATIONAL: Final = re.compile(r"[a-z0-9.-]*xn--[a-z0-9.-]+")
_WRITTEN_TOGETHER: Final = tuple(
    frozenset(scripts.split())
    for scripts in (
        "LATIN CJK IDEOGRAPHIC HIRAGANA KATAKANA",
        "LATIN CJK BOPOMOFO",
        "LATIN CJK HANGUL",
    )
)
"""Scripts that one language mixes in a word (Unicode TR 39, "highly restrictive")."""
_LIKE_LATIN: Final = frozenset("асԁеһіїјӏкорԛѕԝхуъьҽпгѐёѵѡαγεικνορτυχω")
"""Cyrillic and Greek letters of which a name could be made that looks like one in Latin letters."""


_SERVER_CHANGES: Final = {
    "opened": "stopped answering",
    "closed": "answers again",
    "slowed": "asked to be asked less often",
    "resumed": "answers as often as before",
    "misconfigured": "its settings here do not fit",
}


def readable_host(host: str) -> str | None:
    """Return an international name in its own letters.

    None where it is none, or could be taken for another: with a label of mixed scripts, or one whose letters
    all look Latin.
    """
    if _ACE not in host:
        return None
    try:
        readable = idna.decode(host)
    except (idna.IDNAError, UnicodeError):
        return None
    if readable == host or not all(map(_speaks_for_itself, readable.split("."))):
        return None
    return inert(readable, _HOST_CHARS)


def readable(text: object) -> str:
    """Return the international name in a host, URL or rule in its own letters; empty where none is safe."""
    found = _INTERNATIONAL.search(str(text or ""))
    return (readable_host(found[0]) or "") if found else ""


def _speaks_for_itself(label: str) -> bool:
    scripts = _scripts(label)
    if len(scripts) > 1:
        return any(scripts <= together for together in _WRITTEN_TOGETHER)
    letters = frozenset(filter(str.isalpha, label))
    return label.isascii() or not letters <= _LIKE_LATIN


def _scripts(letters: Iterable[str]) -> frozenset[str]:
    """Name the scripts of letters: each has it at the beginning of its name in Unicode."""
    return frozenset(re.split("[ -]", unicodedata.name(each, "?"))[0] for each in letters if each.isalpha())


def shown_host(url: str) -> str:
    """Return the host of a URL for people: in both forms where it is an international name."""
    try:
        host = urlsplit(url).hostname or url
    except ValueError:
        host = url
    host = inert(host, _HOST_CHARS)
    readable = readable_host(host)
    return host if readable is None else f"{readable} ({host})"


def as_sentence(message: str) -> str:
    """Write a message as a sentence: with a capital letter and a full stop."""
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."


def counted(count: int, one: str, many: str) -> str:
    """Return a count with the word for it."""
    return f"{count} {one if count == 1 else many}"


def size_text(size: float) -> str:
    """Write a number of bytes for people."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 (the step between units)
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def server_change(detail: str) -> str:
    """Return in plain words what became of a server, of the detail of its event (`opened: refused`)."""
    what, _, reason = detail.partition(": ")
    words = _SERVER_CHANGES.get(what)
    if words is None:
        return detail
    return words if reason in ("", "answers again") else f"{words}: {reason}"
