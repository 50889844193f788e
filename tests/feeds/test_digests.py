import pytest

from feedkit import outcomes, read_all, texts
from secondlook.core.verdict import Threat
from secondlook.feeds.entries.entry import EntryKind, FeedRefused

SHA, SHA1, MD5 = "ab" * 32, "bc" * 20, "cd" * 16


def test_one_digest_a_line():
    for digest in (SHA, SHA.upper(), SHA1, MD5):
        _, reading = read_all(f"{digest}\r\n{digest}\r\n")
        assert reading.format == "plain"
        assert reading.tally.accepted.total() == 2


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"{MD5};DEEP PANDA {SHA1} - http://a.example/{SHA}", [MD5]),
        (f"sha256,{SHA.upper()},cdn.example/attachments/1/a.exe", [SHA]),
        (f"{MD5},{SHA1},{SHA}", [SHA]),
        (f"{SHA} {'ef' * 32}", [SHA, "ef" * 32]),
        (f"\tMD5: {MD5}  (a.exe)", [MD5]),
        (f"{SHA} *a.exe", [SHA]),
    ],
)
def test_digests_in_any_column_and_in_prose(line, found):
    assert texts(f"{SHA1} x\n{SHA1} x\n{line}\n")[2:] == found


def test_a_digest_in_a_url_names_no_file():
    feed = "".join(
        f"http://evil.example/{number}?session={MD5}\nhttp://evil.example/{SHA}/a\n" for number in range(9)
    )
    _, reading = read_all(feed)
    assert (reading.format, set(reading.tally.accepted)) == ("plain", {EntryKind.URL})


def test_prose_gives_only_what_is_marked_as_bad():
    feed = f"XLM dropper\n\t{SHA}\n{MD5}\nhxxp://evil[.]example/a\nsee https://report.example/ for more\n"
    assert outcomes(feed) == [SHA, MD5, "evil.example/a", "1: not understood", "5: not understood"]


def test_clamav_signatures():
    feed = f"{MD5}:89726:PUA.php.bot\n{SHA}:*:Win.Bad-1:73\n{SHA1}:10:Win.Bad-2\n34304:{MD5}:Section\n*:{SHA}:S:73\nx\n"
    entries, reading = read_all(feed, "a.hdb")
    assert reading.format == "clamav"
    assert [(entry.text, entry.size, entry.family, entry.threat) for entry in entries] == [
        (MD5, 89726, "PUA.php.bot", Threat.UNWANTED_SOFTWARE),
        (SHA, None, "Win.Bad-1", None),
        (SHA1, 10, "Win.Bad-2", None),
    ]
    assert outcomes(feed, "a.hdb")[3:] == [
        "4: digest of a part of a file",
        "5: digest of a part of a file",
        "6: not understood",
    ]
    assert texts(f"{SHA}:10:Good\n", "daily.fp") == [f"@@{SHA}"]


def test_the_empty_file_is_never_listed():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert outcomes(f"{SHA}\n{empty}\n") == [SHA, "2: digest of the empty file"]
    assert outcomes(f"d41d8cd98f00b204e9800998ecf8427e:0:X\n{MD5}:1:Y\n", "a.hdb") == [
        MD5,
        "1: digest of the empty file",
    ]


def test_nsrl_is_for_known_good_lists_only():
    feed = (
        "BEGIN TRANSACTION;\n"
        f"INSERT INTO METADATA VALUES('{SHA}','{SHA1}','{MD5}','exe',10);\n"
        f"INSERT INTO \"FILE\" VALUES('{'ef' * 32}','{SHA1}','{MD5}','a.dll');\nCOMMIT;\n"
    )
    assert texts(feed, known_good=True) == [SHA, "ef" * 32]
    with pytest.raises(FeedRefused, match="known-good"):
        read_all(feed)
