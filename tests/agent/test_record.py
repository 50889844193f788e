"""What the ledger tells of a decision."""

import hashlib
from dataclasses import replace

from secondlook.agent.check.record import event_of, explanation, host_of
from secondlook.core.digest import file_subject
from secondlook.core.event import EVENT_FIELDS, EventKind
from secondlook.core.subject import RequestContext
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
