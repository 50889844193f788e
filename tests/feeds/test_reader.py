"""Feeds as a whole: every real file is read without fault or widening, and random bytes break nothing."""

import csv
import io
import json
import lzma
import re
import tarfile
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList

from feedkit import chunked, read_all
from secondlook.feeds.detect import Format
from secondlook.feeds.entry import EntryKind, FeedRefused, RejectClass
from secondlook.feeds.reader import PARSERS, read
from secondlook.suffix import load_suffixes

SUFFIXES = load_suffixes()
PLAIN_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")


def test_every_format_has_a_parser():
    assert set(PARSERS) == set(Format)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\x00\x00", "empty"),
        (b"# only\n# comments\n", "empty"),
        (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "HTML"),
        (b"\n<html>\n", "HTML"),
        (b'<?xml version="1.0"?><rss></rss>', "XML"),
        (bytes(range(256)) * 20, "binary"),
        (b"\x7fELF" + bytes(200), "binary"),
        (b"list1.txt\nlist2.txt\n", "manifest"),
        (b"Service temporarily unavailable\n", "not understood"),
        (b'{"error": "quota exceeded"}', "JSON"),
    ],
)
def test_what_is_no_feed_is_refused_as_a_whole(data, reason):
    with pytest.raises(FeedRefused, match=reason):
        read_all(data)


def test_the_operator_may_name_the_format():
    assert read_all("0.0.0.0 a.example\n", format="hosts")[0][0].text == "a.example"
    with pytest.raises(FeedRefused):
        read_all("0.0.0.0 a.example\n", format="dnsmasq")
    with pytest.raises(ValueError, match="nonsense"):
        read([], suffixes=SUFFIXES, format="nonsense")


LINES = st.lists(
    st.sampled_from(
        [
            *(
                "a.example",
                "||b.example^$all",
                "@@||c.example^",
                "0.0.0.0 d.example",
                "address=/e.example/0.0.0.0",
            ),
            *(
                'local-zone: "f.example" static',
                "g.example CNAME .",
                "$TTL 30",
                "-d h.example",
                "# x",
                "! x",
                "",
            ),
            *(
                "ab" * 32,
                "cd" * 16 + ":10:X",
                '"1","2","http://i.example/a"',
                "id,url,urlhaus_link",
                "{",
                "}",
                "[",
            ),
            *(
                '{"Event": {"Attribute": [',
                '{"type": "indicator", "pattern": "[url:value = ',
                '"to_ids": true',
                "]}",
            ),
            *(
                "[url:value = 'http://x.example/']",
                "INSERT INTO x VALUES('",
                "<entry><url>http://j.example/</url>",
            ),
        ]
    )
    | st.text(max_size=20),
    max_size=12,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["auto", *Format]), st.binary() | LINES, st.integers(1, 40), st.booleans())
def test_random_input_breaks_no_parser(form, data, size, known_good):
    try:
        entries, reading = read_all(data, size=size, format=form, known_good=known_good)
    except FeedRefused:
        return
    tally = reading.tally
    assert len(entries) == tally.accepted.total() + tally.exceptions
    assert all(len(entry.hash) == 32 for entry in entries)
    assert tally.rejected.total() >= len(tally.rejects) or tally.rejected.total() == len(tally.rejects)
    if known_good:
        assert not {EntryKind.MD5, EntryKind.SHA1} & set(tally.accepted)


@given(LINES, st.integers(1, 40))
def test_where_the_chunks_are_cut_does_not_matter(data, size):
    def outcome(step):
        try:
            return [tuple(entry) for entry in read_all(data, size=step)[0]]
        except FeedRefused as refusal:
            return str(refusal)

    assert outcome(size) == outcome(65_536)


# --- the shared data -------------------------------------------------------------------------------------------

EXPECTED = {  # entries, exceptions and rejects, each counted by hand or by other means (see below)
    "feeds/abusech/malwarebazaar_csv_recent_2024-05-07.csv.xz": ("csv", 481, 0),
    "feeds/abusech/urlhaus_csv_online_2026-02-07.csv.xz": ("csv", 13_633, 0),
    "feeds/abusech/urlhaus_json_online_derived.json.xz": ("json", 3_000, 0),
    "feeds/abusech/urlhaus_recent_api_2026-02-02.json.xz": ("json", 15, 0),
    "feeds/blocklistproject/scam-ags.txt.xz": ("adblock", 8_527, 0),
    "feeds/blocklistproject/scam-dnsmasq.txt.xz": ("dnsmasq", 8_527, 0),
    "feeds/blocklistproject/scam.txt.xz": ("hosts", 8_527, 0),
    "feeds/clamav/rfxn.hdb.xz": ("clamav", 13_030, 0),
    "feeds/clamav/derived_sample.hsb.xz": ("clamav", 3_000, 0),
    "feeds/clamav/derived_sample.hdu.xz": ("clamav", 2_000, 0),
    "feeds/clamav/derived_sample.hsu.xz": ("clamav", 1_000, 0),
    "feeds/phishtank/verified_online_2024-03_4col.csv.xz": ("csv", 1_067, 0),
    "feeds/ipsum/levels_2.txt.xz": ("plain", 30_773, 0),
    "feeds/phishing-database/phishing-IPs-ACTIVE.txt.xz": ("plain", 7_120, 0),
    "hashes/romainmarcoux_sha256.txt.xz": ("plain", 23_512, 0),
    "hashes/romainmarcoux_sha1.txt.xz": ("plain", 605, 0),
    "hashes/romainmarcoux_md5.txt.xz": ("plain", 4_090, 0),
    "hashes/aaryan_sha256_hashes_4.txt.xz": ("plain", 3_719, 0),
    "hashes/eset_samples.tar.xz": ("plain", 6_549, 0),
    "hashes/unit42_golang_malware.csv.xz": ("digests", 10_700, 1),
    "malicious/urlhaus_hist_ipv4.txt.xz": ("plain", 306_289, 0),
    "malformed/urlhaus_columns_shifted.csv.xz": ("csv", 38_745, 0),
}


@pytest.fixture
def data(shared_data):
    if shared_data is None:
        pytest.skip("no shared data here")
    return shared_data


@pytest.mark.parametrize("name", EXPECTED)
def test_counts_of_real_files(data, name):
    entries, reading = read_all((data / name).read_bytes(), name.removesuffix(".xz"))
    assert (reading.format, len(entries), reading.tally.rejected.total()) == EXPECTED[name]


def lines_of(path):
    with lzma.open(path, "rb") as file:
        for line in file:
            yield line.decode("utf-8-sig", "replace").strip()


@pytest.mark.parametrize(
    "name",
    [
        "malicious/phishdb_domains.txt.xz",
        "malicious/urlhaus_hist_domains.txt.xz",
        "feeds/shadowwhisperer/Malware.xz",
        "feeds/romainmarcoux/full-domains-ab.txt.xz",
        "feeds/urlhaus-filter-2025-07-19/urlhaus-filter-domains.txt.xz",
        "feeds/urlhaus-filter-2025-07-19/urlhaus-filter-dnscrypt-blocked-names.txt.xz",
    ],
)
def test_domain_lists_reconcile_with_an_independent_count(data, name):
    """Another public suffix implementation and another notion of a host decide what must come out."""
    other = PublicSuffixList()
    accepted, suffixes, rest, rows = set(), 0, [], 0
    for line in lines_of(data / name):
        if not line or line.startswith("#"):
            continue
        rows += 1
        if not PLAIN_HOST.fullmatch(line):
            rest.append(line)
        elif other.privatesuffix(line) is None:
            suffixes += 1
        else:
            accepted.add(line)
    entries, reading = read_all((data / name).read_bytes(), name)
    tally = reading.tally
    assert tally.rows == rows == len(entries) + tally.rejected.total()
    found = {entry.text for entry in entries}
    platforms = {host for host in accepted if SUFFIXES.is_platform(host)}
    assert accepted - found == platforms
    assert tally.rejected[RejectClass.PUBLIC_SUFFIX] >= suffixes
    # what is no plain host came out as an address, in another notation, or not at all
    assert len(found - accepted) <= len(rest)


def test_adblock_reconciles(data):
    name = "feeds/phishing-database/phishing-domains-ACTIVE2.adblock.xz"
    simple = {
        found[1] for line in lines_of(data / name) if (found := re.fullmatch(r"\|\|([a-z0-9._-]+)\^", line))
    }
    entries, reading = read_all((data / name).read_bytes(), name)
    odd = {entry.text for entry in entries} - simple
    assert len(odd) < 20
    assert len(simple) - len(entries) <= reading.tally.rejected.total()
    assert reading.tally.rows == len(entries) + reading.tally.rejected.total()


def test_threatfox_reconciles(data):
    name = "feeds/abusech/threatfox_export_2026-07-09.json.xz"
    with lzma.open(data / name) as file:
        iocs = [ioc for group in json.load(file).values() for ioc in group]
    hosts = {"domain", "ip:port"}
    sure = [ioc for ioc in iocs if ioc["confidence_level"] >= 50]
    compromised = [ioc for ioc in sure if ioc["is_compromised"] and ioc["ioc_type"] in hosts]
    entries, reading = read_all((data / name).read_bytes(), name)
    tally = reading.tally
    assert tally.rejected[RejectClass.LOW_CONFIDENCE] == len(iocs) - len(sure)
    assert tally.rejected[RejectClass.COMPROMISED] == len(compromised)
    assert len(entries) + tally.rejected.total() == tally.rows == len(iocs)
    digests = Counter(ioc["ioc_type"] for ioc in sure if ioc["ioc_type"].endswith("_hash"))
    assert sum(tally.accepted[kind] for kind in EntryKind if kind.is_file) == digests.total()


def test_misp_reconciles(data):
    name = "feeds/misp/eset_events.tar.xz"
    rows = to_detect = 0
    with lzma.open(data / name) as file, tarfile.open(fileobj=io.BytesIO(file.read())) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            for value in walk(json.load(content)):
                rows += 1
                to_detect += bool(value["to_ids"])
    _, reading = read_all((data / name).read_bytes(), name)
    tally = reading.tally
    weaker = tally.comments  # digests of files that a stronger one stands for
    assert tally.rows + weaker == rows
    assert (
        tally.accepted.total() + tally.rejected.total() - tally.rejected[RejectClass.NOT_FOR_DETECTION]
        <= to_detect
    )
    assert tally.rejected[RejectClass.NOT_FOR_DETECTION] <= rows - to_detect


def walk(value):
    if isinstance(value, dict):
        if "to_ids" in value and "value" in value and "type" in value:
            yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_stix_reconciles(data):
    name = "feeds/stix/amnesty_2021-07-18_nso_pegasus.stix2.xz"
    with lzma.open(data / name) as file:
        patterns = [item["pattern"] for item in json.load(file)["objects"] if item["type"] == "indicator"]
    domains = [pattern for pattern in patterns if pattern.startswith("[domain-name:value")]
    entries, reading = read_all((data / name).read_bytes(), name)
    assert (len(entries), reading.tally.rows) == (len(domains), len(patterns))


def test_tables_reconcile(data):
    name = "feeds/abusech/urlhaus_csv_online_2026-02-07.csv.xz"
    rows = [row for row in csv.reader(lines_of(data / name)) if row and not row[0].startswith("#")]
    entries, _ = read_all((data / name).read_bytes(), name)
    with_path = [row for row in rows if re.fullmatch(r"https?://[^/]+/.+", row[2])]
    assert len(entries) == len(rows)
    assert sum(1 for entry in entries if entry.kind is EntryKind.URL) == len(with_path)


def test_no_url_becomes_its_host(data):
    for name in ("malicious/phishdb_urls.txt.xz", "malicious/urlhaus_hist_urlpaths.txt.xz"):
        lines = [
            line for line in lines_of(data / name) if re.search(r"[^/:]/[^#\s]", line.partition("#")[0])
        ][::7]
        for line in lines:
            try:
                entries, _ = read_all(line, format="plain")
            except FeedRefused:
                continue
            path = re.sub(r"^(?:[a-z]+://)?[^/?]*", "", line.partition("#")[0], flags=re.IGNORECASE)
            if path.strip("/?. "):
                assert [entry.kind for entry in entries] in ([EntryKind.URL], []), line


@pytest.mark.timeout(600)
def test_every_file_is_read_and_none_is_widened(data):
    """Every host that is listed stands, whole, in the file that lists it."""
    for path in sorted([*data.glob("*/*.xz"), *data.glob("feeds/**/*.*")]):
        if path.parent.name in {"psl", "requests", "url_tests"} or path.stat().st_size > 3_000_000:
            continue
        if "manifest" in path.name:
            with pytest.raises(FeedRefused, match="manifest"):
                read_all(path.read_bytes())
            continue
        good = path.parent.name == "knowngood"
        name = path.name.removesuffix(".xz")
        reading = read(chunked(path.read_bytes()), suffixes=SUFFIXES, name_hint=name, known_good=good)
        hosts = {entry.text for entry in reading if entry.kind is EntryKind.HOST}
        tally = reading.tally
        assert tally.accepted.total() + tally.exceptions + tally.rejected.total() >= tally.rows > 0
        words = words_of(path)
        strange = {host for host in hosts if host not in words}
        # addresses of ranges that were spelled out, IDNs, hexadecimal and octal addresses
        assert not {host for host in strange if PLAIN_HOST.fullmatch(host) and "xn--" not in host}, path


def words_of(path):
    raw = path.read_bytes()
    if path.suffix == ".xz":
        raw = lzma.decompress(raw)
    elif path.suffix in {".br", ".gz", ".zst"}:
        return words_of(path.parent.parent / f"{path.stem}.xz")
    text = raw.decode("utf-8", "replace").lower().replace("[.]", ".").replace("&#x2f;", "/")
    words = set(re.split(r"[^a-z0-9._-]+", text))
    return words | {word.strip(".") for word in words}
