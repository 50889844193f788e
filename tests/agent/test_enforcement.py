"""In which order things happen to what turns out bad, and what happens to whom."""

from dataclasses import replace

import pytest

from agentkit.house import House
from agentkit.ledger import FakeLedger
from agentkit.servers import FakeServer
from ledgerkit.samples import make_rule
from secondlook.agent.actions.enforcement import Enforcement, FileOutcome, clients_of
from secondlook.agent.check.groups import Policies
from secondlook.agent.check.view import REBLOCK
from secondlook.core.answer import Tier
from secondlook.core.event import Event, EventKind, FlagEntry
from secondlook.core.rules.policy import Level, Policy
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.url.address import is_loopback
from secondlook.core.verdict import Evidence, Risk, Stage, SubjectClass, Threat, Verdict
from secondlook.ground.errors import LedgerError

URL = "http://files.test/late.exe"
FILE = b"f" * 32


class Folder:
    """Stands for the download folders: notes what every worker would refuse at the moment of the action."""

    ledger: FakeLedger

    def __init__(self) -> None:
        self.refused_then: set[tuple[bytes, str | None]] | None = None
        self.told_then: list[EventKind] | None = None
        self.asked: list[bytes] = []
        self.breaks = False

    async def act(self, entry):
        self.refused_then = {(each.hit, each.source) for each in self.ledger.snapshots.confirmed()}
        self.told_then = [event.kind for event in (*self.ledger.log, *self.ledger.pending)]
        self.queued_then = len(self.ledger.queue.rows)
        self.asked.append(entry.identity)
        if self.breaks:
            raise RuntimeError("planted")
        return [FileOutcome("quarantine", True, "put away")]


@pytest.fixture
def folder():
    return Folder()


@pytest.fixture
def house(folder):
    house = House(FakeServer(Tier.INTRANET))
    house.files = folder
    house.start()
    folder.ledger = house.ledger
    yield house
    house.close()


def let_through(house, identity=FILE, kind=SubjectKind.FILE, client="127.0.0.1", url=URL):
    """What the history remembers of something."""
    file = kind is SubjectKind.FILE
    return FlagEntry(
        identity=identity, kind=kind, cls=SubjectClass.DOWNLOAD if file else SubjectClass.PAGE, hashes=(identity,),
        url=url, host="files.test", client=client, time=house.clock.now(), reason="unverified",
        sha256=identity.hex() if file else None,
    )  # fmt: skip


def flag(house, *clients, **options):
    """Flag it for each client; gives the queue entry."""
    for client in clients or ("127.0.0.1",):
        entry = let_through(house, client=client, **options)
        event = Event(
            kind=EventKind.FLAGGED, time=entry.time, id=f"{client} {entry.identity.hex()}", client=client,
            identity=entry.identity,
        )  # fmt: skip
        house.run(house.ledger.flags.flag(event, entry))
    return house.ledger.waiting[entry.identity]


def found(hit=FILE, risk=Risk.DANGEROUS):
    return Evidence(
        verdict=Verdict.MALICIOUS, risk=risk, stage=Stage.QUERY, threat=Threat.MALWARE, hit=hit, source="fake"
    )


def confirm(house, *findings, late=False):
    house.run(house.enforcement.confirm(findings, late=late))


def refused_url(house):
    return (house.subject(URL).hashes[0], REBLOCK)


def test_a_file_that_was_late_is_refused_everywhere_before_it_is_put_away(house, folder):
    confirm(house, (let_through(house), found()), late=True)
    assert folder.refused_then == {(FILE, "fake"), refused_url(house)}
    assert folder.told_then == [EventKind.LATE_VERDICT]


def test_a_flagged_file_is_refused_before_it_is_put_away_and_its_entry_is_closed_after_that(house, folder):
    entry = flag(house)
    confirm(house, (entry, found()))
    assert folder.refused_then == {(FILE, "fake"), refused_url(house)}
    assert folder.queued_then == 1
    assert not house.ledger.waiting
    assert [event.kind for event in house.ledger.recorded] == [
        EventKind.FLAGGED, EventKind.CONFIRMED, EventKind.ACTION
    ]  # fmt: skip


@pytest.mark.parametrize("late", [False, True])
def test_a_crash_at_the_action_repeats_it_where_there_is_an_entry_to_repeat_it(house, folder, late):
    folder.breaks = True
    with pytest.raises(RuntimeError):
        confirm(house, (let_through(house) if late else flag(house), found()), late=late)
    assert len(house.ledger.waiting) == (0 if late else 1)
    assert (EventKind.LATE_VERDICT in [event.kind for event in house.ledger.recorded]) == late


def test_the_event_names_the_clients_what_they_got_and_what_was_done(house):
    entry = flag(house, "127.0.0.1", "10.0.0.7")
    confirm(house, (entry, found()))
    event = next(event for event in house.ledger.recorded if event.kind is EventKind.CONFIRMED)
    assert event.extra["clients"] == ["10.0.0.7", "127.0.0.1"]
    assert event.extra["count"] == 2
    assert {visit["client"] for visit in event.extra["let_through"]} == {"127.0.0.1", "10.0.0.7"}
    assert event.extra["actions"] == [
        {"action": "none", "done": False, "detail": "the file is out of reach on other machines: 10.0.0.7"},
        {"action": "quarantine", "done": True, "detail": "put away"},
    ]
    assert len(house.told) == 1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("clients", "acts", "away"),
    [(("127.0.0.1",), True, False), (("10.0.0.7",), False, True), (("10.0.0.7", "127.0.0.1"), True, True)],
)
def test_a_file_is_put_away_where_it_is_in_reach(house, folder, clients, acts, away, late):
    entry = flag(house, *clients)
    if late:
        entry = let_through(house, client=clients[0])
    confirm(house, (entry, found()), late=late)
    assert bool(folder.asked) == acts
    actions = [event.extra["action"] for event in house.ledger.recorded if event.kind is EventKind.ACTION]
    assert actions == ["none"] * away + ["quarantine"] * acts


def test_nobody_knows_who_has_it_so_it_is_looked_for_here(house, folder):
    confirm(house, (let_through(house, client=None), found()), late=True)
    assert folder.asked == [FILE]


@pytest.mark.parametrize("late", [False, True])
def test_a_page_is_confirmed_without_any_action_on_files(house, folder, late):
    page = house.subject(URL).hashes[0]
    source = (
        let_through(house, page, SubjectKind.URL)
        if late
        else flag(house, identity=page, kind=SubjectKind.URL)
    )
    confirm(house, (source, found(page)), late=late)
    assert not folder.asked
    assert {(each.hit, each.source) for each in house.ledger.snapshots.confirmed()} == {(page, "fake")}
    assert len(house.told) == 1


def allowed(scope, subject):
    return make_rule(scope=scope, subject=subject)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", ["a rule about the file", "the level", "a rule that blocks"])
def test_what_the_operator_lets_through_is_confirmed_and_left_alone(house, folder, how, late):
    rule = allowed(Scope.SHA256, FILE.hex())
    if how == "the level":
        house.view.replace(policies=Policies(Policy(level=Level.LOW)))
    else:
        house.ledger.rules.add(rule if how == "a rule about the file" else _blocking(rule))
        house.reload()
    entry = let_through(house) if late else flag(house)
    confirm(house, (entry, found(risk=Risk.SUSPICIOUS if how == "the level" else Risk.DANGEROUS)), late=late)
    spared = how != "a rule that blocks"
    assert bool(folder.asked) != spared
    assert bool(house.told) != spared
    assert FILE in {each.hit for each in house.ledger.snapshots.confirmed()}
    assert not house.ledger.waiting


def _blocking(rule):
    return Rule(**{name: getattr(rule, name) for name in rule.__slots__} | {"action": "block"})


def test_a_page_that_a_rule_allows_is_not_reported(house):
    house.ledger.rules.add(allowed(Scope.DOMAIN, "files.test"))
    house.reload()
    page = house.subject(URL).hashes[0]
    confirm(house, (flag(house, identity=page, kind=SubjectKind.URL), found(page)))
    assert not house.told


def test_it_is_in_force_here_before_the_ledger_has_it(house):
    entry = flag(house)
    house.ledger.full = True
    with pytest.raises(LedgerError):
        confirm(house, (entry, found()))
    assert house.view.current.known_bad((FILE,), house.clock.now()) is not None
    assert len(house.ledger.waiting) == 1


@pytest.mark.parametrize(("reblock_s", "url"), [(0.0, URL), (600.0, None)])
def test_no_url_is_refused_where_none_is_known_or_none_is_to_be(house, folder, reblock_s, url):
    house.enforcement._reblock_s = reblock_s
    confirm(house, (let_through(house, url=url), found()), late=True)
    assert folder.refused_then == {(FILE, "fake")}


def test_of_many_findings_only_some_are_looked_up_one_by_one(house, monkeypatch):
    asked = []
    visits = house.ledger.history.visits

    async def counted(identity):
        asked.append(identity)
        return await visits(identity)

    monkeypatch.setattr(house.ledger.history, "visits", counted)
    identities = [number.to_bytes(32) for number in range(1, 251)]
    confirm(
        house, *((let_through(house, each, SubjectKind.URL), found(each)) for each in identities), late=True
    )
    assert len(asked) == 200
    assert len(house.ledger.snapshots.confirmed()) == 250


def test_who_got_through(house):
    assert clients_of(let_through(house)) == ["127.0.0.1"]
    assert clients_of(let_through(house, client=None)) == []
    assert clients_of(flag(house, "127.0.0.1", "10.0.0.7")) == ["10.0.0.7", "127.0.0.1"]


def test_a_late_verdict_names_every_client_that_the_log_still_knows(house):
    visits = [
        Event(id=str(at), kind=EventKind.CHECK, time=at, client=client) for at, client in enumerate("abba")
    ]
    assert clients_of(let_through(house), [*visits, replace(visits[0], client=None)]) == [
        "127.0.0.1",
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("client", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("", False)],
)
def test_what_is_here(client, here):
    assert is_loopback(client) == here


def test_who_is_here_may_be_decided_elsewhere(house, folder):
    enforcement = Enforcement(
        house.view, house.ledger.confirmed, house.ledger.history, house.ledger.recorder, house.clock, files=folder, url_subject=house.subject,
        is_here=lambda client: client == "10.0.0.7",
    )  # fmt: skip
    house.run(enforcement.confirm([(let_through(house, client="10.0.0.7"), found())], late=True))
    house.run(enforcement.confirm([(let_through(house, b"g" * 32), found(b"g" * 32))], late=True))
    assert folder.asked == [FILE]


def test_a_queue_entry_is_closed_by_its_own_id(house, monkeypatch):
    closed = []
    confirm_many = house.ledger.confirmed.add_many

    async def noted(findings):
        closed.extend(queue_id for _, event, queue_id in findings if event is not None)
        await confirm_many(findings)

    entry = flag(house)
    monkeypatch.setattr(house.ledger.confirmed, "add_many", noted)
    confirm(house, (entry, found()))
    confirm(house, (let_through(house, b"g" * 32), found(b"g" * 32)), late=True)
    assert closed == [entry.id, None]


def test_once_it_is_in_the_ledger_a_withdrawal_there_ends_it_here(house):
    confirm(house, (flag(house), found()))
    house.ledger.confirmed_set.clear()
    house.reload()
    assert house.view.current.known_bad((FILE,), house.clock.now()) is None


def test_where_nothing_is_done_with_files_and_nobody_is_notified_it_is_confirmed_all_the_same(house):
    bare = Enforcement(
        house.view,
        house.ledger.confirmed,
        house.ledger.history,
        house.ledger.recorder,
        house.clock,
        url_subject=house.subject,
    )
    house.run(bare.confirm([(let_through(house), found())], late=True))
    assert FILE in {each.hit for each in house.ledger.snapshots.confirmed()}
    assert [event.kind for event in house.ledger.recorded] == [EventKind.LATE_VERDICT]


def test_a_page_whose_url_was_not_written_down_is_reported(house):
    page = house.subject(URL).hashes[0]
    house.ledger.rules.add(allowed(Scope.DOMAIN, "files.test"))
    house.reload()
    confirm(house, (let_through(house, page, SubjectKind.URL, url=None), found(page)), late=True)
    assert len(house.told) == 1
