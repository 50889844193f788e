"""What gave something risky that nobody has judged whole: URLs, and who got a part of it.

A client may put a file together of pieces: of one URL, whose beginning another worker saw, or of several, as
an address leads elsewhere each time or names mirrors. From its middle on nothing shows what a piece is of. So
the workers share which URLs gave a risky beginning, and which clients (by address and program) got a part of
a risky file and not all of it: what they want in pieces is asked for whole.
"""

import hmac
import time

from secondlook.core.subject import RequestContext
from secondlook.download.judged_files import JudgedFiles
from secondlook.download.request_facts import RequestFacts

_RISKY = ".risky"
_UNFINISHED = ".unfinished"
LASTS_S = 3600.0  # somebody may go on by hand with what broke off


class Unfinished:
    """Marks that the workers share, beside the judged files."""

    def __init__(self, judged: JudgedFiles) -> None:
        self._judged = judged

    def note(self, url: bytes) -> None:
        """Note that a URL gives a risky file."""
        self._judged.note(url, _RISKY)

    def begin(self, context: RequestContext, asked: RequestFacts) -> None:
        """Note that a client has a part of a risky file."""
        self._note(context, asked, on=True)

    def end(self, context: RequestContext, asked: RequestFacts) -> None:
        """Note that it may have all of it."""
        self._note(context, asked, on=False)

    def forget(self, url: bytes) -> None:
        """Note that a URL gives something harmless by now."""
        self._judged.note(url, _RISKY, on=False)

    async def concerns(self, url: bytes, context: RequestContext, asked: RequestFacts) -> bool:
        """Return whether a piece from a URL may be one of a risky file, for who asks for it."""
        if await self._judged.marked_at(url, _RISKY) is not None:
            return True
        who = self._who(context, asked)
        at = None if who is None else await self._judged.marked_at(who, _UNFINISHED)
        return at is not None and abs(time.time() - at) < LASTS_S

    def _note(self, context: RequestContext, asked: RequestFacts, *, on: bool) -> None:
        who = self._who(context, asked)
        if who is not None:
            self._judged.note(who, _UNFINISHED, on=on)

    def _who(self, context: RequestContext, asked: RequestFacts) -> bytes | None:
        """Return the identity of a client, which tells nobody who it is; None for none that is named.

        Nor for a browser, which puts nothing together of several URLs.
        """
        if asked.dest is not None or context.client is None:
            return None
        text = f"{context.client}\0{context.user}\0{asked.agent}"
        return hmac.digest(self._judged.key, text.encode(), "sha256")
