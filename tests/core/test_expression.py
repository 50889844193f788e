import json
from pathlib import Path

import pytest

from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import listing_expression
from secondlook.suffix import load_suffixes

SUFFIXES = load_suffixes()
GO = json.loads(
    (Path(__file__).resolve().parent.parent / "data" / "url" / "gsb_go_vectors.json").read_text(
        encoding="utf-8"
    )
)


def forms(raw):
    return set(url_subject(raw, SUFFIXES).expressions)


def crossed(hosts, paths):
    return {host + path for host in hosts for path in paths}


@pytest.mark.parametrize(
    ("raw", "hosts", "paths"),
    [
        (
            "http://a.b.com/1/2.html?param=1",
            ["a.b.com", "b.com"],
            ["/1/2.html?param=1", "/1/2.html", "/", "/1/"],
        ),
        (
            "http://a.b.c.d.e.f.com/1.html",
            ["a.b.c.d.e.f.com", "c.d.e.f.com", "d.e.f.com", "e.f.com", "f.com"],
            ["/1.html", "/"],
        ),
        ("http://1.2.3.4/1/", ["1.2.3.4"], ["/1/", "/"]),
        ("http://example.co.uk/1", ["example.co.uk"], ["/1", "/"]),
        ("http://a.b.c/1/2.html?param=1", ["a.b.c", "b.c"], ["/1/2.html?param=1", "/1/2.html", "/", "/1/"]),
        (
            "http://a.b.c.d.e.f.g/1.html",
            ["a.b.c.d.e.f.g", "d.e.f.g", "c.d.e.f.g", "e.f.g", "f.g"],
            ["/1.html", "/"],
        ),
        (
            "http://a.b.c.d.e.example.co.uk/x",
            [
                "a.b.c.d.e.example.co.uk",
                "c.d.e.example.co.uk",
                "d.e.example.co.uk",
                "e.example.co.uk",
                "example.co.uk",
            ],
            ["/x", "/"],
        ),
        ("http://co.uk/a", ["co.uk"], ["/a", "/"]),
        ("http://[2001:470:1:18::114]/a/b", ["[2001:470:1:18::114]"], ["/a/b", "/a/", "/"]),
        ("http://localhost/a", ["localhost"], ["/a", "/"]),
        ("http://someone.github.io/", ["someone.github.io"], ["/"]),
        ("http://a.xn--90a3ac/", ["a.xn--90a3ac"], ["/"]),
    ],
)
def test_vectors_of_the_protocol(raw, hosts, paths):
    assert forms(raw) == crossed(hosts, paths)


def test_thirty_at_most():
    found = url_subject("http://a.b.c.d.e.f.g.example.com/1/2/3/4/5/6.html?q=1", SUFFIXES)
    assert len(found.expressions) == len(set(found.expressions)) == 30
    assert found.expressions[0] == "a.b.c.d.e.f.g.example.com/1/2/3/4/5/6.html?q=1"


@pytest.mark.parametrize(
    "vector", GO["generate_patterns"] + GO["lookup_hosts"], ids=lambda vector: vector["in"]
)
def test_forms_of_googles_own_client(vector):
    if vector["fail"]:
        assert url_subject(vector["in"], SUFFIXES).problem is not None
        return
    found = forms(vector["in"])
    if "/" not in vector["out"][0]:
        hosts = {form.partition("/")[0] for form in found}
        assert hosts <= {"[::c009:505]"} | set(vector["out"])
    else:
        # that client walks seven hosts up to a bare domain (v4 without a suffix list); v5 stops at five
        assert found <= set(vector["out"]) | {"a.b/?"}
        assert vector["out"][0] in found


def test_hash_of_googles_own_client():
    found = url_subject("http://foo.com/", SUFFIXES)
    assert found.hashes[0].hex() == GO["hash_from_pattern"][0]["out"]


@pytest.mark.parametrize(
    ("exact", "listed"),
    [
        ("a.example/?", "a.example/"),
        ("a.example/q?", "a.example/q"),
        ("a.example/q?x", "a.example/q?x"),
        ("a.example/q??", "a.example/q??"),
        ("a.example/", "a.example/"),
    ],
)
def test_a_publisher_lists_no_empty_query(exact, listed):
    assert listing_expression(exact) == listed
