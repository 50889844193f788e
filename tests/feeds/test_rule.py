"""Rules of filter lists, in such a list and among other lines."""

import pytest

from feedkit import outcomes, texts
from secondlook.feeds.entries.entry import RejectClass

PATTERN = RejectClass.PATTERN


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("||evil.example^$document,popup", ["evil.example"]),
        ("||evil.example^$all,script", ["evil.example"]),
        ("||evil.example^$popup", ["1: modifier not understood"]),
        ("||evil.example^$important,script", ["1: modifier not understood"]),
        ("||evil.example^$document,third-party", ["1: modifier not understood"]),
        ("||evil.example^ # said so", ["evil.example"]),
        ("||evil.example^$badfilter # not bad after all", ["@@evil.example/"]),
        ("@@||evil.example^ # good", ["@@evil.example"]),
        ("||evil.example##.ad", ["1: rule that blocks no host"]),
        ("||usps.example-tracking-help", ["1: impossible host name"]),
        ("||media.example/video_", [f"1: {PATTERN}"]),
        ("||media.example/v.php?id=", [f"1: {PATTERN}"]),
        ("|http://media.example/video-", [f"1: {PATTERN}"]),
        ("||media.example/video_|", ["media.example/video_"]),
        ("||media.example/video_^", ["media.example/video_"]),
        ("||media.example/dir/", ["media.example/dir/"]),
        ("||media.example/a.exe", ["media.example/a.exe"]),
        ("||my-host.example", ["my-host.example"]),
    ],
)
def test_what_a_rule_says(rule, outcome):
    assert outcomes(f"{rule}\n||sure.example^\n") in (
        [*outcome, "sure.example"],
        ["sure.example", *outcome],  # rejects stand behind the entries
    )


def test_each_line_says_what_it_means_among_plain_ones():
    feed = (
        "plain.example\nplain2.example\nplain3.example\nplain4.example\n0.0.0.0 a.example b.example # two\n"
        "||rule.example^\n@@||good.example^\n127.0.0.1 localhost\n93.184.216.34 no.example\n8.8.4.4 3\n"
    )
    assert outcomes(feed, format="plain") == [
        *("plain.example", "plain2.example", "plain3.example", "plain4.example", "a.example", "b.example"),
        *("rule.example", "@@good.example", "8.8.4.4"),
        *("8: local name or address", "9: not understood"),
    ]
    assert "rule.example" in texts("0.0.0.0 a.example\n0.0.0.0 b.example\n||rule.example^\n", format="hosts")
