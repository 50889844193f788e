"""PhishTank's XML: the fields of each entry, wherever the pieces are cut, and ends that come too early."""

import pytest

from feedkit import chunked
from secondlook.core.verdict import Threat
from secondlook.feeds.entries.entry import FeedRefused, RejectClass
from secondlook.feeds.entries.maker import Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.phishtank import MAX_ENTRY_CHARS, parse_phishtank_xml

FEED = """<?xml version="1.0"?>
<output><entries>
<entry><url><![CDATA[http://evil.example/a?x=1&y=2]]></url><phish_id>1</phish_id>
<verified>yes</verified><online>yes</online><target>Some Bank</target>
<submission_time>2026-01-31T12:00:00+00:00</submission_time></entry>
<entry><url>http://other.example/&amp;b</url><phish_id>2</phish_id><target>Other</target></entry>
<entry><url>http://gone.example/</url><phish_id>3</phish_id><online>no</online></entry>
<entry><phish_id>4</phish_id></entry>
</entries></output>
"""


def parse(text, suffixes, size=65_536):
    tally = Tally()
    return list(parse_phishtank_xml(chunked(text.encode(), size), Maker(suffixes), tally)), tally


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_each_entry_is_read_wherever_it_is_cut(suffixes, size):
    (first, second), tally = parse(FEED, suffixes, size)
    assert (first.text, first.threat) == ("evil.example/a?x=1&y=2", Threat.SOCIAL_ENGINEERING)
    assert (first.family, first.first_seen) == ("Some Bank", 1769860800.0)
    assert (second.text, second.family) == ("other.example/&b", None)
    assert [(each.line, each.cls) for each in tally.rejects] == [
        (7, RejectClass.INACTIVE),
        (8, RejectClass.NOT_UNDERSTOOD),
    ]
    assert tally.rows == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FEED.partition("</entries>")[0], "truncated"),
        (f"<output>{'x' * (MAX_ENTRY_CHARS + 1)}", "holds no entries"),
    ],
)
def test_a_document_without_its_end_is_refused(suffixes, text, said):
    with pytest.raises(FeedRefused, match=said):
        parse(text, suffixes)
