"""Columns that say what a row is worth."""

import json

import pytest

from feedkit import outcomes
from secondlook.feeds.entries.entry import RejectClass

BAD_ROWS = [
    *(("action", value) for value in ("block", "Deny", "sinkhole")),
    *(("label", value) for value in ("bad", "malicious", "phishing", "zeus")),
    *(("is_malicious", value) for value in ("1", "true", "Yes")),
    *(("status", value) for value in ("online", "offline", "active", "200")),
    *(("category", value) for value in ("malware", "c2", "botnet,stealer", "7")),
    *(("whitelisted", value) for value in ("0", "false")),
    *(("active", "1"), ("is_compromised", "0"), ("malware", "Emotet"), ("note", "good"), ("score", "0")),
]
GOOD_ROWS = [
    *(("action", value) for value in ("allow", "ALLOWED", "passthru")),
    *(("label", value) for value in ("good", "benign", "Not-Malicious", "legitimate")),
    *(("is_malicious", value) for value in ("0", "False", "no")),
    *(("category", value) for value in ("benign", "whitelist", "news;safe")),
    *(("status", value) for value in ("clean", "false positive", "False_Positive")),
    *(("whitelisted", "1"), ("is_safe", "true"), ("phishing", "0"), ("verdict", "harmless")),
]
OTHERS = [
    *(("status", value, RejectClass.INACTIVE) for value in ("revoked", "expired", "Removed")),
    *(("action", value, RejectClass.MODIFIER) for value in ("log", "7", "perhaps")),
    *(("label", value, RejectClass.MODIFIER) for value in ("0", "1", "-1")),
    *(("is_malicious", "maybe", RejectClass.MODIFIER), ("safe", "unknown", RejectClass.MODIFIER)),
    *(("active", "0", RejectClass.INACTIVE), ("revoked", "true", RejectClass.INACTIVE)),
]


def both(column, value, **options):
    """What comes of a row in a table, and of the same in JSON."""
    table = outcomes(f'domain,{column}\nother.example,\nevil.example,"{value}"\n', **options)
    rows = [{"domain": "other.example"}, {"domain": "evil.example", column: value}]
    record = outcomes(json.dumps(rows), format="json", **options)
    assert table[0] == record[0] == "other.example"
    [one], [other] = table[1:], record[1:]
    assert one.partition(": ")[2] == other.partition(": ")[2]
    return one.removeprefix("3: ")


@pytest.mark.parametrize(("column", "value"), BAD_ROWS)
def test_what_speaks_for_a_row_or_says_nothing_of_it(column, value):
    assert both(column, value) == "evil.example"


@pytest.mark.parametrize(("column", "value"), GOOD_ROWS)
def test_what_is_said_to_be_good_is_not_blocked(column, value):
    assert both(column, value) == RejectClass.NOT_FOR_DETECTION
    assert both(column, value, known_good=True) == "evil.example"


@pytest.mark.parametrize(("column", "value", "cls"), OTHERS)
def test_what_is_over_or_not_understood_is_rejected(column, value, cls):
    assert both(column, value) == cls


def test_what_is_said_to_be_bad_is_not_allowed():
    assert both("label", "malicious", known_good=True) == RejectClass.NOT_FOR_DETECTION
