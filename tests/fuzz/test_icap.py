"""ICAP from a gateway: nothing but what it sent is told, however it comes."""

import h11
from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from icapkit.wire import PAGE_HEAD, PAGE_REQUEST, chunked, message, read_replies
from secondlook.gateway.icap.heads import HEAD_MAX_BYTES, IcapError
from secondlook.gateway.icap.machine import Answering, IcapMachine, Reading
from secondlook.gateway.icap.messages import Answer, Continue, Data, End, Pass, PreviewEnd, Request

_RESPMOD = {"request": PAGE_REQUEST, "response": PAGE_HEAD, "body": "res-body"}
SEEDS = [
    message("OPTIONS", "respmod"),
    message("REQMOD", "reqmod", request=PAGE_REQUEST, headers="Allow: 204\r\nX-Client-IP: 10.0.0.9\r\n") * 2,
    message("RESPMOD", "respmod", headers="Allow: 204\r\nPreview: 20\r\n", **_RESPMOD)
    + chunked(b"hello, page", 4)
    + b"0; ieof\r\n\r\n"
    + message("OPTIONS", "respmod"),
    message("RESPMOD", "respmod", headers="Allow: 204, 206\r\nPreview: 8\r\n", **_RESPMOD)
    + chunked(b"hello, p", 4)
    + b"0\r\n\r\n"
    + chunked(b"age", 4)
    + b"0\r\nX-T: trailer\r\n\r\n",
    message("RESPMOD", "respmod", headers="Connection: close\r\n", **_RESPMOD)
    + chunked(b"hello, page", 4)
    + b"0\r\n\r\n",
]


def converse(pieces: list[bytes]) -> tuple[list[object], bytes]:
    """Answer whatever comes as a server does that wants all of each body; return what was told, and what was said."""
    machine, said = IcapMachine(), b""
    told: list[object] = []
    for piece in pieces:
        machine.receive(piece)
        try:
            while (event := machine.next_event()) is not None:
                if isinstance(event, Data):
                    before = told.pop() if told and isinstance(told[-1], bytes) else b""
                    told.append(before + event.data)
                else:
                    told.append(event)
                if isinstance(event, PreviewEnd):
                    said += machine.send(Continue())
                elif isinstance(event, End) or (
                    isinstance(event, Request) and not event.head.encapsulated.body
                ):
                    said += machine.send(Pass() if machine.may_pass else Answer(200))
        except IcapError as error:
            said += machine.refuse(error)
            told.append(error.status)
        assert machine.waiting_bytes <= 3 * HEAD_MAX_BYTES or machine.over
    return told, said


@fuzz(data=mutated(SEEDS), size=st.integers(1, 200))
def test_in_pieces(data, size):
    """Whatever the bytes, they tell the same in one piece as in any others, and each answer is one of ICAP."""
    whole = converse([data])
    assert converse([data[at : at + size] for at in range(0, len(data), size)]) == whole
    told, said = whole
    replies = read_replies(said)
    assert len(replies) == sum(
        isinstance(each, End) or (isinstance(each, Request) and not each.head.encapsulated.body)
        for each in told
    ) + (isinstance(told[-1], int) if told else 0)


@fuzz(data=mutated([chunked(b"hello, page", 4) + b"0\r\n\r\n", chunked(bytes(99), 9) + b"0\r\nA: b\r\n\r\n"]))
def test_bodies_as_h11_reads_them(data):
    """A body that is whole to us is whole to h11, with the same bytes in it."""
    machine = IcapMachine()
    machine.receive(message("RESPMOD", "respmod", headers="Allow: 204\r\n", **_RESPMOD) + data)
    body, ended = b"", False
    try:
        while (event := machine.next_event()) is not None:
            body += event.data if isinstance(event, Data) else b""
            ended = ended or isinstance(event, End)
    except IcapError:
        assert machine.reading is Reading.BROKEN
    if not ended:
        return
    assert machine.answering is Answering.NONE
    other = h11.Connection(h11.SERVER)
    other.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    theirs = b""
    while not isinstance(event := other.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA
        theirs += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert theirs == body
