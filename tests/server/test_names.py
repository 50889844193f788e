"""Which list an entry goes to, and which names a server knows."""

import pytest

from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat
from secondlook.server.store.names import (
    BASE_LISTS,
    UNFILLED,
    block_list,
    derived_list,
    describe,
    import_list,
    known_names,
    list_of,
)

URL, FILE = SubjectKind.URL, SubjectKind.FILE


@pytest.mark.parametrize(
    ("kind", "threat", "risk", "name", "derived", "described"),
    [
        (URL, Threat.MALWARE, Risk.DANGEROUS, "mw-8b", "mw-4b", "malware URLs, dangerous"),
        (URL, Threat.SOCIAL_ENGINEERING, Risk.SUSPICIOUS, "se-s-8b", None, None),
        (URL, Threat.UNWANTED_SOFTWARE, Risk.DANGEROUS, "uws-8b", "uws-4b", None),
        (FILE, Threat.SOCIAL_ENGINEERING, Risk.DANGEROUS, "x-file-mw-8b", None, "malware files, dangerous"),
    ],
)
def test_an_entry_has_one_list_and_dangerous_urls_a_public_one_beside_it(
    kind, threat, risk, name, derived, described
):
    block = block_list(kind, threat, risk)
    assert block.name == name
    assert import_list(name) is block
    public = derived_list(block)
    assert (public.name if public else None) == derived
    assert described in (None, describe(block))


def test_of_entries_of_the_other_kind_the_list_means_the_same():
    assert list_of(import_list("gc-32b"), FILE).name == "x-file-gc-32b"
    assert list_of(import_list("mw-hs-8b"), FILE).name == "x-file-mw-hs-8b"
    assert list_of(import_list("x-file-mw-8b"), URL).name == "mw-8b"
    assert list_of(import_list("se-8b"), URL).name == "se-8b"
    assert describe(import_list("gc-32b")) == "known-good URLs"


def test_nothing_is_imported_into_a_list_of_another_name():
    for name in ("mw-4b", *UNFILLED, "nonsense"):
        with pytest.raises(ValueError, match="no list is called"):
            import_list(name)
    with pytest.raises(ValueError, match="no list holds entries of threat"):
        block_list(URL, Threat.POTENTIALLY_HARMFUL, Risk.DANGEROUS)


def test_what_is_there_from_the_beginning_is_known():
    assert known_names() >= {*BASE_LISTS, *UNFILLED, "mw-4b"}
