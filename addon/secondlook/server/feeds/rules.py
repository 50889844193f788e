"""Feeds of YARA rules: tried by compiling them alone, taken whole or not at all.

What is taken lies in `rules` beside what is known of the feeds; whoever looks into files puts it in force
(`scan/rule_keeper.py`). Until a feed is good again its last good rules stay.
"""

import tempfile
from pathlib import Path

from secondlook.ground.files import write_whole
from secondlook.ground.lanes import LISTS
from secondlook.scan.compiling import RuleSource, compile_in_child

FOLDER = "rules"


def rules_file(feeds: Path, name: str) -> Path:
    """Name the file of a feed's rules, in the folder of the feeds."""
    return feeds / FOLDER / f"{name}.yar"


async def take_rules(name: str, fetched: Path, feeds: Path) -> int:
    """Take in the rules of a feed; return how many there are.

    Raises PatternError, with the line that is wrong or the known-good file that a rule fits.
    """
    with tempfile.TemporaryDirectory(dir=feeds, prefix=".rules-") as folder:
        own = 1  # our own rules are compiled with every set
        count = await compile_in_child([RuleSource(name, fetched)], Path(folder) / "compiled") - own
    await LISTS.run(_keep, fetched, rules_file(feeds, name))
    return count


def _keep(fetched: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    write_whole(target, fetched.read_bytes())
