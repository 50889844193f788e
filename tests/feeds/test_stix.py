import json

import pytest

from feedkit import outcomes, read_all
from secondlook.feeds.entries.entry import RejectClass
from secondlook.feeds.formats.stix import comparisons
from secondlook.feeds.reader import read

SHA, SHA1, MD5 = "ab" * 32, "bc" * 20, "cd" * 16


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("[url:value = 'http://evil.example/a']", ["http://evil.example/a"]),
        ("[domain-name:value='evil.example']", ["evil.example"]),
        ("[domain-name:value = 'a.example' OR domain-name:value = 'b.example']", ["a.example", "b.example"]),
        (
            "[domain-name:value = 'a.example'] OR [url:value = 'http://b.example']",
            ["a.example", "http://b.example"],
        ),
        ("[ipv4-addr:value IN ('8.8.4.4', '8.8.8.8')]", ["8.8.4.4", "8.8.8.8"]),
        (f"[file:hashes.'SHA-256' = '{SHA}']", [SHA]),
        (f"[file:hashes.sha256='{SHA}']", [SHA]),
        (f"[file:hashes.MD5 = '{MD5}' AND file:hashes.'SHA-256' = '{SHA}']", [SHA]),
        (
            f"[file:hashes.MD5 = '{MD5}' AND file:hashes.'SHA-256' = '{SHA}'] OR [file:hashes.'SHA-1' = '{SHA1}']",
            [SHA, SHA1],
        ),
        (
            f"[file:hashes.MD5 = '{MD5}' OR file:hashes.'SHA-1' = '{SHA1}' AND file:hashes.'SHA-256' = '{SHA}']",
            [MD5, SHA],
        ),
        (
            f"[(file:hashes.MD5 = '{MD5}' AND file:hashes.SHA1 = '{SHA1}') OR url:value IN ('a', 'b')]",
            [SHA1, "a", "b"],
        ),
        (r"[url:value = 'http://a.example/it\'s']", ["http://a.example/it's"]),
    ],
)
def test_patterns_that_can_be_said(pattern, values):
    found = comparisons(pattern)
    assert isinstance(found, list)
    assert [value for _, value in found] == values


@pytest.mark.parametrize(
    ("pattern", "cls"),
    [
        ("[domain-name:value LIKE '%.evil.example']", RejectClass.PATTERN),
        ("[url:value MATCHES '^http://evil']", RejectClass.PATTERN),
        ("[domain-name:value != 'good.example']", RejectClass.PATTERN),
        ("[domain-name:value = 'a.example' AND network-traffic:dst_port = '443']", RejectClass.MODIFIER),
        ("[domain-name:value = 'a.example'] AND [domain-name:value = 'b.example']", RejectClass.MODIFIER),
        (f"[file:hashes.MD5 = '{MD5}'] AND [file:hashes.'SHA-256' = '{SHA}']", RejectClass.MODIFIER),
        (f"[file:hashes.MD5 = '{MD5}' AND file:hashes.MD5 = '{MD5[::-1]}']", RejectClass.MODIFIER),
        (f"[file:hashes.MD5 IN ('{MD5}', 'a') AND file:hashes.SHA1 = '{SHA1}']", RejectClass.MODIFIER),
        (f"[file:hashes.MD5 = '{MD5}' OR url:value = 'a' AND url:value = 'b']", RejectClass.MODIFIER),
        (
            f"[(file:hashes.MD5 = '{MD5}' OR file:hashes.MD5 = 'a') AND file:hashes.SHA1 = '{SHA1}']",
            RejectClass.MODIFIER,
        ),
        (f"[file:hashes.MD5 = '{MD5}' AND (file:hashes.SHA1 = '{SHA1}')]", RejectClass.MODIFIER),
        (f"[file:hashes.MD5 = '{MD5}' AND]", RejectClass.MODIFIER),
        ("[domain-name:value = 'a.example'] FOLLOWEDBY [file:name = 'b']", RejectClass.NOT_UNDERSTOOD),
        ("[NOT domain-name:value = 'a.example']", RejectClass.NOT_UNDERSTOOD),
        ("[domain-name:value = 'a.example'] WITHIN 5 SECONDS", RejectClass.NOT_UNDERSTOOD),
        ("evil.example", RejectClass.NOT_UNDERSTOOD),
        ("", RejectClass.NOT_UNDERSTOOD),
    ],
)
def test_patterns_that_say_more_or_less(pattern, cls):
    assert comparisons(pattern) is cls


def indicator(pattern, **more):
    return {"type": "indicator", "id": "indicator--1", "pattern_type": "stix", "pattern": pattern, **more}


def test_bundles_and_envelopes():
    records = [
        {"type": "malware", "name": "x"},
        indicator(
            "[domain-name:value='evil.example']",
            valid_from="2024-01-26T21:28:21Z",
            valid_until="2025-01-26T00:00:00Z",
        ),
        indicator("[domain-name:value='old.example']", revoked=True),
        indicator("rule x { condition: true }", pattern_type="yara"),
        indicator("[domain-name:value='good.example']", indicator_types=["benign"]),
        indicator("[app:id='com.evil']"),
        indicator("[ipv4-addr:value='8.8.4.0/31']"),
        {"type": "domain-name", "value": "only-observed.example"},
    ]
    expected = [
        *("evil.example", "8.8.4.0", "8.8.4.1"),
        *("1: revoked or expired", "1: indicator of a kind that is not checked here"),
        *("1: not meant for detection", "1: indicator of a kind that is not checked here"),
    ]
    bundle = {"type": "bundle", "id": "bundle--1", "objects": records}
    assert outcomes(json.dumps(bundle)) == expected
    assert outcomes(json.dumps({"more": True, "next": "2", "objects": records})) == expected
    entry = read_all(json.dumps(bundle))[0][0]
    assert (entry.first_seen, entry.expires) == (1706304501.0, 1737849600.0)


@pytest.mark.parametrize(
    ("wanted", "hosts"), [(None, ["unsaid", "low", "high"]), (50, ["unsaid", "high"]), (100, ["unsaid"])]
)
def test_an_indicator_below_the_wanted_confidence_is_left_out(suffixes, wanted, hosts):
    objects = [
        {"type": "indicator", "pattern": f"[domain-name:value = '{name}.example']", **said}
        for name, said in (("unsaid", {}), ("low", {"confidence": 15}), ("high", {"confidence": 85}))
    ]
    content = json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects}).encode()
    reading = read([content], suffixes=suffixes, min_confidence=wanted)
    assert [entry.text for entry in reading] == [f"{name}.example" for name in hosts]
    assert reading.tally.rejected[RejectClass.LOW_CONFIDENCE] == 3 - len(hosts)


def bundle(*indicators):
    usual = {"type": "indicator", "pattern_type": "stix", "pattern": "[domain-name:value = 'evil.example']"}
    return json.dumps({"type": "bundle", "objects": [usual | each for each in indicators]})


OLD, NEW = {"modified": "2026-01-01T00:00:00Z"}, {"modified": "2026-02-01T00:00:00Z"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_version_of_an_indicator_counts(order):
    one = {"id": "indicator--1"}
    versions = [one | OLD, one | NEW | {"revoked": True}, {"id": "indicator--2"}][::order]
    entries, reading = read_all(bundle(*versions))
    assert [entry.text for entry in entries] == ["evil.example"]
    assert (reading.tally.rows, reading.tally.rejected) == (3, {RejectClass.INACTIVE: 2})
    back = [one | OLD | {"revoked": True}, one | NEW][::order]
    assert [entry.text for entry in read_all(bundle(*back))[0]] == ["evil.example"]


def test_an_indicator_says_from_when_it_is_valid():
    [entry] = read_all(bundle({"valid_from": "2099-01-01T00:00:00Z"}))[0]
    assert entry.valid_from == 4_070_908_800


@pytest.mark.parametrize(
    "pattern",
    [
        "[domain-name:value = 'evil.example'",
        "domain-name:value = 'evil.example']",
        "([domain-name:value = 'evil.example']",
        "[domain-name:value IN ('evil.example', 'b.example']",
        "[domain-name:value IN ('evil.example'",
    ],
)
def test_a_pattern_that_was_cut_is_rejected(pattern):
    assert comparisons(pattern) in {RejectClass.NOT_UNDERSTOOD, RejectClass.PATTERN}
