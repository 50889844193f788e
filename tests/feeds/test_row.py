import json

import pytest

from feedkit import outcomes, read_all, texts
from secondlook.core.verdict import Threat
from secondlook.feeds.entries.entry import EntryKind
from secondlook.feeds.formats.row import instant

SHA = "ab" * 32
MD5 = "cd" * 16
OTHER = "indicator of a kind that is not checked here"


def test_urlhaus_with_nine_and_eight_columns():
    nine = '"1","2026-02-07 04:31:13","http://evil.example/a","online","2026-02-07","malware_download","elf,a","l","r"\n'
    eight = '"1","2026-02-07 04:31:13","http://evil.example/a","online","malware_download","elf,a","l","r"\n'
    for feed in (nine, eight, eight.replace("\n", "\r\n")):
        (entry,), reading = read_all(feed)
        assert reading.format == "csv"
        assert (entry.text, entry.threat, entry.first_seen) == (
            "evil.example/a",
            Threat.MALWARE,
            1770438673.0,
        )


def test_urlhaus_as_published(test_data):
    entries, reading = read_all((test_data / "feeds" / "urlhaus.csv").read_bytes())
    assert (len(entries), reading.tally.comments, reading.tally.rejected.total()) == (11, 9, 0)
    assert all(entry.kind is EntryKind.URL for entry in entries)


def test_columns_that_slipped(test_data):
    entries, _ = read_all((test_data / "feeds" / "urlhaus-shifted.csv").read_bytes())
    assert len(entries) == 9
    assert entries[0].text == "188.121.101.202/bins/condi.arm5"


def test_a_row_with_two_urls_in_the_wrong_places_is_not_guessed_at():
    feed = "id,dateadded,url,urlhaus_link\nhttp://a.example/x,http://b.example/y,,\nhttp://a.example/x,,,\n"
    assert outcomes(feed) == ["a.example/x", "2: not understood"]


def test_malwarebazaar(test_data):
    entries, reading = read_all((test_data / "feeds" / "malwarebazaar.csv").read_bytes())
    assert (len(entries), reading.tally.rejected.total()) == (5, 0)
    assert all(entry.kind is EntryKind.SHA256 and entry.threat is Threat.MALWARE for entry in entries)
    assert entries[0].family == "RiseProStealer"
    assert entries[0].first_seen == instant("2024-05-07 13:30:18")


def test_malwarebazaar_without_header_and_with_gaps():
    cells = ["2024-05-07", "n/a", MD5, "n/a", "r", 'a ""b"".exe', "exe", "m", "n/a", "", "", "", "", ""]
    row = ", ".join(f'"{cell}"' for cell in cells)
    assert [entry.kind for entry in read_all(row + "\n")[0]] == [EntryKind.MD5]


def threatfox(value, kind, confidence="100", compromised="0"):
    cells = ["2026-07-08 19:05:04", "1", value, kind, "botnet_cc", "x", "None", "Vidar", "None", confidence]
    cells += [compromised, "None", "a,b", "0", "r"]
    return ", ".join(f'"{cell}"' for cell in cells) + "\r\n"


def test_threatfox():
    feed = (
        threatfox("evil.example", "domain")
        + threatfox("8.8.4.4:8080", "ip:port")
        + threatfox("http://evil.example/a", "url", compromised="1")
        + threatfox(SHA, "sha256_hash")
        + threatfox("ef" * 20, "sha256_hash")
        + threatfox("good.example", "domain", compromised="1")
        + threatfox("unsure.example", "domain", confidence="25")
        + threatfox("x", "mutex")
        + "# Number of entries: 8\r\n"
    )
    assert outcomes(feed) == [
        *("evil.example", "8.8.4.4", "evil.example/a", SHA, "ef" * 20),
        *("6: compromised site, only its URLs are listed", "7: confidence too low"),
        "8: indicator of a kind that is not checked here",
    ]
    entry = read_all(feed)[0][0]
    assert (entry.family, entry.first_seen) == ("Vidar", instant("2026-07-08 19:05:04"))
    assert entry.expires == entry.first_seen + 180 * 86_400


def test_threatfox_before_it_told_of_compromised_sites():
    row = threatfox("evil.example", "domain").split(", ")
    del row[10]
    assert texts(", ".join(row)) == ["evil.example"]


def test_threatfox_external_dynamic_list(test_data):
    entries, reading = read_all((test_data / "feeds" / "threatfox-edl.csv").read_bytes())
    assert (len(entries), reading.tally.rows) == (11, 11)
    assert outcomes("Address,url\nevil.example, IOC FOUND\na@b.example, IOC FOUND\n") == [
        "evil.example",
        "3: indicator of a kind that is not checked here",
    ]


def test_phishtank():
    feed = (
        "phish_id,url,phish_detail_url,submission_time,verified,verification_time,online,target\n"
        "1,https://evil.example/a?b=1&amp;c=2,http://d,2024-03-22T20:40:23+00:00,yes,t,yes,Some Bank\n"
        '2,"https://evil.example/a,b",http://d,2024-03-22T20:40:23+00:00,yes,t,yes,Other\n'
        "3,https://evil.example/old,http://d,2024-03-22T20:40:23+00:00,yes,t,no,Other\n"
        "4,https://evil.example/unsure,http://d,2024-03-22T20:40:23+00:00,no,t,yes,Other\n"
    )
    assert outcomes(feed) == [
        "evil.example/a?b=1&c=2",
        "evil.example/a,b",
        "4: revoked or expired",
        "5: not meant for detection",
    ]
    plain = "phish_id,url\n1,https://evil.example/a?b=1&copy=2&section;=3&#38;d=4\n"
    assert texts(plain) == ["evil.example/a?b=1&copy=2&section;=3&d=4"]
    entry = read_all(feed)[0][0]
    assert (entry.threat, entry.family) == (Threat.SOCIAL_ENGINEERING, "Some Bank")
    four = "phish_id,url,phish_detail_url,submission_time\n1,https://evil.example/,http://d,2024-03-22\n"
    assert texts(four) == ["evil.example"]


def test_splunk(test_data):
    found = texts((test_data / "feeds" / "urlhaus-splunk.csv").read_bytes())
    assert found[-2:] == ["xemhang.vn/website1/hue2/view.exe", "yourclassmanager.com/blogs/?u=file"]
    assert "wegrowcoaching.com" in found


def test_misp_csv():
    feed = (
        "uuid,event_id,category,type,value,comment,to_ids,date\n"
        f'"u",1,"c","md5","{MD5}","",1,1\n"u",1,"c","link","http://report.example/x","",0,1\n'
        '"u",1,"c","domain","evil.example","",1,1\n"u",1,"c","regkey","HKLM\\x","",1,1\n'
    )
    assert outcomes(feed) == [
        MD5,
        "evil.example",
        "3: not meant for detection",
        "5: indicator of a kind that is not checked here",
    ]


@pytest.mark.parametrize("text", ["", "never", "9999999999999", "0000-00-00 00:00:00", "2026-02-30"])
def test_no_instant(text):
    assert instant(text) is None


def test_a_confidence_is_of_decimal_digits():
    row = {"ioc_value": "evil.example", "ioc_type": "domain", "confidence_level": "\u00b2"}
    assert texts(json.dumps([row])) == ["evil.example"]
