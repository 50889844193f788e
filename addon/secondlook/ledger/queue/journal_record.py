"""Flags as records of the journal: JSON with hashes in hex."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from secondlook.core.event import EVENT_FIELDS, Event, FlagEntry
from secondlook.core.event_field import Form
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.codec import (
    EVENT_COLUMNS,
    HASH_BYTES,
    event_row,
    flag_row,
    row_event,
    split_hashes,
)

_END_OF_TIME: Final = 253_402_300_800.0  # the year 10000, which RFC 3339 does not know


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _END_OF_TIME


_FITS: Final[Mapping[Form, Callable[[Any], bool]]] = {
    Form.CODE: _is_word,
    Form.WORD: _is_word,
    Form.TEXT: _is_text,
    Form.URL: _is_text,
    Form.MOMENT: _is_number,
    Form.MILLISECONDS: _is_number,
    Form.SIZE: lambda value: isinstance(value, int) and 0 <= value < 1 << 63,
    Form.COUNT: lambda value: isinstance(value, int) and 0 <= value < 1 << 31,
    Form.FLAG: lambda value: isinstance(value, bool),
    Form.DIGEST: lambda value: isinstance(value, bytes) and len(value) == HASH_BYTES,
    Form.JSON: lambda value: isinstance(value, dict),
}
_BY_NAME: Final = {each.attribute: each for each in EVENT_FIELDS}
_OF_FLAG: Final = ("identity", "url", "host", "client", "sha256", "filename", "size")


def flag_record(event: Event, entry: FlagEntry) -> dict[str, Any]:
    """Write a flag as a JSON value."""
    line = {name: value for name, value in event_row(event).items() if value is not None}
    flag = {name: value for name, value in flag_row(entry).items() if value is not None}
    for values in (line, flag):
        for name in ("identity", "hashes"):
            if name in values:
                values[name] = values[name].hex()
    return {
        "event": line,
        "flag": flag | {"client": entry.client, "time": entry.time, "labels": entry.labels},
    }


def read_flag(record: dict[str, Any]) -> tuple[Event, FlagEntry]:
    """Read what `flag_record` wrote; raises LedgerError for anything else."""
    try:
        line = dict.fromkeys(EVENT_COLUMNS) | record["event"]
        if line["identity"] is not None:
            line["identity"] = bytes.fromhex(line["identity"])
        flag = record["flag"]
        entry = FlagEntry(
            identity=bytes.fromhex(flag["identity"]),
            kind=SubjectKind(flag["kind"]),
            cls=SubjectClass(flag["class"]),
            hashes=split_hashes(bytes.fromhex(flag["hashes"])),
            url=flag.get("url"),
            host=flag.get("host"),
            client=flag.get("client"),
            time=flag["time"],
            reason=flag["reason"],
            sha256=flag.get("sha256"),
            filename=flag.get("filename"),
            size=flag.get("size"),
            labels=tuple(flag["labels"]),
        )
        event = row_event(line)
        _check(event, entry)
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(f"flags journal: a record that is no flag: {error!r}") from error
    return event, entry


def _check(event: Event, entry: FlagEntry) -> None:
    """Raise ValueError where a value is none that could be stored."""
    misfits = [name for name, each in _BY_NAME.items() if not _fits(event, name, optional=each.optional)]
    misfits += [name for name in _OF_FLAG if not _fits(entry, name, optional=name != "identity")]
    if not _fits(entry, "time", optional=False):
        misfits.append("time")
    if not all(map(_is_text, (entry.reason, *entry.labels))):
        misfits.append("reason or labels")
    if not all(map(_FITS[Form.DIGEST], entry.hashes)):
        misfits.append("hashes")
    if misfits:
        raise ValueError(f"no such value can be: {', '.join(misfits)}")


def _fits(record: object, name: str, *, optional: bool) -> bool:
    value = getattr(record, name)
    return optional if value is None else _FITS[_BY_NAME[name].form](value)
