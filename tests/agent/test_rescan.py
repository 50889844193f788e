"""Files are looked into again: nothing flagged for want of an engine is cleared without one, and what is found counts."""

import asyncio
import hashlib
import json
from dataclasses import replace

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.actions.file_search import index_files
from secondlook.agent.check.groups import Policies
from secondlook.agent.recheck import rescan as module
from secondlook.agent.recheck.rechecker import PassReport, Rechecker
from secondlook.agent.recheck.renewal import Renewal
from secondlook.agent.recheck.rescan import Rescan
from secondlook.config.query import RecheckSettings
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.rules.policy import Level, Policy
from secondlook.core.scan import Detection, EngineReport
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Risk, Stage, SubjectClass

from agentkit.engines import FakeEngine, FakeScan  # isort: skip

BODY = b"MZ a program that was let through"
DIGEST = hashlib.sha256(BODY).digest()
FILE = FileSubject((DIGEST,), size=len(BODY), filename="setup.exe")
URL = "http://files.test/setup.exe"
USE = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url=URL, method="GET")
FOUND = EngineReport("clamd", "2", (Detection("clamd", "Bad.Thing", Risk.DANGEROUS),))
NOTHING = EngineReport("clamd", "2")
AWAY = EngineReport("clamd", fault="away: no connection")
MILD = EngineReport("yara", "1", (Detection("yara", "Odd.Thing", Risk.SUSPICIOUS),))


class FakeScanner:
    """Engines that say `report` about every file, and what they said before."""

    def __init__(self):
        self.wanted = ["clamd"]
        self.report = NOTHING
        self.before = {}
        self.known_versions = {"clamd": "2"}
        self.asked = []

    async def versions(self):
        return dict(self.known_versions)

    async def recall(self, digest):
        return self.before.get(digest, {})

    async def scan(self, file, digest):
        self.asked.append(file.read())
        reports = [MILD, self.report] if "yara" in self.wanted else [self.report]
        self.before[digest] = {report.engine: report for report in reports if report.lasting}
        return reports


class Place:
    """A house whose second look has files looked into, and a download folder."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "downloads"
        self.folder.mkdir()
        self.mark = tmp_path / "scan" / "history.json"
        self.house = House(FakeServer(Tier.INTRANET))
        self.scanner = FakeScanner()
        house = self.house
        self.rescan = Rescan(
            self.scanner, house.ledger.history, house.enforcement, house.clock,
            folders=(self.folder,), mark=self.mark, history_s=7 * 86_400.0,
        )  # fmt: skip
        self.batch_check = house.rechecker._batch_check
        self.renewal = Renewal(
            self.batch_check, house.ledger.confirmed, house.clock, still_found=self.rescan.still_found
        )
        self.rechecker = Rechecker(
            self.batch_check, house.ledger.queue, house.enforcement, self.renewal, house.clock, RecheckSettings(),
            random=lambda: 0.5, complete=self.rescan.complete,
        )  # fmt: skip

    def save(self, body=BODY, name="setup.exe"):
        (self.folder / name).write_bytes(body)

    def flag(self):
        engine = FakeEngine(mode="fault")
        decision = self.house.run(self.house.gatekeeper.check(FILE, USE, scan=FakeScan([engine])))
        assert decision.evidence.unverifiable == "scan: clamd: no connection"

    def allow(self):
        self.house.run(self.house.gatekeeper.check(FILE, USE, scan=FakeScan([FakeEngine()])))

    def look(self):
        return self.house.run(self.rechecker.look(everything=True))

    def kinds(self):
        return [event.kind for event in self.house.ledger.recorded]


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.house.close()


def waiting(place):
    return place.house.ledger.waiting.get(DIGEST)


def test_what_lies_in_a_download_folder_is_looked_into_and_cleared(place):
    place.flag()
    place.save()
    report = place.look()
    assert (report.cleared, place.scanner.asked) == (1, [BODY])
    assert waiting(place) is None


def test_what_is_found_then_is_confirmed(place):
    place.flag()
    place.save()
    place.scanner.report = FOUND
    assert place.look().confirmed == 1
    entry = place.house.ledger.confirmed_set[DIGEST]
    assert (entry.list, entry.source, entry.risk) == ("clamd", "clamd", "dangerous")
    assert EventKind.CONFIRMED in place.kinds()
    decision = place.house.run(place.house.gatekeeper.check(FILE, USE))
    assert decision.evidence.stage is Stage.CONFIRMED


@pytest.mark.parametrize("saved", [None, b"MZ a program that was let thorough"])
def test_what_is_not_found_stays_flagged_whatever_servers_say(place, saved):
    place.flag()
    if saved is not None:
        assert len(saved) != len(BODY) or hashlib.sha256(saved).digest() != DIGEST
        place.save(saved)
    report = place.look()
    assert (report.cleared, report.unverifiable) == (0, 1)
    assert waiting(place) is not None
    assert place.scanner.asked == []


def test_an_engine_that_is_still_away_leaves_it_flagged(place):
    place.flag()
    place.save()
    place.scanner.report = EngineReport("clamd", fault="away: no connection")
    assert place.look().unverifiable == 1
    assert waiting(place) is not None
    place.scanner.report = NOTHING
    place.house.sleep(3600)
    assert place.look().cleared == 1


@pytest.fixture(params=["an engine", "a server"])
def mild(request, place):
    """A place where only something mild is known of a flagged file, while clamd is away."""
    place.scanner.report = AWAY
    place.scanner.known_versions = {"yara": "1"}
    if request.param == "an engine":
        place.scanner.wanted = ["yara", "clamd"]
        place.scanner.before[DIGEST] = {"yara": MILD}
    place.flag()
    if request.param == "a server":
        place.house.servers[0].listed[DIGEST] = Risk.SUSPICIOUS
        place.house.sleep(7200)  # what it said before is old by then
    return place


@pytest.mark.parametrize("saved", [False, True])
def test_what_is_not_blocked_ends_no_wait_for_an_engine(mild, saved):
    """It could be the mildest of what is wrong with the file."""
    if saved:
        mild.save()
    report = mild.look()
    assert (report.confirmed, report.cleared, report.unverifiable) == (0, 0, 1)
    assert waiting(mild) is not None
    mild.save()
    mild.scanner.report = FOUND
    mild.house.sleep(7200)
    assert mild.look().confirmed == 1
    assert mild.house.ledger.confirmed_set[DIGEST].risk == "dangerous"


def test_what_is_mild_counts_once_everybody_has_looked(mild):
    mild.save()
    mild.scanner.report = NOTHING
    assert mild.look().confirmed == 1
    assert mild.house.ledger.confirmed_set[DIGEST].risk == "suspicious"


def test_what_the_policy_blocks_waits_for_nobody(mild):
    mild.house.view.replace(policies=Policies(Policy(level=Level.HIGH)))
    assert mild.look().confirmed == 1
    assert mild.scanner.asked == []


def test_a_silent_server_is_waited_for_where_engines_found_something_mild(place):
    place.scanner.wanted = ["yara", "clamd"]
    place.flag()
    place.save()
    place.house.servers[0].mode = "down"
    place.house.sleep(7200)
    assert place.look().unverifiable == 1
    assert place.scanner.asked == [BODY]
    place.house.servers[0].mode = "up"
    place.house.sleep(7200)
    assert place.look().confirmed == 1


def test_the_same_file_that_came_again_and_was_looked_into_clears_it(place):
    place.flag()
    place.scanner.before[DIGEST] = {"clamd": NOTHING}
    assert place.look().cleared == 1
    assert place.scanner.asked == []


@pytest.mark.parametrize(("later_s", "cleared"), [(-1.0, 0), (1.0, 1)])
def test_what_older_signatures_did_not_find_before_it_was_flagged_is_no_look(place, later_s, cleared):
    place.flag()
    flagged_at = waiting(place).last_seen
    place.scanner.before[DIGEST] = {"clamd": replace(NOTHING, version="1", kept_at=flagged_at + later_s)}
    assert place.look().cleared == cleared
    place.save()
    place.house.sleep(7200)
    place.look()
    assert place.scanner.asked == [BODY] * (1 - cleared)
    assert waiting(place) is None


def test_a_server_that_is_silent_keeps_it_flagged_but_no_finding_back(place):
    place.flag()
    place.save()
    place.house.servers[0].mode = "down"
    place.house.cache.load(place.house.cache.dump(), now=place.house.clock.now() + 1e9, stale_for_s=0.0)
    place.house.sleep(7200)
    assert place.look().unverifiable == 1
    place.scanner.before.clear()
    place.scanner.report = FOUND
    assert place.look().confirmed == 1


def test_without_engines_servers_decide_alone(place):
    place.flag()
    place.scanner.wanted = []
    assert place.look().cleared == 1


def test_so_many_files_of_one_pass_and_no_more(place, monkeypatch):
    monkeypatch.setattr(module, "MOST_AT_ONCE", 0)
    place.flag()
    place.save()
    assert place.look().unverifiable == 1
    assert place.scanner.asked == []


@pytest.mark.parametrize("age_s", [0.0, 40 * 86_400.0], ids=["waiting", "about to expire"])
def test_another_second_look_keeps_off_what_takes_longer_than_its_lease(place, age_s):
    place.flag()
    place.house.sleep(age_s)
    place.save()
    beside = []

    async def scan(_, __):
        for _minute in range(10):
            await asyncio.sleep(60)
            beside.append(await place.house.rechecker.look(everything=True))
        return [NOTHING]

    place.scanner.scan = scan
    assert place.look().cleared == 1
    assert beside == [PassReport()] * 10


def test_a_lease_is_renewed_after_a_fault_too(place, monkeypatch, caplog):
    place.flag()
    place.save()
    queue, beside, faults = place.house.ledger.queue, [], [RuntimeError("planted")]
    renew = queue.renew

    async def stumbling(*entries):
        if faults:
            raise faults.pop()
        await renew(*entries)

    async def scan(_, __):
        for _minute in range(10):
            await asyncio.sleep(60)
            beside.append(await place.house.rechecker.look(everything=True))
        return [NOTHING]

    monkeypatch.setattr(queue, "renew", stumbling)
    place.scanner.scan = scan
    assert place.look().cleared == 1
    assert beside == [PassReport()] * 10
    assert "planted" in caplog.text


def test_a_new_version_looks_at_what_was_let_through(place):
    place.allow()
    place.save()
    place.scanner.report = FOUND
    assert place.house.run(place.rescan.look_back()) == 1
    assert place.scanner.asked == [BODY]
    assert EventKind.LATE_VERDICT in place.kinds()
    assert place.house.told  # whoever wants to be notified
    entry = place.house.ledger.confirmed_set[DIGEST]
    assert entry.hit == DIGEST
    assert place.house.run(place.rescan.look_back()) >= 0


def test_the_history_is_looked_at_once_for_each_version(place):
    place.allow()
    place.save()

    async def run(for_s):
        task = asyncio.ensure_future(place.rescan.run())
        await asyncio.sleep(for_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    place.house.run(run(100.0))
    assert len(place.scanner.asked) == 1
    assert json.loads(place.mark.read_text()) == {"clamd": "2"}
    place.scanner.known_versions = {}
    place.house.run(run(100.0))
    assert len(place.scanner.asked) == 1  # while it is away nothing is new
    place.scanner.known_versions = {"clamd": "3"}
    place.house.run(run(100.0))
    assert len(place.scanner.asked) == 2


@pytest.mark.parametrize(("back_after", "asked"), [(1, 2), (9, 3)])
def test_what_an_engine_could_not_look_into_is_looked_at_again(place, back_after, asked):
    """It went away in the middle; what it never can look into is not tried for ever."""
    place.allow()
    place.save()
    answers = [EngineReport("clamd", fault="the connection broke")] * back_after + [FOUND]

    async def scan(_, __):
        place.scanner.asked.append(None)
        return [answers.pop(0)]

    place.scanner.scan = scan

    async def run():
        task = asyncio.ensure_future(place.rescan.run())
        await asyncio.sleep(300.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    place.house.run(run())
    assert len(place.scanner.asked) == asked
    assert json.loads(place.mark.read_text()) == {"clamd": "2"}
    assert (EventKind.LATE_VERDICT in place.kinds()) == (back_after == 1)


def test_a_mild_finding_in_the_history_does_not_stand_for_an_engine_that_gave_no_answer(place):
    place.allow()
    place.save()
    place.scanner.wanted = ["yara", "clamd"]
    place.scanner.report = AWAY
    assert place.house.run(place.rescan.look_back()) == 0
    assert place.rescan._not_looked == 1
    place.scanner.report = FOUND
    assert place.house.run(place.rescan.look_back()) == 1
    assert place.rescan._not_looked == 0
    assert place.house.ledger.confirmed_set[DIGEST].risk == "dangerous"


def test_what_is_no_longer_found_by_newer_signatures_is_withdrawn(place):
    place.flag()
    place.save()
    place.scanner.report = FOUND
    place.look()
    place.house.sleep(2 * 86_400.0)
    place.look()
    assert DIGEST in place.house.ledger.confirmed_set  # servers do not list it, and never did
    place.scanner.before.clear()
    place.house.sleep(2 * 86_400.0)
    place.look()
    assert DIGEST in place.house.ledger.confirmed_set  # nobody has said otherwise
    place.scanner.before[DIGEST] = {"clamd": NOTHING}
    place.house.sleep(2 * 86_400.0)
    place.house.run(place.rechecker.look(everything=True, renew_all=True))
    assert DIGEST not in place.house.ledger.confirmed_set
    assert EventKind.WITHDRAWN in place.kinds()


def test_links_out_of_the_folder_are_not_followed(place, tmp_path):
    (tmp_path / "elsewhere").write_bytes(BODY)
    (place.folder / "link").symlink_to(tmp_path / "elsewhere")
    assert index_files([place.folder]).find(DIGEST, len(BODY)) is None
    place.save()
    found = index_files([place.folder]).find(DIGEST, len(BODY))
    assert found.path.name == "setup.exe"
    found.close()
