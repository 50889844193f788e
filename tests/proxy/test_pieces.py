"""What a request with a Range asks its origin for, without a proxy: a file of two blocks and a bit."""

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Headers, HTTPFlow
from mitmproxy.test.tflow import tflow, tresp

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.samples import program
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import SubjectClass
from secondlook.download.body.ranges import EntityMemory, WantedRange
from secondlook.download.body.response_facts import read_response
from secondlook.download.judged_files import BLOCK_BYTES, Blocks, JudgedFile, JudgedFiles, Lead, tag_key
from secondlook.download.request_facts import RequestFacts
from secondlook.download.unfinished import Unfinished
from secondlook.proxy.flow_state import FlowState
from secondlook.proxy.pieces import Patience, Pieces

BODY = program(2 * BLOCK_BYTES + 100)
DIGEST = hashlib.sha256(BODY).digest()


class Place:
    """Pieces over a folder of judged files, and requests for one URL."""

    def __init__(self, folder: Path, *, enabled: bool = True, patience_s: float = 0.0) -> None:
        self.gatekeeper = FakeGatekeeper()
        self.memory = EntityMemory()
        self.thread = ThreadPoolExecutor(1)
        self.judged = JudgedFiles(folder / "judged", b"k" * 32, self.thread)
        patience = Patience(patience_s, 0)
        self.unfinished = Unfinished(self.judged)
        self.pieces = Pieces(
            self.gatekeeper, self.memory, self.judged, self.unfinished, patience, enabled=enabled
        )

    def request(
        self, wanted: str | None, *, path: str = "/setup.exe", method: str = "GET"
    ) -> tuple[HTTPFlow, FlowState]:
        flow = tflow()
        flow.request.method, flow.request.path = method, path
        flow.request.headers = Headers(range=wanted, if_range='"x"') if wanted is not None else Headers()
        flow.client_conn.state = ConnectionState.OPEN
        subject = self.gatekeeper.subject("http", "a.test", path)
        cls = SubjectClass.DOWNLOAD if path.endswith(".exe") else SubjectClass.PAGE
        return flow, FlowState(
            subject, RequestContext(cls, client="c", method=method), RequestFacts(range=wanted)
        )

    def ask(self, wanted: str | None, **request: str) -> tuple[HTTPFlow, FlowState]:
        flow, state = self.request(wanted, **request)

        async def choose() -> None:
            waiting = self.pieces.ask(flow, state)
            if waiting is not None:
                await waiting

        asyncio.run(choose())
        return flow, state

    def judge(self, path: str = "/setup.exe", problem: str | None = None) -> None:
        blocks = Blocks(tag_key(b"k" * 32), len(BODY))
        blocks.feed(BODY)
        file = JudgedFile(
            len(BODY), BLOCK_BYTES, blocks.end(), FileSubject((DIGEST,), size=len(BODY)), problem
        )
        url = self.gatekeeper.subject("http", "a.test", path).identity

        async def keep() -> None:
            self.judged.keep(url, file, None)
            while not isinstance(await self.judged.find(url), JudgedFile):
                await asyncio.sleep(0)

        asyncio.run(keep())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.thread.shutdown()


def test_the_first_piece_of_a_risky_file_asks_for_the_whole_and_leads(place):
    flow, state = place.ask("bytes=5-9")
    assert dict(flow.request.headers) == {}
    assert state.wanted == WantedRange(5, 9, None)
    assert isinstance(state.lead, Lead)
    assert place.memory.is_risky(state.subject.identity)


def test_who_wants_all_of_it_leads_where_nobody_does_and_never_waits(place):
    _, first = place.ask(None)
    assert isinstance(first.lead, Lead)
    flow, second = place.ask(None)
    assert second.lead is None
    assert second.refusal is None
    assert flow.request.headers == Headers()
    first.lead.release()


@pytest.mark.parametrize(
    ("wanted", "path", "method"),
    [("bytes=5-9", "/page", "GET"), ("bytes=5-9", "/setup.exe", "POST"), (None, "/page", "GET")],
)
def test_what_is_not_risky_is_asked_for_as_it_came(place, wanted, path, method):
    flow, state = place.ask(wanted, path=path, method=method)
    assert flow.request.headers.get("range") == wanted
    assert (state.lead, state.wanted) == (None, None)


def test_where_ranges_are_switched_off_nothing_is_changed(tmp_path):
    flow, state = Place(tmp_path, enabled=False).ask("bytes=5-9")
    assert flow.request.headers["range"] == "bytes=5-9"
    assert state.lead is None


def test_a_beginning_behind_another_range_is_not_hidden(place):
    flow, _ = place.ask("bytes=9-9,0-", path="/page")
    assert "range" not in flow.request.headers


def test_what_was_risky_before_is_so_whatever_its_name(place):
    place.memory.note_risky(place.request("x", path="/page")[1].subject.identity)
    flow, state = place.ask("bytes=5-9", path="/page")
    assert "range" not in flow.request.headers
    assert state.lead is not None


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("bytes=5-9", (0, BLOCK_BYTES)),
        ("bytes=65536-65536", (BLOCK_BYTES, 2 * BLOCK_BYTES)),
        ("bytes=-50", (2 * BLOCK_BYTES, len(BODY))),
        ("bytes=5-9,65535-65536", (0, 2 * BLOCK_BYTES)),
        ("bytes=5-9,-1", (0, len(BODY))),
    ],
)
def test_of_a_judged_file_the_blocks_around_a_piece_are_asked_for(place, wanted, asked):
    place.judge()
    flow, state = place.ask(wanted)
    assert flow.request.headers["range"] == f"bytes={asked[0]}-{asked[1] - 1}"
    assert (state.proof.first, state.proof.end) == asked
    assert [how for how, *_ in place.gatekeeper.files()] == ["now"]


def test_a_piece_behind_the_end_of_a_judged_file_is_asked_for_whole(place):
    place.judge()
    flow, state = place.ask("bytes=900000-")
    assert "range" not in flow.request.headers
    assert state.proof is None


@pytest.mark.parametrize("slow", [False, True])
def test_a_judged_file_that_is_listed_by_now_is_refused(place, slow):
    place.judge()
    place.gatekeeper.bad.add(DIGEST.hex())
    if slow:
        place.gatekeeper.slow.add(DIGEST.hex())
    _, state = place.ask("bytes=5-9")
    assert state.refusal.action == "block"
    assert state.proof is None


@pytest.mark.parametrize("blocks", [False, True])
def test_what_could_not_be_looked_into_follows_the_policy_for_each_piece(place, blocks):
    place.judge(problem="archive: encrypted")
    place.gatekeeper.unverifiable_blocks = blocks
    _, state = place.ask("bytes=5-9")
    assert (state.refusal is not None) is blocks
    assert (state.proof is None) is blocks
    ((how, _, context, _),) = place.gatekeeper.files()
    assert (how, context.cls) == ("unverifiable", SubjectClass.DOWNLOAD)


def test_where_nothing_can_be_shared_the_whole_is_asked_for(place, tmp_path):
    (tmp_path / "judged").touch()
    flow, state = place.ask("bytes=5-9")
    assert "range" not in flow.request.headers
    assert state.lead is None
    assert place.ask(None)[1].lead is None


def test_who_waited_is_asked_about_again_before_it_fetches(place):
    """The one who fetched may have been refused: the next is, and its origin hears nothing."""
    _, first = place.ask("bytes=5-9")
    flow, state = place.request("bytes=5-9")

    async def wait() -> None:
        waiting = asyncio.ensure_future(place.pieces.settle(flow, state))
        await asyncio.sleep(0)  # it begins to look, and the one thread answers in turn
        assert await place.judged.find(state.subject.identity) is None
        place.gatekeeper.bad.add("a.test/setup.exe")
        first.lead.release()
        await waiting

    asyncio.run(wait())
    assert state.refusal is not None
    assert state.lead is None


def _answer(
    place: Place, state: FlowState, told: str, *, status: int = 206, length: int | None = None, **more: str
) -> tuple[bool, object]:
    response = tresp(status_code=status, headers=Headers(content_range=told, **more))
    facts = read_response(response.data.headers.fields)
    return place.pieces.receive(response, state, facts, length), response


def test_the_piece_that_was_asked_for_becomes_the_one_that_is_wanted(place):
    place.judge()
    _, state = place.ask("bytes=5-9")
    taken, response = _answer(place, state, f"bytes 0-65535/{len(BODY)}", length=65536)
    assert taken
    assert response.headers["content-range"] == f"bytes 5-9/{len(BODY)}"
    assert response.headers["content-length"] == "5"
    assert state.proof.feed(BODY[:BLOCK_BYTES]) == BODY[5:10]


@pytest.mark.parametrize(
    ("told", "length"),
    [
        (f"bytes 0-65534/{len(BODY)}", None),
        (f"bytes 1-65535/{len(BODY)}", None),
        ("bytes 0-65535/70000", None),
        ("bytes 0-65535/*", None),
        ("nonsense", None),
        (f"bytes 0-65535/{len(BODY)}", 65535),
    ],
)
def test_another_piece_than_was_asked_for_is_no_proof(place, told, length):
    place.judge()
    _, state = place.ask("bytes=5-9")
    assert _answer(place, state, told, length=length)[0]
    assert state.misfit
    assert state.proof is None


@pytest.mark.parametrize(("told", "status"), [(f"bytes 5-9/{len(BODY)}", 206), ("", 200)])
@pytest.mark.parametrize("coding", ["", "deflate"])
def test_what_was_asked_for_ahead_and_answered_otherwise_is_no_proof_either(tmp_path, told, status, coding):
    place = Place(tmp_path, patience_s=0.01)
    _, first = place.ask("bytes=5-9")
    flow, state = place.ask("bytes=5-9")  # it goes ahead of what the first one fetches
    assert state.ahead is not None
    assert not _answer(place, state, told, status=status)[0]
    place.judge()
    first.lead.release()
    asyncio.run(place.pieces.settle(flow, state))
    assert state.proof is not None
    more = {"content_encoding": coding} if coding else {}
    assert _answer(place, state, f"bytes 0-65535/{len(BODY)}", length=65536, **more)[0]
    assert (state.proof is None, state.misfit) == (bool(coding), bool(coding))
    place.thread.shutdown()


def test_a_whole_in_place_of_a_piece_is_judged_as_any(place):
    place.judge()
    _, state = place.ask("bytes=5-9")
    assert not _answer(place, state, "", status=200)[0]
    assert (state.proof, state.misfit) == (None, False)


def test_a_first_piece_that_tells_nothing_is_asked_for_wider_once(place):
    flow, state = place.request("bytes=0-0", path="/page")
    assert place.pieces.look_further(flow, state)
    assert flow.request.headers["range"] == "bytes=0-1023"
    assert state.wanted == WantedRange(0, 0, None)
    assert not place.pieces.look_further(flow, state)


@pytest.mark.parametrize("wanted", ["bytes=0-1023", "bytes=0-", "bytes=0-0,9-9"])
def test_a_piece_that_should_have_told_is_not_asked_for_wider(place, wanted):
    flow, state = place.request(wanted, path="/page")
    assert not place.pieces.look_further(flow, state)
