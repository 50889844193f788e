"""What happened while a feed was read: counts by class, and the first rejects with their places."""

from collections import Counter

from secondlook.feeds.entries.entry import Entry, EntryKind, FeedRefused, Reject, RejectClass
from secondlook.feeds.entries.inexact import InexactExceptions

MAX_KEPT_REJECTS = 1_000
MAX_REJECT_CHARS = 200


class Tally:
    """Counters of one reading; `rows` are lines or records that carry data, accepted or not."""

    def __init__(self) -> None:
        self.accepted: Counter[EntryKind] = Counter()
        self.exceptions = 0
        self.inexact = InexactExceptions()
        self.rejected: Counter[RejectClass] = Counter()
        self.rejects: list[Reject] = []
        self.rows = 0
        self.comments = 0
        self.blanks = 0
        self.declared: int | None = None
        self.member = ""
        self._rows_before = 0
        self._line = 0  # of the last entry

    def reject(self, line: int, cls: RejectClass, text: str) -> None:
        """Count a reject; the first thousand are kept with their text, cut."""
        self.rejected[cls] += 1
        if len(self.rejects) < MAX_KEPT_REJECTS:
            self.rejects.append(Reject(line, cls, text[:MAX_REJECT_CHARS], self.member))

    def settle(self, line: int, made: Entry | RejectClass, text: str) -> Entry | None:
        """Count what the maker made of a text; returns the entry, if it is one."""
        if isinstance(made, RejectClass):
            self.reject(line, made, text)
            return None
        self._line = line
        if made.exception:
            self.exceptions += 1
        else:
            self.accepted[made.kind] += 1
        return made

    def settled(self, line: int, made: Entry | RejectClass, text: str) -> tuple[Entry, ...]:
        """Count what the maker made of a text; returns the entry alone, or nothing."""
        entry = self.settle(line, made, text)
        return () if entry is None else (entry,)

    def take_back(self, entry: Entry, cls: RejectClass) -> None:
        """Count the entry that was accepted last as rejected after all."""
        self.accepted[entry.kind] -= 1
        self.reject(self._line, cls, entry.text)

    def begin(self, member: str) -> None:
        """Begin a file: a feed is one, an archive holds several."""
        self.member = member
        self.declared = None
        self._rows_before = self.rows

    def check_declared(self) -> None:
        """Compare the rows of a file with the number it declares.

        Raises FeedRefused when there are fewer.
        """
        rows = self.rows - self._rows_before
        if self.declared is not None and rows < self.declared:
            raise FeedRefused(f"truncated: the feed declares {self.declared} entries and holds {rows}")

    def demand_something(self, form: str, *, excepted: int, left: int) -> None:
        """Raise FeedRefused where the file's own exceptions left nothing of it."""
        if not left:
            self.rejected[RejectClass.EXCEPTED] += excepted
            raise FeedRefused(self.nothing(form))

    def nothing(self, form: str) -> str:
        """Return why nothing can be used of a file that was read as some format."""
        if self.rejected[RejectClass.NOT_UNDERSTOOD] == self.rejected.total() > 0:
            return f"not understood: none of {self.rows} rows is an entry of {form}"
        why = [f"{count} {cls}" for cls, count in self.rejected.most_common(3) if count]
        why += [f"{self.exceptions} exceptions"] if self.exceptions else []
        return f"nothing usable: none of {self.rows} rows gives an entry ({form}): {', '.join(why)}"
