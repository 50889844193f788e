"""The format of a feed, by the first characters of it and at last by its name."""

import pytest

from secondlook.core.lists.feed_format import Format
from secondlook.feeds.detect import detect
from secondlook.feeds.entries.entry import FeedRefused

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("sample", "form"),
    [
        ("evil.example\nbad.example\n", Format.PLAIN),
        ("# hosts\n0.0.0.0 evil.example\n127.0.0.1 bad.example\n", Format.HOSTS),
        ("||evil.example^\n@@||good.example^\n", Format.ADBLOCK),
        ("[Adblock Plus 2.0]\nevil.example\n", Format.ADBLOCK),
        ("! a filter list\nevil.example\n", Format.ADBLOCK),
        ("address=/evil.example/0.0.0.0\n", Format.DNSMASQ),
        ('local-zone: "evil.example" always_nxdomain\n', Format.UNBOUND),
        ('zone "evil.example" { type master; };\n', Format.BIND),
        ("$TTL 60\n@ SOA a. b. 1 2 3 4 5\nevil.example CNAME .\n", Format.RPZ),
        (f"{DIGEST}\n{DIGEST}\n", Format.PLAIN),
        (f"1;{DIGEST};a.exe\n2;{DIGEST};b.exe\n", Format.DIGESTS),
        (f"{DIGEST}:123:Win.Test\n", Format.CLAMAV),
        ('{"type": "bundle", "objects": []}', Format.STIX),
        ('{"Event": {"Attribute": []}}', Format.MISP),
        ('[{"url": "http://evil.example/"}]', Format.RECORDS),
        ('{"name": "x", "list": ["a.example"]}', Format.WARNINGLIST),
        ("<?xml version='1.0'?><output><entries><entry><url>", Format.PHISHTANK_XML),
    ],
)
def test_a_format_is_known_by_its_content(sample, form):
    assert detect(sample) is form


def test_signatures_are_known_by_the_name_of_their_file():
    assert detect("evil.example\n") is Format.PLAIN
    assert detect("evil.example\n", "main.HDB") is Format.CLAMAV


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ("", "empty"),
        ("\ufeff \r\n", "empty"),
        ("<!DOCTYPE html><html>", "HTML"),
        ("\x01\x02\x03\x04" * 200, "binary"),
        ("\udcff\udcfe" * 200, "binary"),
        ('{"answer": 42}', "no known kind"),
        ("<?xml version='1.0'?><other/>", "no known kind"),
    ],
)
def test_what_is_no_feed_is_refused_with_its_kind(sample, why):
    with pytest.raises(FeedRefused, match=why):
        detect(sample)
