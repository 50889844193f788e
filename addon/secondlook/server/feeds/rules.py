"""Feeds of YARA rules: tried by compiling them alone, taken whole or not at all.

Until a feed is good again its last good rules stay (`rule_versions.py`).
"""

import tempfile
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path

from secondlook.ground.errors import PatternError
from secondlook.ground.lanes import LISTS
from secondlook.scan.compiling import RuleSource, compile_in_child
from secondlook.server.feeds.child import unpack_rules_in_child
from secondlook.server.feeds.rule_versions import RulesOfFeed, current_rules, keep_rules, rules_folder

_OWN = 1  # our own rule is compiled with every set


async def take_rules(name: str, fetched: Path, feeds: Path, now: float) -> RulesOfFeed | None:
    """Take in what a feed brought, and put it in force; None where a rollback gave the same up.

    Raises PatternError, with the line that is wrong or the known-good file that a rule fits.
    """
    folder = rules_folder(feeds, name)
    with tempfile.TemporaryDirectory(dir=feeds, prefix=".rules-") as place:
        unpacked = Path(place) / "unpacked"
        unpacked.mkdir(mode=0o700)
        named = await unpack_rules_in_child(fetched, unpacked, name)
        sources = [RuleSource(told, unpacked / file) for told, file in named]
        version = await LISTS.run(_version_of, sources)
        known = current_rules(folder)
        if known is not None and version in known.given_up:
            return None
        if known is not None and version == known.version and not known.given_up:
            return known
        count = await compile_in_child(sources, Path(place) / "compiled") - _OWN
        if count <= 0:
            raise PatternError(f"{name}: there are no rules in it")
        return await LISTS.run(keep_rules, unpacked, folder, RulesOfFeed(0, version, count, now))


def _version_of(sources: Sequence[RuleSource]) -> str:
    digest = sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0")
        with source.path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()
