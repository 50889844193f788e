"""What the guard catches beyond a whole host, and what it must let pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.feeds.known_good import KnownGood
from secondlook.suffix import load_suffixes

LINES = [
    ".owner.example",
    "www.owner.example",
    ".social.example",
    "social.example/",
    "links.example/",
    "alone.example",
    "mine.example/*",
    "192.0.2.9/*",
    "[2001:db8::9]/*",
    "raw.githubusercontent.com/*",
    ".googleapis.com",
    "not a host",
]
KNOWN_GOOD = KnownGood(LINES, load_suffixes())


@pytest.mark.parametrize(
    ("line", "held_back"),
    [
        # below an owner's domain, and what strangers name there
        ("cdn.owner.example/", True),
        ("a.b.c.owner.example/", True),
        ("notowner.example/", False),
        ("owner.example.evil.example/", False),
        ("below.alone.example/", False),
        ("me.links.example/", False),
        ("bucket.storage.googleapis.com/", False),
        # pages that stand for many, on an owner's hosts
        ("www.owner.example/wiki/", True),
        ("www.owner.example/anything/", True),
        ("www.owner.example/anything/else/", False),
        ("www.owner.example/anything", False),
        ("www.owner.example/Login.aspx", True),
        ("www.owner.example/login.aspx?next=evil", False),
        ("accounts.owner.example/v3/identifier", True),
        ("accounts.owner.example/v3/identifier?x=1", False),
        # where many have pages: one person's are not the site's
        ("social.example/somebody/", False),
        ("social.example/file/d/", True),
        ("social.example/file/d/1AbC/", False),
        ("social.example/file/d/1AbC/view", False),
        ("links.example/wiki/", True),
        ("links.example/1AbC", False),
        # of the operator's own servers no page may be listed; one on a platform does not own that
        ("mine.example/", True),
        ("mine.example/v5/hashes:search", True),
        ("mine.example/a?b", True),
        ("below.mine.example/a", False),
        ("notmine.example/a", False),
        ("192.0.2.9/a/b", True),
        ("[2001:db8::9]/a/b", True),
        ("raw.githubusercontent.com/somebody/", False),
        # nothing is known of these
        ("login.evil.example/login", False),
        ("evil.example/wiki/", False),
        ("192.0.2.1/login", False),
        ("[2001:db8::1]/login/", False),
    ],
)
def test_what_blocks_too_much(line, held_back):
    assert KNOWN_GOOD.blocks_too_much(line) is held_back


LINE = st.builds(
    "{}/{}".format,
    st.sampled_from(
        ["cdn.owner.example", "social.example", "evil.example", "alone.example", "x", "a.b.links.example"]
    ),
    st.sampled_from(["", "wiki/", "login", "1AbC", "é/", "watch?v=1"]),
)


@given(st.lists(LINE))
def test_the_quick_look_finds_what_the_close_one_does(lines):
    raw = [f"{line}\n".encode() for line in lines]
    starts = [sum(map(len, raw[:at])) for at, line in enumerate(lines) if KNOWN_GOOD.blocks_too_much(line)]
    assert list(KNOWN_GOOD.offsets(b"".join(raw))) == starts
