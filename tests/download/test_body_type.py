"""What the headers of a response say of its body: what may hurt, what streams, and what it is called."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.core.verdict import SubjectClass
from secondlook.download.body import body_type
from secondlook.download.body.body_type import declared, filename_of


@pytest.mark.parametrize(
    ("content_type", "disposition", "path", "risky"),
    [
        ("application/x-msdownload", None, "/a", True),
        ("application/vnd.microsoft.portable-executable", None, "/a", True),
        ("application/zip", None, "/a", True),
        ("application/octet-stream", None, "/a.exe", True),
        ("application/octet-stream", None, "/a.bin", False),
        (None, None, "/setup.msi", True),
        ("application/octet-stream", "attachment", "/a", True),
        ("text/html", None, "/download.exe", False),
        ("image/png", "attachment; filename=x.png", "/a", False),
        ("text/javascript", None, "/a.js", False),
        ("text/javascript", 'attachment; filename="x.js"', "/a", True),
        ("application/vnd.ms-word.document.macroEnabled.12", None, "/a", True),
        ("text/event-stream", "attachment; filename=x.exe", "/a.exe", True),
        ("text/event-stream", 'attachment; filename="x.txt"', "/a", True),  # saved, as all that is attached
        ("application/json", "attachment", "/a", True),
        ("application/pdf", "attachment; filename=a.pdf", "/a", True),
        ("text/html", "form-data", "/a", True),
        ("text/html", "inline", "/a", False),
        ("text/html", "filename=x.html", "/a", False),
        ("application/grpc", "attachment", "/a", True),
        ("application/x-ndjson", None, "/setup.exe", True),
        ("text/event-stream", None, "/about/example.com", False),
        ("text/event-stream", None, "/events", False),
        ("application/grpc", None, "/package.Service/Method", False),
        ("application/octet-stream", None, "/a.xll", True),
        ("application/octet-stream", None, "/a.one", True),
        ("application/octet-stream", None, "/a.desktop", True),
        ("application/octet-stream", None, "/a.command", True),
        ("application/octet-stream", None, "/a.inf", True),
        ("application/octet-stream", 'attachment; filename="a.py"', "/a", True),
        ("application/octet-stream", "inline; filename=a.py", "/a", True),
        ("application/octet-stream", None, "/a.py?x=1", False),
        ("text/plain", None, "/install.sh", True),
        ("text/html", "attachment; filename=a.php", "/a", True),
        ("text/html", "attachment", "/a.php", True),
        ("application/octet-stream", None, "/a.exe.", True),
        ("application/octet-stream", None, "/a.exe%20", True),
        ("application/octet-stream", None, "/a.exe;x", True),
        ("application/octet-stream", None, "/a.txt;x.exe", True),
        ("application/octet-stream", None, "/a.exe%00.txt", True),
        ("application/octet-stream", None, "/a.SettingContent-MS", True),
        ("text/html", None, "/a.py", False),
        ("application/json", None, "/a.json", False),
        ("application/pdf", None, "/a.pdf", False),
        # a browser that goes there shows none of these, and saves them under the name in their URL
        ("font/woff", None, "/a.bat", True),
        ("application/wasm", None, "/a.bat", True),
        ("application/graphql", None, "/a.hta", True),
        ("image/x-unheard-of", None, "/a.bat", True),
        ("video/x-unheard-of", None, "/a.ps1", True),
        ("font/woff", "inline; filename=a.js", "/a", True),
        ("application/jsonx", None, "/a.bat", True),
        ("text/htmlx", None, "/a.bat", True),
        ("image/png", None, "/about/example.com", False),
        # of several types each may count
        ("text/html, application/octet-stream", None, "/a.bat", True),
        ("application/octet-stream, text/html", None, "/a.bat", True),
        ('text/html; a="x,application/octet-stream"', None, "/a.bat", False),
    ],
)
def test_headers(content_type, disposition, path, risky):
    assert declared(content_type, disposition, path).risky is risky


@pytest.mark.parametrize("ending", ["php", "pl", "py", "rb", "ps", "cgi", "asp", "aspx", "jsp"])
@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "text/csv", "application/octet-stream", "application/x-protobuf", "video/mp4"],
)
def test_what_a_server_runs_says_nothing_about_its_answer(kind, ending):
    assert not declared(kind, None, f"/api.{ending}?id=7").risky


@pytest.mark.parametrize(
    "path", ["/sse.php", "/ev.py", "/ev.pl", "/ev.rb", "/a.ps", "/tool.sh", "/example.com"]
)
@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson", "application/grpc+proto"])
def test_what_a_server_runs_may_stream(kind, path):
    said = declared(kind, None, path, browsed=False)
    assert said.live
    assert not said.risky
    assert declared(kind, f'attachment; filename="{path[1:]}"', "/").risky is True


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json-seq", "application/grpc"])
def test_a_stream_that_no_browser_shows_is_a_download_to_who_goes_there(kind):
    said = declared(kind, None, "/get")
    assert (said.live, said.saved) == (False, True)
    assert declared(kind, None, "/get.sh").risky
    others = {"browsed": False}, {"part": True}, {"cls": SubjectClass.SUBRESOURCE}
    assert all(declared(kind, None, "/get", **other).live for other in others)
    assert declared("text/event-stream", None, "/get").live


@pytest.mark.parametrize(
    ("disposition", "path", "name"),
    [
        (None, "/a/b.exe?x=/c", "b.exe"),
        (None, "/a/%66ile.exe", "file.exe"),
        ('attachment; filename="a b.exe"', "/", "a b.exe"),
        ("attachment; filename=plain.exe; x=y", "/", "plain.exe"),
        ("attachment; filename=\"x\"; filename*=UTF-8''na%C3%AFve.exe", "/", "naïve.exe"),
        ('attachment; filename="../../etc/passwd"', "/", "passwd"),
        ('attachment; filename="C:\\\\dir\\\\x.exe"', "/", "x.exe"),
        ("attachment; filename*=nonsense''%41.exe", "/y.zip", "y.zip"),
        ("attachment; filename*=idna''%41.exe", "/y.zip", "y.zip"),
        ("attachment; filename*=Shift_JIS'ja'%83%65.exe", "/", "\u30c6.exe"),
        (None, "/", None),
        ('attachment; filename=".."', "/", None),
    ],
)
def test_names(disposition, path, name):
    assert filename_of(disposition, path) == name


def test_a_hostile_name_is_harmless_to_look_at():
    name = declared(None, None, "/a%1b[2J%0d%0ab%e2%80%aetxt.exe").filename
    assert name == "a\\u{001b}[2J\\u{000d}\\u{000a}b\\u{202e}txt.exe"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_hostile_headers_never_raise(content_type, disposition, path):
    declared(content_type, disposition, path)


@pytest.mark.parametrize(
    ("kind", "disposition", "saved"),
    [
        (None, None, True),
        ("application/octet-stream", None, True),
        ("application/x-new", None, True),
        ("text/plain", None, False),
        ("text/html", None, False),
        ("image/png", None, False),
        ("image/png", "attachment", True),
        ("application/jsonx", None, True),
    ],
)
def test_what_a_browser_would_save_as_a_file(kind, disposition, saved):
    assert declared(kind, disposition, "/thing").saved is saved
    assert not declared(kind, disposition, "/thing", part=True).saved, "a part of a page is saved nowhere"


def test_a_part_of_a_page_of_an_unknown_type_is_no_download():
    assert not declared("application/x-new", None, "/thing", cls=SubjectClass.SUBRESOURCE).saved


@pytest.mark.parametrize(
    ("kind", "untyped"), [(None, True), ("*/*", True), ("application/octet-stream", False)]
)
def test_a_body_without_a_type_is_known_by_its_bytes(kind, untyped):
    assert declared(kind, None, "/thing").untyped is untyped


@pytest.mark.parametrize("kind", ["text/html", "application/json", "image/png"])
def test_who_is_no_browser_keeps_what_has_the_name_of_a_program(kind):
    said = declared(kind, None, "/setup.bat", browsed=False)
    assert (said.risky, said.saved, said.untyped) == (False, True, True), "unless its bytes are of a page"
    assert not declared(kind, None, "/setup", browsed=False).saved
    assert not declared(kind, None, "/setup.bat").saved


@pytest.mark.parametrize(
    ("kind", "saved", "live"),
    [
        ("text/html, text/html; charset=utf-8", False, False),
        ("text/html, application/xhtml+xml", False, False),
        ("text/html, application/octet-stream", True, False),
        ("application/octet-stream, text/html", True, False),
        ("text/event-stream, application/octet-stream", True, False),
        ("text/event-stream, text/event-stream", False, True),
    ],
)
def test_of_several_types_each_counts(kind, saved, live):
    said = declared(kind, None, "/thing")
    assert (said.saved, said.live) == (saved, live)


@pytest.mark.parametrize("start", ["inline; a=", 'inline; filename="', "inline; filename=a.txt; a="])
def test_a_disposition_that_hides_a_name_behind_its_length_is_of_a_program(start):
    assert not declared("text/html", start + "a" * 100, "/").risky
    found = declared("text/html", start + "a" * 9_000, "/")
    assert found.risky
    assert found.saved


def test_a_type_behind_many_others_counts():
    for many in (7, 8, 100):
        kinds = [*["text/html"] * many, "application/x-msdownload"]
        assert declared(", ".join(kinds), None, "/thing").risky
    assert not declared(", ".join(["text/html"] * 8), None, "/thing").risky


@pytest.mark.parametrize(
    "name",
    [
        'filename="=?UTF-8?Q?evil=2Ehta?="',
        'filename="=?UTF-8?B?ZXZpbC5odGE=?="',
        'filename="evil%2ehta"',
        "filename*=UTF-8''x.gif; filename=\"evil.hta\"",
        'filename="x.gif"; filename="evil.hta"',
        'a="filename=x.gif"; filename="evil.hta"',
        'xfilename="x.gif"; filename="evil.hta"',
        "filename='evil.hta'",
        'filename="x.gif"; ' + "a=b; " * 50 + 'filename="evil.hta"',
        "filename*=UTF-8''evil%252ehta",
        "filename*=UTF-8''evil.hta%C2%A0",
        'filename="evil.hta\xe3\x80\x80"',
        "filename*=UTF-8''evil.hta%0A",
        "filename*=UTF-8''evil.hta" + "%20" * 300,
        "filename*=UTF-8''%01%00evil.hta" + "%01" * 300,
    ],
)
def test_each_name_that_a_client_may_read_counts(name):
    assert declared("image/gif", f"attachment; {name}", "/thing").risky
    harmless = name.replace("hta", "gif").replace("odGE", "naWY")
    assert not declared("image/gif", f"attachment; {harmless}", "/thing").risky


@pytest.mark.parametrize(
    "name",
    [
        "filename*=UTF-8''x.gif; filename*=UTF-7''evil%2BAC4-hta",
        "filename*=UTF-8''x.gif; filename*=IBM037''%85%A5%89%93K%88%A3%81",
        "filename*=UTF-16,version=1''%FE%FF",
        "filename*=idna''a%2Egif",
        "filename*=undefined''a%2Egif",
        'filename="=?UTF-8*en?Q?evil?="',
    ],
)
def test_a_name_in_a_charset_that_hides_its_ending_is_of_a_program(name):
    """UTF-7, EBCDIC and what else only some readers know; `idna` and `undefined` are codecs that raise."""
    assert declared("image/gif", f"attachment; {name}", "/thing").risky


@pytest.mark.parametrize(
    "name",
    ["filename*=Shift_JIS'ja'%83%65.gif", "filename*=utf8''a.gif", 'filename="=?UTF-8?Q?evil=2Egif?="'],
)
def test_a_name_in_a_usual_charset_is_no_programs(name):
    assert not declared("image/gif", f"attachment; {name}", "/thing").risky


@pytest.mark.parametrize("name", ["evil.h%01t%00a%C2%85", "evil.hta" + "%20" * 2_000])
def test_what_a_client_leaves_out_of_a_name_hides_no_ending(name):
    """Firefox leaves controls out, and spaces at the end."""
    assert declared("image/gif", f"attachment; filename*=UTF-8''{name}", "/thing").risky


@pytest.mark.parametrize("kind", ["attachment", "inline"])
@pytest.mark.parametrize(
    "name",
    [
        'filename*0="evil.h"; filename*1="ta"',
        "filename*0*=UTF-8''evil%2e; filename*1=hta",
        'filename="x.gif"; filename*0=evil.hta',
    ],
)
def test_a_name_in_pieces_hides_none(kind, name):
    """Firefox puts it together (RFC 2231, 3), others take another one."""
    assert declared("image/x-new", f"{kind}; {name}", "/thing").risky


def test_names_without_number_hide_none():
    names = 'xfilename="x.gif"; ' * 20_000
    assert declared("image/gif", f'attachment; {names}filename="evil.hta"', "/thing").risky


@pytest.mark.parametrize(
    "name", ["=?UTF-8?B?!?=", "=?none?Q?a.hta?=", "=?" * 100, "=?a?b?c?=" * 2000, "%" * 9000]
)
def test_names_that_nobody_can_read_are_none(name):
    declared("image/gif", f'attachment; filename="{name}"', "/thing")


def test_types_without_number_take_linear_time():
    for text in ('\\"' * 100_000, '",' * 100_000, '"' + "\\" * 200_001, "a," * 100_000):
        declared(f"text/html,{text}", None, "/a")


def test_nothing_of_a_long_type_is_kept():
    """An origin that sends another one of 256 KiB each time would fill a worker."""
    body_type._stated.cache_clear()
    risky = [declared(f"text/{n}{'y' * 300}", None, "/a").risky for n in range(3)]
    assert risky == [declared("text/z", None, "/a").risky] * 3
    assert body_type._stated.cache_info().currsize == 1
