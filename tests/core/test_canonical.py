import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import read_lines
from fuzzkit.effort import grows_evenly
from secondlook.core.url import canonical
from secondlook.core.url.canonical import canonical_host, host_filter, url_subject, url_subject_from_parts
from secondlook.suffix import load_suffixes

DATA = Path(__file__).resolve().parent.parent / "data" / "url"
SUFFIXES = load_suffixes()


def vectors(name):
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def subject(raw):
    return url_subject(raw, SUFFIXES)


@pytest.mark.parametrize(("raw", "canonical"), vectors("safe_browsing_vectors.json"))
def test_published_vectors(raw, canonical):
    found = subject(raw.encode("latin-1"))
    assert (found.canonical, found.problem) == (canonical, None)


@pytest.mark.parametrize(
    "vector", vectors("gsb_go_vectors.json")["canonical_url"], ids=lambda vector: vector["in"]
)
def test_vectors_of_googles_own_client(vector):
    found = subject(vector["in"].encode("latin-1"))
    if vector["fail"]:
        assert found.problem is not None
        return
    assert found.problem is None
    expected = vector["out"].replace("%1b", "%1B")  # the published rules say upper-case hex
    query = vector["in"].partition("#")[0].partition("?")[1:]
    # that client drops the query, which the published rules keep
    assert found.canonical == expected + "".join(query).replace("%3F", "?") if query[0] else expected


@pytest.mark.parametrize(
    "vector", vectors("gsb_go_vectors.json")["canonical_host"], ids=lambda vector: vector["in"]
)
def test_hosts_of_googles_own_client(vector):
    found = subject(vector["in"])
    expected = {"[::192.9.5.5]": "[::c009:505]"}.get(vector["out"], vector["out"])  # v5: the shortest form
    assert (found.problem is not None) if vector["fail"] else (found.host == expected)


@pytest.mark.parametrize(
    "vector", vectors("gsb_go_vectors.json")["canonical_path"], ids=lambda vector: vector["in"]
)
def test_paths_of_googles_own_client(vector):
    found = subject(vector["in"])
    if vector["fail"]:
        assert found.problem is not None
    else:
        path = found.canonical[len("http://") + len(found.host) :].partition("?")[0]
        assert path == vector["out"].replace("%5e", "^").replace("%25f", "%25f")


BROWSER_VECTORS = vectors("wpt_urltestdata.json")
GSB_ACCEPTS = set("\x00 <>^|%\x7f\x80\xa0") | set(map(chr, range(0x20)))


@pytest.mark.parametrize(
    "vector", [v for v in BROWSER_VECTORS if "href" in v], ids=lambda vector: vector["input"]
)
def test_what_a_browser_requests_is_what_we_check(vector):
    typed, requested = subject(vector["input"]), subject(vector["href"])
    assert typed.expressions == requested.expressions


@pytest.mark.parametrize(
    "vector", [v for v in BROWSER_VECTORS if v.get("failure")], ids=lambda vector: vector["input"]
)
def test_what_a_browser_refuses_is_malformed_unless_the_rules_escape_it(vector):
    found = subject(vector["input"])
    if found.problem is None:
        host = vector["input"].split("//", 1)[1].split("/", 1)[0]
        squeezed = ".." in host  # the rules squeeze dots
        assert squeezed or "%" in found.host or set(found.host) & GSB_ACCEPTS


@pytest.mark.parametrize("vector", vectors("wpt_toascii.json"), ids=lambda vector: repr(vector["input"])[:60])
def test_international_hosts_as_browsers_write_them(vector):
    host, problem = canonical_host(vector["input"])
    if vector["output"] is None or len(vector["output"]) > canonical.MAX_HOST_CHARS:
        return  # leniency: a host that a browser refuses is never requested
    output = vector["output"].strip(".")
    while ".." in output:
        output = output.replace("..", ".")
    if output:
        assert host == output
    else:
        assert problem is None
        assert host == ""


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        ("http://[2001:0db8:0000::1]/", "[2001:db8::1]"),
        ("http://[::ffff:1.2.3.4]/", "1.2.3.4"),
        ("http://[::FFFF:102:304]/", "1.2.3.4"),
        ("http://[64:ff9b::1.2.3.4]/", "1.2.3.4"),
        ("http://[64:ff9b::0102:0304]:8443/", "1.2.3.4"),
        ("http://[fe80::1%25eth0]/", "[fe80::1]"),
        ("http://[1:0:0:2:0:0:0:3]/", "[1:0:0:2::3]"),
        ("http://[1:2:3:0:5:6:7:8]/", "[1:2:3:0:5:6:7:8]"),
        ("http://2001:db8::1/", "[2001:db8::1]"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://017700000001/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://1.2.3.4./", "1.2.3.4"),
        ("http://%31.2.3.4/", "1.2.3.4"),
        ("http://１.２.３.４/", "1.2.3.4"),
        ("http://user:pass@Example.COM:81/", "example.com"),
        ("http://evil.example\\@good.example/", "evil.example"),
        ("http://good.example@evil.example/", "evil.example"),
        ("http://evil.example#@good.example/", "evil.example"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://b%C3%BCcher.example/", "xn--bcher-kva.example"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example"),
        ("http://faß.example/", "xn--fa-hia.example"),
        ("http://a。b．c｡example/", "a.b.c.example"),
        ("http://💩.la/", "xn--ls8h.la"),
    ],
)
def test_hosts(raw, host):
    found = subject(raw)
    assert (found.host, found.problem) == (host, None)


@pytest.mark.parametrize(
    ("raw", "problem", "host"),
    [
        ("", canonical.NO_HOST, ""),
        ("mailto:a@b.example", canonical.NO_HOST, ""),
        ("javascript:alert(1)", canonical.NO_HOST, ""),
        ("data:text/html,x", canonical.NO_HOST, ""),
        ("http://", canonical.NO_HOST, ""),
        ("http://800.800.160.167/x", canonical.BAD_IPV4, "800.800.160.167"),
        ("http://276.2.3/", canonical.BAD_IPV4, "276.2.3"),
        ("http://123.123.0.0.1/", canonical.BAD_IPV4, "123.123.0.0.1"),
        ("http://[::g]/", canonical.BAD_IPV6, "%5B%3A%3Ag%5D"),
        ("http://a%2Fb.example/", canonical.BAD_HOST, "a%2Fb.example"),
        ("http://example.com:port/", canonical.BAD_PORT, "example.com"),
        ("http://example.com:99999/", canonical.BAD_PORT, "example.com"),
    ],
)
def test_problems_are_named_and_the_host_is_kept(raw, problem, host):
    found = subject(raw)
    assert (found.problem, found.host) == (problem, host)
    assert found.expressions
    assert found.identity == sha256(found.expressions[0].encode()).digest()


def test_length_bound_and_one_past_it():
    room = canonical.MAX_TARGET_CHARS
    within = subject("http://www.evil.example/" + "a" * (room - 1))
    beyond = subject("http://www.evil.example/" + "a" * room)
    assert within.problem is None
    assert beyond.problem == canonical.TOO_LONG
    assert {"www.evil.example/", "evil.example/"} <= set(beyond.expressions)
    assert len(beyond.canonical) <= canonical.MAX_URL_CHARS


@pytest.mark.parametrize("end", ["....", "..%", ".%", "%%"])
def test_a_cut_path_ends_neither_within_an_escape_nor_in_dots(end):
    grown = "/" + "%" * 20  # by 40 characters
    for left in range(1, 5):
        room = canonical.MAX_TARGET_CHARS - len(grown) - 40 - 1 - left
        found = subject("http://evil.example" + grown + "a" * room + "/" + end + "x" * 40)
        assert found.problem == canonical.TOO_LONG
        assert subject(found.canonical).canonical == found.canonical


def test_a_long_url_is_not_worked_on_for_long():
    def cut(dots):  # the escapes grow, so that it is cut behind the dots
        return subject("http://evil.example/" + "." * dots + "%" * (canonical.MAX_TARGET_CHARS - dots) + "x")

    assert grows_evenly(cut, 8_000)


def test_long_credentials_do_not_hide_the_host():
    found = subject("http://" + "a" * 100_000 + "@www.evil.example/dir/x")
    assert found.problem == canonical.TOO_LONG
    assert {"www.evil.example/", "evil.example/", "evil.example/dir/x"} <= set(found.expressions)


def test_escape_rounds_bound_and_one_past_it():
    nested = "http://evil.example/x/%" + "25" * (canonical.MAX_UNESCAPE_ROUNDS - 1) + "41/y"
    assert subject(nested).problem is None
    assert subject(nested).expressions[0] == "evil.example/x/A/y"
    found = subject("http://evil.example/x/%" + "25" * (canonical.MAX_UNESCAPE_ROUNDS + 1) + "41/y")
    assert found.problem == canonical.TOO_MANY_ESCAPES
    assert set(found.expressions) == {"evil.example/x/", "evil.example/"}


def test_empty_query_gives_both_forms():
    assert subject("http://a.example/?").expressions == ("a.example/?", "a.example/")
    assert subject("http://a.example/q?").expressions == ("a.example/q?", "a.example/q", "a.example/")


@pytest.mark.parametrize("given", ["/a/..%3Fb", "/a/.%253Fb?c", "/a/b/%2E%2E/..%3F/..%3Fd", "/a/..%3F%5C"])
def test_a_question_mark_that_was_escaped_makes_no_dot_segment_when_it_is_read_again(given):
    once = canonical.canonicalize(f"http://a.example{given}")
    assert once.path.startswith("/a/.")
    assert canonical.canonicalize(once.text) == once
    assert "a.example/a/" in subject(once.text).expressions


def test_backslashes_are_slashes_as_in_browsers():
    assert subject("http:\\\\a.example\\b\\c").expressions[0] == "a.example/b/c"
    assert subject("http://a.example/b%5Cc").expressions[0] == "a.example/b%5Cc"
    assert subject("http://a.example/b?c%5Cd\\e").expressions[0] == "a.example/b?c\\d\\e"


@pytest.mark.parametrize(
    ("host", "path", "exact"),
    [
        ("good.example", b"//evil.example/x", "good.example/evil.example/x"),
        ("good.example", b"http://evil.example/x", "good.example/http:/evil.example/x"),
        ("good.example", b"@evil.example/x", "good.example/@evil.example/x"),
        ("good.example", b":80/x", "good.example/:80/x"),
        ("good.example", b"", "good.example/"),
        ("good.example", b"*", "good.example/*"),
        ("good.example", b"/a?b#c", "good.example/a?b%23c"),
        ("good.example@evil.example", b"/", "good.example%40evil.example/"),
        ("good.example/x", b"/", "good.example%2Fx/"),
        ("2001:DB8::1", b"/x", "[2001:db8::1]/x"),
        ("1.2.3.4", b"/x", "1.2.3.4/x"),
        ("GOOD.example.", b"/x", "good.example/x"),
        ("good.example", b"/\xff\xfe", "good.example/%FF%FE"),
        ("good.example", "/caf\udcc3\udca9", "good.example/caf%C3%A9"),
    ],
)
def test_parts_cannot_spill_into_each_other(host, path, exact):
    assert url_subject_from_parts("http", host, path, SUFFIXES).expressions[0] == exact


def test_a_raw_fragment_in_a_request_is_checked_both_ways():
    found = url_subject_from_parts("http", "a.example", b"/x#/y", SUFFIXES)
    assert {"a.example/x%23/y", "a.example/x"} <= set(found.expressions)


any_text = st.text() | st.text(st.characters(exclude_categories=()))
url_like = st.lists(
    st.sampled_from(
        [
            *[
                "http",
                "https",
                ":",
                "//",
                "/",
                "\\",
                "@",
                "?",
                "#",
                "%",
                "%25",
                "%2e",
                "%2F",
                ".",
                "..",
                "[",
                "]",
                "::1",
                "1.2.3.4",
                "0x7f",
                "256",
                "co.uk",
                "a",
                "ß",
                "。",
                "xn--",
            ],
            " ",
            "\t",
            "\x00",
            chr(0xDC80),
        ]
    ),
    max_size=30,
).map("".join)


@given(st.binary() | any_text | url_like)
@example("http://a/%2e%2e/b%3F/../c")
@example("http%3A%2F%2F%2F")
def test_any_input_gives_a_subject_in_normal_form(raw):
    found = subject(raw)
    assert found.canonical.isascii()
    assert not any(character <= " " or character in "\x7f#" for character in found.canonical)
    assert 1 <= len(found.expressions) <= 30
    assert len(found.canonical) <= canonical.MAX_URL_CHARS
    assert found.hashes == tuple(sha256(form.encode()).digest() for form in found.expressions)
    if found.host:
        assert found.canonical.partition("://")[2] == found.expressions[0]
        again = subject(found.canonical)
        assert again.canonical == found.canonical
        assert again.expressions == found.expressions
    else:
        assert found.problem == canonical.NO_HOST


@given(any_text | st.sampled_from(["a.example", "::1", "1.2.3.4"]), st.binary() | any_text | url_like)
def test_any_parts_give_a_subject_of_that_host(host, path):
    found = url_subject_from_parts("https", host, path, SUFFIXES)
    assert found.canonical.isascii()
    assert found.hashes == tuple(sha256(form.encode()).digest() for form in found.expressions)
    if found.host and found.problem is None:
        assert url_subject_from_parts("https", host, b"/", SUFFIXES).host == found.host


@given(st.text(st.sampled_from("ab./?=&-_~:@!$'()*+,;%2eF"), max_size=40))
def test_fast_and_thorough_ways_agree(rest):
    fast = subject("http://www.example.co.uk/" + rest)
    thorough = subject(" http://www.example.co.uk/" + rest)  # the blank rules the fast way out
    assert fast.canonical == thorough.canonical.rstrip()
    parts = url_subject_from_parts("http", "www.example.co.uk", "/" + rest, SUFFIXES)
    assert parts.expressions == fast.expressions


def test_real_urls_are_canonical_and_stable(shared_data):
    if shared_data is None:
        pytest.skip("no shared data here")
    for line in list(read_lines(shared_data / "malicious" / "phishdb_urls.txt.xz"))[::50]:
        found = subject(line)
        assert subject(found.canonical).canonical == found.canonical, line


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ("Shop.example", "shop.example"),
        ("*.Shop.example", "*.shop.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_looked_for_in_the_form_that_events_hold(asked, held):
    assert host_filter(asked) == held
