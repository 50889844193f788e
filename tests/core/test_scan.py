"""What signatures are worth, by what engines and rules say of them."""

import pytest

from secondlook.core.scan import Detection, EngineReport, fault_of, from_clamav, from_yara, worst
from secondlook.core.verdict import Risk, Threat


@pytest.mark.parametrize(
    ("signature", "name", "risk", "threat"),
    [
        ("Win.Trojan.Agent-1", "Win.Trojan.Agent-1", Risk.DANGEROUS, Threat.MALWARE),
        ("Own.Marker.UNOFFICIAL", "Own.Marker", Risk.DANGEROUS, Threat.MALWARE),
        ("PUA.Win.Packer.X", "PUA.Win.Packer.X", Risk.SUSPICIOUS, Threat.UNWANTED_SOFTWARE),
        (
            "Heuristics.Phishing.Email",
            "Heuristics.Phishing.Email",
            Risk.SUSPICIOUS,
            Threat.SOCIAL_ENGINEERING,
        ),
        ("Heuristics.Encrypted.Zip", "Heuristics.Encrypted.Zip", Risk.SUSPICIOUS, Threat.MALWARE),
    ],
)
def test_what_a_signature_of_clamav_is_worth(signature, name, risk, threat):
    found = from_clamav(signature)
    assert (found.signature, found.risk, found.threat) == (name, risk, threat)


def test_a_limit_that_was_exceeded_is_no_detection():
    assert from_clamav("Heuristics.Limits.Exceeded.MaxFileSize") is None


@pytest.mark.parametrize(
    ("metadata", "risk"),
    [
        ({}, Risk.HIGHLY_SUSPICIOUS),
        ({"risk": "dangerous"}, Risk.DANGEROUS),
        ({"risk": "Highly suspicious"}, Risk.HIGHLY_SUSPICIOUS),
        ({"severity": "CRITICAL"}, Risk.DANGEROUS),
        ({"severity": "medium"}, Risk.HIGHLY_SUSPICIOUS),
        ({"severity": "low"}, Risk.SUSPICIOUS),
        ({"severity": "no such word"}, Risk.HIGHLY_SUSPICIOUS),
        ({"score": 75}, Risk.DANGEROUS),
        ({"score": 74}, Risk.HIGHLY_SUSPICIOUS),
        ({"score": "60"}, Risk.HIGHLY_SUSPICIOUS),
        ({"score": 59}, Risk.SUSPICIOUS),
        ({"severity": 10}, Risk.DANGEROUS),
        ({"severity": 100}, Risk.DANGEROUS),
        ({"severity": 5}, Risk.SUSPICIOUS),
        ({"score": True}, Risk.HIGHLY_SUSPICIOUS),
        ({"risk": "suspicious", "score": 100}, Risk.SUSPICIOUS),
    ],
)
def test_what_a_rule_says_of_itself(metadata, risk):
    assert from_yara("r", metadata).risk is risk


def test_who_a_rule_is_about():
    found = from_yara("r", {"malware_family": "Some", "threat": "social_engineering"}, member="a/b")
    assert (found.family, found.threat, found.member) == ("Some", Threat.SOCIAL_ENGINEERING, "a/b")
    assert from_yara("r", {}, ("PUA",)).threat is Threat.UNWANTED_SOFTWARE


def test_the_worst_of_all_engines_counts():
    mild, bad = (
        Detection("yara", "mild", Risk.SUSPICIOUS),
        Detection("clamd", "bad", Risk.DANGEROUS),
    )
    reports = [EngineReport("yara", "1", (mild,)), EngineReport("clamd", "1", (bad,))]
    assert worst(reports) == (bad, reports[1])
    assert worst([EngineReport("yara", "1")]) is None


def test_only_an_engine_with_a_fault_leaves_something_open():
    silent = EngineReport("clamd", fault="no connection")
    assert fault_of([EngineReport("yara", "1"), EngineReport("clamd", skipped="too large")]) is None
    assert fault_of([EngineReport("yara", "1"), silent]) == "clamd: no connection"
    assert [
        report.lasting for report in (silent, EngineReport("clamd", skipped="x"), EngineReport("clamd"))
    ] == [False] * 3
    assert EngineReport("clamd", "v").lasting
