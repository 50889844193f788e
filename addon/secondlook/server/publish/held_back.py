"""What the known-good guard kept out of the last publication: how much of which source, and what was new.

A feed that begins to name known-good sites may be poisoned: whoever reads this reports what is new.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secondlook.ground.json_text import read_json

HELD_BACK = "held-back"  # in the server's folder
NEWS_S = 86_400.0  # so long a feed that named new ones is an alert
TEXTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Entries of one source that are held back; `new` came last, at `new_at` (Unix seconds)."""

    source: str
    count: int
    texts: tuple[str, ...]
    new: tuple[str, ...]
    new_at: float

    def is_news(self, now: float) -> bool:
        """Return whether new ones came lately."""
        return bool(self.new) and 0 <= now - self.new_at < NEWS_S

    def summary(self) -> str:
        """Return it in a sentence."""
        first = [*self.new, *(text for text in self.texts if text not in self.new)][:TEXTS_SHOWN]
        more = " …" if self.count > len(first) else ""
        return (
            f"{self.source} lists {self.count:,} known-good sites or pages, which are held back: "
            f"{', '.join(first)}{more}"
        )


def read_held_back(folder: Path) -> tuple[HeldBack, ...] | None:
    """Read what a server's folder lists, the largest first; None before anything was published."""
    try:
        raw: Any = read_json((folder / HELD_BACK).read_bytes())
        counted = [
            HeldBack(**{**each, "texts": tuple(each["texts"]), "new": tuple(each["new"])}) for each in raw
        ]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return ()  # of an earlier version, or damaged: the next publication writes it anew
    return tuple(sorted(counted, key=lambda each: -each.count))


def held_back_now(
    before: tuple[HeldBack, ...] | None,
    counts: Mapping[str, int],
    examples: Iterator[tuple[str, str]],
    now: float,
) -> list[HeldBack]:
    """Compare what is held back with what was: `counts` by source, `examples` (source, text)."""
    earlier = {each.source: each for each in before or ()}
    texts: dict[str, list[str]] = {}
    for source, text in examples:
        texts.setdefault(source, []).append(text)
    found = []
    for source, count in counts.items():
        named = tuple(texts.get(source, ()))
        last = earlier.get(source)
        new = tuple(text for text in named if last is None or text not in last.texts)
        if new or last is None:
            found.append(HeldBack(source, count, named, new, now))
        else:
            found.append(HeldBack(source, count, named, last.new, last.new_at))
    return found


def dump_held_back(found: list[HeldBack]) -> bytes:
    """Return the file's content."""
    return json.dumps([asdict(each) for each in found], ensure_ascii=False).encode() + b"\n"
