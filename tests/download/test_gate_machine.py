"""The promises of the gate and its table of transitions, whatever happens in whatever order."""

import asyncio
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxykit.gate import LIMITS
from proxykit.samples import program, prose
from secondlook.download.body.body_type import declared
from secondlook.download.gate import gate as gate_module
from secondlook.download.gate import gate_state
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import SpoolRoom

LAST_BYTES, TAIL_BYTES = 200, 600  # in place of megabytes
BODIES = {
    "program": program(9000),
    "prose": prose(9000),
    "zip": b"PK\x03\x04" + program(8996),
}
TYPES = ["application/x-msdownload", "application/zip", "text/plain", "image/png", "text/event-stream"]
BUDGETS = {"plenty": 1 << 20, "little": 3000, "none": 0, "broken": 1 << 20}
LENGTHS = ["true", "none", "too long", "too short"]


def transitions() -> dict[tuple[str, str], set[str]]:
    """Read the table at the head of the gate: what may follow a state, by the kind of event."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    lines = (gate_module.__doc__ or "").split("```")[1].strip().splitlines()
    starts = [lines[0].index(word) for word in ("state", "event", "holds", "next state")]
    for line in lines[1:]:
        state, event = line[: starts[1]].strip(), line[starts[1] :].split(",")[0].split()[0]
        found[state, event] |= set(line.split()[-1].split("|"))
    return found


TABLE = transitions()


class GateMachine(RuleBasedStateMachine):
    """One body on its way through a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.gate: BodyGate
        self.body = self.out = b""
        self.came = self.trickled = self.tail_from = 0
        self.settled = self.ended = False

    @initialize(
        body=st.sampled_from(sorted(BODIES)),
        size=st.integers(1, 9000),
        said=st.sampled_from(TYPES),
        length=st.sampled_from(LENGTHS),
        budget=st.sampled_from(sorted(BUDGETS)),
        hold=st.sampled_from(["", "full", "whole", "if room"]),
        partial=st.booleans(),
    )
    def begin(self, body, size, said, length, budget, hold, partial):
        place = self.folder / "spool"
        if budget == "broken":
            self.folder.joinpath("file").touch()
            place = self.folder / "file" / "spool"  # no folder can be made there
        self.body, self.budget = BODIES[body][:size], BUDGETS[budget]
        self.room = SpoolRoom(place, self.budget, 256)
        self.gate = BodyGate(
            declared(said, None, "/file"),
            {"true": size, "none": None, "too long": size + 700, "too short": (size + 1) // 2}[length],
            None,
            replace(LIMITS, hold_full=hold == "full"),
            self.room,
            kinds=frozenset(),
            must_hold=hold == "whole",
            hold_if_room=hold == "if room",
            partial=partial,
        )
        self.must_hold = hold in {"full", "whole"}
        self.moved("new", "begin")

    def inside[**P, T](self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something in the event loop that the spool writes from."""

        async def now() -> T:
            return call(*args, **kwargs)

        return self.loop.run_until_complete(now())

    def moved(self, before: str, event: str) -> None:
        after = self.gate.fate.value
        if event == "begin" or before != after:
            assert after in TABLE[before, event] | TABLE["any", event], f"{before} -> {after} by {event}"
        else:
            assert (before, event) not in TABLE or event == "end" or after in TABLE[before, event]

    @precondition(lambda self: not self.ended and self.came < len(self.body) and not self.gate.unsettled)
    @rule(count=st.one_of(st.integers(1, 80), st.integers(1, 4000)))
    def feed(self, count):
        before, data = self.gate.fate, self.body[self.came : self.came + count]
        out = self.inside(self.gate.feed, data)
        if self.gate.spool is not None:  # how fast the disk is must not decide what comes next
            self.loop.run_until_complete(self.gate.spool.settle())
        if before is not Fate.TAIL and self.gate.fate is Fate.TAIL:
            self.tail_from = self.came if before is Fate.HOLD else 0
        self.came += len(data)
        if self.gate.release:
            self.out += self.read()
            self.inside(self.gate.released)
        self.out += out
        self.moved(before.value, "bytes")
        if self.gate.partial and self.gate.look.risky and not self.settled:
            assert self.gate.fate is Fate.ASK
        assert not (
            before is Fate.TAIL and self.gate.uncopied and self.gate.spool and self.gate.length is None
        )

    @precondition(lambda self: not self.ended)
    @rule()
    def trickle(self):
        spare = self.gate.spare
        assert not (spare and self.must_hold)
        data = self.loop.run_until_complete(self.gate.trickle())
        assert len(data) <= spare
        self.out += data
        self.trickled += len(data)

    @precondition(lambda self: not self.ended and self.gate.unsettled)
    @rule()
    def let_it_go(self):
        before = self.gate.fate.value
        self.out += self.read() + self.gate.drop()
        self.settled = True
        self.moved(before, "drop")
        assert self.gate.spool is None

    @precondition(lambda self: not self.ended and not self.gate.unsettled)
    @rule(whole=st.booleans())
    def end_and_allow(self, whole):
        self.end(whole=whole)
        assert self.gate.look.size == self.came
        self.out += self.read() + self.gate.rest_piece() + self.gate.rest()
        assert self.out == self.body[: self.came]
        assert self.gate.rest_bytes == 0

    @precondition(lambda self: not self.ended)
    @rule()
    def end_and_refuse(self):
        self.end(whole=True)
        if self.gate.look.risky and self.came and not self.settled:
            assert len(self.out) < self.came

    @precondition(lambda self: self.ended)
    @rule()
    def close(self):
        self.gate.close()
        assert self.gate.rest_bytes == 0

    def end(self, *, whole: bool) -> None:
        before = self.gate.fate.value
        self.inside(self.gate.end, whole=whole)
        self.moved(before, "end")
        if before in {"sniff", "small"} and self.gate.look.risky:
            assert self.gate.fate is Fate.HOLD
        self.ended = True

    def read(self) -> bytes:
        out = b""
        while self.gate.spool is not None and (piece := self.loop.run_until_complete(self.gate.spool.read())):
            out += piece
        return out

    @invariant()
    def what_went_on_is_the_beginning_of_what_came(self):
        assert self.body[: self.came].startswith(self.out)

    @invariant()
    def what_is_risky_is_withheld(self):
        if self.ended or self.settled or not self.came:
            return
        went = len(self.out) - self.trickled
        match self.gate.fate:
            case Fate.HOLD | Fate.SMALL | Fate.SNIFF:
                assert went == 0
            case Fate.ASK | Fate.REFUSE:
                assert self.out == b""
            case Fate.TAIL:
                assert not self.must_hold
                most = LIMITS.tail_min if self.gate.length is None else LAST_BYTES
                kept = min(most, self.came - self.tail_from)
                assert len(self.out) <= self.came - kept
                if self.gate.length is not None and self.came <= self.gate.length:
                    end = min(TAIL_BYTES, max(LIMITS.tail_min, self.gate.length // 10))
                    assert went <= max(self.tail_from, self.gate.length - end)

    @invariant()
    def no_spool_is_kept_for_nothing(self):
        if self.came and self.gate.fate in {Fate.PASS, Fate.SNIFF, Fate.SMALL, Fate.ASK}:
            assert self.gate.spool is None
        if self.gate.fate is Fate.TAIL and self.gate.length is None and self.gate.uncopied is not None:
            assert self.gate.spool is None

    def teardown(self) -> None:
        try:
            if hasattr(self, "gate"):
                self.gate.close()
                self.loop.run_until_complete(self.loop.run_in_executor(self.room.thread, lambda: None))
                self.loop.run_until_complete(asyncio.sleep(0))
                assert self.room.left_bytes == self.budget
                assert self.gate.rest_bytes == 0
                self.room.close()
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)


ZIP = {"said": "application/zip", "length": None, "room": 1 << 20}
ROWS = [
    (ZIP, [1000, 1000, 1], ["hold", "hold", "hold", "tail"]),
    ({**ZIP, "room": 0}, [200, 200], ["hold", "hold", "tail"]),
    ({**ZIP, "room": 0, "must_hold": True}, [200, 200], ["hold", "hold", "refuse"]),
    ({**ZIP, "room": 0, "must_hold": True, "length": 257}, [], ["refuse"]),
    ({**ZIP, "length": 2000}, [], ["hold"]),
    ({**ZIP, "length": 2001}, [2001], ["tail", "tail"]),
    ({**ZIP, "length": 2001, "hold_if_room": True}, [], ["hold"]),
    ({**ZIP, "partial": True}, [], ["ask"]),
    ({**ZIP, "said": "text/plain", "length": 500}, [500], ["small", "small", "hold"]),
    ({**ZIP, "said": "text/plain", "partial": True}, [1, 9], ["sniff", "sniff", "ask"]),
    ({**ZIP, "said": "image/png"}, [1, 9], ["sniff", "sniff", "hold"]),
]


@pytest.mark.parametrize(("how", "pieces", "fates"), ROWS)
def test_the_states_of_a_zip(tmp_path, how, pieces, fates):
    async def story() -> list[str]:
        facts = dict(how)
        room = SpoolRoom(tmp_path, facts.pop("room"), 256)
        said, length = declared(facts.pop("said"), None, "/file"), facts.pop("length")
        facts.setdefault("must_hold", False)
        gate = BodyGate(said, length, None, LIMITS, room, kinds=frozenset(), **facts)
        found, at = [gate.fate.value], 0
        for count in pieces:
            gate.feed(BODIES["zip"][at : at + count])
            at += count
            found.append(gate.fate.value)
        if len(found) < len(fates):
            gate.end()
            found.append(gate.fate.value)
        gate.close()
        await asyncio.get_running_loop().run_in_executor(room.thread, lambda: None)
        room.close()
        return found

    assert asyncio.run(story()) == fates


async def _released(gate: BodyGate) -> bytes:
    out = b""
    assert gate.release
    while gate.spool is not None and (piece := await gate.spool.read()):
        out += piece
    gate.released()
    return out


@pytest.mark.parametrize(("length", "budget"), [(None, 1600), (2000, 1700)])
def test_a_held_body_that_the_disk_has_no_room_for_goes_on_but_for_its_end(
    tmp_path, monkeypatch, length, budget
):
    monkeypatch.setattr(gate_state, "LAST_MEMORY_BYTES", LAST_BYTES)

    async def story() -> None:
        room, body = SpoolRoom(tmp_path, budget, 0), BODIES["zip"][:2000]
        gate = BodyGate(
            declared("application/zip", None, "/file"), length, None, LIMITS, room, kinds=frozenset(),
            must_hold=False,
        )  # fmt: skip
        assert gate.feed(body[:1600]) == b""
        out = gate.feed(body[1600:])
        assert await _released(gate) + out == body[:1700]
        assert gate.spool is None
        assert room.left_bytes == budget
        assert gate.rest() == body[1700:]
        room.close()

    asyncio.run(story())


def test_the_gate_keeps_its_promises(monkeypatch):
    monkeypatch.setattr(gate_state, "LAST_MEMORY_BYTES", LAST_BYTES)
    monkeypatch.setattr(gate_state, "TAIL_MEMORY_BYTES", TAIL_BYTES)
    run_state_machine_as_test(
        GateMachine, settings=settings(max_examples=300, stateful_step_count=25, report_multiple_bugs=False)
    )


@pytest.mark.parametrize("fate", list(Fate))
def test_each_state_is_in_the_table(fate):
    assert any(fate.value in following for following in TABLE.values())
