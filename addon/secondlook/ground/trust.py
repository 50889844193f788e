"""Which certificate authorities a TLS client of ours believes."""

import ssl
from urllib.parse import urlsplit

import certifi


def trust(*authorities: str | None, only: bool = False) -> ssl.SSLContext:
    """Make TLS settings that verify: the known authorities (unless `only`) and those of the given PEM files.

    Raises OSError or ssl.SSLError when a file cannot be read as such.
    """
    if only:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    for path in authorities:
        if path is not None:
            context.load_verify_locations(path)
    return context


def trust_for(url: str, *authorities: str | None, only: bool = False) -> ssl.SSLContext:
    """Make what `trust` makes where a URL has TLS; else no authority is read, and none believed."""
    if urlsplit(url).scheme == "https":
        return trust(*authorities, only=only)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
