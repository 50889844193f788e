import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.url.canonical import canonical_host
from secondlook.suffix import PublicSuffixes, load_suffixes

SUFFIXES = load_suffixes()


def normal(host):
    return canonical_host(host)[0]


def published_tests(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("//") and line != "null null":
            yield line.split()


def test_vectors_of_the_list(test_data):
    count = 0
    for host, expected in published_tests(test_data / "psl" / "tests.txt"):
        if host.startswith("."):
            continue  # leading dots are gone before this question is asked
        assert SUFFIXES.registrable(normal(host)) == (None if expected == "null" else normal(expected)), host
        count += 1
    assert count > 60


def test_the_installed_list_holds_what_the_shared_one_holds(shared_data):
    if shared_data is None:
        pytest.skip("no shared data here")
    with lzma.open(shared_data / "psl" / "public_suffix_list.dat.xz", "rt", encoding="utf-8") as file:
        older = PublicSuffixes(file.read())
    missing = older._exact - SUFFIXES._exact
    # rules come and go; a list that lost many would be a broken or an old one
    assert len(missing) < 50
    assert len(SUFFIXES._exact) >= len(older._exact) - 50


@pytest.mark.parametrize(
    ("host", "shared", "platform"),
    [
        ("someone.github.io", True, False),
        ("github.io", True, True),
        ("drive.google.com", True, True),
        ("google.com", False, False),
        ("www.google.com", False, False),
        ("storage.googleapis.com", True, True),
        ("tenant.sharepoint.com", True, False),
        ("example.co.uk", False, False),
    ],
)
def test_shared_platforms(host, shared, platform):
    assert SUFFIXES.is_shared_platform(host) is shared
    assert SUFFIXES.is_platform(host) is platform


@pytest.mark.parametrize("host", ["com", "co.uk", "github.io", "kobe.jp", "c.kobe.jp", "localhost"])
def test_suffixes(host):
    assert SUFFIXES.is_suffix(host)
    assert SUFFIXES.registrable(host) is None


@given(st.from_regex(r"(?:[a-z0-9-]{1,5}\.){0,6}[a-z]{1,4}", fullmatch=True))
def test_the_registrable_part_is_a_suffix_and_one_label(host):
    found = SUFFIXES.registrable(host)
    if found is None:
        assert SUFFIXES.is_suffix(host)
    else:
        assert host == found or host.endswith("." + found)
        assert SUFFIXES.is_suffix(found.partition(".")[2])
        assert SUFFIXES.registrable(found) == found


@pytest.mark.parametrize(
    ("host", "tenant", "registry"),
    [
        ("someone.github.io", True, False),
        ("www.someone.github.io", False, False),
        ("github.io", False, False),
        ("ec2-203-0-113-5.compute-1.amazonaws.com", True, False),
        ("compute-1.amazonaws.com", False, False),
        ("0.tcp.ngrok.io", False, False),  # the port says whose it is
        ("tenant.sharepoint.com", False, False),
        ("drive.google.com", False, False),
        ("example.com", False, False),
        ("com", False, True),
        ("co.uk", False, True),
        ("anything.ck", False, True),
        ("www.ck", False, False),
        ("printer", False, False),
        ("[2a0a:1234::1]", False, False),
    ],
)
def test_tenants_of_platforms_and_names_of_registries(host, tenant, registry):
    assert SUFFIXES.is_tenant(host) is tenant
    assert SUFFIXES.is_registry(host) is registry


def test_an_address_is_no_suffix():
    assert not SUFFIXES.is_suffix("[2a0a:1234::1]")
    assert not SUFFIXES.is_suffix("192.0.43.7")
