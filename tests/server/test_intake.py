"""What becomes of the findings of agents: listed, waiting, known, refused; approved and withdrawn."""

import pytest

from secondlook.config.service import PublishSettings
from secondlook.core.verdict import Risk
from secondlook.server import administration
from secondlook.server.findings import intake, unlisted
from secondlook.server.findings.intake import HOUR_S, Intake
from secondlook.server.publish.generation import Generation
from secondlook.server.store.manual_entries import read_manual
from secondlook.server.store.names import import_list
from secondlook.suffix import load_suffixes
from secondlook.wire.finding import Finding, Outcome, Report
from serverkit import NOW, full_hash, make_store, out, put

FILE = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, ["listed.example"])


@pytest.fixture
def taking(store):
    return Intake(store, PublishSettings())


def report(*subjects, risk=Risk.DANGEROUS, agent="desk-7"):
    return Report(
        agent, tuple(Finding(subject=each, name="Eicar", engine="clamav", risk=risk) for each in subjects)
    )


def take(taking, *subjects, mode="auto", now=NOW, **named):
    return taking.take(report(*subjects, **named), mode=mode, address="10.0.0.7", now=now)


def outcomes(taken):
    return [outcome for outcome, _ in taken]


def listed(store, subject):
    return administration.check(store, subject, suffixes=load_suffixes())


def test_a_finding_is_listed_with_its_origin(store, taking):
    assert (
        outcomes(take(taking, FILE, "evil.example", "http://evil.example.org/a.exe")) == [Outcome.LISTED] * 3
    )
    out(store)
    (found,) = listed(store, FILE)
    assert (found.list, found.feeds, found.family) == ("x-file-mw-8b", ("findings",), "clamav: Eicar")
    assert [each.list for each in listed(store, "www.evil.example")] == ["mw-8b"]
    assert listed(store, "http://evil.example.org/a.exe")
    assert not listed(store, "http://evil.example.org/b.exe")
    assert {entry.who for entry in read_manual(store)} == {"agent desk-7 (10.0.0.7)"}


def test_the_risk_chooses_the_list(store, taking):
    take(taking, FILE, risk=Risk.SUSPICIOUS)
    out(store)
    assert [each.list for each in listed(store, FILE)] == ["x-file-mw-s-8b"]


def test_what_is_asked_about_waits_until_it_is_approved(store, taking):
    assert outcomes(take(taking, FILE, mode="ask")) == [Outcome.WAITING]
    assert outcomes(take(taking, FILE, mode="ask")) == [Outcome.KNOWN]
    out(store)
    assert not listed(store, FILE)
    (waiting,) = taking.findings()
    assert (waiting.state, waiting.text, waiting.count, waiting.agent) == ("waiting", FILE, 2, "desk-7")
    taking.approve(waiting.id, now=NOW)
    out(store)
    assert listed(store, FILE)
    assert [(each.state, each.agent, each.address) for each in taking.findings()] == [
        ("listed", "desk-7", "10.0.0.7")
    ]


def test_a_waiting_finding_is_listed_when_asking_ends(store, taking):
    take(taking, FILE, mode="ask")
    assert outcomes(take(taking, FILE)) == [Outcome.LISTED]
    assert [each.state for each in taking.findings()] == ["listed"]


@pytest.mark.parametrize("mode", ["auto", "ask"])
def test_what_was_withdrawn_is_refused_from_then_on(store, taking, mode):
    take(taking, FILE)
    (found,) = taking.findings()
    taking.withdraw(found.id, now=NOW)
    out(store)
    assert not listed(store, FILE)
    assert take(taking, FILE, mode=mode) == [(Outcome.REFUSED, "it was withdrawn here")]
    (withdrawn,) = taking.findings()
    assert (withdrawn.state, withdrawn.name, withdrawn.engine) == ("withdrawn", "Eicar", "clamav")
    taking.approve(withdrawn.id, now=NOW)
    out(store)
    assert listed(store, FILE)


def test_a_waiting_finding_can_be_withdrawn(taking):
    take(taking, FILE, mode="ask")
    (waiting,) = taking.findings()
    taking.withdraw(waiting.id, now=NOW)
    assert outcomes(take(taking, FILE)) == [Outcome.REFUSED]


def test_names_that_nothing_has_are_errors(store, taking):
    take(taking, FILE)
    administration.add_entry(
        store, "own.example", target=import_list("mw-8b"), suffixes=load_suffixes(), who="operator", now=NOW
    )
    own = next(entry.id for entry in read_manual(store) if not entry.by_agent)
    for change in (taking.approve, taking.withdraw):
        for identity in ("found-9", own):  # what an operator typed is no finding
            with pytest.raises(LookupError):
                change(identity, now=NOW)


@pytest.mark.parametrize(
    "subject",
    [
        "google.com",
        "https://en.wikipedia.org/wiki/",
        "d41d8cd98f00b204e9800998ecf8427e",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "com",
        "http://",
    ],
)
def test_what_is_known_to_be_good_or_no_subject_is_refused(store, taking, subject):
    ((outcome, reason),) = take(taking, subject)
    assert outcome is Outcome.REFUSED
    assert reason
    assert read_manual(store) == []


def test_a_file_that_is_known_to_be_good_is_refused(store, taking):
    put(store, [FILE], list_name="x-file-gc-32b", name="good.txt")
    out(store)
    administration.add_entry(
        store, OTHER, target=import_list("x-file-gc-32b"), suffixes=load_suffixes(), who="operator", now=NOW
    )
    assert take(taking, FILE, OTHER) == [(Outcome.REFUSED, "it is known to be good")] * 2


def test_what_the_operator_excepted_is_refused(store, taking):
    administration.add_entry(
        store, "mine.example", target=None, suffixes=load_suffixes(), who="operator", now=NOW
    )
    assert take(taking, "mine.example") == [(Outcome.REFUSED, "the operator excepted it")]


def test_what_is_listed_is_known(store, taking):
    assert outcomes(take(taking, "listed.example", FILE, FILE)) == [
        Outcome.KNOWN,
        Outcome.LISTED,
        Outcome.KNOWN,
    ]


MANY = [f"{at:064x}" for at in range(1, 9)]


def test_a_flood_waits_for_approval(store, taking, monkeypatch):
    monkeypatch.setattr(intake, "AUTO_PER_HOUR", 6)
    assert outcomes(take(taking, *MANY[:4])) == [Outcome.LISTED] * 3 + [Outcome.WAITING]
    others = [taking.take(report(each), mode="auto", address="10.0.0.8", now=NOW) for each in MANY[4:]]
    assert [outcome for each in others for outcome in outcomes(each)] == [Outcome.LISTED] * 3 + [
        Outcome.WAITING
    ]
    assert outcomes(take(taking, FILE, now=NOW + HOUR_S)) == [Outcome.LISTED]


def test_what_agents_have_listed_is_bounded(store, taking, monkeypatch):
    monkeypatch.setattr(intake, "MOST_LISTED", 2)
    late = (take(taking, each, now=NOW + at * 2 * HOUR_S) for at, each in enumerate(MANY[:3]))
    assert [outcomes(each) for each in late] == [[Outcome.LISTED], [Outcome.LISTED], [Outcome.WAITING]]


def test_what_waits_is_bounded_and_one_address_leaves_room(taking, monkeypatch):
    monkeypatch.setattr(intake, "MOST_KEPT", 4)
    assert outcomes(take(taking, *MANY[:3], mode="ask")) == [Outcome.WAITING] * 2 + [Outcome.REFUSED]
    for address, outcome in (("8", Outcome.WAITING), ("9", Outcome.WAITING), ("10", Outcome.REFUSED)):
        taken = taking.take(report(f"h{address}.test"), mode="ask", address=f"10.0.0.{address}", now=NOW)
        assert outcomes(taken) == [outcome]


def test_a_network_of_ipv6_counts_as_one_address(taking, monkeypatch):
    monkeypatch.setattr(intake, "AUTO_PER_HOUR", 6)
    monkeypatch.setattr(intake, "MOST_KEPT", 4)
    taken = [
        taking.take(report(each), mode="auto", address=f"2001:db8::{at}", now=NOW)
        for at, each in enumerate(MANY[:6])
    ]
    expected = [Outcome.LISTED] * 3 + [Outcome.WAITING] * 2 + [Outcome.REFUSED]
    assert [outcome for each in taken for outcome in outcomes(each)] == expected


def test_a_host_that_became_known_good_since_is_held_back(store, taking, tmp_path):
    take(taking, "turned.example")
    good = tmp_path / "good.txt"
    good.write_text("turned.example\n")
    from secondlook.server.publish.publishing import publish

    published = publish(store, now=NOW, settings=PublishSettings(known_good=(good,)))
    assert published.held_back_by == {"findings": 1}
    assert list(published.held_back_examples) == [("findings", "turned.example/")]
    table = Generation(store.generation_folder(published.generation)).table
    assert not table.has(full_hash("turned.example/"))


def test_a_damaged_book_is_an_error_and_stays(store, taking):
    path = store.root / unlisted.BOOK
    path.write_text("{")
    with pytest.raises(unlisted.PatternError, match=r"findings\.json"):
        take(taking, FILE)
    assert path.read_text() == "{"
    assert read_manual(store) == []
