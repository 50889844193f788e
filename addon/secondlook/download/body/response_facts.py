"""What a response claims about its body, read in one pass over its headers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WHOLE_STATUS: Final = 200
PARTIAL_STATUS: Final = 206
NOT_MODIFIED_STATUS: Final = 304  # a client goes on with what it has kept
UNSATISFIABLE_STATUS: Final = 416  # the file has no such bytes
MULTIPART_RANGES: Final = "multipart/byteranges"
# a 205 has some like any other (RFC 9112, 6.3)
NO_CONTENT_STATUSES: Final = frozenset({101, 204, NOT_MODIFIED_STATUS})
_TYPES = re.compile(r'(?:[^,"]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))++', re.DOTALL)
_READ = frozenset(
    {
        b"content-type",
        b"content-disposition",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"transfer-encoding",
        b"etag",
        b"last-modified",
    }
)


@dataclass(slots=True)
class ResponseFacts:
    """The headers of a response that matter to its gate; text is latin-1, absent ones are None.

    What comes more than once is kept, as clients take another: dispositions each on a line of its own.
    """

    content_type: str | None = None
    disposition: str | None = None
    encoding: str | None = None
    content_range: str | None = None
    etag: str | None = None
    modified: str | None = None
    length: str | None = None
    chunked: bool = False


def has_body(method: str, status: int) -> bool:
    """Return whether a body may follow the headers of a response; one that does all the same is dropped."""
    return method != "HEAD" and status not in NO_CONTENT_STATUSES


def coding_of(facts: ResponseFacts) -> str:
    """Return a response's Content-Encoding, to be compared; empty where there is none."""
    return (facts.encoding or "").strip().lower()


def is_multipart(facts: ResponseFacts) -> bool:
    """Return whether a response says that it is several pieces, each with a head of its own."""
    return any(one.lstrip().lower().startswith(MULTIPART_RANGES) for one in types_of(facts.content_type))


def types_of(content_type: str | None) -> list[str]:
    """Divide a Content-Type that was given more than once."""
    if content_type is None or "," not in content_type:
        return [content_type or ""]
    return _TYPES.findall(content_type) or [""]


def read_response(fields: Iterable[tuple[bytes, bytes]]) -> ResponseFacts:
    """Collect the headers that a gate looks at."""
    facts = ResponseFacts()
    for raw_name, raw_value in fields:
        name = raw_name.lower()
        if name not in _READ:
            continue
        value = raw_value.decode("latin-1")
        match name:
            case b"content-type":
                facts.content_type = value if facts.content_type is None else f"{facts.content_type}, {value}"
            case b"content-disposition":
                facts.disposition = value if facts.disposition is None else f"{facts.disposition};\n{value}"
            case b"content-encoding":
                facts.encoding = value if facts.encoding is None else f"{facts.encoding}, {value}"
            case b"content-range":
                facts.content_range = (
                    value if facts.content_range is None else f"{facts.content_range}, {value}"
                )
            case b"etag":
                facts.etag = value
            case b"last-modified":
                facts.modified = value
            case b"content-length":
                facts.length = value if facts.length is None else f"{facts.length}, {value}"
            case _:
                facts.chunked = True
    return facts
