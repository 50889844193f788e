import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feedkit import outcomes, read_all, texts
from secondlook.feeds.entries.entry import EntryKind
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.rule import read_rule
from secondlook.suffix import load_suffixes

HEADER = "[Adblock Plus]\n||first.example^\n"


def outcome(rule):
    return outcomes(HEADER + rule + "\n")[1]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("||evil.example^", "evil.example"),
        ("||evil.example", "evil.example"),
        ("||evil.example^|", "evil.example"),
        ("||evil.example^$all", "evil.example"),
        ("||evil.example^$important,document", "evil.example"),
        ("||evil.example/a/b.exe^$all", "evil.example/a/b.exe"),
        ("||evil.example/?u=file^$all", "evil.example/?u=file"),
        ("|http://evil.example/a|", "evil.example/a"),
        ("http://evil.example/a", "evil.example/a"),
        ("||8.8.4.4^", "8.8.4.4"),
        ("||[2606:4700::1111]^", "[2606:4700::1111]"),
        ("8.8.4.4", "8.8.4.4"),
        ("evil.example", "evil.example"),
        ("0.0.0.0 evil.example", "evil.example"),
        ("@@||good.example^", "@@good.example"),
        ("@@|good.example|", "@@good.example"),
        ("@@||good.example/a^$generichide", "@@good.example/a"),
        ("||evil.example^$badfilter", "@@evil.example/"),
    ],
)
def test_rules_that_are_taken(rule, text):
    assert outcome(rule) == text


@pytest.mark.parametrize(
    ("rule", "cls"),
    [
        ("||evil.example^$third-party", "modifier not understood"),
        ("||evil.example^$client=kid", "modifier not understood"),
        ("||evil.example^$dnsrewrite=1.2.3.4", "modifier not understood"),
        ("||evil.example^$denyallow=good.evil.example", "modifier not understood"),
        ("||evil.example^$all,ipaddress=1.2.3.4", "modifier not understood"),
        ("||evil.example^$some-new-thing", "modifier not understood"),
        ("||*.evil.example^", "wildcard or regular expression"),
        ("||evil.*^", "wildcard or regular expression"),
        ("||evil.example/*/x", "wildcard or regular expression"),
        ("||evil.", "wildcard or regular expression"),
        ("||185.220.101.", "wildcard or regular expression"),
        ("-ads.", "wildcard or regular expression"),
        ("://ww46.", "wildcard or regular expression"),
        ("-evil.example^", "wildcard or regular expression"),
        ("*evil.", "wildcard or regular expression"),
        ("/banner/", "wildcard or regular expression"),
        ("/^ads[0-9]+\\.example$/$important", "wildcard or regular expression"),
        ("||a.example/kb^x.exe$all", "wildcard or regular expression"),
        ("|evil.example|", "not understood"),
        ("evil.example##.banner", "rule that blocks no host"),
        ("evil.example#@#.banner", "rule that blocks no host"),
        ("93.184.216.34 good.example", "rule that blocks no host"),
        ("||com^", "public suffix or bare name"),
        ("||co.uk^", "public suffix or bare name"),
        ("||github.io^", "public suffix or bare name"),
        ("||drive.google.com^", "platform shared by many sites"),
    ],
)
def test_rules_that_are_dropped_and_located(rule, cls):
    assert outcome(rule) == f"3: {cls}"


@given(
    st.from_regex(
        r"(?:\|\|)?(?:hxxp|www\.|a\.b|github\.io|(?:9|10|203)\.2\.3\.[0-9]|com)?[a-z0-9_.:-]{0,6}"
        r"(?:/[A-Za-z0-9/?=&._~+%-]{0,8})?"
        r"\^?(?:\$(?:all|document|doc|important|popup))?",
        fullmatch=True,
    ).filter(bool)
)
@example("||hxxp.example/a$all")
@example("||a.example:8080/a?b=c^$all")
@example("||a.example/a=$all")
@example("||github.io/")
@example("9.2.3.4")
@example("10.2.3.4")
@example("a.example")
@example("-a.example")
@example("a.xn--b-")
@example("github.io")
def test_what_is_read_quickly_is_what_the_rule_says(rule):
    made = read_rule(rule, Maker(load_suffixes()), Tally())
    entries, reading = read_all(HEADER + rule)
    assert [*entries[1:], *(reject.cls for reject in reading.tally.rejects)] == [made]


def test_a_path_never_becomes_its_host():
    for rule in ("||evil.example/a", "||evil.example/a^$document", "|https://evil.example/a?b|"):
        entries, _ = read_all(HEADER + rule + "\n")
        assert entries[1].kind is EntryKind.URL


def test_comments_are_no_rows():
    _, reading = read_all("! Title: x\n# a\n" + HEADER + "\n! b\n")
    assert (reading.tally.rows, reading.tally.comments) == (1, 4)


@pytest.mark.parametrize(
    ("name", "count"),
    [("urlhaus-online.txt", 14), ("urlhaus-vivaldi.txt", 9), ("phishdb.adblock", 10)],
)
def test_real_excerpts(test_data, name, count):
    entries, reading = read_all((test_data / "feeds" / name).read_bytes())
    assert (reading.format, len(entries), reading.tally.rejected.total()) == ("adblock", count, 0)


def test_excerpt_keeps_urls_apart_from_hosts(test_data):
    found = texts((test_data / "feeds" / "urlhaus-online.txt").read_bytes())
    assert "yourclassmanager.com/blogs/?u=file" in found
    assert "yourclassmanager.com" not in found
