"""Names and messages in the form in which people read them; what is hostile is made inert."""

from urllib.parse import urlsplit

import idna

from secondlook.core.neutralize import inert

_HOST_CHARS = 80


def shown_host(url: str) -> str:
    """Return the host of a URL for people: in both forms where it is an international name."""
    try:
        host = urlsplit(url).hostname or url
    except ValueError:
        host = url
    host = inert(host, _HOST_CHARS)
    if "xn--" not in host:
        return host
    try:
        readable = idna.decode(host)
    except (idna.IDNAError, UnicodeError):
        return host
    return f"{inert(readable, _HOST_CHARS)} ({host})" if readable != host else host


def as_sentence(message: str) -> str:
    """Write a message as a sentence: with a capital letter and a full stop."""
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."
