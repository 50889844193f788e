"""YARA-X in one file and its members: what it finds, and when it says that it has not looked."""

import io
import tempfile

import pytest
import yara_x

from proxykit.samples import EICAR
from secondlook.core.scan import MOST_DETECTIONS
from secondlook.core.verdict import Risk
from secondlook.scan.yara_look import OWN_RULES, Looker

pytestmark = pytest.mark.usefixtures("ends_here")
MIB = 1 << 20
SLOW = "rule slow { strings: $a = /(a|aa)+b?c{1,3}(a|aa|aaa)+d/ condition: #a > 1000000000 or for all i in (0..2000000000) : (uint8(i % filesize) != 1) }"


def look(data, rules=None, **bounds):
    bounds = {"time_s": 30.0, "max_bytes": 64 * MIB} | bounds
    found = Looker().begin(rules, **bounds)
    found.at(io.BytesIO(data))
    return found


@pytest.fixture
def compiled(tmp_path):
    def make(text):
        path = tmp_path / "rules.yarc"
        with path.open("wb") as file:
            yara_x.compile(text).serialize_into(file)
        return str(path)

    return make


def test_our_own_rules_find_the_test_file_anywhere():
    found = look(b"MZ" + bytes(5000) + EICAR + b"more")
    assert [(one.signature, one.risk, one.family) for one in found.detections] == [
        ("EICAR_Test_File", Risk.DANGEROUS, "EICAR")
    ]
    assert found.fault is None
    assert look(b"nothing " * 1000).detections == []


def test_a_large_file_is_looked_into_where_it_lies():
    with tempfile.TemporaryFile() as file:
        file.write(bytes(5 * MIB) + EICAR)
        found = Looker().begin(None, time_s=30.0, max_bytes=64 * MIB)
        found.at(file)
    assert found.detections


def test_each_member_is_told_and_each_signature_once_for_it():
    found = Looker().begin(None, time_s=30.0, max_bytes=MIB)
    for member in (None, "a/b", "a/b"):
        found.at(io.BytesIO(EICAR), member)
    assert [one.member for one in found.detections] == [None, "a/b"]


MILD_AND_BAD = """
rule mild { meta: risk = "low" strings: $a = "mild" condition: $a }
rule likely { meta: score = 60 strings: $a = "likely" condition: $a }
rule bad { meta: risk = "critical" strings: $a = "bad" condition: $a }
"""


@pytest.mark.parametrize("before", [MOST_DETECTIONS - 1, MOST_DETECTIONS, MOST_DETECTIONS + 1])
def test_no_number_of_mild_findings_hides_a_bad_one(compiled, before):
    found = Looker().begin(compiled(MILD_AND_BAD), time_s=30.0, max_bytes=MIB)
    for number in range(before):
        found.at(io.BytesIO(b"mild"), f"{number}")
    found.at(io.BytesIO(b"bad"), "last")
    kept = [(one.signature, one.member) for one in found.detections]
    assert len(kept) == MOST_DETECTIONS
    assert ("bad", "last") in kept
    for number in range(MOST_DETECTIONS):
        found.at(io.BytesIO(b"likely"), f"likely {number}")
    kept = [one.signature for one in found.detections]
    assert (kept.count("bad"), kept.count("likely")) == (1, MOST_DETECTIONS - 1)  # the mildest went first
    found.at(io.BytesIO(b"bad"), "last")
    assert [one.signature for one in found.detections] == kept


def test_a_file_at_the_limit_and_one_past_it():
    assert look(bytes(100), max_bytes=100).fault is None
    assert look(bytes(101), max_bytes=100).fault == "larger than 100 bytes"


def test_rules_that_never_end_are_cut(compiled):
    found = look(b"a" * 1000, compiled(SLOW), time_s=1.0)
    assert found.fault == "longer than 1 s"
    assert found.at(io.BytesIO(EICAR)) == 0.0  # the time of all members together is over
    assert not found.detections


def test_rules_that_cannot_be_loaded_are_no_rules(tmp_path):
    damaged = tmp_path / "rules.yarc"
    damaged.write_bytes(b"nonsense")
    looker = Looker()
    with pytest.raises(Exception, match=r"."):
        looker.begin(str(damaged), time_s=1.0, max_bytes=1)
    looker.begin(None, time_s=30.0, max_bytes=MIB).at(io.BytesIO(EICAR))  # the next is none the worse


def test_rules_are_taken_up_when_others_are_named(compiled):
    looker = Looker()
    looker.begin(None, time_s=30.0, max_bytes=MIB)
    found = looker.begin(compiled("rule other { condition: true }"), time_s=30.0, max_bytes=MIB)
    found.at(io.BytesIO(b"x"))
    assert [one.signature for one in found.detections] == ["other"]


def test_our_own_rules_say_what_they_are_worth():
    assert "risk" in OWN_RULES.read_text()
