from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.url.canonical import url_subject
from secondlook.feeds.entries.entry import Entry, EntryKind, RejectClass
from secondlook.feeds.entries.maker import Maker, refang
from secondlook.suffix import load_suffixes

SUFFIXES = load_suffixes()
MAKER = Maker(SUFFIXES)


@pytest.mark.parametrize(
    ("said", "text", "kind"),
    [
        ("evil.example", "evil.example", EntryKind.HOST),
        ("EVIL.Example.", "evil.example", EntryKind.HOST),
        ("evil[.]example", "evil.example", EntryKind.HOST),
        ("hxxps://evil[.]example/a", "evil.example/a", EntryKind.URL),
        ("hXXp://evil(dot)example/a", "evil.example/a", EntryKind.URL),
        ("http[:]//evil.example/a", "evil.example/a", EntryKind.URL),
        ("bücher.example", "xn--bcher-kva.example", EntryKind.HOST),
        ("http://user:pass@evil.example:8080/a", "evil.example/a", EntryKind.URL),
        ("evil.example/a?b=c", "evil.example/a?b=c", EntryKind.URL),
        ("evil.example/a?", "evil.example/a", EntryKind.URL),
        ("http://evil.example/", "evil.example", EntryKind.HOST),
        ("http://evil.example/?", "evil.example", EntryKind.HOST),
        ("http://evil.example/#x", "evil.example", EntryKind.HOST),
        ("evil.example:8080", "evil.example", EntryKind.HOST),
        ("8.8.4.4", "8.8.4.4", EntryKind.HOST),
        ("8.8.4.4:8080", "8.8.4.4", EntryKind.HOST),
        ("0x5bf076a8", "91.240.118.168", EntryKind.HOST),
        ("0000153.0000255.0000011.0000125", "107.173.9.85", EntryKind.HOST),
        ("http://3279880203/", "195.127.0.11", EntryKind.HOST),
        ("2606:4700:0:0::1111", "[2606:4700::1111]", EntryKind.HOST),
        ("[2606:4700::1111]:443", "[2606:4700::1111]", EntryKind.HOST),
        ("http://127.0.0.1:8000/x", "127.0.0.1/x", EntryKind.URL),
        ("http://localhost/x", "localhost/x", EntryKind.URL),
        ("http://drive.google.com/uc?id=1", "drive.google.com/uc?id=1", EntryKind.URL),
        ("someone.github.io", "someone.github.io", EntryKind.HOST),
    ],
)
def test_indicators(said, text, kind):
    made = MAKER.indicator(said)
    assert isinstance(made, Entry), made
    assert (made.text, made.kind) == (text, kind)
    expression = f"{text}/" if kind is EntryKind.HOST else text
    assert made.hash == sha256(expression.encode()).digest()


@pytest.mark.parametrize(
    ("said", "cls"),
    [
        ("com", RejectClass.PUBLIC_SUFFIX),
        ("co.uk", RejectClass.PUBLIC_SUFFIX),
        ("http://github.io/", RejectClass.PUBLIC_SUFFIX),
        ("digitaloceanspaces.com", RejectClass.PUBLIC_SUFFIX),
        ("belovedmotherof13", RejectClass.PUBLIC_SUFFIX),
        ("drive.google.com", RejectClass.SHARED_PLATFORM),
        ("https://drive.google.com/", RejectClass.SHARED_PLATFORM),
        ("0.tcp.ngrok.io:12345", RejectClass.SHARED_PLATFORM),
        ("https://tenant.sharepoint.com/#/login", RejectClass.SHARED_PLATFORM),
        ("user@example.com", RejectClass.OTHER_TYPE),
        ("mailto://user@example.com", RejectClass.OTHER_TYPE),
        ("ev*l.example", RejectClass.PATTERN),
        ("*", RejectClass.PATTERN),
        ("/path/only", RejectClass.NOT_UNDERSTOOD),
        ("PDF/office365.htm", RejectClass.NOT_UNDERSTOOD),
        ("472a4http:", RejectClass.PUBLIC_SUFFIX),
        ('Login.html"', RejectClass.BAD_HOST),
        ("%20mandrillapp.com", RejectClass.BAD_HOST),
        ("800.800.160.167", RejectClass.BAD_HOST),
        ("1.2.3", RejectClass.BAD_ADDRESS),
        ("185.220.101.", RejectClass.BAD_ADDRESS),
        ("56565", RejectClass.BAD_ADDRESS),
        ("20240507", RejectClass.BAD_ADDRESS),
        ("127.0.0.1", RejectClass.LOCAL),
        ("http://127.0.0.1:8000/", RejectClass.LOCAL),
        ("http://2130706433/", RejectClass.LOCAL),
        ("10.1.2.3", RejectClass.LOCAL),
        ("169.254.169.254", RejectClass.LOCAL),
        ("[::1]", RejectClass.LOCAL),
        ("localhost.localdomain", RejectClass.LOCAL),
        ("printer.local", RejectClass.LOCAL),
        ("secondlook.internal", RejectClass.LOCAL),
        ("http://evil.internal/", RejectClass.LOCAL),
        ("nas.localdomain", RejectClass.LOCAL),
        ("router.home.arpa", RejectClass.LOCAL),
        ("Printer.Local", RejectClass.LOCAL),
        ("a b", RejectClass.NOT_UNDERSTOOD),
        ("evil.example\x00", RejectClass.NOT_UNDERSTOOD),
        ("", RejectClass.BAD_HOST),
        ("http://", RejectClass.BAD_URL),
        ("http://a.example:port/x", RejectClass.BAD_URL),
        ("evil.example:port", RejectClass.NOT_UNDERSTOOD),
    ],
)
def test_what_is_refused(said, cls):
    assert MAKER.indicator(said) is cls


@pytest.mark.parametrize(
    ("said", "host"),
    [
        ("above-passes.at.ply.gg", "above-passes.at.ply.gg"),
        ("xk2.localto.net", "xk2.localto.net"),
        ("ec2-203-0-113-5.compute-1.amazonaws.com:8080", "ec2-203-0-113-5.compute-1.amazonaws.com"),
        ("xk3.duckdns.org:62699", "xk3.duckdns.org"),
        ("https://xk4.pages.dev/#mail", "xk4.pages.dev"),
        ("https://someone.web.app/#/login", "someone.web.app"),
    ],
)
def test_the_site_of_one_tenant_is_listed_for_exactly_that_host(said, host):
    made = MAKER.indicator(said)
    assert isinstance(made, Entry)
    assert (made.text, made.kind) == (host, EntryKind.HOST)
    if load_suffixes().is_suffix(host):
        below = url_subject(f"http://a.{host}/", load_suffixes())
        assert made.hash not in below.hashes


def test_an_entry_is_what_a_client_looks_for():
    for said in ("evil.example", "http://evil.example/a/", "http://evil.example/a?b"):
        made = MAKER.indicator(said)
        assert isinstance(made, Entry)
        assert made.hash in url_subject(f"http://www.{said.removeprefix('http://')}", SUFFIXES).hashes


@pytest.mark.parametrize(
    ("digest", "hashed"),
    [("ab" * 32, bytes.fromhex("ab" * 32)), ("AB" * 32, bytes.fromhex("ab" * 32))],
)
def test_sha256_is_its_own_hash(digest, hashed):
    made = MAKER.digest(digest)
    assert isinstance(made, Entry)
    assert (made.hash, made.kind) == (hashed, EntryKind.SHA256)


@pytest.mark.parametrize(("length", "kind"), [(32, EntryKind.MD5), (40, EntryKind.SHA1)])
def test_older_digests_are_named_and_hashed(length, kind):
    digest = "0123456789ABCDEF0123456789abcdef01234567"[:length]
    made = MAKER.digest(digest)
    assert isinstance(made, Entry)
    assert made.kind is kind
    assert made.hash == sha256(f"{kind.value}:{digest.lower()}".encode()).digest()
    assert Maker(SUFFIXES, known_good=True).digest(digest) is RejectClass.WEAK_DIGEST


@pytest.mark.parametrize(
    ("digest", "cls"),
    [
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", RejectClass.EMPTY_FILE),
        ("DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", RejectClass.EMPTY_FILE),
        ("d41d8cd98f00b204e9800998ecf8427e", RejectClass.EMPTY_FILE),
        ("0" * 64, RejectClass.BAD_DIGEST),
        ("ab" * 31, RejectClass.BAD_DIGEST),
        ("g" * 64, RejectClass.BAD_DIGEST),
        ("", RejectClass.BAD_DIGEST),
    ],
)
def test_digests_that_are_refused(digest, cls):
    assert MAKER.digest(digest) is cls


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("domain", "evil.example", "evil.example"),
        ("domain|ip", "evil.example|8.8.4.4", "evil.example"),
        ("hostname|port", "evil.example|8080", "evil.example"),
        ("ip-dst|port", "8.8.4.4|8080", "8.8.4.4"),
        ("url", "http://evil.example/x", "evil.example/x"),
        ("filename|md5", "a.exe|" + "ab" * 16, "ab" * 16),
        ("malware-sample", "a.exe|" + "ab" * 16, "ab" * 16),
        ("ip-dst", "8.8.4.0/24", RejectClass.WIDE_RANGE),
        ("ip-src", "8.8.4.4", RejectClass.OTHER_TYPE),
        ("email-src", "a@b.example", RejectClass.OTHER_TYPE),
        ("link", "http://report.example/x", RejectClass.OTHER_TYPE),
    ],
)
def test_misp_types(kind, value, text):
    made = MAKER.typed(kind, value)
    assert (made.text if isinstance(made, Entry) else made) == text


def test_refang_leaves_other_text_alone():
    assert refang("http://[2001:db8::1]/a[1].b") == "http://[2001:db8::1]/a[1].b"


@given(st.text() | st.text(st.sampled_from("ab.:/[]@?#%*- 109xh")))
def test_any_text_is_an_entry_or_a_class_and_never_wider(said):
    for maker in (MAKER, Maker(SUFFIXES, known_good=True)):
        made = maker.any(said)
        if isinstance(made, RejectClass):
            continue
        assert len(made.hash) == 32
        if made.kind is EntryKind.HOST and not made.text.startswith("[") and not made.text[-1].isdigit():
            assert not SUFFIXES.is_suffix(made.text)
            assert (
                "/" not in refang(said).strip().removeprefix("http://").rstrip("/?#")
                or "#" in said
                or "@" in said
            )
