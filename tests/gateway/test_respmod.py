"""Bodies through ICAP: passed, held, cut, refused, exactly as in the proxy."""

import asyncio
import hashlib
import os

import pytest

from icapkit.stand import Stand, pass_body, respmod
from icapkit.wire import chunked
from proxykit.gatekeeper import FakeGatekeeper
from proxykit.samples import EICAR, EICAR_SHA256, ENCODERS, program, prose, zipped
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.subject import FileSubject
from secondlook.core.verdict import SubjectClass

KIND = "application/x-msdownload"
SMALL = DownloadsSettings(hold_up_to=100_000, tail_min=1000, local_up_to=20_000)


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def stand(tmp_path, gatekeeper):
    found = Stand(tmp_path, gatekeeper, downloads=SMALL)
    yield found
    found.close()


def get(stand, head, body, preview=1024):
    async def story():
        gateway = await stand.connect()
        reply = await pass_body(gateway, head, body, preview)
        gateway.close()
        return reply

    return stand.run(story())


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def files(stand):
    return [(how, context.cls) for how, _, context, _ in stand.gatekeeper.files()]


def test_a_page_that_is_all_in_its_preview_goes_on_untouched(stand):
    page = prose(900)
    reply = get(stand, respmod(length=900), page)
    assert (reply.status, reply.fields["istag"]) == (204, '"tag-1"')
    assert files(stand) == [("local", SubjectClass.PAGE)]


def test_a_larger_harmless_body_goes_on_after_its_preview(stand):
    assert (
        get(stand, respmod(kind="text/html", length=50_000, icap="Preview: 1024\r\n"), prose(50_000)).status
        == 204
    )


def test_a_small_body_is_judged_whole_before_it_goes_on(stand, gatekeeper):
    page = prose(9000)
    reply = get(stand, respmod(length=9000), page)
    assert (reply.status, reply.interim) == (204, [100])  # what Squid announces for bodies it can keep
    reply = get(stand, respmod(length=9000, icap="Preview: 1024\r\n"), page)
    assert (reply.status, reply.body, reply.whole) == (200, page, True)
    gatekeeper.bad.add(sha256(page))
    reply = get(stand, respmod(length=9000), page)
    assert (reply.status, reply.head.split(b" ")[1]) == (200, b"403")
    assert b"blocked" in reply.head.lower()


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 9000, 99_999, 100_000, 100_001, 400_000])
@pytest.mark.parametrize("sized", [True, False])
def test_a_listed_program_never_comes_whole(stand, gatekeeper, size, sized):
    file = program(size)
    gatekeeper.bad.add(sha256(file))
    head = respmod("/setup.exe", kind=KIND, length=size if sized else None)
    reply = get(stand, head, file)
    if reply.head.startswith(b"HTTP/1.1 403"):
        assert b"X-Second-Look: blocked" in reply.head
    else:
        assert not reply.whole
        assert len(reply.body) <= size - (1000 if sized or size > 101_000 else 1)
        assert file.startswith(reply.body)
        assert gatekeeper.waited == 1
    gatekeeper.bad.clear()
    reply = get(stand, head, file)
    assert reply.status == 204 or (reply.status, reply.body == file, reply.whole) == (200, True, True)


def test_an_upload_of_bytes_in_any_chunks_makes_no_difference(stand, gatekeeper):
    file = program(30_000)

    async def story():
        gateway = await stand.connect()
        head = respmod("/a.exe", kind=KIND, length=30_000, icap="")
        await gateway.send(head)
        for at in range(0, len(file), 999):
            await gateway.send(chunked(file[at : at + 999], 7))
        await gateway.send(b"0\r\n\r\n")
        return await gateway.reply()

    assert stand.run(story()).body == file
    gatekeeper.bad.add(sha256(file))
    assert stand.run(story()).head.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("coding", sorted(ENCODERS))
def test_what_is_listed_in_an_encoding_is_found(stand, gatekeeper, coding):
    gatekeeper.bad.add(EICAR_SHA256)
    body = ENCODERS[coding](EICAR)
    head = respmod(
        "/x", kind="application/octet-stream", length=len(body), headers=f"Content-Encoding: {coding}\r\n"
    )
    assert get(stand, head, body).head.startswith(b"HTTP/1.1 403")


def test_what_is_listed_in_an_archive_is_found(stand, gatekeeper):
    gatekeeper.bad.add(EICAR_SHA256)
    body = zipped({"a.txt": prose(2000), "b.com": EICAR})
    head = respmod("/x.zip", kind="application/zip", length=len(body))
    assert get(stand, head, body).head.startswith(b"HTTP/1.1 403")
    gatekeeper.bad.clear()
    assert get(stand, head, body).status == 204


def test_the_refusal_fits_what_was_asked_for(stand, gatekeeper):
    file = program(3000)
    gatekeeper.bad.add(sha256(file))
    head = respmod("/a.exe", kind=KIND, length=3000, asked="Sec-Fetch-Dest: document\r\n")
    assert b"<html" in get(stand, head, file).body.lower()
    head = respmod("/a.exe", kind=KIND, length=3000, asked="Sec-Fetch-Dest: image\r\n")
    reply = get(stand, head, file)
    assert (reply.body, b"Content-Type: image/png" in reply.head) == (b"", True)
    assert b"problem+json" in get(stand, respmod("/a.exe", kind=KIND, length=3000), file).head


def test_who_the_client_is(stand, gatekeeper):
    get(stand, respmod(length=5, icap="X-Authenticated-User: anna\r\nAllow: 204\r\nPreview: 9\r\n"), b"hello")
    [(_, _, context, _)] = gatekeeper.files()
    assert (context.client, context.user, context.url) == ("10.0.0.9", "anna", "http://site.test/")


def test_a_url_that_is_refused_by_now_gives_nothing(stand, gatekeeper):
    gatekeeper.bad.add("site.test/setup.exe")
    reply = get(stand, respmod("/setup.exe", kind=KIND, length=4), b"MZ12")
    assert reply.head.startswith(b"HTTP/1.1 403")
    assert not gatekeeper.files()


def test_what_is_told_of_the_origin_is_left_out(stand):
    for icap, status in (
        ("Allow: 204, 206\r\nPreview: 1024\r\n", 206),
        ("Allow: 204\r\nPreview: 1024\r\n", 200),
    ):
        reply = get(
            stand, respmod(length=5, headers="X-Second-Look: ok\r\nAlt-Svc: h3\r\n", icap=icap), b"hello"
        )
        assert (reply.status, reply.head) == (
            status,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n",
        )
        assert (reply.original, reply.body) == ((0, b"") if status == 206 else (None, b"hello"))


def test_no_file_is_a_part_of_a_page_that_is_replaced_again_and_again(stand, gatekeeper):
    """A gateway that went on by itself after the preview would pass the part that Firefox saves."""
    page = b"--B\r\nContent-Type: text/html\r\n\r\n<p>soon\r\n" * 100
    file = (
        b"--B\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\n" + program(9000) + b"\r\n--B--\r\n"
    )
    head = respmod("/live", kind="multipart/x-mixed-replace; boundary=B", asked="Accept: text/html\r\n")
    reply = get(stand, head, page + file)
    assert not reply.whole
    assert file[:100] not in reply.body
    assert [how for how, *_ in gatekeeper.seen] == ["unverifiable"]
    reply = get(stand, head, page)
    assert (reply.body, reply.whole) == (page, True)


def test_what_has_no_body_goes_on(stand):
    assert stand.run(stand.ask(respmod(body=False, status=304, kind=None))).status == 204
    reply = stand.run(stand.ask(respmod(body=False, method="HEAD", length=5, icap="")))
    assert (reply.status, reply.whole) == (200, True)


def test_a_304_goes_on_without_what_it_says_of_the_content_unless_that_is_listed_by_now(stand, gatekeeper):
    file = program(3000)
    head = respmod("/a.exe", body=False, status=304, kind=KIND, headers="ETag: 1\r\n")
    assert stand.run(stand.ask(head)).head == b"HTTP/1.1 304 OK\r\nETag: 1\r\n\r\n"
    assert get(stand, respmod("/a.exe", kind=KIND, length=3000), file).status in {200, 204}
    gatekeeper.bad.add(sha256(file))
    assert stand.run(stand.ask(head)).head.startswith(b"HTTP/1.1 403")


def test_a_torn_download_is_seen(stand, gatekeeper):
    file = program(400_000)
    reply = get(stand, respmod("/a.exe", kind=KIND, length=500_000), file)
    assert not reply.whole
    reply = get(stand, respmod("/a.exe", kind=KIND, length=50_000), file[:20_000])
    assert not reply.whole
    assert len(gatekeeper.files()) == 2


@pytest.mark.parametrize("length", [400_000, 500_000])
def test_of_a_torn_archive_the_end_is_withheld(stand, length):
    body = zipped({"a": os.urandom(300_000), "b.com": EICAR})
    reply = get(stand, respmod("/a.zip", kind="application/zip", length=length), body)
    assert not reply.whole
    assert body.startswith(reply.body)
    assert 0 < len(reply.body) <= len(body) - 1000


def test_a_piece_is_flagged_or_refused(stand, gatekeeper, tmp_path):
    piece = program(500)
    head = respmod(
        "/a.exe",
        kind=KIND,
        length=500,
        status=206,
        headers="Content-Range: bytes 0-499/9000\r\n",
        asked="Range: bytes=0-499\r\n",
    )
    assert get(stand, head, piece).status == 204
    assert [how for how, *_ in gatekeeper.seen] == ["unverifiable"]
    stand.gate.bodies._block_partial = True
    assert get(stand, head, piece).head.startswith(b"HTTP/1.1 403")


def test_a_piece_is_no_longer_than_it_says(stand, gatekeeper):
    """A gateway that went on by itself would pass all of a file that is called a piece of one byte."""
    file = program(9000)
    gatekeeper.bad.add(sha256(file))
    told = {"status": 206, "asked": "Range: bytes=7-\r\n", "headers": "Content-Range: bytes 7-7/9007\r\n"}
    reply = get(stand, respmod("/a", kind="text/plain", **told), file)
    assert (reply.status, reply.body, reply.whole) == (200, file[:1], True)
    told["headers"] = "Content-Range: bytes 7-9006/9007\r\n"
    assert get(stand, respmod("/a", kind="text/plain", length=9000, **told), file).status == 204


def test_a_piece_of_what_was_judged_bad_is_refused_under_any_url(stand, gatekeeper):
    file = program(3000)
    gatekeeper.bad.add(sha256(file))
    get(stand, respmod("/a.exe", kind=KIND, length=3000, headers='ETag: "1"\r\n'), file)
    head = respmod(
        "/b",
        kind="text/plain",
        length=10,
        status=206,
        headers='ETag: "1"\r\nContent-Range: bytes 10-19/3000\r\n',
        asked="Range: bytes=10-19\r\n",
    )
    assert get(stand, head, file[10:20]).head.startswith(b"HTTP/1.1 403")


def test_who_waits_gets_a_few_bytes(tmp_path, gatekeeper):
    stand = Stand(tmp_path, gatekeeper, downloads=DownloadsSettings(patience=0.05, tail_min=1000))
    file = program(200_000)
    gatekeeper.bad.add(sha256(file))

    async def story():
        gateway = await stand.connect()
        await gateway.send(respmod("/a.exe", kind=KIND, length=200_000) + chunked(file[:1024]) + b"0\r\n\r\n")
        assert (await gateway.head()).status == 100
        await gateway.send(chunked(file[1024:150_000]))
        reply = await gateway.head()
        await gateway.body(reply, up_to=5000)
        await gateway.send(chunked(file[150_000:]) + b"0\r\n\r\n")
        await gateway.body(reply)
        return reply

    reply = stand.run(story())
    assert 5000 <= len(reply.body) < 100_000
    assert file.startswith(reply.body)
    assert not reply.whole
    stand.close()


@pytest.mark.parametrize("size", [200_000, 90_000])
def test_a_gateway_that_reads_on_only_for_an_answer_gets_its_beginning(tmp_path, gatekeeper, size):
    """Squid's bug 5352: its buffer was full, and it waits for what its client is to get."""
    stand = Stand(tmp_path, gatekeeper, downloads=DownloadsSettings(patience=0, hold_up_to=100_000))
    file = program(size)
    gatekeeper.bad.add(sha256(file))

    async def story():
        gateway = await stand.connect()
        head = respmod("/a.exe", kind=KIND, length=size)
        await gateway.send(head + chunked(file[:1024]) + b"0\r\n\r\n")
        assert (await gateway.head()).status == 100
        await gateway.send(chunked(file[1024:65535]))
        reply = await gateway.head()  # nothing more is sent before it comes
        assert reply.head.startswith(b"HTTP/1.1 200")
        await gateway.send(chunked(file[65535:]) + b"0\r\n\r\n")
        await gateway.body(reply)
        return reply

    reply = stand.run(story())
    assert not reply.whole
    assert len(reply.body) <= size - (64 << 10) or size < 100_000
    assert len(reply.body) <= size // 4 or size > 100_000
    stand.close()


def test_a_client_of_http_1_0_gets_a_body_without_a_length_only_whole(stand, gatekeeper):
    file = program(300_000)
    gatekeeper.bad.add(sha256(file))
    assert get(stand, respmod("/a.exe", kind=KIND, version="1.0"), file).head.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("fault", ["now", "check_now", "local"])
@pytest.mark.parametrize("blocks", [True, False])
def test_a_fault_is_unverifiable(stand, gatekeeper, fault, blocks):
    gatekeeper.faults.add(fault)
    gatekeeper.unverifiable_blocks = blocks
    file = prose(900) if fault == "local" else program(900)
    kind = "text/html" if fault == "local" else KIND
    reply = get(stand, respmod("/a", kind=kind, length=900), file)
    assert reply.head.startswith(b"HTTP/1.1 403") if blocks else reply.status == 204
    assert "unverifiable" in [how for how, *_ in gatekeeper.seen]


def test_a_gate_that_breaks_never_opens_the_door(stand, gatekeeper, monkeypatch):
    monkeypatch.setattr("secondlook.download.gate.gate.BodyGate.feed", lambda *_: 1 / 0)
    assert get(stand, respmod("/a.exe", kind=KIND, length=900), program(900)).head.startswith(b"HTTP/1.1 403")
    gatekeeper.faults |= {"unverifiable", "check", "now"}
    assert get(stand, respmod("/a.exe", kind=KIND, length=900), program(900)).head.startswith(b"HTTP/1.1 403")


def test_a_gateway_that_leaves_in_the_middle_leaves_a_verdict(stand, gatekeeper):
    file = program(400_000)

    async def story():
        gateway = await stand.connect()
        await gateway.send(respmod("/a.exe", kind=KIND, length=400_000) + chunked(file[:1024]) + b"0\r\n\r\n")
        await gateway.head()
        await gateway.send(chunked(file[1024:300_000]))
        reply = await gateway.head()
        await gateway.body(reply, up_to=1000)
        gateway.writer.transport.abort()
        while not gatekeeper.files():
            await asyncio.sleep(0.01)

    stand.run(story())
    [(_, subject, context, _)] = gatekeeper.files()
    assert isinstance(subject, FileSubject)
    assert (subject.size <= 300_000, context.cls) == (True, SubjectClass.DOWNLOAD)
