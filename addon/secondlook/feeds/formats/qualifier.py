"""What the other columns of a row mean for it: whether it is good or bad, current or over.

A row is rejected when a column says that it is good (in a list that blocks), bad (in one that allows) or
over, and when what a column says must be understood (an action, a yes or no, a numbered class) and is not.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto

from secondlook.feeds.entries.entry import RejectClass


class _Sense(Enum):
    GOOD = auto()
    BAD = auto()
    OVER = auto()
    UNCLEAR = auto()


_GOOD = frozenset({
    "allow", "allowed", "allowlist", "allowlisted", "whitelist", "whitelisted", "permit", "permitted",
    "good", "goodware", "known good", "benign", "clean", "safe", "harmless", "legit", "legitimate",
    "trusted", "exclude", "excluded", "exception", "ignore", "ignored", "false positive", "fp",
    "falsepositive", "not malicious", "non malicious", "nonmalicious", "not phishing", "no threat",
    "white", "unlisted", "not listed",
})  # fmt: skip
_GOOD_WORDS = _GOOD | {"normal", "ham", "ok", "pass", "passed", "passthru"}
_BAD = frozenset({
    "block", "blocked", "blocklist", "blocklisted", "black", "blacklist", "blacklisted", "deny", "denied",
    "denylist", "drop", "dropped", "reject", "rejected", "sinkhole", "sinkholed", "nxdomain", "prevent",
    "quarantine", "malicious", "bad", "malware", "phishing", "phish", "unsafe", "dangerous",
})  # fmt: skip
_OVER = frozenset(
    ("revoked", "expired", "removed", "withdrawn", "deleted", "retired", "disabled", "inactive")
)
_CURRENT = frozenset(("active", "enabled", "valid", "verified"))
_YES = frozenset(("1", "1.0", "true", "yes", "y", "t"))
_NO = frozenset(("0", "0.0", "false", "no", "n", "f"))
_ACTIONS = frozenset(("action", "policy", "decision", "disposition"))
_CLASSES = frozenset(("label", "class", "classification", "verdict", "result", "prediction"))
_KINDS = frozenset({
    "labels", "category", "categories", "status", "state", "type", "list", "list type", "tag", "tags",
    "threat", "threat type", "reputation", "rating", "assessment", "determination",
})  # fmt: skip
_SEPARATORS = re.compile(r"[_\s-]+")
_PARTS = re.compile(r"[,;|]")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)


def disqualified(row: Mapping[str, str], *, known_good: bool) -> RejectClass | None:
    """Return why the other columns of a row speak against it; None when they do not.

    `row` has lower-case names. `known_good`: the list allows.
    """
    for column, value in row.items():
        match _sense(_normal(column), value):
            case _Sense.UNCLEAR:
                return RejectClass.MODIFIER
            case _Sense.OVER:
                return RejectClass.INACTIVE
            case _Sense.GOOD if not known_good:
                return RejectClass.NOT_FOR_DETECTION
            case _Sense.BAD if known_good:
                return RejectClass.NOT_FOR_DETECTION
            case _:
                pass
    return None


def speaks_against(cells: Iterable[str], *, known_good: bool) -> RejectClass | None:
    """Return why the cells of a row speak against it, where their columns have no names."""
    senses = set(map(_of_words, cells))
    if _Sense.OVER in senses:
        return RejectClass.INACTIVE
    return RejectClass.NOT_FOR_DETECTION if (_Sense.BAD if known_good else _Sense.GOOD) in senses else None


def _normal(text: str) -> str:
    return _SEPARATORS.sub(" ", text.strip().lower())


def _sense(column: str, value: str) -> _Sense | None:
    """Return the meaning of one cell; None: none that matters."""
    word = _normal(value)
    if not word:
        return None
    if column in _ACTIONS:
        return _of_words(word) or _Sense.UNCLEAR
    if column in _CLASSES:
        return _Sense.UNCLEAR if _NUMBER.fullmatch(value.strip()) else _of_words(value)
    if column in _KINDS:
        return _of_words(value)
    return _of_flag(column.removeprefix("is "), word, must=column.startswith("is "))


def _of_words(value: str) -> _Sense | None:
    parts = {_normal(part) for part in _PARTS.split(value)}
    if parts & _GOOD_WORDS:
        return _Sense.GOOD
    if parts & _OVER:
        return _Sense.OVER
    return _Sense.BAD if parts & _BAD else None


def _of_flag(name: str, word: str, *, must: bool) -> _Sense | None:
    """Read a column that is named for what it affirms or denies; `must`: a yes or no is expected."""
    meanings = ((_GOOD, _Sense.GOOD, _Sense.BAD), (_BAD, _Sense.BAD, _Sense.GOOD), (_OVER, _Sense.OVER, None))
    for names, if_yes, if_no in (*meanings, (_CURRENT, None, _Sense.OVER)):
        if name in names:
            if word in _YES:
                return if_yes
            if word in _NO:
                return if_no
            return _Sense.UNCLEAR if must or names is _GOOD else None
    return None
