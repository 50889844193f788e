"""What is met again keeps all that any visit knew of it; over each engine and the fake."""

import pytest

from ledgerkit.contract import kinds_of, take
from ledgerkit.samples import START, identity_of, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ledger.queue.journal_record import flag_record

pytestmark = pytest.mark.anyio

FILE_HASHES = (identity_of("file"), identity_of("md5"), identity_of("decoded"), identity_of("member"))
FILE_LABELS = ("sha256", "md5", "decoded", "member:a.exe")


def make_file_flag(*seen: int, at=START, cls=SubjectClass.DOWNLOAD):
    """A flag of one file, with those of its digests that were seen."""
    return make_flag(
        "file",
        at,
        kind=SubjectKind.FILE,
        cls=cls,
        hashes=tuple(FILE_HASHES[number] for number in seen),
        labels=tuple(FILE_LABELS[number] for number in seen),
    )


@pytest.mark.parametrize(
    "sightings",
    [[(0,), (0, 1, 2, 3)], [(0, 1, 2, 3), (0,)], [(0, 1, 2), (0, 1, 3)], [(0, 1), (0, 3), (0, 2)]],
)
@pytest.mark.parametrize("journaled", [False, True])
async def test_a_file_is_asked_about_with_every_digest_that_any_visit_saw(any_ledger, sightings, journaled):
    flags = [make_file_flag(*seen, at=START + number) for number, seen in enumerate(sightings)]
    if journaled and hasattr(any_ledger, "log"):
        any_ledger.flags.journal.extend(flags)
        any_ledger.settle()
    elif journaled:
        any_ledger.flags.journal.append(*(flag_record(event, entry) for event, entry in flags))
        any_ledger.flags.replay()
    else:
        for event, entry in flags:
            await any_ledger.flags.flag(event, entry)
    (queued,) = await take(any_ledger)
    seen = {number for sighting in sightings for number in sighting}
    wanted = {FILE_HASHES[number]: FILE_LABELS[number] for number in seen}
    assert dict(zip(queued.hashes, queued.labels, strict=True)) == wanted
    assert queued.hashes[0] == queued.identity
    assert queued.count == len(sightings)


@pytest.mark.parametrize(
    ("kind", "first", "second", "asked"),
    [
        (SubjectKind.URL, SubjectClass.SUBRESOURCE, SubjectClass.PAGE, SubjectClass.PAGE),
        (SubjectKind.URL, SubjectClass.PAGE, SubjectClass.DOWNLOAD, SubjectClass.PAGE),
        (SubjectKind.FILE, SubjectClass.PAGE, SubjectClass.DOWNLOAD, SubjectClass.DOWNLOAD),
        (SubjectKind.FILE, SubjectClass.DOWNLOAD, SubjectClass.SUBRESOURCE, SubjectClass.DOWNLOAD),
    ],
)
async def test_a_subject_is_asked_about_in_its_strictest_class(any_ledger, kind, first, second, asked):
    for cls in (first, second):
        await any_ledger.flags.flag(*make_flag("one", kind=kind, cls=cls))
    (queued,) = await take(any_ledger)
    assert (queued.cls, queued.count) == (asked, 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_file_flag(0), make_file_flag(0, 3, at=START + 1)),
        (make_flag("url", cls=SubjectClass.SUBRESOURCE), make_flag("url", at=START + 1)),
    ],
)
async def test_an_answer_on_its_way_does_not_clear_what_was_seen_meanwhile(any_ledger, first, second):
    await any_ledger.flags.flag(*first)
    taken = await take(any_ledger)
    await any_ledger.flags.flag(*second)
    cleared = [(entry, make_event(EventKind.CLEARED, identity=entry.identity)) for entry in taken]
    await any_ledger.queue.close(cleared)
    assert await kinds_of(any_ledger, first[1].identity) == ["flagged", "flagged"]
    (again,) = await take(any_ledger)  # it is leased no more
    assert (again.hashes, again.cls) == (second[1].hashes, second[1].cls)


async def test_a_further_visit_that_shows_nothing_new_leaves_an_answer_on_its_way_good(any_ledger):
    await any_ledger.flags.flag(*make_file_flag(0, 3))
    taken = await take(any_ledger)
    await any_ledger.flags.flag(*make_file_flag(0, at=START + 1))
    assert await take(any_ledger, everything=True) == []
    await any_ledger.queue.close([(taken[0], make_event(EventKind.CLEARED, identity=taken[0].identity))])
    assert await take(any_ledger, everything=True) == []
    assert await kinds_of(any_ledger, taken[0].identity) == ["flagged", "flagged", "cleared"]
