"""Files of this machine before the engines: archives and others, once for each version (10 s)."""

import asyncio
import hashlib

from proxykit.samples import EICAR, program, zipped
from scankit.clamd import Lies, real_clamd
from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.download.examination.file_scanner import FileScanner


def scanning(tmp_path, work, **scan):
    async def run():
        scanner = FileScanner(ArchiveSettings(time=60), ScanSettings.model_validate(scan), tmp_path)
        try:
            return await work(scanner)
        finally:
            await scanner.aclose()

    return asyncio.run(run())


async def look(scanner, tmp_path, body):
    path = tmp_path / "file"
    path.write_bytes(body)
    with path.open("rb") as file:
        return await scanner.look_into(file, hashlib.sha256(body).digest())


def test_an_archive_is_looked_into_and_another_file_is_none(tmp_path):
    async def work(scanner):
        packed = await look(scanner, tmp_path, zipped({"a/b": EICAR + b"more"}))
        plain = await look(scanner, tmp_path, b"text" * 100)
        return packed, plain

    ((yara,), inside), ((clean,), nothing) = scanning(tmp_path, work)
    assert [(one.signature, one.member) for one in yara.detections] == [("EICAR_Test_File", "a/b")]
    assert [label for label, _ in inside.members] == ["member:a/b"]
    assert (clean.fault, clean.detections, nothing.problem, nothing.members) == (None, (), None, ())


def test_what_was_found_is_known_to_the_second_look(tmp_path, liar):
    liar.lies = Lies(answer=b"stream: Bad.Thing FOUND\0")
    body = program(5000, 1)
    digest = hashlib.sha256(body).digest()

    async def work(scanner):
        assert await scanner.recall(digest) == {}
        reports, _ = await look(scanner, tmp_path, body)
        again, _ = await look(scanner, tmp_path, body)
        await scanner.results.settle()
        return reports, again, await scanner.recall(digest), await scanner.versions(), scanner.wanted

    reports, again, known, versions, wanted = scanning(tmp_path, work, clamd=liar.address)
    assert [one.signature for one in reports[1].detections] == ["Bad.Thing"]
    assert again[1].remembered
    assert liar.files == [body]
    assert known["clamd"].detections == reports[1].detections
    assert set(versions) == {"yara", "clamd"}
    assert versions["clamd"].startswith("ClamAV 1.4.3/27500")
    assert wanted == ("clamd",)


def test_an_engine_that_is_away_has_no_version_and_has_not_looked(tmp_path):
    async def work(scanner):
        reports, _ = await look(scanner, tmp_path, b"x")
        return reports[1], await scanner.versions()

    report, versions = scanning(tmp_path, work, clamd=str(tmp_path / "none"))
    assert report.fault.startswith("no connection")
    assert set(versions) == {"yara"}


def test_rules_that_are_not_compiled(tmp_path):
    async def work(scanner):
        reports, inside = await look(scanner, tmp_path, zipped({"a": b"b"}))
        return reports, inside, await scanner.versions(), scanner.wanted

    (report,), inside, versions, wanted = scanning(tmp_path, work, yara={"rules": [str(tmp_path / "a.yar")]})
    assert report.fault == "its rules are not compiled"
    assert inside.members
    assert (versions, wanted) == ({}, ("yara",))


def test_without_yara_x_an_archive_is_looked_into_all_the_same(tmp_path, no_yara):
    async def work(scanner):
        reports, inside = await look(scanner, tmp_path, zipped({"a/b": EICAR + b"more"}))
        return reports, inside, await scanner.versions(), scanner.wanted

    (report,), inside, versions, wanted = scanning(tmp_path, work)
    assert (report.fault, report.skipped) == (None, "the extra `yara` is not installed")
    assert [label for label, _ in inside.members] == ["member:a/b"]
    assert (versions, wanted) == ({}, ())


def test_own_signatures_that_changed_are_noticed_within_an_hour(tmp_path):
    """A daemon without a database number: what it said holds no longer, and the second look hears of it."""
    body = program(5000, 2) + b"a mark that comes later"
    now = [7200.0]

    with real_clamd() as daemon:

        async def work(scanner):
            scanner.clamd._now = lambda: now[0]
            (_, before), _ = await look(scanner, tmp_path, body)
            version = await scanner.versions()
            with (daemon.database / "own.ndb").open("a") as signatures:
                signatures.write(f"Own.Later:0:*:{b'a mark that comes later'.hex()}\n")
            assert daemon.command(b"zRELOAD\0") == b"RELOADING\0"
            while not (await scanner.clamd.scan(pieces(body))).detections:
                await asyncio.sleep(0.05)
            (_, kept), _ = await look(scanner, tmp_path, body)
            assert await scanner.versions() == version
            now[0] += 3600.0
            (_, after), _ = await look(scanner, tmp_path, body)
            return before, kept, after, version, await scanner.versions()

        before, kept, after, version, other = scanning(tmp_path, work, clamd=daemon.address)
    assert (before.detections, kept.detections, kept.remembered) == ((), (), True)
    assert [one.signature for one in after.detections] == ["Own.Later"]
    assert version["clamd"] != other["clamd"]
    assert version["clamd"].startswith("ClamAV ")


async def pieces(data):
    yield data
