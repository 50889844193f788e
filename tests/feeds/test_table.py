import json

import pytest

from feedkit import outcomes, read_all, texts
from secondlook.core.verdict import Threat

SHA = "ab" * 32
MD5 = "cd" * 16
OTHER = "indicator of a kind that is not checked here"


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
        (
            "ip,port\n8.8.4.0/24,80\n2001:4860::/32,80\n8.8[.]4.0/30,80\n8.8.8.8/32,80\n2001:4860::8/128,80\n",
            ["8.8.8.8", "[2001:4860::8]", *(f"{line}: address range too wide" for line in (2, 3, 4))],
        ),
        (
            "indicator,type\n8.8.4.0/24,c2\n8.8.8.8/32,ip\n8.8.8.8/64,ip\n",
            ["8.8.8.8", "2: address range too wide", "4: malformed IP address"],
        ),
        (
            "indicator,port\nf00d.de/5,80\nf00d.de:8080/5,80\nbad.cf/12,80\n2001:db8::/32,80\n",
            ["f00d.de/5", "f00d.de/5", "bad.cf/12", "5: address range too wide"],
        ),
        (
            "ip,port\n8.8.4.0/255.255.255.0,80\n8.8.8.8/255.255.255.255,80\n8.8.4.4/255.0.255.0,80\n8.8.4.0 255.255.255.0,80\n",
            ["8.8.8.8", "2: address range too wide", "4: malformed IP address", "5: not understood"],
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
