"""What the ledger tells of a decision."""

import hashlib

from secondlook.agent.record import explanation
from secondlook.core.digest import file_subject
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Verdict

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
