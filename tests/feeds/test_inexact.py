"""Exceptions with wildcards and regular expressions hold back what they could limit, and nothing else (1 s)."""

import pytest

from feedkit import read_all
from secondlook.feeds.entries import inexact
from secondlook.feeds.entries.entry import FeedRefused

HEADER = "[Adblock Plus]\n||first.example^\n"


def limits(exceptions, *lines):
    """Tell which lines of a source's text the inexact exceptions of a filter list hold back."""
    _, reading = read_all(exceptions)
    raw = [f"{line}\n".encode() for line in lines]
    offsets = {sum(map(len, raw[:at])): line for at, line in enumerate(lines)}
    return {offsets[offset] for offset in reading.tally.inexact.limited(lambda: raw)}


@pytest.mark.parametrize(
    ("exception", "held", "kept"),
    [
        (
            "||masto*.top^",
            ("masto1.top/", "x.mastodon.top/a", "masto.x.top/"),
            ("amasto.top/", "masto1.topx/"),
        ),
        ("||masto*.top^$important", ("masto1.top/",), ("evil.top/", "first.example/")),
        ("|masto*.top|", ("masto1.top/",), ("x.masto1.top/", "masto1.top/a")),
        ("://blog.*.top^", ("blog.evil.top/",), ("myblog.evil.top/", "evil.top/")),
        ("/^.*(tech|linux).*\\.top$/", ("linuxy.top/", "my.tech.top/x"), ("evil.top/", "tech.com/")),
        ("/^https?:\\/\\/ads[0-9]+\\./$script", ("ads1.evil.com/", "ads22.x.net/a"), ("ads.evil.com/",)),
        ("/^(?!(?:a|[)])b)ads[0-9]\\.(?=x)/", ("ads1.evil.com/",), ("ads.evil.com/",)),
        ("/^(a)\\1\\.com/", ("aa.com/", "abc.com/"), ("b.com/",)),
        ("/((/", (), ("evil.com/", "((/")),  # no browser can read it either
        ("||good*.com/ads/*.gif", ("good1.com/", "good1.com/ads/a.gif"), ("good1.com/bad.exe", "evil.com/")),
        ("||good.com/ads/*.gif", ("good.com/", "good.com/ads/a.gif"), ("good.com/bad.exe",)),
        ("||185.220.101.", ("185.220.101.7/",), ("185.220.10.7/", "18.185.220.101/")),
        ("||top^", ("evil.top/", "a.evil.top/x"), ("top.com/",)),
        ("||a*.good.com:8080^", ("ab.good.com/",), ("good.org/",)),
        ("-ads.", ("my-ads.evil.com/", "evil.com/x-ads.js"), ("ads.evil.com/",)),
    ],
)
def test_what_an_exception_could_limit_is_held_back(exception, held, kept):
    assert limits(f"{HEADER}@@{exception}\n", *held, *kept) == set(held)


def test_the_exception_itself_is_rejected_with_its_line_and_honoured():
    _, reading = read_all(HEADER + "@@||masto*.top^\n@@||good.example^\n||x*.top^\n")
    assert [(each.line, each.cls) for each in reading.tally.rejects] == [
        (3, "wildcard or regular expression"),
        (5, "wildcard or regular expression"),
    ]
    assert len(reading.tally.inexact) == 2  # with and without what follows the name: of the exception alone


def test_the_plain_part_of_an_exception_is_covered():
    _, reading = read_all(HEADER + "@@||good.com/ads/*.gif\n@@||cdn*.shop.example^\n")
    assert reading.tally.inexact.covered == ["http://good.com/ads/", "http://shop.example/"]


def test_more_exceptions_than_one_search_takes(monkeypatch):
    many = "".join(f"@@||a{number}*.com^\n" for number in range(120)) + "@@/((/\n"
    assert limits(HEADER + many, "a7x.com/", "a119x.com/", "b.com/") == {"a7x.com/", "a119x.com/"}
    monkeypatch.setattr(inexact, "MAX_INEXACT", 120)
    with pytest.raises(FeedRefused, match="more than 120 exceptions"):
        read_all(HEADER + many)


def test_name_server_lists():
    zone = "$TTL 1h\n@ SOA a. b. 1 2 3 4 5\nevil.example CNAME .\n"
    entries, reading = read_all(
        zone + "32.1.2.0.192.rpz-ip CNAME rpz-passthru.\n20.0.16.5.45.rpz-ip CNAME rpz-passthru.\n"
        "32.7.16.5.45.rpz-ip CNAME rpz-passthru.\n*.good.example CNAME rpz-passthru.\n"
        # what is no length costs its row, not the feed
        f"\u00b24.0.0.16.5.rpz-ip CNAME rpz-passthru.\n{'9' * 4500}.0.0.16.5.rpz-ip CNAME rpz-passthru.\n",
        format="rpz",
    )
    assert [each.text for each in entries if each.exception] == ["45.5.16.7", "good.example"]
    lines = [b"45.5.16.7/\n", b"45.5.200.1/\n", b"45.50.16.7/\n"]
    assert list(reading.tally.inexact.limited(lambda: lines)) == [0, 11]
    _, reading = read_all("server=/*good.com/#\naddress=/evil.com/0.0.0.0\n", format="dnsmasq")
    assert list(reading.tally.inexact.limited(lambda: [b"xgood.com/\n", b"evil.com/\n"])) == [0]
    entries, _ = read_all("msFilterList\n-d evil.com\n+d good.com a*b\n", format="tpl")
    assert [(each.text, each.exception) for each in entries] == [("evil.com", False), ("good.com", True)]


@pytest.mark.parametrize(
    "stray", ["@@", "@@|", "@@||", "@@*", "@@||*^", "@@^", "@@|http://", "@@|https://", "@@/.*/", "@@$script"]
)
def test_an_exception_of_nothing_excepts_nothing(stray):
    entries, reading = read_all(f"||bad-one.example^\n{stray}\n||bad-two.example^\n")
    assert [entry.text for entry in entries] == ["bad-one.example", "bad-two.example"]
    assert (len(reading.tally.inexact), reading.tally.rejected.total()) == (0, 1)
