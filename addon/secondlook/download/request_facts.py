"""What a request says about itself that a check or a refusal looks at, read in one pass over its headers."""

from collections.abc import Iterable
from dataclasses import dataclass

DICTIONARY = "available-dictionary"
"""What a browser could unpack an answer with (RFC 9842), which nobody here has: no origin hears of it."""
_READ = {
    b"accept": "accept",
    b"sec-fetch-dest": "dest",
    b"sec-fetch-mode": "mode",
    b"referer": "referrer",
    b"accept-language": "language",
    b"range": "range",
    b"if-range": "if_range",
    b"user-agent": "agent",
    DICTIONARY.encode(): "dictionary",
}
_NAVIGATIONS = frozenset({"", "document", "iframe", "frame", "fencedframe", "embed", "object"})
_READ_BY_SCRIPTS = frozenset({"cors", "same-origin"})


@dataclass(slots=True)
class RequestFacts:
    """The headers of a request that matter; text is latin-1, absent ones are None."""

    hosts: tuple[str, ...] = ()
    accept: str | None = None
    dest: str | None = None
    mode: str | None = None
    referrer: str | None = None
    language: str | None = None
    range: str | None = None
    if_range: str | None = None
    agent: str | None = None
    dictionary: str | None = None

    @property
    def is_of_page(self) -> bool:
        """Whether the answer is a part of a page in a browser, which saves it nowhere (Fetch Metadata)."""
        if self.dest == "empty":
            return self.mode in _READ_BY_SCRIPTS
        return self.dest is not None and self.dest not in _NAVIGATIONS

    @property
    def by_browser(self) -> bool:
        """Whether a browser asks, which shows pages; other clients keep what they get."""
        return self.dest is not None or "text/html" in (self.accept or "")


def read_request_facts(fields: Iterable[tuple[bytes, bytes]]) -> RequestFacts:
    """Collect the headers; of one that is there twice the last counts, of `Accept` all do."""
    asked = RequestFacts()
    for raw_name, raw_value in fields:
        name = raw_name.lower()
        if name == b"host":
            asked.hosts = (*asked.hosts, raw_value.decode("latin-1").strip())
        elif (kept := _READ.get(name)) is not None:
            value = raw_value.decode("latin-1")
            if kept == "accept" and asked.accept is not None:
                value = f"{asked.accept}, {value}"
            setattr(asked, kept, value)
    if (
        asked.dest == "empty" and asked.mode == "navigate"
    ):  # a page that a service worker asks for in its place
        asked.dest = "document"
    return asked
