"""Which certificate authorities a TLS client of ours believes."""

import ssl

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
