"""Instants as text: RFC 3339, in which files, programs and people write them."""

from datetime import UTC, datetime


def rfc3339(at: float | None) -> str | None:
    """Write an instant (Unix seconds) in UTC, with milliseconds and `Z`; None for one that no date has."""
    if at is None:
        return None
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def read_instant(text: str) -> float:
    """Read a date or a time of one, in UTC where it names no zone, into Unix seconds. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
