"""The URL of a bad file is refused for a while, then judged by content again.

A shared URL must not stay blocked for ever: such an entry ends by its time alone, asks nobody, and has
an identity of its own, so that it never replaces a finding about the URL itself.
"""

from dataclasses import replace
from hashlib import sha256

from secondlook.agent.check.view import REBLOCK
from secondlook.core.event import ConfirmedEntry
from secondlook.core.subject import SubjectKind, UrlSubject
from secondlook.core.verdict import SubjectClass


def reblock_entry(file: ConfirmedEntry, origin: UrlSubject, *, until: float) -> ConfirmedEntry:
    """Make the entry that refuses the URL of a confirmed file until an instant (Unix seconds)."""
    return replace(
        file,
        identity=sha256(b"reblock\0" + origin.hashes[0]).digest(),
        hit=origin.hashes[0],
        kind=SubjectKind.URL,
        source=REBLOCK,
        tier=None,
        expires_at=until,
        expression=origin.expressions[0],
        host=origin.host,
        cls=SubjectClass.DOWNLOAD,
    )
