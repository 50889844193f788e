"""Which lists a server has, and which list an entry goes to.

Every list has exactly one threat and one risk; `core.lists.name` has what a name means. Dangerous URLs
go to a public 4-byte list as well, for clients that we did not write.
"""

from functools import cache
from itertools import product

from secondlook.core.lists.name import OTHER_PUBLIC, RISKS, ListName, Role, list_name, parse_list_name
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat

# Lists that are there from the first generation on, empty but for their canary.
BASE_LISTS = ("mw-8b", "se-8b", "uws-8b", "gc-32b", "x-file-mw-8b", "x-file-gc-32b")
THREATS = (Threat.MALWARE, Threat.SOCIAL_ENGINEERING, Threat.UNWANTED_SOFTWARE)
UNFILLED = OTHER_PUBLIC  # public names that we never fill: served as empty full lists


@cache
def _named(name: str) -> ListName:
    found = parse_list_name(name)
    assert found is not None
    return found


@cache
def block_list(kind: SubjectKind, threat: Threat, risk: Risk) -> ListName:
    """Return the list for entries of this kind, threat and risk.

    A bad file is malware whatever its feed is about. Raises ValueError for a threat or risk that nobody
    publishes.
    """
    if threat not in THREATS:
        raise ValueError(f"no list holds entries of threat {threat.value}")
    return _named(list_name(kind, Threat.MALWARE if kind is SubjectKind.FILE else threat, risk))


@cache
def known_good_list(kind: SubjectKind) -> ListName:
    """Return the known-good list of URLs or files."""
    return _named("x-file-gc-32b" if kind is SubjectKind.FILE else "gc-32b")


@cache
def derived_list(block: ListName) -> ListName | None:
    """Return the public 4-byte list made of the same entries; None for files and for lower risks.

    Foreign clients know no risk and would block on all of them, so only dangerous entries go there.
    """
    if (
        block.role is not Role.BLOCK
        or block.kind is not SubjectKind.URL
        or block.risk is not Risk.DANGEROUS
        or block.threat is None
    ):
        return None
    return _named(list_name(block.kind, block.threat, block.risk, 4))


@cache
def import_list(name: str) -> ListName:
    """Read the name of a list that entries can be imported into; ValueError for any other."""
    for target in _ours():
        if target.name == name:
            return target
    raise ValueError(
        f"no list is called {name!r}: expected mw-8b, se-8b, uws-8b or x-file-mw-8b (-hs-8b or -s-8b "
        "for lower risk), gc-32b or x-file-gc-32b"
    )


@cache
def known_names() -> frozenset[str]:
    """Return every name that is ours or public, whether its list has entries or not."""
    derived = [made.name for each in _ours() if (made := derived_list(each)) is not None]
    return frozenset((*(each.name for each in _ours()), *derived, *UNFILLED))


def _ours() -> list[ListName]:
    """Return the lists that entries are imported into."""
    known_good = [known_good_list(kind) for kind in SubjectKind]
    return known_good + [block_list(*each) for each in product(SubjectKind, THREATS, RISKS.values())]


def list_of(target: ListName, kind: SubjectKind) -> ListName:
    """Return the list of the same meaning for this kind of entry (URL or file)."""
    if target.threat is None:
        return known_good_list(kind)
    return target if target.kind is kind else block_list(kind, target.threat, target.risk)


def describe(target: ListName) -> str:
    """Return one line for a list's metadata."""
    what = "files" if target.kind is SubjectKind.FILE else "URLs"
    if target.threat is None:
        return f"known-good {what}"
    return f"{target.threat.value.replace('_', ' ')} {what}, {target.risk.value.replace('_', ' ')}"
