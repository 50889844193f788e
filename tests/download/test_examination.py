"""Risky files before the engines: found in every wrapping, once, and never taken for looked at when they were not (20 s)."""

import asyncio
import os
import signal
from dataclasses import replace

import psutil
import pytest

from proxykit.gate import LIMITS
from proxykit.samples import EICAR, ENCODERS, gzipped, program, seven, tarred, zipped
from scankit.clamd import MARK, PUA_MARK, Lies
from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.core.scan import YARA
from secondlook.download.body.body_type import declared
from secondlook.download.examination.examination import Examiner
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.spool import SpoolRoom
from secondlook.scan.clamd import ClamdStream
from secondlook.scan.compiling import RuleSource
from secondlook.scan.rule_keeper import RuleKeeper

HIDDEN = b"#!/bin/sh\n" + EICAR + b"\necho more\n"
RULES = 'rule planted { meta: score = 80 strings: $a = "planted" condition: $a }'
WRAPPED = {
    "plain": (HIDDEN, None),
    "gzip-encoded": (gzipped(HIDDEN), "gzip"),
    "br-encoded": (ENCODERS["br"](HIDDEN), "br"),
    "zip": (zipped({"a/b.sh": HIDDEN}), None),
    "zip, gzip-encoded": (gzipped(zipped({"a/b.sh": HIDDEN})), "gzip"),
    "tar.gz": (tarred({"b.sh": HIDDEN}, "w:gz"), None),
    "7z": (seven({"b.sh": HIDDEN}), None),
    "nested": (zipped({"in.tar.gz": tarred({"in.zip": zipped({"b.sh": HIDDEN})}, "w:gz")}), None),
    "behind a program": (program(900, 1) + HIDDEN, None),
}


class Place:
    """An examiner and its disk; `examine` sends a body through a gate and has it examined."""

    def __init__(self, folder, *, limits=LIMITS, **scan):
        self.folder, self.limits = folder, limits
        self.settings = ScanSettings.model_validate(scan)
        self.room = SpoolRoom(folder / "spool", 1 << 30, 256)
        self.examiner = Examiner(ArchiveSettings(time=60), self.settings, folder)

    def gate(self, body, encoding=None, length=True):
        gate = BodyGate(
            declared("application/octet-stream", "attachment; filename=x.exe", "/x"),
            len(body) if length else None,
            encoding,
            replace(
                self.limits,
                copy_up_to=self.examiner.copy_encoded_up_to if encoding else self.examiner.copy_up_to,
            ),
            self.room,
            kinds=frozenset(),
            must_hold=False,
            tap=self.examiner.tap,
        )
        for at in range(0, len(body), 700):
            gate.feed(body[at : at + 700])
            if gate.release:
                gate.released()
        while gate.look.behind:
            gate.look.work()
        gate.end()
        return gate

    async def examine(self, body, encoding=None):
        gate = self.gate(body, encoding)
        examined = await self.examiner.examine(gate, "127.0.0.1")
        reports = [await look for look in examined.scan.looks()]
        known = self.examiner.scan(gate, "127.0.0.1").known()
        if gate.spool is not None:
            await gate.spool.settle()  # what is being written then is closed with the rest
        gate.close()
        return examined, reports, known

    def run(self, body, encoding=None):
        async def work():
            try:
                return await self.examine(body, encoding)
            finally:
                await self.examiner.aclose()

        return asyncio.run(work())


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_file_is_found_in_every_wrapping(tmp_path, kind):
    body, encoding = WRAPPED[kind]
    examined, (report,), known = Place(tmp_path).run(body, encoding)
    assert (report.engine, report.fault, report.skipped) == (YARA, None, None)
    assert {one.signature for one in report.detections} == {"EICAR_Test_File"}
    assert examined.problem is None
    assert known[0].detections == report.detections
    assert known[0].remembered


def test_a_clean_file_is_looked_at_once(tmp_path, monkeypatch):
    place, asked = Place(tmp_path), []
    look = place.examiner.inspector._look

    async def counting(*given):
        asked.append(given)
        return await look(*given)

    monkeypatch.setattr(place.examiner.inspector, "_look", counting)

    async def work():
        first = await place.examine(program(1500, 1))
        again = await place.examine(program(1500, 1))
        await place.examiner.results.settle()
        await place.examiner.aclose()
        return first[1], again[1]

    (first,), (again,) = asyncio.run(work())
    assert (first.detections, first.remembered, again.remembered) == ((), False, True)
    assert len(asked) == 1
    later = Place(tmp_path)
    monkeypatch.setattr(later.examiner.inspector, "_look", None)
    assert later.run(program(1500, 1))[1][0].remembered


def compiled(folder, text=RULES):
    path = folder / "given.yar"
    path.write_text(text)
    keeper = RuleKeeper(folder, lambda: [RuleSource("given.yar", path)], lambda: 1.9e9, lambda _: None)
    assert asyncio.run(keeper.look()).error is None
    return str(path)


def test_rules_of_the_operator_look_too_and_at_what_streams(tmp_path):
    rules = compiled(tmp_path)
    place = Place(tmp_path, yara={"rules": [rules], "max_bytes": 9000})
    body = program(4000, 2) + b"planted" + program(4000, 3)
    assert len(body) > LIMITS.hold_up_to
    _, (report,), _ = place.run(body)
    assert [one.signature for one in report.detections] == ["planted"]
    assert report.signatures_at == 1.9e9


def test_what_is_too_large_for_the_rules_is_unverifiable_where_there_are_any(tmp_path):
    rules = compiled(tmp_path)
    body = program(9100, 2)
    _, (report,), _ = Place(tmp_path, yara={"rules": [rules], "max_bytes": 9000}).run(body)
    assert report.fault == "larger than scan.yara.max_bytes"
    _, (courtesy,), known = Place(tmp_path / "other").run(body)
    assert known[0].skipped == courtesy.skipped  # without waiting for anybody
    assert (courtesy.fault, courtesy.skipped) == (None, "larger than downloads.archives.max_bytes")


def test_rules_that_are_not_compiled_yet_have_not_looked(tmp_path):
    place = Place(tmp_path, yara={"rules": [str(tmp_path / "given.yar")]})
    for body in (program(900, 1), zipped({"a": b"b"})):
        _, (report,), _ = Place(tmp_path, yara={"rules": [str(tmp_path / "given.yar")]}).run(body)
        assert report.fault == "its rules are not compiled"
    asyncio.run(place.examiner.aclose())


@pytest.mark.parametrize("blow", ["killed", "slow"])
def test_a_reader_that_dies_or_hangs_has_not_looked_and_the_next_does(tmp_path, blow, monkeypatch):
    """Rules of an operator that break the reader leave the file unverifiable; only the next file has another."""
    rules = compiled(tmp_path)
    place = Place(tmp_path, yara={"rules": [rules], "timeout": 1})
    place.examiner.inspector.time_s = 1
    inspector = place.examiner.inspector
    stopped = []

    async def work():
        await place.examine(program(900, 1))  # the reader runs
        ask = type(inspector._idle[-1]).ask

        async def struck(reader, *given):
            child = psutil.Process(reader._child.pid)  # other tests of this process may have readers too
            child.send_signal(signal.SIGKILL if blow == "killed" else signal.SIGSTOP)
            stopped.append(child)
            return await ask(reader, *given)

        with monkeypatch.context() as patch:
            patch.setattr(type(inspector._idle[-1]), "ask", struck)
            patch.setattr("secondlook.download.examination.inspector.GRACE_S", 0.2)
            patch.setattr(inspector, "_limits", replace(inspector._limits, time_s=0.5))
            _, (broken,), known = await place.examine(program(900, 2))
        _, (after,), _ = await place.examine(program(900, 3) + b"planted")
        await place.examiner.aclose()
        return broken, known, after

    broken, known, after = asyncio.run(work())
    assert stopped
    assert broken.fault.startswith(("cannot be read: ", "longer than 1.5 s"))
    assert known is None
    assert [one.signature for one in after.detections] == ["planted"]


def test_an_archive_that_cannot_be_opened_was_not_shown_whole(tmp_path):
    rules = compiled(tmp_path)
    broken = zipped({"a": os.urandom(900)})[:-300]
    examined, (report,), _ = Place(tmp_path, yara={"rules": [rules]}).run(broken)
    assert examined.problem == report.fault
    assert report.fault.startswith("archive cannot be read")


@pytest.mark.parametrize("size", ["held", "streamed"])
@pytest.mark.parametrize("encoding", [None, *ENCODERS])
def test_clamd_sees_what_a_client_gets(tmp_path, clamd, encoding, size):
    body = program(900 if size == "held" else 9000, 3) + MARK
    sent = ENCODERS[encoding](body) if encoding else body
    _, (_, report), known = Place(tmp_path, clamd=clamd.address).run(sent, encoding)
    assert [one.signature for one in report.detections] == ["Own.Mark"]
    assert known[1].detections == report.detections
    _, (_, clean), _ = Place(tmp_path, clamd=clamd.address).run(program(9000, 4))
    assert (clean.fault, clean.detections) == (None, ())


@pytest.mark.parametrize("hidden", [MARK, b"nothing"])
def test_a_mild_finding_in_what_came_does_not_hide_what_it_decodes_to(tmp_path, clamd, hidden):
    skipped = b"\x50\x2a\x4d\x18" + len(PUA_MARK).to_bytes(4, "little") + PUA_MARK  # a frame of no content
    sent = skipped + ENCODERS["zstd"](b"MZ a program. " * 60 + hidden)
    _, (_, report), known = Place(tmp_path, clamd=clamd.address).run(sent, "zstd")
    assert report.fault is None
    assert [one.signature for one in report.detections] == ["PUA.Own.Mark"] + ["Own.Mark"] * (hidden is MARK)
    assert known[1].detections == report.detections


def test_what_is_dangerous_as_it_came_is_not_sent_again(tmp_path, liar):
    liar.lies = Lies(answer=b"stream: Bad.Thing FOUND\0")
    _, (_, report), _ = Place(tmp_path, clamd=liar.address).run(gzipped(program(900, 3)), "gzip")
    assert [one.signature for one in report.detections] == ["Bad.Thing"]
    assert len(liar.files) == 1


def test_what_streams_goes_to_clamd_as_it_comes(tmp_path, liar):
    body = program(9000, 3)

    async def work():
        place = Place(tmp_path, clamd=liar.address)
        gate = place.gate(body)
        assert gate.spool is None
        assert isinstance(gate.tap, ClamdStream)
        while not gate.tap.failed and gate.tap._waiting:
            await asyncio.sleep(0.01)
        examined = await place.examiner.examine(gate, None)
        reports = [await look for look in examined.scan.looks()]
        gate.close()
        await place.examiner.aclose()
        return reports

    _, report = asyncio.run(work())
    assert (report.fault, liar.files) == (None, [body])


def test_a_held_file_that_is_known_is_not_sent_again(tmp_path, liar):
    async def work():
        place = Place(tmp_path, clamd=liar.address)
        first = await place.examine(program(900, 3))
        again = await place.examine(program(900, 3))
        liar.lies = Lies(version=b"ClamAV 1.4.3/27501/Tue Jan  6 10:00:00 2026\0")
        await place.examiner.clamd.ask_version()
        newer = await place.examine(program(900, 3))
        await place.examiner.aclose()
        return [reports[1].remembered for _, reports, _ in (first, again, newer)]

    assert asyncio.run(work()) == [False, True, False]
    assert len(liar.files) == 2


def test_a_stream_that_is_cut_is_sent_again_from_its_copy(tmp_path, liar):
    rules = compiled(tmp_path)  # for which a copy is made
    body = program(9000, 3)
    liar.lies = Lies(close_after_bytes=2000)

    async def work():
        place = Place(tmp_path, clamd=liar.address, yara={"rules": [rules]})
        gate = place.gate(body)
        while not liar.cut:
            await asyncio.sleep(0.01)
        liar.lies = Lies()
        examined = await place.examiner.examine(gate, None)
        reports = [await look for look in examined.scan.looks()]
        gate.close()
        await place.examiner.aclose()
        return reports

    _, report = asyncio.run(work())
    assert (report.fault, liar.files) == (None, [body])


@pytest.mark.parametrize("size", [900, 9000])
def test_a_daemon_that_is_away_has_not_looked(tmp_path, size):
    _, (_, report), known = Place(tmp_path, clamd=str(tmp_path / "none.ctl")).run(program(size, 3))
    assert report.fault == "no connection (No such file or directory)"
    assert known is None


def test_an_encoded_body_that_is_no_such_thing_was_not_seen(tmp_path, liar):
    broken = gzipped(program(900, 3))[:-200]
    examined, (_, report), _ = Place(tmp_path, clamd=liar.address).run(broken, "gzip")
    assert examined.problem is not None
    assert report.fault == "its content encoding is broken"


@pytest.mark.parametrize("body", [program(5000, 1), zipped({"a/b.sh": HIDDEN})], ids=["program", "zip"])
def test_without_yara_x_nothing_is_open_and_nothing_waits(tmp_path, no_yara, body):
    examined, (report,), known = Place(tmp_path).run(body)
    assert examined.problem is None
    assert bool(examined.members) is body.startswith(b"PK")
    assert (report.fault, report.skipped) == (None, "the extra `yara` is not installed")
    assert known == [report]


def test_without_yara_x_clamd_looks(tmp_path, no_yara, liar):
    liar.lies = Lies(answer=b"stream: Bad.Thing FOUND\0")
    _, (skipped, found), known = Place(tmp_path, clamd=liar.address).run(program(5000, 1))
    assert skipped.skipped == "the extra `yara` is not installed"
    assert [one.signature for one in found.detections] == ["Bad.Thing"]
    assert [one.engine for one in known] == ["yara", "clamd"]
