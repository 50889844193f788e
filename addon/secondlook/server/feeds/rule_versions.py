"""Versions of the YARA rules that feeds brought: which are kept, in force, or given up by a rollback.

```
rules/NAME/000003/0000-all.yar   what came, in the order of its coming; the last few stay
rules/NAME/current.json          which of them is in force, and what a rollback gave up
rules/NAME/shrunk/, shrunk.json  what came last and is so much less that nobody has put it in force
```

Whoever looks into files puts it in force (`scan/rule_keeper.py`). What was given up stays away until
something else comes, or it is taken up again.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.program_name import typed

FOLDER = "rules"
KEEP = 5  # versions of a feed
_CURRENT = "current.json"
_SHRUNK = "shrunk"


@dataclass(frozen=True, slots=True)
class RulesOfFeed:
    """The rules of a feed that are in force; `version` names their content."""

    number: int
    version: str
    count: int
    taken_at: float
    given_up: tuple[str, ...] = ()  # versions that a rollback took out of force


def rules_folder(feeds: Path, name: str) -> Path:
    """Name the folder of a feed's rules, in the folder of the feeds."""
    return feeds / FOLDER / name


def current_rules(folder: Path) -> RulesOfFeed | None:
    """Return which rules of a feed are in force; None where none ever came.

    Where what names them is damaged, the latest that are kept are: a fault of the disk withdraws none.
    """
    current = _read(folder / _CURRENT)
    if current is None and (folder / _CURRENT).exists():
        return next(iter(_kept(folder)[::-1]), None)
    return current


def files_in_force(folder: Path) -> Path | None:
    """Return the folder with the rules of a feed that are in force."""
    current = current_rules(folder)
    return None if current is None else folder / _numbered(current.number)


def shrunk_rules(folder: Path) -> RulesOfFeed | None:
    """Return which rules of a feed are not in force because there are so few of them."""
    return _read(folder / f"{_SHRUNK}.json")


def shrunk_text(name: str, shrunk: RulesOfFeed, current: RulesOfFeed) -> str:
    """Return that a feed shrank, and the way to put in force what is left of it."""
    return (
        f"{name}: shrunk: {shrunk.count} rules, the last good ones were {current.count}; "
        f"`{typed('pattern update --force')}` takes them if that is right"
    )


def rollback_text(name: str, folder: Path) -> str | None:
    """Return that a feed was rolled back, or shrank, and the way forward; None where neither is so."""
    current = current_rules(folder)
    if current is None:
        return None
    shrunk = shrunk_rules(folder)
    if shrunk is not None:
        return shrunk_text(name, shrunk, current)
    if not current.given_up:
        return None
    return (
        f"the rules of {name} were rolled back: {current.count} older ones stay in force until the feed has "
        f"others than those that were given up; `{typed('pattern update --force')}` takes them after all"
    )


def roll_back(name: str, folder: Path) -> RulesOfFeed:
    """Put the rules of a feed before these in force. Raises PatternError where there are none."""
    current = current_rules(folder)
    earlier = [] if current is None else [each for each in _kept(folder) if each.number < current.number]
    if current is None or not earlier:
        raise PatternError(f"there are no earlier rules of {name}")
    given_up = tuple(dict.fromkeys((*current.given_up, current.version)))
    return _put_in_force(folder, replace(earlier[-1], given_up=given_up))


def take_up_again(folder: Path) -> RulesOfFeed | None:
    """Put in force what came last: though it shrank, and though rollbacks gave it up; None if it is."""
    shrunk = shrunk_rules(folder)
    if shrunk is not None and (folder / _SHRUNK).is_dir():
        return keep_rules(folder / _SHRUNK, folder, shrunk)
    current = current_rules(folder)
    if current is None or not current.given_up:
        return None
    return _put_in_force(folder, _kept(folder)[-1])


def hold_rules(unpacked: Path, folder: Path, rules: RulesOfFeed) -> None:
    """Move a folder of rules to where they are kept without being in force, in the place of others there."""
    forget_shrunk(folder)
    unpacked.rename(folder / _SHRUNK)
    write_whole(folder / f"{_SHRUNK}.json", json.dumps(asdict(rules)).encode())


def forget_shrunk(folder: Path) -> None:
    """Remove what is not in force because it shrank."""
    (folder / f"{_SHRUNK}.json").unlink(missing_ok=True)
    shutil.rmtree(folder / _SHRUNK, ignore_errors=True)


def keep_rules(unpacked: Path, folder: Path, rules: RulesOfFeed) -> RulesOfFeed:
    """Move a folder of good rules among the versions of a feed, with the next number, and put it in force."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rules = replace(rules, number=max((each.number for each in _kept(folder)), default=0) + 1)
    target = folder / _numbered(rules.number)
    shutil.rmtree(target, ignore_errors=True)  # of a crash between the two renamings
    unpacked.rename(target)
    write_whole(_record_in(folder, rules.number), json.dumps(asdict(rules)).encode())
    _put_in_force(folder, rules)
    forget_shrunk(folder)
    for old in _kept(folder)[:-KEEP]:
        _record_in(folder, old.number).unlink()
        shutil.rmtree(folder / _numbered(old.number), ignore_errors=True)
    return rules


def _put_in_force(folder: Path, rules: RulesOfFeed) -> RulesOfFeed:
    write_whole(folder / _CURRENT, json.dumps(asdict(rules)).encode())
    return rules


def _kept(folder: Path) -> Sequence[RulesOfFeed]:
    """Return the versions that are kept, oldest first."""
    found = (_read(path) for path in folder.glob("[0-9]*.json"))
    return sorted((each for each in found if each is not None), key=lambda each: each.number)


def _record_in(folder: Path, number: int) -> Path:
    return folder / f"{_numbered(number)}.json"


def _read(path: Path) -> RulesOfFeed | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        facts = read_json(path.read_bytes())
        return RulesOfFeed(**{**facts, "given_up": tuple(facts["given_up"])})
    return None


def _numbered(number: int) -> str:
    return f"{number:06d}"
