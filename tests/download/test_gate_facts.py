"""What is known of a body at its gate, whatever comes of it."""

import asyncio
from dataclasses import replace

import pytest

from proxykit.gate import LIMITS
from proxykit.samples import program, prose, zipped
from secondlook.download.body.body_type import declared
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate, GateLimits
from secondlook.download.gate.spool import BACKLOG_MAX_BYTES, SpoolRoom

RAR = b"Rar!\x1a\x07\1\0" + program(500)
ZIP = zipped({"a": program(500)})


@pytest.fixture
def gate(tmp_path):
    """Give gates of bodies, each said to be something, that were fed with what there is."""
    room = SpoolRoom(tmp_path / "spool", 1 << 20, 1 << 20)
    gates = []

    def make(said: str, body: bytes, *, length=None, limits: GateLimits = LIMITS, end=True, **more):
        options = {"kinds": frozenset(), "must_hold": False, **more}
        made = BodyGate(declared(said, None, "/x"), length, None, limits, room, **options)
        gates.append(made)
        made.feed(body)
        if end:
            made.end()
        return made

    yield make
    for each in gates:
        each.close()
    room.close()


@pytest.mark.parametrize(
    ("said", "body", "archive", "harmless", "problem"),
    [
        ("text/html", prose(2500), False, True, None),
        ("application/zip", ZIP, True, False, None),
        ("application/octet-stream", RAR, False, False, "archive: rar is a kind that is not looked into"),
        ("application/x-msdownload", program(900), False, False, None),
        ("application/octet-stream", prose(900), False, False, None),  # nobody shows it
    ],
)
def test_what_a_whole_body_is(gate, said, body, archive, harmless, problem):
    found = gate(said, body)
    assert (found.is_archive, found.harmless, found.problem) == (archive, harmless, problem)


def test_of_what_broke_off_nothing_is_known(gate):
    found = gate("application/zip", ZIP, end=False)
    found.end(whole=False)
    assert (found.is_archive, found.harmless, found.problem) == (False, False, None)
    other = gate("text/html", prose(2500), end=False)
    other.end(whole=False)
    assert not other.harmless


def test_where_nothing_is_looked_into_no_archive_is_a_problem(gate):
    assert gate("application/octet-stream", RAR, limits=replace(LIMITS, look_up_to=0)).problem is None


@pytest.mark.parametrize(
    ("said", "body", "more", "fate", "is_open", "unsettled"),
    [
        ("text/html", prose(2500), {}, Fate.PASS, True, False),
        ("text/html", b"P", {}, Fate.SNIFF, False, False),
        ("text/event-stream", b"d", {}, Fate.SNIFF, True, False),
        ("text/event-stream", b"d", {"partial": True}, Fate.SNIFF, False, False),
        ("application/zip", ZIP, {"length": 1500}, Fate.HOLD, False, False),
        ("application/zip", ZIP, {"length": 9000}, Fate.TAIL, True, False),
        ("application/zip", ZIP, {"partial": True}, Fate.ASK, False, True),
        ("application/zip", ZIP, {"length": 1 << 21, "must_hold": True}, Fate.REFUSE, False, True),
    ],
)
def test_how_a_body_goes_on_as_it_comes(gate, said, body, more, fate, is_open, unsettled):
    found = gate(said, body, end=False, **more)
    assert (found.fate, found.open, found.unsettled) == (fate, is_open, unsettled)
    assert (found.spool is not None) == (fate is Fate.HOLD)
    assert not found.followed


def test_why_it_is_refused_is_its_problem(gate):
    found = gate("application/zip", b"", length=1 << 21, must_hold=True, end=False)
    assert found.problem == "it cannot be held whole: larger than downloads.spool_max allows"


def test_the_parts_of_a_page_that_is_replaced_are_followed(gate):
    assert gate("multipart/x-mixed-replace; boundary=frame", b"--frame", end=False).followed


@pytest.mark.parametrize(("partial", "unclear"), [(True, True), (False, False)])
def test_a_small_piece_says_too_little_of_the_whole(gate, partial, unclear):
    assert gate("text/html", b"P", partial=partial, end=False).unclear is unclear


def test_what_memory_holds_back_is_counted(gate):
    assert gate("text/html", prose(300), length=300, end=False).rest_bytes == 300
    assert gate("text/html", prose(2500), end=False).rest_bytes == 0


class Slow:
    """A disk, or what looks into a body, that is behind."""

    def __init__(self, backlog: int, congested: bool) -> None:
        self.backlog, self.congested = backlog, congested

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("backlog", "tap", "congested"),
    [
        (BACKLOG_MAX_BYTES, None, False),
        (BACKLOG_MAX_BYTES + 1, None, True),
        (0, Slow(0, congested=True), True),
        (0, Slow(0, congested=False), False),
    ],
)
def test_the_origin_pauses_while_somebody_is_behind(gate, backlog, tap, congested):
    found = gate("application/zip", ZIP, length=1500, end=False)
    spool, found._state.spool = found._state.spool, Slow(backlog, congested=False)
    found.tap = tap
    assert found.congested is congested
    found._state.spool, found.tap = spool, None


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize(
    ("said", "body", "encoding", "keeps"),
    [
        ("application/zip", zipped({"a": program(2500)}), None, "looks"),
        ("application/octet-stream", b"Rar!\x1a\x07\1\0" + program(2500), None, "looks"),
        ("application/x-msdownload", program(2500) + zipped({"a": b"b"}), None, "looks"),
        ("application/x-msdownload", program(2500), None, "never"),
        ("application/x-msdownload", program(2500), "gzip", "always"),  # it is none
        ("application/x-msdownload", program(2500), "other", "always"),
        ("text/html", prose(2500), None, "never"),
    ],
)
def test_the_end_of_what_had_to_be_looked_into_and_broke_off_is_kept(
    tmp_path, said, body, encoding, keeps, looks
):
    async def run() -> bool:
        limits = LIMITS if looks else replace(LIMITS, look_up_to=0)
        room = SpoolRoom(tmp_path / "spool", 1 << 20, 1 << 20)
        gate = BodyGate(
            declared(said, None, "/x"), 9000, encoding, limits, room, kinds=frozenset(), must_hold=False
        )
        for start in range(0, len(body), 100):
            gate.feed(body[start : start + 100])
        gate.end(whole=False)
        kept = gate.keeps_its_end
        gate.close()
        room.close()
        return kept

    assert asyncio.run(run()) is (keeps == "always" or (keeps == "looks" and looks))
