"""What list names say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.lists.name import ListName, Role, list_name, parse_list_name
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat

URL, FILE = SubjectKind.URL, SubjectKind.FILE
MEANINGS = {
    "mw-8b": (URL, Role.BLOCK, Threat.MALWARE, Risk.DANGEROUS, 8),
    "mw-hs-8b": (URL, Role.BLOCK, Threat.MALWARE, Risk.HIGHLY_SUSPICIOUS, 8),
    "se-s-8b": (URL, Role.BLOCK, Threat.SOCIAL_ENGINEERING, Risk.SUSPICIOUS, 8),
    "uws-16b": (URL, Role.BLOCK, Threat.UNWANTED_SOFTWARE, Risk.DANGEROUS, 16),
    "x-file-mw-8b": (FILE, Role.BLOCK, Threat.MALWARE, Risk.DANGEROUS, 8),
    "x-file-mw-hs-32b": (FILE, Role.BLOCK, Threat.MALWARE, Risk.HIGHLY_SUSPICIOUS, 32),
    "mw-4b": (URL, Role.QUERY, Threat.MALWARE, Risk.DANGEROUS, 4),
    "pha-4b": (URL, Role.QUERY, Threat.POTENTIALLY_HARMFUL, Risk.DANGEROUS, 4),
    "gc-32b": (URL, Role.KNOWN_GOOD, None, Risk.SAFE, 32),
    "x-file-gc-32b": (FILE, Role.KNOWN_GOOD, None, Risk.SAFE, 32),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_names_of_the_contract(name):
    assert parse_list_name(name) == ListName(name, *MEANINGS[name])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "mw",
        "mw-8",
        "mw-6b",
        "gc-8b",
        "gc-hs-32b",
        "bi-4b",
        "MW-8b",
        "x-mw-8b",
        "mw-x-8b",
        "mw-8b\n",
        "x-file-",
    ],
)
def test_names_that_say_nothing(name):
    assert parse_list_name(name) is None


@given(
    st.sampled_from(SubjectKind),
    st.sampled_from(Threat),
    st.sampled_from(list(Risk)[:3]),
    st.sampled_from([4, 8, 16, 32]),
)
def test_names_are_made_and_read_alike(kind, threat, risk, width):
    meaning = parse_list_name(list_name(kind, threat, risk, width))
    assert (meaning.kind, meaning.threat, meaning.risk, meaning.width) == (kind, threat, risk, width)


def test_no_list_is_safe_or_untested():
    with pytest.raises(ValueError, match="safe"):
        list_name(URL, Threat.MALWARE, Risk.SAFE)
