"""One list taken from a server: applied, checked from every side, written beside and renamed into place.

What a list must pass before it may come into force (architecture, "What must never be lost or lied about"):

| check | refused |
|---|---|
| Rice coding, order, bounds, removals, checksum | malformed, cut, bit-flipped, of another list |
| version | one that names another list, or is too long to be sent back |
| signature | missing or wrong, where the publisher's key is pinned |
| size | too large; empty where the last good one was not; under half of it, of its week, of what was meant |
| index | not in it any more, where the last good one holds more than its canary |
| canary | not in the list, where its metadata names one |
| known-good sites | a block list that blocks one more of them, unless its publisher may mean it |
| the written file | anything that a whole reading finds |

A refused list changes nothing: the last good one stays in force. That is the tier's list of that name,
whichever server it came from: what one member may not take away another may not either.
"""

import mmap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from secondlook.agent.pattern.files import LATELY_S, StampedList
from secondlook.agent.pattern.members import MIN_WIDTH
from secondlook.config.query import PatternSettings
from secondlook.core.digest import FULL_HASH_BYTES
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import ListName, Role
from secondlook.core.subject import SubjectKind
from secondlook.ground.errors import PatternError
from secondlook.ground.files import replacing
from secondlook.ground.program_name import typed
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.signature import list_is_signed, reduction_is_signed
from secondlook.wire.version import ListVersion

MAX_KNOWN_GOOD = 20  # blocked as a whole by a publisher who may mean it: more is no policy but an accident
SHOWN_HOSTS = 3
MAX_VERSION_BYTES = 1024  # those of all lists go into the address of one request
EXACT_WIDTH = 8  # a shorter prefix may be that of a known-good site by chance, and decides nothing alone


class UpdateRefused(PatternError):  # noqa: N818 - it is a decision, shown to the operator
    """A list that a server offers may not come into force; the message is why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One list as a server offers it: the answer and its metadata."""

    message: pb.HashList
    meaning: ListName
    canary: bytes | None
    key: Ed25519PublicKey | None  # pinned: the list must be signed by its holder
    is_own: bool = False  # of the server inside this program: its operator is ours
    updates_held: bool = True  # False: what is held came from another server, and is only compared with
    held_version: bytes = b""  # of what is held, as this server gave it
    reduction: pb.Reduction | None = None  # the last one that the server calls meant
    most: int = 0  # entries that what is held had lately


@dataclass(frozen=True, slots=True)
class TakenList:
    """A list that passed every check and lies in its place; `changed` is False when it was there already.

    `most` is how many entries it had lately, 0 where it became smaller because somebody meant that.
    """

    file: str
    count: int
    sha256: str
    version: bytes
    changed: bool
    added: int = 0
    removed: int = 0
    generation: int = 0  # that its server served then; 0: it does not name any
    most: int = 0


def take_list(
    offer: Offer,
    held: HashList | None,
    folder: Path,
    settings: PatternSettings,
    guarded: Mapping[bytes, str],
    *,
    accept_shrink: bool = False,
) -> TakenList:
    """Apply an offered update to what is held and put the result in place.

    `held` is the tier's list of that name that is in force, None where there is none. `guarded`
    are the full hashes that block a known-good site as a whole, with their texts. Raises UpdateRefused, or
    BadUpdate where the update does not fit what is held (a full one may).
    """
    from secondlook.wire.update import apply_update  # noqa: PLC0415 - needs numpy, which checks do not

    name, width = offer.meaning.name, offer.meaning.width
    message = offer.message
    _check_version(message, name)
    base = held if offer.updates_held or not message.partial_update else None
    raw = b"".join(base.blocks()) if base is not None else None
    applied = apply_update(message, name, width, raw)
    checksum = applied.checksum
    if offer.key is not None and not list_is_signed(
        offer.key, name, message.version, checksum, message.signature
    ):
        raise UpdateRefused("it is not signed by the publisher whose key is pinned")
    entries = applied.entries
    if entries is None:
        assert held is not None
        _check_canary(held, offer)  # it comes with the index, and may be another one all the same
        return TakenList(
            _file_name(name, checksum),
            held.count,
            checksum.hex(),
            message.version,
            changed=False,
            generation=message.generation,
            most=offer.most,
        )
    count = len(entries) // width
    had, most = _counts_before(offer, held, settings)
    accept_shrink = accept_shrink or settings.accept_shrink
    _check_size(count, width, had, most, settings, accept_shrink=accept_shrink)
    path = folder / _file_name(name, checksum)
    with replacing(path) as file:
        _write(file, entries, width)
        _check_content(file, offer, guarded, held)
    changed = held is None or held.checksum != checksum
    return TakenList(
        path.name,
        count,
        checksum.hex(),
        message.version,
        changed,
        added=applied.added,
        removed=applied.removed,
        generation=message.generation,
        most=0 if accept_shrink else most,
    )


def _counts_before(offer: Offer, held: HashList | None, settings: PatternSettings) -> tuple[int, int]:
    """Return how many entries a list has, and the most that it had of late: by these shrinking is judged."""
    had = 0 if held is None else held.count
    meant = _meant_count(offer)
    if meant is not None:  # its publisher made it smaller on purpose
        return min(had, meant), 0
    # where what is held is as few beside it, that was accepted
    return had, offer.most if had >= offer.most * settings.shrink else 0


def _file_name(name: str, checksum: bytes) -> str:
    return f"{name}.{checksum[:8].hex()}.slh"


def _check_version(message: pb.HashList, name: str) -> None:
    if len(message.version) > MAX_VERSION_BYTES:
        raise UpdateRefused(f"its version has {len(message.version)} bytes, more than {MAX_VERSION_BYTES}")
    version = ListVersion.decode(message.version)
    if version is not None and version.name != name:
        raise UpdateRefused(f"it is a version of {version.name}, not of {name}")


def _meant_count(offer: Offer) -> int | None:
    """Return to how many entries its publisher made a list smaller on purpose after what is held; else None.

    Believed of the server inside this program, and of the holder of the pinned key.
    """
    reduction, held = offer.reduction, ListVersion.decode(offer.held_version)
    if reduction is None or held is None or held.generation >= reduction.generation:
        return None
    facts = (offer.meaning.name, reduction.generation, reduction.count, reduction.signature)
    if not offer.is_own and (offer.key is None or not reduction_is_signed(offer.key, *facts)):
        return None
    return reduction.count


def _check_size(
    count: int, width: int, had: int, most: int, settings: PatternSettings, *, accept_shrink: bool
) -> None:
    """Refuse a list that is too large, or that shrinks from `had` entries (0: none) by accident.

    `most` is what it had lately: it does not shrink away in small steps either.
    """
    if count * width > settings.max_list:
        raise UpdateRefused(f"it has {count} entries, more than {settings.max_list} bytes (pattern.max_list)")
    if accept_shrink:
        return
    if had and not count:
        raise UpdateRefused(f"it is empty, the last good one has {had} entries; {_after_all()}")
    if had >= settings.shrink_from and count < had * settings.shrink:
        raise UpdateRefused(f"it shrinks from {had} entries to {count}; {_after_all()}")
    if had >= settings.shrink_from and count < most * settings.shrink:
        days = round(LATELY_S / 86_400)
        raise UpdateRefused(
            f"it shrinks to {count} entries, within the last {days} days it had {most}; {_after_all()}"
        )


def left_out(held: Mapping[str, StampedList], named: Collection[str]) -> dict[str, str]:
    """Return the lists in force that a server names no more and that may not go so, with the reasons."""
    return {
        name: f"the server has it no more, the last good one has {each.count} entries; {_after_all()}"
        for name, each in held.items()
        if name not in named and _is_missed(each)
    }


def _is_missed(held: StampedList) -> bool:
    """Return whether anything is lost with a list: only Google has short ones, a canary protects nobody."""
    return held.width >= MIN_WIDTH and held.count > (held.canary is not None)


def _after_all() -> str:
    return f"`{typed('pattern update --accept-shrink')}` accepts that"


def _write(file: BinaryIO, entries: bytes, width: int) -> None:
    from secondlook.core.lists.build import write_sorted_list  # noqa: PLC0415 - needs numpy

    block = (1 << 22) * width
    view = memoryview(entries)
    with TemporaryFile(dir=Path(file.name).parent) as scratch:
        write_sorted_list(
            file, (view[at : at + block] for at in range(0, len(view), block)), width, scratch=scratch
        )
    file.flush()


def _check_content(file: BinaryIO, offer: Offer, guarded: Mapping[bytes, str], held: HashList | None) -> None:
    """Read back what was written: whole, with its canary, without known-good sites."""
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    table = HashList.open(mapped)
    table.verify()
    _check_canary(table, offer)
    meaning = offer.meaning
    if meaning.role is Role.BLOCK and meaning.kind is SubjectKind.URL:
        _check_known_good(table, offer, guarded, held)


def _check_canary(table: HashList, offer: Offer) -> None:
    """Refuse a list without the full hash that it should always hold."""
    if offer.canary is not None and (len(offer.canary) != FULL_HASH_BYTES or not table.has(offer.canary)):
        raise UpdateRefused("it does not hold its canary")


def _check_known_good(
    table: HashList, offer: Offer, guarded: Mapping[bytes, str], held: HashList | None
) -> None:
    """Refuse what blocks a known-good site (docs/decisions, "The agent guards known-good sites")."""
    blocked = table.held(guarded)
    if len(blocked) > MAX_KNOWN_GOOD:
        raise UpdateRefused(f"it would block {len(blocked)} known-good sites")
    if offer.is_own or offer.key is not None or offer.meaning.width < EXACT_WIDTH:
        return
    news = sorted(guarded[each][:-1] for each in blocked if held is None or not held.has(each))
    if news:
        hosts = ", ".join(news[:SHOWN_HOSTS]) + (" …" if len(news) > SHOWN_HOSTS else "")
        raise UpdateRefused(
            f"it would block {hosts}, known to be good; pattern.may_block can name what is meant"
        )
