"""Feeds of YARA rules: tried by compiling them alone, taken whole or not at all.

Until a feed is good again its last good rules stay (`rule_versions.py`). One that shrinks far below its last
size is not good by itself: its rules are kept beside those in force, until somebody says that this is right.
"""

import tempfile
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path

from secondlook.config.service import PublishSettings
from secondlook.ground.errors import PatternError
from secondlook.ground.lanes import LISTS
from secondlook.scan.compiling import RuleSource, compile_in_child
from secondlook.server.feeds.child import unpack_rules_in_child
from secondlook.server.feeds.feed_state import too_few
from secondlook.server.feeds.rule_versions import (
    RulesOfFeed,
    current_rules,
    forget_shrunk,
    hold_rules,
    keep_rules,
    rules_folder,
    shrunk_rules,
    shrunk_text,
)

_OWN = 1  # our own rule is compiled with every set


async def take_rules(
    name: str, fetched: Path, feeds: Path, now: float, settings: PublishSettings, *, most: int = 0
) -> RulesOfFeed | None:
    """Take in what a feed brought, and put it in force; None where a rollback gave the same up.

    `most` is how many rules it had lately, of which it must not lose too many either.

    Raises PatternError, with the line that is wrong, the known-good file that a rule fits, or how far it
    shrank.
    """
    folder = rules_folder(feeds, name)
    with tempfile.TemporaryDirectory(dir=feeds, prefix=".rules-") as place:
        unpacked = Path(place) / "unpacked"
        unpacked.mkdir(mode=0o700)
        named = await unpack_rules_in_child(fetched, unpacked, name)
        sources = [RuleSource(title, unpacked / file) for title, file in named]
        version = await LISTS.run(_version_of, sources)
        known = current_rules(folder)
        if known is not None and version in known.given_up:
            return None
        if known is not None and version == known.version and not known.given_up:
            forget_shrunk(folder)
            return known
        held = shrunk_rules(folder)
        if known is not None and held is not None and version == held.version:
            raise PatternError(shrunk_text(name, held, known))
        count = await compile_in_child(sources, Path(place) / "compiled") - _OWN
        if count <= 0:
            raise PatternError(f"{name}: there are no rules in it")
        rules = RulesOfFeed(0, version, count, now)
        if known is not None and too_few(count, known.count, most, settings) is not None:
            await LISTS.run(hold_rules, unpacked, folder, rules)
            raise PatternError(shrunk_text(name, rules, known))
        return await LISTS.run(keep_rules, unpacked, folder, rules)


def _version_of(sources: Sequence[RuleSource]) -> str:
    digest = sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0")
        with source.path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()
