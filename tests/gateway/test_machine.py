"""The ICAP machine: its tables, its promises, and each message of RFC 3507."""

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from icapkit.wire import PAGE_HEAD, PAGE_REQUEST, chunked, message, read_replies
from secondlook.gateway.icap import machine as module
from secondlook.gateway.icap.framing import CHUNK_LINE_MAX_BYTES
from secondlook.gateway.icap.heads import CHUNK_MAX_BYTES, HEAD_MAX_BYTES, HttpResponse, IcapError
from secondlook.gateway.icap.machine import (
    DRAIN_MAX_BYTES,
    Answering,
    IcapMachine,
    OutOfTurnError,
    Reading,
)
from secondlook.gateway.icap.messages import (
    Answer,
    Continue,
    Data,
    End,
    Finish,
    More,
    Pass,
    PreviewEnd,
    Request,
)

BODY = b"hello, page"
REFUSAL = HttpResponse("1.1", 403, b"Forbidden", ((b"Content-Length", b"2"),))


def respmod(headers: str = "Allow: 204\r\n") -> bytes:
    return message(
        "RESPMOD", "respmod", request=PAGE_REQUEST, response=PAGE_HEAD, body="res-body", headers=headers
    )


def events(machine, data=b""):
    machine.receive(data)
    found = []
    while (event := machine.next_event()) is not None:
        found.append(event)
    return found


def test_a_preview_is_passed_and_the_connection_goes_on():
    machine = IcapMachine()
    first = respmod("Preview: 4\r\n") + chunked(BODY[:4]) + b"0\r\n\r\n"
    request, *rest = events(machine, first + respmod() + chunked(BODY) + b"0\r\n\r\n")
    assert isinstance(request, Request)
    assert request.response.status == 200
    assert rest == [Data(b"hell"), PreviewEnd()]
    assert (machine.reading, machine.may_pass) == (Reading.WAITING, True)
    [reply] = read_replies(machine.send(Pass(((b"ISTag", b'"a"'),))))
    assert (reply.status, reply.fields) == (204, {"istag": '"a"', "encapsulated": "null-body=0"})
    second, *rest = events(machine)
    assert isinstance(second, Request)
    assert second.head.preview is None
    assert rest == [Data(BODY), End()]  # without a preview: what the first one left of its own is no bound


def test_the_rest_is_asked_for_and_answered():
    machine = IcapMachine()
    events(machine, respmod("Preview: 4\r\n") + chunked(BODY[:4]) + b"0\r\n\r\n")
    said = machine.send(Continue())
    assert not machine.may_pass  # 204 was announced for previews alone
    assert events(machine, chunked(BODY[4:]) + b"0\r\nX-T: r\r\n\r\n") == [
        Data(BODY[4:]),
        End(((b"X-T", b"r"),)),
    ]
    said += machine.send(Answer(200, http=REFUSAL, body=True))
    said += machine.send(More(b"no")) + machine.send(More(b"")) + machine.send(Finish())
    [reply] = read_replies(said)
    assert (reply.status, reply.interim, reply.body, reply.whole) == (200, [100], b"no", True)
    assert reply.head == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n"
    assert reply.fields["encapsulated"] == f"res-hdr=0, res-body={len(reply.head)}"
    assert machine.idle


def test_a_body_that_is_all_in_its_preview():
    machine = IcapMachine()
    assert events(machine, respmod("Preview: 50\r\n") + chunked(BODY) + b"0; ieof\r\n\r\n")[1:] == [
        Data(BODY),
        End(),
    ]
    with pytest.raises(OutOfTurnError):
        machine.send(Continue())
    assert machine.may_pass


def test_the_gateway_goes_on_with_its_own_body():
    machine = IcapMachine()
    start = respmod("Preview: 4\r\nAllow: 204, 206\r\n") + chunked(BODY[:4]) + b"0\r\n\r\n"
    events(machine, start)
    said = machine.send(Answer(206, http=REFUSAL, body=True)) + machine.send(Finish(original=0))
    [reply] = read_replies(said)
    assert (reply.status, reply.whole, reply.original) == (206, True, 0)
    events(machine, start.replace(b", 206", b""))
    with pytest.raises(OutOfTurnError):
        machine.send(Answer(206, http=REFUSAL, body=True))


def test_an_early_answer_drops_what_still_comes():
    machine = IcapMachine()
    events(machine, respmod() + chunked(BODY[:4]))
    machine.send(Answer(200, http=REFUSAL))
    assert events(machine, chunked(BODY[4:])) == []
    [request] = events(machine, b"0\r\n\r\n" + respmod())
    assert isinstance(request, Request)
    assert not machine.over


def test_a_large_rest_ends_the_connection():
    machine = IcapMachine()
    events(machine, respmod())
    machine.send(Answer(200, http=REFUSAL))
    half = chunked(bytes(DRAIN_MAX_BYTES), DRAIN_MAX_BYTES)
    assert events(machine, half) == []
    assert not machine.over
    assert events(machine, chunked(b"x")) == []
    assert machine.over


def test_the_end_that_was_asked_for_comes_after_the_answer():
    machine = IcapMachine()
    events(machine, respmod("Connection: close\r\nAllow: 204\r\n") + b"0\r\n\r\n")
    [reply] = read_replies(machine.send(Pass()))
    assert reply.fields["connection"] == "close"
    assert machine.over
    assert events(machine, respmod()) == []


def test_options():
    machine = IcapMachine()
    [request] = events(machine, b"OPTIONS icap://gate.test/respmod ICAP/1.0\r\nHost: gate.test\r\n\r\n")
    assert (request.head.method, request.head.encapsulated.body, request.request) == ("OPTIONS", False, None)
    [reply] = read_replies(machine.send(Answer(200, ((b"Methods", b"RESPMOD"),))))
    assert reply.fields == {"methods": "respmod", "encapsulated": "null-body=0"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "expected `METHOD"),
        (b"OPTIONS icap://a/b ICAP/1.0\n\n", "CR LF"),
        (b"x" * (HEAD_MAX_BYTES + 1), "larger than"),
        (respmod() + b"xyz\r\n", "size of a chunk"),
        (respmod() + b"5\n", "size of a chunk"),
        (respmod() + b"1234567890\r\n", "size of a chunk"),
        (respmod() + b"%x\r\n" % (CHUNK_MAX_BYTES + 1), "a chunk is larger"),
        (respmod() + b"2\r\nabc\r\n", "a chunk is longer"),
        (respmod() + b"1;" + b"x" * CHUNK_LINE_MAX_BYTES, "a chunk's line"),
        (respmod() + b"0; ieof\r\n\r\n", "no preview"),
        (respmod() + b"0\r\nno trailer\r\n\r\n", "trailers: expected"),
        (respmod() + b"0\r\nX: " + b"x" * HEAD_MAX_BYTES, "trailers are larger"),
        (respmod("Preview: 4\r\n") + chunked(BODY[:5]), "longer than announced"),
        (respmod().replace(b"HTTP/1.1 200", b"HTTP/1.1 abc"), "res-hdr"),
        (respmod().replace(b"GET http", b"GET  htt"), "req-hdr"),
    ],
)
def test_what_is_not_understood_is_told_once_and_ends_it(data, told):
    machine = IcapMachine()
    with pytest.raises(IcapError, match=told) as error:
        events(machine, data)
    [reply] = read_replies(machine.refuse(error.value))
    assert (reply.status, reply.fields["connection"]) == (400, "close")
    assert machine.over
    assert events(machine, respmod()) == []


@pytest.mark.parametrize("size", [1, 7, 100])
def test_an_empty_line_without_cr_is_refused_alike_in_any_pieces(size):
    data = b"OPTIONS icap://a/b ICAP/3.0\r\n\nHost: a\r\n\r\n"  # 505, were its line looked at
    machine = IcapMachine()
    with pytest.raises(IcapError, match="CR LF") as error:
        [events(machine, data[at : at + size]) for at in range(0, len(data), size)]
    assert error.value.status == 400


def test_bounds_hold_at_the_limit():
    machine = IcapMachine()
    filling = HEAD_MAX_BYTES - len(respmod("X: \r\n").partition(b"\r\n\r\n")[0]) - 4
    assert len(events(machine, respmod(f"X: {'x' * filling}\r\n"))) == 1
    assert events(machine, b"%x\r\n" % CHUNK_MAX_BYTES) == []
    assert machine.reading is Reading.BODY


def test_an_error_after_the_answer_has_begun_is_not_told():
    machine = IcapMachine()
    events(machine, respmod())
    machine.send(Answer(200, http=REFUSAL, body=True))
    with pytest.raises(IcapError) as error:
        events(machine, b"zzz\r\n")
    assert machine.refuse(error.value) == b""
    assert machine.over


# ---- the tables


def table(number: int, columns: tuple[str, ...]) -> list[list[str]]:
    lines = (module.__doc__ or "").split("```")[2 * number + 1].strip().splitlines()
    starts = [lines[0].index(column) for column in columns]
    ends = [*starts[1:], None]
    return [[line[start:end].strip() for start, end in zip(starts, ends, strict=True)] for line in lines[1:]]


READING: dict[tuple[str, str], tuple[str, str]] = {
    (state, event): (result, following)
    for state, event, result, following in table(0, ("reading", "event", "result", "next"))
}
ANSWERS: dict[str, dict[str, str]] = defaultdict(dict)
for before, command, _, after in table(1, ("answer", "command", "needs", "next")):
    ANSWERS[before][command] = after


PREVIEW_BYTES = 20  # soon used up


class AnyExchange(RuleBasedStateMachine):
    """A gateway that sends what it may in any pieces, and a server that says anything at any time."""

    def __init__(self):
        super().__init__()
        self.connect()

    def connect(self):
        self.machine = IcapMachine()
        self.sent = self.told = b""  # of the bodies
        self.said = b""
        self.exchanges = 0
        self.reading, self.answer = "head", "none"

    def expect(self, event):
        told, self.reading = READING[self.reading, event]
        return told

    def deliver(self, data, pieces):
        """Send in pieces; return the names of what was told."""
        names = []
        size = max(1, len(data) // pieces)
        for at in range(0, len(data), size):
            for event in events(self.machine, data[at : at + size]):
                names.append(type(event).__name__)
                if isinstance(event, Data):
                    self.told += event.data
        return names

    @precondition(lambda self: self.reading == "head")
    @rule(kind=st.sampled_from(["no body", "preview", "body"]), allow=st.booleans(), pieces=st.integers(1, 9))
    def ask(self, kind, allow, pieces):
        headers = ("Allow: 204, 206\r\n" if allow else "") + (
            f"Preview: {PREVIEW_BYTES}\r\n" if kind == "preview" else ""
        )
        body = None if kind == "no body" else "res-body"
        head = message("RESPMOD", "r", request=PAGE_REQUEST, response=PAGE_HEAD, body=body, headers=headers)
        self.allow, self.preview, self.continued = allow, kind == "preview", False
        self.preview_bytes = 0
        self.sent = self.told = b""
        told = self.expect(f"head, {kind}")
        assert self.deliver(head, pieces) == [told]

    @precondition(lambda self: self.reading in {"preview", "body"})
    @rule(data=st.binary(min_size=1, max_size=30), pieces=st.integers(1, 20))
    def send_data(self, data, pieces):
        if self.reading == "preview":
            data = data[: PREVIEW_BYTES - self.preview_bytes]
            self.preview_bytes += len(data)
        if not data:
            return
        names = self.deliver(chunked(data, 7), pieces)
        if self.answer == "done":
            assert names == []
            return
        self.sent += data
        assert set(names) == {self.expect("data")}

    @precondition(lambda self: self.reading in {"preview", "body"})
    @rule(whole=st.booleans(), pieces=st.integers(1, 9))
    def end(self, whole, pieces):
        event = "end"
        if self.reading == "preview":
            begun = self.answer != "none"
            event = "end, ieof" if whole else ("end, answered (begun)" if begun else "end, unanswered")
        told = self.expect(event)
        last = b"0; ieof\r\n\r\n" if event == "end, ieof" else b"0\r\n\r\n"
        dropped = self.answer == "done"
        self.turn()
        assert self.deliver(last, pieces) == ([] if dropped else [told])

    @rule(
        said=st.sampled_from(["Continue", "Pass", "Answer, empty", "Answer, body", "More", "Finish", "206"])
    )
    def say(self, said):
        self.try_to_say(said)

    @precondition(lambda self: self.reading == "waiting")
    @rule()
    def ask_for_the_rest(self):
        self.try_to_say("Continue")

    def try_to_say(self, said):
        command = {
            "Continue": Continue(),
            "Pass": Pass(),
            "Answer, empty": Answer(200, http=REFUSAL),
            "Answer, body": Answer(200, http=REFUSAL, body=True),
            "More": More(b"more"),
            "Finish": Finish(),
            "206": Answer(206, http=REFUSAL, body=True),
        }[said]
        name = "Answer, body" if said == "206" else said
        following = ANSWERS[self.answer].get(name)
        begun = self.reading != "head"
        allowed = begun and following is not None
        in_preview = begun and self.preview and not self.continued
        if said == "Continue":
            allowed = allowed and self.reading == "waiting"
        elif said == "Pass":
            allowed = allowed and (self.allow or in_preview)
        elif said == "206":
            allowed = allowed and self.allow and not self.continued
        if not allowed:
            with pytest.raises(OutOfTurnError):
                self.machine.send(command)
            return
        self.said += self.machine.send(command)
        self.answer = following
        self.continued |= said == "Continue"
        if self.reading == "waiting":
            self.reading = READING["waiting", name.partition(",")[0]][1]
        self.turn()

    def turn(self):
        if self.reading == "done" and self.answer == "done":
            self.reading, self.answer = READING["done", "the answer is out"][1], "none"
            self.exchanges += 1

    @invariant()
    def it_is_where_the_tables_say(self):
        assert (self.machine.reading.value, self.machine.answering.value) == (self.reading, self.answer)
        assert self.told == self.sent
        assert not self.machine.over

    @invariant()
    def what_was_said_is_icap(self):
        replies = read_replies(self.said)
        assert sum(reply.whole for reply in replies) == self.exchanges + (
            self.answer == "done" and self.reading != "head"
        )

    @precondition(lambda self: self.reading in {"head", "preview", "body"})
    @rule()
    def nonsense(self):
        with pytest.raises(IcapError):
            self.deliver(b"\0nonsense\r\n\r\n", 1)
        assert self.machine.reading.value == READING["any", "nonsense"][1]
        self.connect()


AnyExchange.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyExchange = AnyExchange.TestCase


def test_the_tables_name_all_states():
    assert {state for state, _ in READING} - {"any"} | {"broken"} == {each.value for each in Reading}
    assert {each.value for each in Answering} == {*ANSWERS} | {"done"}
