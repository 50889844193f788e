import json

import pytest

from feedkit import outcomes, read_all, texts
from secondlook.core.verdict import Threat
from secondlook.feeds.entry import EntryKind
from secondlook.feeds.table import instant

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


@pytest.mark.parametrize(
    ("feed", "text"),
    [
        ("domain,score\nevil.example,5\n", "evil.example"),
        ("Indicator,Note\nevil.example,x\n", "evil.example"),
        ("sha256,md5\n" + SHA + "," + MD5 + "\n", SHA),
        ("date,url\n2024-01-01,http://evil.example/a\n", "evil.example/a"),
    ],
)
def test_tables_with_a_telling_header(feed, text):
    assert text in texts(feed)


def test_a_stray_quote_spoils_one_row():
    feed = 'domain,score\nevil.example,5\n"a.example,5\nb.example,5\n'
    assert texts(feed) == ["evil.example", "b.example"]


@pytest.mark.parametrize("text", ["", "never", "9999999999999", "0000-00-00 00:00:00", "2026-02-30"])
def test_no_instant(text):
    assert instant(text) is None


def test_json_records_are_read_like_rows(test_data):
    entries, reading = read_all((test_data / "feeds" / "threatfox.json").read_bytes())
    source = json.loads((test_data / "feeds" / "threatfox.json").read_text(encoding="utf-8"))
    assert reading.tally.rows == len(source) == 12
    assert len(entries) == sum(
        1 for (ioc,) in source.values() if ioc["ioc_type"] == "url" or not ioc["is_compromised"]
    )
    entries, _ = read_all((test_data / "feeds" / "urlhaus.json").read_bytes())
    assert (len(entries), entries[0].threat) == (8, Threat.MALWARE)


@pytest.mark.parametrize(
    ("feed", "found"),
    [
        ("#ip,ioc\n93.184.215.1,Possible C2\n", ["93.184.215.1"]),
        (
            "# a list\n#IP,Date of Detection,Host\n93.184.215.1,05 May 2021,c3.evil.example\n",
            ["c3.evil.example"],
        ),
        ("# by domain, host and more\nevil.example\nhost.example\n", ["evil.example", "host.example"]),
        ("domain\ttype\nc2.bad.example\tc2\n", ["c2.bad.example"]),
        ("url;first seen\nhttp://evil.example/a,b;2024-01-01\n", ["evil.example/a,b"]),
        ("host|added\nevil.example|2024-01-01\n", ["evil.example"]),
        ("indicator_type,data,note\nsha256," + SHA + ",x\ndomain,evil.example,x\n", [SHA, "evil.example"]),
        ("type,value\n" + f'sha256,"{SHA} {"ef" * 32}"\n', [SHA, "ef" * 32]),
        ("domain,type\nevil.example,phishing\n", ["evil.example"]),
        ("indicator,type\nevil.example,phishing\n", ["evil.example"]),
        ("indicator,type\nevil.exe,filename\nevil.example,domain\n", ["evil.example", "2: " + OTHER]),
        (
            "indicator,type\n8.8.4.0/24,ip\nevil.example,domain\n",
            ["evil.example", "2: address range too wide"],
        ),
    ],
)
def test_columns_are_found_wherever_they_are_named(feed, found):
    assert outcomes(feed) == found


def test_each_row_of_a_mixed_table_by_its_type():
    feed = (
        f"type,value,description\nsha256,{SHA},one\nsha256,{'ef' * 32},two\nhostname,evil.example,A\n"
        "url,http://evil.example/x,B\nip,8.8.4.4,C\nemail,a@evil.example,D\nsha256,evil.example,E\n"
    )
    assert outcomes(feed) == [
        *(SHA, "ef" * 32, "evil.example", "evil.example/x", "8.8.4.4", f"7: {OTHER}", "8: malformed digest")
    ]


def test_zeek_intelligence():
    feed = (
        "#separator \\x09\n#fields\tindicator\tindicator_type\tmeta.source\n"
        "143.404.146.87\tIntel::ADDR\tx\nc2.bad.example\tIntel::DOMAIN\tx\nbad.example/x/y.exe\tIntel::URL\tx\n"
        f"{MD5}\tIntel::FILE_HASH\tx\n{'ab' * 20}\tIntel::CERT_HASH\tx\n8.8.4.0/24\tIntel::SUBNET\tx\n"
    )
    assert outcomes(feed) == [
        *("c2.bad.example", "bad.example/x/y.exe", MD5),
        *("3: impossible host name", f"7: {OTHER}", f"8: {OTHER}"),
    ]


@pytest.mark.parametrize(
    ("feed", "found"),
    [
        (
            "http://a.example/a.exe,2024-01-01,malware\nhttp://b.example/b.exe,2024-01-02,malware\n",
            ["a.example/a.exe", "b.example/b.exe"],
        ),
        ("http://a.example/a.exe;2024-01-01;malware\n", ["a.example/a.exe"]),
        (
            "Malicious URL,Comment\nhttp://a.example/c,seen in mail\nhttp://b.example/,dropper\n",
            ["a.example/c", "b.example", "1: not understood"],
        ),
        (
            "http://a.example/c,2024-01-01,benign\nhttp://b.example/d,2024-01-01,bad\n",
            ["b.example/d", "1: not meant for detection"],
        ),
        (
            "http://a.example/c,http://ref.example/a b,x y\nhttp://b.example/d,none,x y\n",
            ["b.example/d", "1: not understood"],
        ),
        ("http://a.example/1,2\nhttp://b.example/3,4\n", ["a.example/1,2", "b.example/3,4"]),  # no columns
        ("http://a.example/c  seen on a forum\nhttp://b.example/d\n", ["b.example/d", "1: not understood"]),
        ("http://a.example/c.exe seen\nhttp://b.example/d\n", ["b.example/d", "1: not understood"]),
        (
            "http://a.example/Order/My Login.php\nhttp://b.example/d\n",
            ["a.example/Order/My%20Login.php", "b.example/d"],
        ),
    ],
)
def test_a_url_with_more_behind_it(feed, found):
    for size in (1, 65_536):
        assert outcomes(feed, size=size) == found
