import json
from itertools import chain

import pytest

from feedkit import outcomes, read_all, texts
from fuzzkit.effort import grows_evenly
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.formats import objects

SHA, SHA1, MD5 = "ab" * 32, "bc" * 20, "cd" * 16


def attribute(kind, value, to_ids=True, **more):
    return {"type": kind, "value": value, "to_ids": to_ids, "category": "x", **more}


def test_misp_event():
    event = {
        "Event": {
            "info": "x",
            "Attribute": [
                attribute("domain", "evil.example"),
                attribute("domain", "files.example.org", to_ids=False),
                attribute("sha256", SHA, deleted=True),
                attribute("text", "x"),
            ],
            "Object": [
                {
                    "name": "file",
                    "Attribute": [
                        attribute("md5", MD5),
                        attribute("sha1", SHA1),
                        attribute("filename", "a.exe"),
                    ],
                },
                {"name": "url", "Attribute": [attribute("url", "http://evil.example/a")]},
            ],
            "Tag": [{"name": "tlp:white"}],
        }
    }
    expected = [
        *("evil.example", SHA1, "evil.example/a"),
        *("1: not meant for detection", "1: revoked or expired"),
        *["1: indicator of a kind that is not checked here"] * 2,
    ]
    assert outcomes(json.dumps(event)) == expected
    assert outcomes(json.dumps({"response": [event]})) == expected
    assert outcomes(json.dumps(event["Event"])) == expected


def test_a_comma_too_many_spoils_nothing():
    feed = '{"Event": {"Attribute": [' + json.dumps(attribute("domain", "evil.example"), indent=1) + ",\n], "
    feed += (
        '"Object": [{"name": "x", "Attribute": [' + json.dumps(attribute("domain", "a.example")) + ",]},],}}"
    )
    assert texts(feed) == ["evil.example", "a.example"]


def test_a_broken_record_is_one_reject():
    good = json.dumps(attribute("domain", "evil.example"))
    feed = '{"Event": {"Attribute": [' + good + ',\n{"type": nonsense here "value": 1},\n' + good + "]}}"
    assert outcomes(feed) == ["evil.example", "evil.example", "2: not understood"]


def test_a_network_in_a_record_is_no_url():
    records = [{"ip": ip, "port": 443} for ip in ("8.8.4.0/24", "8.8.8.8/32", "8.8.4.4")]
    assert outcomes(json.dumps(records)) == ["8.8.8.8", "8.8.4.4", "1: address range too wide"]


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_truncated_document_is_refused(cut):
    feed = json.dumps({"Event": {"Attribute": [attribute("domain", f"evil{n}.example") for n in range(50)]}})
    with pytest.raises(FeedRefused, match="truncated"):
        read_all(feed[: int(len(feed) * cut)])


def phishtank(count):
    record = {"phish_id": "1", "url": "", "verified": "yes", "online": "yes", "details": [{}]}
    return [json.dumps({**record, "url": f"https://evil{at}.example/"}) for at in range(count)]


@pytest.mark.parametrize("damaged", [[0], [2989], [2999], [10, 11]])
@pytest.mark.parametrize("at_once", [300, 1 << 20])
def test_a_quote_that_is_missing_costs_its_record(damaged, at_once):
    records = phishtank(3000)
    for at in damaged:
        records[at] = records[at].replace('example/"', "example/")
    expected = [f"evil{at}.example" for at in range(3000) if at not in damaged]
    found = outcomes("[" + ",\n".join(records) + "]", size=at_once)
    assert found[: len(expected)] == expected
    assert found[len(expected) :][0] == f"{damaged[0] + 1}: not understood"
    assert len(found) <= 3000


def test_beyond_the_longest_record_a_quote_that_is_missing_still_costs_no_more(monkeypatch):
    monkeypatch.setattr(objects, "MAX_RECORD_CHARS", 20_000)
    records = phishtank(3000)
    records[0] = records[0].replace('example/"', "example/")
    read = 0

    def pieces():
        nonlocal read
        for record in records:
            read += len(record) + 1
            yield record + ","
        yield "]"

    found = objects.objects(chain("[", pieces()))
    assert next(found).value is None
    assert read < 90_000  # not the whole feed
    assert len(list(found)) == 2999


@pytest.mark.parametrize("end", ["/", "/}", "/}]", "/}]/x", '/}]","a":{"b'])
def test_a_document_cut_within_a_string_is_refused_whatever_that_string_holds(end):
    records = phishtank(20)
    records[-1] = records[-1].partition("example/")[0] + "example" + end + "x"
    with pytest.raises(FeedRefused, match="truncated"):
        read_all("[" + ",".join(records))


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_document_without_a_quote_and_without_an_end_is_refused(cut):
    records = phishtank(50)
    records[3] = records[3].replace('example/"', "example/")
    feed = "[" + ",".join(records) + "]"
    with pytest.raises(FeedRefused, match="truncated"):
        read_all(feed[: int(len(feed) * cut)])


COMMA_TOO_MANY = '{"url":"http://e.example/",},\n'
DAMAGED = {
    "escaped quotes that never pair up": lambda size: '[{"url": "' + '\\"' * size + ' },{"url":"x"}]',
    "a missing quote before commas too many": lambda size: (
        '[{"url":"x},' + COMMA_TOO_MANY * size + '{"a":"b"}]'
    ),
    "a long record before commas too many": lambda size: (
        '[{"url":"' + "x" * 30 * size + '"},' + COMMA_TOO_MANY * size + "{}]"
    ),
    "quotes that never pair up": lambda size: "[" + '{"}"","[[[",' * size + "{}]",
    "a quote that is the last of all": lambda size: '[{"url":"x},' + "{},\n" * size + "{}]",
    "quotes and blanks": lambda size: '[{"url":"' + ('"' + " " * 9) * size + '"},{}]',
}


def pieces_of(text, size):
    return (text[at : at + size] for at in range(0, len(text), size))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_record_does_not_make_the_others_dear(name):
    def reading(size):
        text = DAMAGED[name](size)
        found = list(objects.objects(pieces_of(text, 1_000)))
        assert [one.value for one in found].count({"url": "http://e.example/"}) == text.count(COMMA_TOO_MANY)
        assert found[-1].line == 1 + text.count("\n")

    assert grows_evenly(reading, 4_000)


@pytest.mark.parametrize(
    "record",
    [
        *(
            '{"url":"x',
            '{"url:"x"}',
            '{url":"x"}',
            '{"url":x"}',
            '{"a":"x},"url":"y"}',
            '{"a":"\\"}","url":"x}',
        ),
        *('{"url":"C:\\x\\","b":"}"}', '{"a":"say "x", y","b":"]"}', '{"a":1 "b":"}"}', '{"a":"}" ,}'),
        *('{"a":"x"  y","b":1}', '{"a":["\n"\n,"}",]}', '{"a":"x}', '{}\\"', '{"a":"x"}}', '{"a":"x"}]'),
    ],
)
def test_where_a_feed_is_cut_into_pieces_makes_no_difference(record):
    def read(feed, size):
        try:
            return [tuple(found) for found in objects.objects(pieces_of(feed, size))]
        except FeedRefused as error:
            return str(error)

    for feed in (f'[{record},{{"b":"}}"}},{{}}]', f'[{{"b":"}}"}},{record}]', f"[{record}"):
        assert [read(feed, size) for size in (1, 2, 7)] == [read(feed, 1_000)] * 3


def test_a_bracket_too_many_costs_none_of_the_records_after_it():
    for feed in ("[{}}}, {}]", '{{"urls": [{}}}, {}], "count": 2}}', '{{"urls": [{}, {}]]}}', "[{}, {}]}}"):
        assert texts(feed.format('{"url":"http://a.example/"}', '{"url":"http://b.example/"}')) == [
            *("a.example", "b.example"),
        ]
    with pytest.raises(FeedRefused, match="truncated"):
        read_all('[{"url":"http://a.example/"}, {"url":"http://b.example/"}}')


@pytest.mark.parametrize(
    "form", ["[{}], {}, {}]", '{{"urls": [{}], {}, {}], "count": 3}}', "[{}]], {}], {}]"]
)
def test_items_after_the_bracket_that_closed_their_array_too_soon_are_records(form):
    hosts = ["a.example", "b.example", "c.example"]
    records = [f'{{"url":"http://{host}/"}}' for host in hosts]
    assert texts(form.format(*records)) == hosts


def test_an_attribute_of_a_damaged_type_spoils_no_other():
    damaged = {"type": ["md5"], "value": "x", "to_ids": True}
    good = {"type": "sha256", "value": "ab" * 32, "to_ids": True}
    event = {"Event": {"Object": [{"name": "file", "Attribute": [damaged, good]}]}}
    assert "ab" * 32 in texts(json.dumps(event))


def test_misp_manifest_and_hashes_are_not_mistaken_for_feeds():
    uuid = "5c8ff618-0998-4b11-89d4-39d70a016219"
    with pytest.raises(FeedRefused, match="manifest"):
        read_all(json.dumps({uuid: {"info": "x", "timestamp": "1", "Orgc": {"name": "y"}}}))
    with pytest.raises(FeedRefused, match="digests of indicators"):
        read_all(f"{MD5},{uuid}\n{MD5},{uuid}\n")


def test_warninglists_are_for_known_good_lists_only():
    feed = json.dumps(
        {
            "description": "x",
            "list": [".good.example", "www.fine.example", "com", "drive.google.com", SHA, MD5],
            "matching_attributes": ["domain"],
            "name": "x",
            "type": "string",
            "version": 1,
        }
    )
    with pytest.raises(FeedRefused, match="known-good"):
        read_all(feed)
    assert outcomes(feed, known_good=True) == [
        *("good.example", "www.fine.example", SHA),
        *("1: public suffix or bare name", "1: platform shared by many sites"),
        "1: digest too weak for known-good files",
    ]
    patterns = json.dumps({"list": ["evil", "a.example"], "name": "x", "type": "substring", "version": 1})
    with pytest.raises(FeedRefused, match=r"nothing usable: none of 2 rows .* 2 wildcard"):
        read_all(patterns, known_good=True)


def test_hashlookup_known_is_not_good():
    records = [
        {"SHA-256": SHA, "hashlookup:trust": 80},
        {"SHA-256": "cd" * 32, "hashlookup:trust": 10},
        {"SHA-256": "ef" * 32, "hashlookup:trust": 80, "KnownMalicious": "x"},
        {"SHA-1": SHA1, "hashlookup:trust": 80},
    ]
    with pytest.raises(FeedRefused, match="known-good"):
        read_all(json.dumps(records))
    expected = [SHA, "confidence too low", "not meant for detection", "digest too weak for known-good files"]
    assert [line.split(": ")[-1] for line in outcomes(json.dumps(records), known_good=True)] == expected
    lines = "\n".join(json.dumps(record) for record in records)
    assert [line.split(": ")[-1] for line in outcomes(lines, known_good=True)] == expected


def test_phishtank_json_and_xml():
    record = {
        "phish_id": "1",
        "url": "https://evil.example/a",
        "verified": "yes",
        "online": "yes",
        "details": [{}],
    }
    assert texts(json.dumps([record, {**record, "online": "no"}])) == ["evil.example/a"]
    xml = (
        '<?xml version="1.0"?><output><meta><total_entries>2</total_entries></meta><entries>\n<entry>\n'
        "<url><![CDATA[https://evil.example/a?b=1&c=2]]></url><phish_id>1</phish_id>"
        "<verification><verified>yes</verified></verification></entry>\n"
        "<entry><url>https://evil.example/x?b=1&amp;c=2</url><phish_id>2</phish_id></entry></entries></output>"
    )
    assert texts(xml) == ["evil.example/a?b=1&c=2", "evil.example/x?b=1&c=2"]
    assert texts(xml, size=16) == texts(xml)
    with pytest.raises(FeedRefused, match="truncated"):
        read_all(xml[:-60])


def test_json_lines_of_records():
    records = [
        {"date": "2026-01-01", "url": "http://evil.example/a", "tags": ["x"]},
        {"date": "2026-01-02", "url": "http://evil.example/b", "status": "clean"},
        {"date": "2026-01-03", "note": "nothing"},
    ]
    expected = ["evil.example/a", "2: not meant for detection", "3: not understood"]
    for lines in ("\n".join(map(json.dumps, records)), "\r\n".join(map(json.dumps, records)) + "\r\n"):
        assert outcomes(lines) == expected
        assert outcomes(lines, size=7) == expected
    assert outcomes("\n".join(json.dumps(each, indent=1) for each in records))[0] == "evil.example/a"
    documents = "\n".join(json.dumps({"query_status": "ok", "urls": [each]}) for each in records[:1] * 2)
    assert outcomes(documents, format="json") == ["evil.example/a", "evil.example/a"]
    about_a_host = {"host": "shared.example", "urls": [{"url": "http://shared.example/x"}]}
    assert outcomes("\n".join([json.dumps(about_a_host)] * 2)) == ["shared.example/x"] * 2


@pytest.mark.parametrize(
    "feed", ['{"url": "http://help.example/", "message": "too many requests"}', '{"url": 1}\n']
)
def test_one_object_alone_is_no_list(feed):
    with pytest.raises(FeedRefused, match="JSON without records"):
        read_all(feed)


@pytest.mark.parametrize("feed", ['{"a": 1}', "[]", "{}", '[["a"]]', "[" * 100 + "{", '{"a":' * 100])
def test_unknown_json_is_refused(feed):
    with pytest.raises(FeedRefused):
        read_all(feed)


def test_the_order_of_keys_does_not_matter():
    records = [{"id": 1, "note": {"x": [1]}, "url": "http://evil.example/x"}] * 3
    assert set(texts(json.dumps({"count": 3, "items": records}))) == {"evil.example/x"}
    indicator = {
        "type": "indicator",
        "id": "indicator--11111111-1111-4111-8111-111111111111",
        "pattern": "[domain-name:value = 'late.example']",
        "pattern_type": "stix",
        "valid_from": "2024-01-01T00:00:00Z",
    }
    others = [
        {"id": f"identity--{n:08}-1111-4111-8111-111111111111", "name": "x" * 200, "type": "identity"}
        for n in range(400)
    ]
    bundle = {"objects": [*others, indicator], "id": "bundle--x", "type": "bundle"}
    assert texts(json.dumps(bundle)) == ["late.example"]


def test_a_doubled_quote_that_hides_the_end_of_its_record_has_the_feed_refused():
    with pytest.raises(FeedRefused, match="truncated"):
        read_all('[{"url":"http://a.example/"}, {"url":""{""}, {"url":"http://c.example/"}]')
