"""The log as a file to keep: CSV or JSON Lines, streamed."""

from collections.abc import Callable, Iterable, Iterator
from itertools import batched

from starlette.responses import Response, StreamingResponse

from secondlook.core.event import Event
from secondlook.ledger.log.shape import csv_lines, json_lines

EXPORT_BATCH = 1000

WRITERS: dict[str, tuple[Callable[[Iterable[Event]], Iterator[str]], str]] = {
    "csv": (csv_lines, "text/csv; charset=utf-8"),
    "jsonl": (json_lines, "application/jsonl"),
}


def export(events: Iterable[Event], form: str) -> Response:
    """Stream events as a file to keep; the plain iterator is read in a thread, one batch at a time."""
    write, media_type = WRITERS[form]
    batches = ("".join(lines) for lines in batched(write(events), EXPORT_BATCH))
    headers = {"content-disposition": f'attachment; filename="second-look-log.{form}"'}
    return StreamingResponse(batches, media_type=media_type, headers=headers)
