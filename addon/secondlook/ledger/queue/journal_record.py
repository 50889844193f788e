"""Flags as records of the journal: JSON with hashes in hex."""

from typing import Any

from secondlook.core.event import Event, FlagEntry
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.codec import EVENT_COLUMNS, event_row, flag_row, row_event, split_hashes


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
        return row_event(line), entry
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(f"flags journal: a record that is no flag: {error!r}") from error
