"""ClamAV's daemon: the real one with a database of our own, stopped, killed and back; and one that lies (25 s)."""

import asyncio
import signal
import socket

import pytest

from proxykit.samples import EICAR, gzipped, tarred, zipped
from scankit.clamd import MARK, PUA_MARK, STREAM_MAX_BYTES, WHOLE, YARA_MARK, Lies, real_clamd
from secondlook.config.scan import ClamdSettings
from secondlook.core.verdict import Risk
from secondlook.scan.clamd import BACKLOG_BYTES, Clamd, ClamdStream
from secondlook.scan.clamd_wire import ClamdError

MIB = 1 << 20
PIECE = 64 << 10


async def pieces(data):
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]


def asking(address, work, **settings):
    """Run `work` with a client; give its result and what was told meanwhile."""

    async def run():
        told = []
        clamd = Clamd(ClamdSettings(address=address, **settings), on_change=told.append, draw=lambda: 0.0)
        try:
            return await work(clamd), told
        finally:
            await clamd.aclose()

    return asyncio.run(run())


def scan(address, data, **settings):
    return asking(address, lambda clamd: clamd.scan(pieces(data)), **settings)[0]


@pytest.mark.parametrize(
    ("data", "signature", "risk"),
    [
        (b"before" * 100 + MARK + b"after", "Own.Mark", Risk.DANGEROUS),
        (b"before" * 100 + PUA_MARK, "PUA.Own.Mark", Risk.SUSPICIOUS),
        (YARA_MARK * 2, "YARA.Own_Rule", Risk.DANGEROUS),
        (WHOLE, "Own.Digest", Risk.DANGEROUS),
        (zipped({"a/b": MARK}), "Own.Mark", Risk.DANGEROUS),
        (tarred({"a": zipped({"b": MARK})}, "w:gz"), "Own.Mark", Risk.DANGEROUS),
        (gzipped(WHOLE), "Own.Digest", Risk.DANGEROUS),
    ],
)
def test_what_its_signatures_know_is_found(clamd, data, signature, risk):
    report = scan(clamd.address, data)
    assert [(one.engine, one.signature, one.risk) for one in report.detections] == [
        ("clamd", signature, risk)
    ]
    assert report.fault is None
    assert report.version.startswith("ClamAV ")


@pytest.mark.parametrize("data", [b"", b"x", bytes(3 * MIB), EICAR])
def test_nothing_else_is(clamd, data):
    report = scan(clamd.address, data)
    assert (report.detections, report.fault) == ((), None)


def test_a_file_at_the_limit_of_the_settings_and_one_past_it(clamd):
    assert scan(clamd.address, bytes(1000), max_bytes=1000).fault is None
    assert scan(clamd.address, bytes(1001), max_bytes=1000).fault == "larger than scan.clamd.max_bytes"


def test_a_file_that_is_too_large_for_the_daemon(clamd):
    assert scan(clamd.address, bytes(STREAM_MAX_BYTES)).fault is None
    fault = scan(clamd.address, bytes(STREAM_MAX_BYTES + 4 * MIB)).fault
    assert "StreamMaxLength" in fault
    _, told = asking(clamd.address, lambda one: _often(one, bytes(STREAM_MAX_BYTES + MIB), 4))
    assert told == []  # it is no less there for that


async def _often(clamd, data, times):
    return [await clamd.scan(pieces(data)) for _ in range(times)]


def test_many_files_at_a_time(clamd):
    async def work(client):
        bodies = [b"x" * number * 1000 + (MARK if number % 2 else b"") for number in range(30)]
        return await asyncio.gather(*(client.scan(pieces(body)) for body in bodies))

    reports, _ = asking(clamd.address, work)
    assert [bool(report.detections) for report in reports] == [bool(number % 2) for number in range(30)]
    assert not any(report.fault for report in reports)


def test_memory_stays_flat_while_a_file_comes_faster_than_it_is_taken(liar):
    liar.lies = Lies(reads=False)

    async def work(client):
        stream = ClamdStream(client)
        stream.feed(bytes(BACKLOG_BYTES))
        assert not stream.congested
        stream.feed(b"x")
        assert stream.congested
        waiting = asyncio.ensure_future(stream.settle())
        await asyncio.sleep(0)
        assert not waiting.done()
        report = await stream.end()
        await waiting
        assert not stream.congested
        stream.feed(bytes(MIB))
        assert not stream.congested  # nothing is kept of it any more
        stream.close()
        return report

    report, _ = asking(liar.address, work, timeout=0.5)
    assert report.fault == "no answer within 0.5 s"


def test_a_daemon_that_is_killed_and_comes_back():
    with real_clamd() as daemon:

        async def work(client):
            assert (await client.scan(pieces(MARK))).detections
            version = client.version
            stream = ClamdStream(client)
            stream.feed(bytes(MIB))
            await stream.settle()
            await asyncio.to_thread(daemon.stop)
            cut = await stream.end()
            stream.close()
            while client.trouble is None:
                assert (await client.scan(pieces(MARK))).fault is not None
            refused = client.begin()
            await asyncio.to_thread(daemon.start)
            while client.trouble is not None:
                await asyncio.sleep(0.02)
            after = await client.scan(pieces(MARK))
            return version, cut, refused, after

        (version, cut, refused, after), told = asking(daemon.address, work)
    assert version.startswith("ClamAV")
    assert cut.fault
    assert refused.startswith("away: no connection")
    assert after.detections
    assert told[0].startswith("no connection")
    assert told[1:] == [None]


def test_a_daemon_that_hangs_is_not_waited_for_for_ever():
    with real_clamd() as daemon:

        async def work(client):
            daemon.send(signal.SIGSTOP)
            hanging = await _often(client, MARK, 4)
            daemon.send(signal.SIGCONT)
            while client.trouble is not None:
                await asyncio.sleep(0.02)
            return hanging

        hanging, told = asking(daemon.address, work, timeout=0.5)
    silent = "no answer within 0.5 s"
    assert [report.fault for report in hanging] == [silent, silent, silent, f"away: {silent}"]
    assert told == [silent, None]


@pytest.mark.parametrize(
    ("lies", "told"),
    [
        (Lies(answer=None), "no answer within 0.3 s"),
        (Lies(reads=False), "no answer within 0.3 s"),
        (Lies(version=b"hello\0"), "no version of clamd's: hello"),
        (Lies(version=b""), "it closed without an answer"),
        (Lies(version=None), "no answer within 0.3 s"),
        (Lies(answer=b""), "it closed without an answer"),
        (Lies(answer=b"stream: O"), "it ended its answer in the middle"),
        (Lies(answer=b"stream: OK\0OK\0"), "it ended its answer in the middle"),
        (Lies(answer=b"x" * 100_000), "it ended its answer in the middle"),
        (Lies(answer=b"garbage\0"), "no answer of clamd's: garbage"),
        (Lies(after_bytes=2 * PIECE), "it answered before it had the whole file"),
        (
            Lies(after_bytes=2 * PIECE, answer=b"stream: Bad FOUND\0"),
            "it answered before it had the whole file",
        ),
        (Lies(after_bytes=2 * PIECE, answer=b"garbage\0"), "no answer of clamd's: garbage"),
        (Lies(after_bytes=2 * PIECE, answer=b"INSTREAM size limit exceeded. ERROR\0"), "StreamMaxLength"),
        (Lies(close_after_bytes=2 * PIECE), "it closed"),
    ],
)
def test_a_daemon_that_lies_has_not_looked(liar, lies, told):
    liar.lies = lies

    async def work(client):
        async def slowly():  # so that what comes in the middle is there before the end
            for _ in range(3):
                yield bytes(PIECE)
            while (lies.after_bytes or lies.close_after_bytes) and not (liar.early or liar.cut):
                await asyncio.sleep(0.01)

        return await client.scan(slowly())

    silent = lies.answer is None or lies.version is None or not lies.reads
    report, _ = asking(liar.address, work, timeout=0.3 if silent else 60)
    assert told in report.fault
    assert report.detections == ()


def test_a_daemon_that_closes_with_bytes_unread_is_not_away():
    """Its end is then a reset: it may have had enough of this file, and is asked about the next."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.send(b"a piece of the file")
        theirs.close()
        with pytest.raises(ClamdError, match="StreamMaxLength") as closed:
            ClamdStream._refuse_early_answer(ours)
    assert not closed.value.away


def test_an_answer_in_single_bytes_is_an_answer(liar):
    liar.lies = Lies(byte_by_byte=True)
    report = scan(liar.address, b"the file")
    assert (report.fault, report.signatures_at) == (None, 1767607200.0)
    assert liar.files == [b"the file"]


def test_a_new_database_is_another_version(liar):
    async def work(client):
        first = (await client.scan(pieces(b"x"))).version
        liar.lies = Lies(version=b"ClamAV 1.4.3/27501/Tue Jan  6 10:00:00 2026\0")
        await client.ask_version()
        return first, (await client.scan(pieces(b"x"))).version

    (first, second), _ = asking(liar.address, work)
    assert (first.split("/")[1], second.split("/")[1]) == ("27500", "27501")


def test_a_database_that_changes_while_a_file_is_looked_into_leaves_open_which_it_was(liar):
    async def work(client):
        async def meanwhile():
            yield b"x"
            while client.known is None:
                await asyncio.sleep(0.01)
            liar.lies = Lies(version=b"ClamAV 1.4.3/27501/Tue Jan  6 10:00:00 2026\0")
            await client.ask_version()
            yield b"y"

        return await client.scan(meanwhile())

    report, _ = asking(liar.address, work)
    assert (report.fault, report.version, report.lasting) == (None, None, False)


def test_without_a_database_number_results_hold_for_an_hour(liar):
    liar.lies = Lies(version=b"ClamAV 1.4.3\0")
    now = [7200.0]

    async def work():
        client = Clamd(ClamdSettings(address=liar.address), now=lambda: now[0])
        await client.ask_version()
        names = [client.version]
        for moment in (10_799.0, 10_800.0):
            now[0] = moment
            names.append(client.version)
        await client.aclose()
        return names

    first, same, later = asyncio.run(work())
    assert first == same != later


def test_after_it_was_away_a_daemon_without_a_number_may_have_other_signatures(liar):
    liar.lies = Lies(version=b"ClamAV 1.4.3\0")
    now = [7200.0]

    async def work():
        client = Clamd(ClamdSettings(address=liar.address), now=lambda: now[0], draw=lambda: 0.0)
        await client.ask_version()
        before = client.version
        while client.trouble is None:
            client.heard(ClamdError("planted"))
        now[0] += 5
        while client.trouble is not None:
            await asyncio.sleep(0.01)
        after = client.version
        await client.aclose()
        return before, after

    before, after = asyncio.run(work())
    assert before != after


def test_files_beyond_the_number_that_may_be_on_their_way(liar, monkeypatch):
    monkeypatch.setattr("secondlook.scan.clamd.MOST_STREAMS", 2)

    async def work(client):
        streams = [client.begin() for _ in range(3)]
        streams[0].close()
        streams[0].close()
        again = client.begin()
        for stream in (streams[1], again):
            stream.close()
        return streams[2], again

    (refused, again), _ = asking(liar.address, work)
    assert refused == "more than 2 files at a time"
    assert isinstance(again, ClamdStream)


def test_a_network_address():
    async def nobody(client):
        return await client.scan(pieces(b"x"))

    report, _ = asking("127.0.0.1:1", nobody)
    assert report.fault == "no connection (Connection refused)"
