"""Every list of the shared data is imported, and every row of it is accounted for by an independent count.

Of each file: the format that is told, the entries that are published (exactly those that the count derives from
its rows, so none is wider than its row), and the rejects by class. What the count cannot judge is named in ODD.
Takes about 50 seconds of processor time for all files, 12 for the largest.
"""

import gc
import gzip
import lzma
import re
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import brotli
import pytest
import zstandard

from feedkit import independent as by
from feedkit.claims import skeleton
from secondlook.feeds.entries.entry import RejectClass
from secondlook.server.store.importing import import_files
from secondlook.server.store.records import KIND_FILE, NO_TEXT, open_run
from secondlook.server.store.store import ServerStore

FILTERS = "feeds/urlhaus-filter-2025-07-19/urlhaus-filter"
ADDRESS, ZONE = (
    by.settings_of(r"(?:address|server|local)=/([^/]+)/"),
    by.settings_of(r'local-zone:\s*"([^"]+)"'),
)
LISTS: dict[str, tuple[str, by.Claims]] = {  # the format that must be told, and how to count
    "feeds/abusech/malwarebazaar_csv_recent_2024-05-07.csv.xz": ("csv", by.column(1)),
    "feeds/abusech/threatfox_domains_edl.csv.xz": ("csv", by.column("Address")),
    "feeds/abusech/threatfox_export_2026-07-09.json.xz": ("json", by.threatfox),
    "feeds/abusech/urlhaus_csv_online_2026-02-07.csv.xz": ("csv", by.column(2)),
    "feeds/abusech/urlhaus_json_online_derived.json.xz": ("json", by.every_url),
    "feeds/abusech/urlhaus_recent_api_2026-02-02.json.xz": ("json", by.every_url),
    "feeds/blocklistproject/malware.ip.xz": ("plain", by.plain),
    "feeds/blocklistproject/scam-ags.txt.xz": ("adblock", by.rules),
    "feeds/blocklistproject/scam-dnsmasq.txt.xz": ("dnsmasq", ADDRESS),
    "feeds/blocklistproject/scam.txt.xz": ("hosts", by.hosts_file),
    "feeds/clamav/clamav_unit_sigs.tar.xz": ("clamav", by.signatures),
    "feeds/clamav/derived_sample.hdu.xz": ("clamav", by.signatures),
    "feeds/clamav/derived_sample.hsb.xz": ("clamav", by.signatures),
    "feeds/clamav/derived_sample.hsu.xz": ("clamav", by.signatures),
    "feeds/clamav/rfxn.hdb.xz": ("clamav", by.signatures),
    "feeds/dandelionsprout/AntiMalwareAdGuardHome.txt.xz": ("adblock", by.rules),
    "feeds/dandelionsprout/AntiMalwareDomains.txt.xz": ("plain", by.plain),
    "feeds/dandelionsprout/AntiMalwareHosts.txt.xz": ("hosts", by.hosts_file),
    "feeds/ipsum/levels_2.txt.xz": ("plain", by.plain),
    "feeds/maltrail/trails_sample.tar.xz": ("plain", by.plain),
    "feeds/misp/eset_events.tar.xz": ("misp", by.misp),
    "feeds/misp/misp_feed_dir_derived.tar.xz": ("misp", by.misp),
    "feeds/misp/misp_tests_event.csv.xz": ("csv", by.misp_table),
    "feeds/misp/stalkerware_quad9_blocklist.txt.xz": ("plain", by.plain),
    "feeds/phishing-database/phishing-IPs-ACTIVE.txt.xz": ("plain", by.plain),
    "feeds/phishing-database/phishing-domains-ACTIVE2.adblock.xz": ("adblock", by.rules),
    "feeds/phishtank/verified_online_2024-03_4col.csv.xz": ("csv", by.column("url", unescape=True)),
    "feeds/romainmarcoux/full-domains-ab.txt.xz": ("plain", by.plain),
    "feeds/shadowwhisperer/Malware.xz": ("plain", by.plain),
    "feeds/stix/amnesty_2021-07-18_nso_pegasus.stix2.xz": ("stix", by.stix),
    "feeds/stix/mvt_stix21.tar.xz": ("stix", by.stix),
    "feeds/stix/unit42_stix20.tar.xz": ("stix", by.stix),
    "feeds/urlhaus-filter-2025-07-19/precompressed/urlhaus-filter-online.txt.br": ("adblock", by.rules),
    "feeds/urlhaus-filter-2025-07-19/precompressed/urlhaus-filter-online.txt.gz": ("adblock", by.rules),
    "feeds/urlhaus-filter-2025-07-19/precompressed/urlhaus-filter-online.txt.zst": ("adblock", by.rules),
    f"{FILTERS}.txt.xz": ("adblock", by.rules),
    f"{FILTERS}-ag-online.txt.xz": ("adblock", by.rules),
    f"{FILTERS}-agh.txt.xz": ("adblock", by.rules),
    f"{FILTERS}-bind.conf.xz": ("bind", by.settings_of(r'zone "([^"]+)"')),
    f"{FILTERS}-dnscrypt-blocked-ips.txt.xz": ("plain", by.plain),
    f"{FILTERS}-dnscrypt-blocked-names.txt.xz": ("plain", by.plain),
    f"{FILTERS}-dnsmasq.conf.xz": ("dnsmasq", ADDRESS),
    f"{FILTERS}-domains.txt.xz": ("plain", by.plain),
    f"{FILTERS}-hosts.txt.xz": ("hosts", by.hosts_file),
    f"{FILTERS}-online.tpl.xz": ("tpl", by.settings_of(r"-d (\S+)$")),
    f"{FILTERS}-online.txt.xz": ("adblock", by.rules),
    f"{FILTERS}-rpz.conf.xz": ("rpz", by.settings_of(r"(\S+)\s+CNAME\s+\.$", ";")),
    f"{FILTERS}-splunk-online.csv.xz": ("csv", by.splunk),
    f"{FILTERS}-unbound.conf.xz": ("unbound", ZONE),
    f"{FILTERS}-vivaldi-online.txt.xz": ("adblock", by.rules),
    f"{FILTERS}-wildcard.txt.xz": ("plain", by.plain),
    "hashes/aaryan_md5_hashes_6.txt.xz": ("plain", by.plain),
    "hashes/aaryan_sha1_hashes_4.txt.xz": ("plain", by.plain),
    "hashes/aaryan_sha256_hashes_4.txt.xz": ("plain", by.plain),
    "hashes/eset_samples.tar.xz": ("plain", by.plain),
    "hashes/romainmarcoux_md5.txt.xz": ("plain", by.plain),
    "hashes/romainmarcoux_sha1.txt.xz": ("plain", by.plain),
    "hashes/romainmarcoux_sha256.txt.xz": ("plain", by.plain),
    "hashes/signature-base_hash-iocs.txt.xz": ("digests", by.digests),
    "hashes/sophos_discord_files_upper.csv.xz": ("csv", by.typed),
    "hashes/unit42_dridex_prose.txt.xz": ("digests", by.digests),
    "hashes/unit42_golang_malware.csv.xz": ("digests", by.digests),
    "knowngood/misp_warninglists.tar.xz": ("warninglist", by.warninglist),
    "knowngood/umbrella_top100k_2026-07-24.txt.xz": ("plain", by.plain_good),
    "malformed/eset_pypi_misp_event_trailing_comma.json.xz": ("misp", by.misp),
    "malformed/phishdb_malformed_entries.txt.xz": ("plain", by.plain),
    "malformed/urlhaus_columns_shifted.csv.xz": ("csv", by.only_url),
    "malicious/phishdb_domains.txt.xz": ("plain", by.plain),
    "malicious/phishdb_urls.txt.xz": ("plain", by.plain),
    "malicious/urlhaus_hist_domains.txt.xz": ("plain", by.plain),
    "malicious/urlhaus_hist_ipv4.txt.xz": ("plain", by.plain),
    "malicious/urlhaus_hist_urlpaths.txt.xz": ("plain", by.plain),
    "series/phishdb_ips_active_20.tar.xz": ("plain", by.plain),
    "series/urlhaus_filter_online_40.tar.xz": ("adblock", by.rules),
}
REFUSED = {"feeds/phishing-database/phishing-domains-ACTIVE.manifest.adblock.xz": "manifest"}
EXCERPTS: dict[str, tuple[str, by.Claims]] = {
    "ipsum.txt": ("plain", by.plain),
    "malwarebazaar.csv": ("csv", by.column(1)),
    "phishdb.adblock": ("adblock", by.rules),
    "threatfox-edl.csv": ("csv", by.column("Address")),
    "threatfox.json": ("json", by.threatfox),
    "urlhaus-bind.conf": ("bind", by.settings_of(r'zone "([^"]+)"')),
    "urlhaus-dnscrypt-blocked-ips.txt": ("plain", by.plain),
    "urlhaus-dnscrypt-blocked-names.txt": ("plain", by.plain),
    "urlhaus-dnsmasq.conf": ("dnsmasq", ADDRESS),
    "urlhaus-domains.txt": ("plain", by.plain),
    "urlhaus-hosts.txt": ("hosts", by.hosts_file),
    "urlhaus-online.tpl": ("tpl", by.settings_of(r"-d (\S+)$")),
    "urlhaus-online.txt": ("adblock", by.rules),
    "urlhaus-rpz.conf": ("rpz", by.settings_of(r"(\S+)\s+CNAME\s+\.$", ";")),
    "urlhaus-shifted.csv": ("csv", by.only_url),
    "urlhaus-splunk.csv": ("csv", by.splunk),
    "urlhaus-unbound.conf": ("unbound", ZONE),
    "urlhaus-vivaldi.txt": ("adblock", by.rules),
    "urlhaus-wildcard.txt": ("plain", by.plain),
    "urlhaus.csv": ("csv", by.column(2)),
    "urlhaus.json": ("json", by.every_url),
}
ODD = {  # a row, and the entry or the class of reject that is right for it
    # IPv4 as inet_aton and browsers read it: hexadecimal, octal
    "0x5bf076a8": "91.240.118.168/",
    "0x5cff39c3": "92.255.57.195/",
    "0xb907d607": "185.7.214.7/",
    "0000153.0000255.0000011.0000125": "107.173.9.85/",
    "123.5.213.002": "123.5.213.2/",
    "42.232.243.051": "42.232.243.41/",
    # numbers that are no address, and names that end in a number
    "4040": RejectClass.BAD_ADDRESS,
    "56565": RejectClass.BAD_ADDRESS,
    "57.5034.214.1": RejectClass.BAD_HOST,
    "253.365.457.14": RejectClass.BAD_HOST,
    "264.200.64.2": RejectClass.BAD_HOST,
    "800.800.160.167": RejectClass.BAD_HOST,
    "37.49.226.74i686": RejectClass.BAD_HOST,
    "7051.gsm.360safe": RejectClass.BAD_HOST,
    "c67f045c2f.ipv6.1433": RejectClass.BAD_HOST,
    "31.76.252.47:443": RejectClass.BAD_URL,  # the row has two ports
    # what no host name can hold
    "%20mandrillapp.com": RejectClass.BAD_HOST,
    'Login.html"': RejectClass.BAD_HOST,
    "valentinmihai-48225.portmap.io=>7119": RejectClass.BAD_HOST,
    # a scheme without its name; paths without a host
    "://[2600:3c06::f03c:95ff:fed9:ce5e]": RejectClass.NOT_UNDERSTOOD,
    "://[2600:3c06::f03c:95ff:fedc:7282]": RejectClass.NOT_UNDERSTOOD,
    "://[2604:2dc0:100:4ed8::]": RejectClass.NOT_UNDERSTOOD,
    "://[2604:2dc0:104:da00::]": RejectClass.NOT_UNDERSTOOD,
    "vakıfbank.com": "xn--vakfbank-vkb.com/",
    # the scheme twice: the host is what stands before the colon, and the whole rest is the path
    "http://https://beacon.labor.maryland.gov.labor-maryland.com": "https/beacon.labor.maryland.gov.labor-maryland.com",
    "https://472a4http://app-list-72182.work/login/login.html": "472a4http/app-list-72182.work/login/login.html",
}


@pytest.fixture(autouse=True, scope="module")
def _collected_seldom() -> Iterator[None]:
    """As in the child that takes lists in (`ground.collector.collect_seldom`)."""
    ordinary = gc.get_threshold()
    gc.set_threshold(200_000, *ordinary[1:])
    yield
    gc.set_threshold(*ordinary)


@pytest.fixture
def data(shared_data: Path | None) -> Path:
    if shared_data is None:
        pytest.skip("no shared data here")
    return shared_data


def texts(path: Path) -> Iterator[str]:
    """Unpack a list by other means than the product: its text, or those of an archive's members."""
    raw = path.read_bytes()
    match path.suffix:
        case ".xz":
            raw = lzma.decompress(raw)
        case ".gz":
            raw = gzip.decompress(raw)
        case ".br":
            raw = brotli.decompress(raw)
        case ".zst":
            raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    if not path.name.endswith(".tar.xz"):
        yield raw.decode("utf-8", "surrogateescape")
        return
    with tarfile.open(fileobj=BytesIO(raw)) as archive:
        for member in archive:
            # ClamAV's other signatures; the indexes of a MISP feed
            if not member.name.endswith((".gdb", ".pdb", ".wdb", "manifest.json", "hashes.csv")):
                content = archive.extractfile(member)
                assert content is not None
                yield content.read().decode("utf-8", "surrogateescape")


def published(store: ServerStore, source_id: str) -> set[str]:
    """Read the texts of a source's entries; every hash is that of its text."""
    folder = store.source_folder(source_id)
    records = open_run(folder / "records")
    hashes = set(records["hash"].tolist())
    bare = records[(records["kind"] == KIND_FILE) & (records["text"] == NO_TEXT)]
    raw = (folder / "texts").read_bytes().removesuffix(b"\n")
    found = zip([sha256(line).digest() for line in raw.split(b"\n")], raw.decode().split("\n"), strict=True)
    named = {hashed: text for hashed, text in found if hashed in hashes}
    unnamed = set(bare["hash"].tolist())
    assert hashes == named.keys() | unnamed
    return {*named.values(), *(each.hex() for each in unnamed)}


def limited(text: str, allowed: list[tuple[bool, str]], limits: list[str]) -> bool:
    """Tell whether a list's own exceptions take an entry away: on the host, below it, or above it."""
    host = text.partition("/")[0]
    return any(re.search(each, f"http://{text}") for each in limits) or any(
        host == name or (whole and (host.endswith(f".{name}") or name.endswith(f".{host}")))
        for whole, name in allowed
    )


def reconcile(tmp_path: Path, path: Path, form: str, claims: by.Claims, list_name: str) -> None:
    counted = by.count(texts(path), claims)
    for row in counted.odd:
        right = ODD[row] if row in ODD else by.doubled_scheme(row)
        (counted.rejected if isinstance(right, RejectClass) else counted.entries)[right] += 1
    assert counted.rows - len(counted.odd) > 0
    store = ServerStore(tmp_path / "server")
    now = 4e9 if form == "stix" else 0.0  # neither over nor not valid yet
    [report] = import_files(store, [path], who="tester", now=now, list_name=list_name).files
    assert report.refused is None
    assert report.format == form
    exact = set(counted.entries)
    excepting = counted.allowed or counted.limits
    held = {text for text in exact if excepting and limited(text, counted.allowed, counted.limits)}
    if held:
        counted.rejected[RejectClass.EXCEPTED] = len(held)
    assert dict(report.rejected) == dict(counted.rejected)
    taken = counted.entries.total() + counted.like.total() + len(counted.allowed)
    assert report.accepted == taken - len(held)
    assert report.source is not None
    found = published(store, report.source)
    assert len(found) == report.distinct
    assert held & found == set(), "rows that an exception holds back"
    exact -= held
    assert exact - found == set(), "rows without their entry"
    others = {skeleton(text) for text in found - exact}
    assert others - set(counted.like) == set(), "entries that no row says"
    missing = set(counted.like) - others
    assert missing - ({skeleton(text) for text in found} if missing else set()) == set(), "rows without one"


@pytest.mark.parametrize("name", LISTS)
def test_every_row_is_accounted_for(data, tmp_path, name):
    list_name = "gc-32b" if name.startswith("knowngood/") else "mw-8b"
    reconcile(tmp_path, data / name, *LISTS[name], list_name)


@pytest.mark.parametrize("name", EXCERPTS)
def test_every_row_of_an_excerpt_is_accounted_for(test_data, tmp_path, name):
    reconcile(tmp_path, test_data / "feeds" / name, *EXCERPTS[name], "mw-8b")


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_entries_is_refused(data, tmp_path, name):
    [report] = import_files(ServerStore(tmp_path), [data / name], who="tester", now=0.0).files
    assert REFUSED[name] in report.refused


def test_no_list_is_left_out(data, test_data):
    folders = ("feeds", "hashes", "knowngood", "malformed", "malicious", "series")
    there = {path for folder in folders for path in (data / folder).rglob("*") if path.is_file()}
    assert there == {data / name for name in (*LISTS, *REFUSED)}
    excerpts = {path.name for path in (test_data / "feeds").iterdir() if path.name != "README.md"}
    assert excerpts == set(EXCERPTS)
