"""What the ledger tells of a decision."""

import hashlib
from dataclasses import replace

import pytest

from agentkit.house import confirmed_about
from agentkit.looks import URL, look
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.record import event_of, explanation, host_of
from secondlook.agent.check.watch import ELSEWHERE_S
from secondlook.core.digest import file_subject
from secondlook.core.event import EVENT_FIELDS, EventKind
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Threat, Verdict

BODY = b"a body"
LISTED = Decision(Action.BLOCK, Evidence(verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS, stage=Stage.PATTERN))


def test_digests_are_told_as_people_know_them():
    digests = {kind: hashlib.new(kind, BODY).hexdigest() for kind in ("sha256", "sha1", "md5")}
    member = hashlib.sha256(b"inside").digest()
    subject = file_subject(
        bytes.fromhex(digests["sha256"]),
        md5=digests["md5"],
        sha1=digests["sha1"],
        further=(("member:a.exe", member),),
    )
    assert explanation(LISTED, subject)["digests"] == digests | {"member:a.exe": member.hex()}


def test_a_single_digest_is_in_its_own_field():
    assert "digests" not in explanation(LISTED, file_subject(hashlib.sha256(BODY).digest()))


def test_an_archive_of_many_members_tells_some_and_the_listed_one():
    members = tuple((f"member:{n}", hashlib.sha256(str(n).encode()).digest()) for n in range(10_000))
    subject = file_subject(hashlib.sha256(BODY).digest(), further=members)
    listed = replace(LISTED, evidence=replace(LISTED.evidence, expression="member:9000"))
    told = explanation(listed, subject)
    assert told["digests_in_all"] == 10_001
    digests = told["digests"]
    assert isinstance(digests, dict)
    assert len(digests) == 101
    assert digests["member:9000"] == dict(members)["member:9000"].hex()
    few = explanation(listed, file_subject(hashlib.sha256(BODY).digest(), further=members[:99]))
    assert isinstance(few["digests"], dict)
    assert len(few["digests"]) == 100
    assert "digests_in_all" not in few


def test_the_host_that_a_file_came_from_is_no_longer_than_a_host_can_be():
    context = RequestContext(SubjectClass.DOWNLOAD, url=f"https://{'x' * 9_000}.example/file")
    assert host_of(file_subject(b""), context) == ("x" * 253 + ".example")[-253:]


def test_a_decision_fills_every_field_of_its_event():
    evidence = replace(
        LISTED.evidence,
        threat=Threat.MALWARE,
        list="mw-8b",
        rule="r1",
        server="s1",
        attempts=2,
        detail="why",
    )
    context = RequestContext(
        cls=SubjectClass.DOWNLOAD,
        client="10.0.0.1",
        user="ann",
        method="GET",
        url="https://a.example/b.exe",
        referrer="https://a.example/",
        content_type="application/zip",
        gateway="squid",
    )
    subject = file_subject(hashlib.sha256(BODY).digest(), size=6, filename="b.exe")
    decision = replace(LISTED, evidence=evidence, elapsed_ms=1.5)
    event = event_of(EventKind.BLOCKED, decision, subject, context, time=1.0, event_id="e")
    left = [field.name for field in EVENT_FIELDS if getattr(event, field.attribute) is None]
    assert left == ["proxy"]  # the ledger fills it in, which knows whose events it writes


def test_the_end_of_a_files_reblock_is_not_told_as_a_listing_that_ended(house, server):
    entry = confirmed_about(house, URL, source="reblock", expires_at=house.clock.now() + 5)
    house.ledger.confirmed_set[entry.identity] = entry
    house.reload()
    house.sleep(6)
    look(house, everything=False)
    (event,) = [event for event in house.ledger.recorded if event.kind is EventKind.WITHDRAWN]
    assert "the file stays listed" in event.detail


@pytest.mark.parametrize(("workers", "waits_s"), [(1, 0.0), (2, 0.3)])
def test_who_asks_again_for_a_bad_file_meets_its_refusal_in_every_worker(house, server, workers, waits_s):
    file = FileSubject((b"f" * 32,), size=5, filename="a.exe")
    server.listed[b"f" * 32] = Risk.DANGEROUS
    context = RequestContext(SubjectClass.DOWNLOAD, client="10.0.0.1", url=URL, method="GET")
    gatekeeper = Gatekeeper(
        house.checker, house.ledger, house.clock, elsewhere_s=ELSEWHERE_S if workers > 1 else 0.0
    )

    async def scene():
        assert (await gatekeeper.check(file, context)).action is Action.BLOCK
        began = house.clock.monotonic()
        await gatekeeper.in_force()
        assert house.clock.monotonic() - began == pytest.approx(waits_s)
        assert (
            workers == 1 or len(house.ledger.snapshots.confirmed()) == 2
        )  # the file and, for a while, its URL
        await gatekeeper.aclose()

    house.run(scene())
