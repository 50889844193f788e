"""Requests through ICAP: let go on, or answered with the refusal that fits them."""

import re

import pytest

from icapkit.stand import Stand, make_site, pass_body, reqmod
from icapkit.wire import chunked
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass
from secondlook.download.request_facts import RequestFacts

BAD = "http://bad.test/"


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper(bad={"bad.test/"})


@pytest.fixture
def stand(tmp_path, gatekeeper):
    found = Stand(tmp_path, gatekeeper)
    yield found
    found.close()


def test_what_nobody_minds_goes_on(stand, gatekeeper):
    reply = stand.run(stand.ask(reqmod()))
    assert (reply.status, reply.fields) == (204, {"istag": '"tag-1"', "encapsulated": "null-body=0"})
    [(how, subject, context, _)] = gatekeeper.seen
    assert (how, subject.canonical, context.client) == ("now", "http://site.test/", "10.0.0.9")


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ("Sec-Fetch-Dest: document\r\n", b"text/html"),
        ("Accept: text/html\r\n", b"text/html"),
        ("Sec-Fetch-Dest: image\r\n", b"image/png"),
        ("Sec-Fetch-Dest: script\r\n", b"text/javascript"),
        ("", b"application/problem+json"),
    ],
)
def test_the_refusal_is_a_whole_response_that_fits(stand, headers, kind):
    reply = stand.run(stand.ask(reqmod(BAD, headers=headers)))
    assert reply.status == 200
    assert reply.head.startswith(b"HTTP/1.1 403 Forbidden\r\nX-Second-Look: blocked; event=")
    assert b"Content-Type: " + kind in reply.head
    assert b"Content-Length: %d\r\n" % len(reply.body) in reply.head
    assert reply.whole


def test_what_must_be_asked_about_is_waited_for(stand, gatekeeper):
    gatekeeper.slow |= {"slow.test/", "bad.test/"}
    assert stand.run(stand.ask(reqmod("http://slow.test/"))).status == 204
    assert stand.run(stand.ask(reqmod(BAD))).status == 200
    gatekeeper.flagged.add("flagged.test/")
    assert stand.run(stand.ask(reqmod("http://flagged.test/"))).status == 204


@pytest.mark.parametrize("preview", ["Preview: 0\r\n", "Preview: 4\r\n", ""])
def test_an_upload_is_refused_without_its_body(stand, preview):
    """Not a byte of the body is sent here, or its preview alone."""

    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod(BAD, method="PUT", body=True, icap=preview))
        reply = await gateway.reply()
        if preview:
            await gateway.send(b"0\r\n\r\n" + reqmod())
            assert (await gateway.reply()).status == 204  # the connection goes on
        return reply

    assert stand.run(story()).head.startswith(b"HTTP/1.1 403")


def test_a_large_upload_without_a_preview_reads_its_refusal_all_the_same(stand):
    async def story():
        gateway = await stand.connect()
        await gateway.send(reqmod(BAD, method="PUT", body=True) + chunked(bytes(3 << 20), 1 << 20))
        reply = await gateway.reply()
        assert await gateway.gone()
        return reply

    assert stand.run(story()).head.startswith(b"HTTP/1.1 403")


def test_a_gateway_without_204_gets_its_request_back(stand):
    head = reqmod("http://site.test/form", method="POST", body=True).replace(b"Allow: 204\r\n", b"")

    async def story():
        gateway = await stand.connect()
        await gateway.send(head + chunked(b"a=b&c=d", 3) + b"0\r\n\r\n")
        return await gateway.reply()

    reply = stand.run(story())
    assert (reply.status, reply.body, reply.whole) == (200, b"a=b&c=d", True)
    assert reply.head == b"POST http://site.test/form HTTP/1.1\r\nHost: site.test\r\n\r\n"
    reply = stand.run(stand.ask(reqmod().replace(b"Allow: 204\r\n", b"")))
    assert (reply.status, reply.head.split(b" ")[0], reply.body) == (200, b"GET", b"")


def test_no_origin_hears_of_a_dictionary_that_nobody_here_has(stand):
    head = reqmod("http://site.test/a", headers="Available-Dictionary: :abc=:\r\nAccept: */*\r\n")
    reply = stand.run(stand.ask(head))
    assert (reply.status, reply.whole) == (200, True)
    assert reply.head == b"GET http://site.test/a HTTP/1.1\r\nHost: site.test\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize("blocks", [True, False])
def test_a_fault_is_unverifiable_and_follows_the_policy(stand, gatekeeper, blocks):
    gatekeeper.faults |= {"now", "check"}
    gatekeeper.unverifiable_blocks = blocks
    reply = stand.run(stand.ask(reqmod()))
    assert reply.status == (200 if blocks else 204)
    gatekeeper.faults.add("unverifiable")
    assert stand.run(stand.ask(reqmod())).head.startswith(b"HTTP/1.1 403")


def test_a_refusal_that_a_helper_recorded_is_not_recorded_again(stand, gatekeeper):
    gatekeeper.slow.add("bad.test/")
    reply = stand.run(stand.ask(reqmod(BAD, icap="X-Second-Look-Event: 01EVENT\r\n")))
    assert reply.head.startswith(b"HTTP/1.1 403")


def test_a_piece_of_what_may_be_risky_is_asked_for_whole(stand):
    piece = "Range: bytes=10-19\r\nIf-Range: x\r\nAccept: */*\r\n"
    reply = stand.run(stand.ask(reqmod("http://site.test/a.exe", headers=piece)))
    assert (reply.status, reply.head) == (
        200,
        b"GET http://site.test/a.exe HTTP/1.1\r\nHost: site.test\r\nAccept: */*\r\n\r\n",
    )
    assert stand.run(stand.ask(reqmod("http://site.test/a.mp4", headers=piece))).status == 204
    hidden = piece.replace("10-19", "10-19,0-5")
    assert stand.run(stand.ask(reqmod("http://site.test/a.mp4", headers=hidden))).status == 200
    subject = stand.gatekeeper.subject("http", "site.test", "/a.mp4")
    stand.gate.bodies.memory.note_risky(subject.identity)
    assert stand.run(stand.ask(reqmod("http://site.test/a.mp4", headers=piece))).status == 200
    stand.gate.bodies.whole_files = False
    assert stand.run(stand.ask(reqmod("http://site.test/a.exe", headers=piece))).status == 204


def test_a_piece_for_who_has_a_part_of_a_risky_file_is_asked_for_whole(stand):
    unfinished = stand.gate.bodies.unfinished
    tool, piece = RequestFacts(agent="tool/1"), "Range: bytes=10-19\r\nUser-Agent: tool/1\r\n"
    context = RequestContext(SubjectClass.DOWNLOAD, client="10.0.0.9")
    assert stand.run(stand.ask(reqmod(headers=piece))).status == 204
    unfinished.begin(context, tool)
    assert stand.run(stand.ask(reqmod(headers=piece))).status == 200
    assert stand.run(stand.ask(reqmod(headers=piece.replace("tool", "film")))).status == 204
    unfinished.end(context, tool)
    assert stand.run(stand.ask(reqmod(headers=piece))).status == 204


def test_the_internal_site_answers_in_place_of_any_origin(stand, tmp_path):
    event = Event(
        id="01E",
        kind=EventKind.BLOCKED,
        time=1.0,
        subject="url",
        cls=SubjectClass.PAGE,
        url=BAD,
        stage="pattern",
        client="10.0.0.9",
    )
    stand.gatekeeper.events["01E"] = event
    stand.gate.site = make_site(stand.gatekeeper, tmp_path)
    own, page = "http://secondlook.internal", "Accept: text/html\r\n"
    reply = stand.run(stand.ask(reqmod(f"{own}/filtered.json")))
    assert (reply.status, reply.body) == (200, b'{"filtered": true, "client": "10.0.0.9"}')
    reply = stand.run(stand.ask(reqmod(f"{own}/blocked/01E", headers=page)))
    assert reply.head.startswith(b"HTTP/1.1 200 OK")
    form = b"token=" + re.search(rb'name="token" value="([^"]+)"', reply.body)[1]
    head = reqmod(
        f"{own}/blocked/01E",
        method="POST",
        headers=f"{page}Content-Type: application/x-www-form-urlencoded\r\n",
        icap="Preview: 4\r\n",
        body=True,
    )

    async def send(data):
        gateway = await stand.connect()
        reply = await pass_body(gateway, head, data, 4)
        gateway.close()
        return reply

    assert stand.run(send(b"x" * 5000)).head.startswith(b"HTTP/1.1 413")
    assert stand.gatekeeper.exceptions == []
    assert stand.run(send(form)).head.startswith(b"HTTP/1.1 200")
    assert stand.gatekeeper.exceptions == [("01E", "10.0.0.9", None, 600.0)]


def test_a_page_of_the_site_that_fails_says_so(stand, tmp_path, monkeypatch):
    stand.gate.site = make_site(stand.gatekeeper, tmp_path)
    monkeypatch.setattr(stand.gate.site, "answer", lambda *_: 1 / 0)
    reply = stand.run(stand.ask(reqmod("http://secondlook.internal/")))
    assert reply.head.startswith(b"HTTP/1.1 500")
