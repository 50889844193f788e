"""Two sightings of one subject: what is asked about later is all that either of them knew.

The bytes of a file are the same each time, but not what was seen inside: an archive that could not be looked
into has no members, and what decodes depends on the headers that came with it. A URL can be asked about in
several classes.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass

STRICTEST_FIRST: Final[Mapping[SubjectKind, tuple[SubjectClass, ...]]] = MappingProxyType(
    {
        # of what servers list, some counts for pages alone
        SubjectKind.URL: (
            SubjectClass.PAGE,
            SubjectClass.DOWNLOAD,
            SubjectClass.MALFORMED,
            SubjectClass.SUBRESOURCE,
        ),
        # engines look again at what was downloaded
        SubjectKind.FILE: (
            SubjectClass.DOWNLOAD,
            SubjectClass.PAGE,
            SubjectClass.MALFORMED,
            SubjectClass.SUBRESOURCE,
        ),
    }
)
"""Classes by how much is asked about in them."""


def stricter(kind: SubjectKind, one: SubjectClass, other: SubjectClass) -> SubjectClass:
    """Return the class of two in which more is asked about."""
    return min(one, other, key=STRICTEST_FIRST[kind].index)


def united(known: Sequence[bytes], further: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the full hashes of both, each once; the identity stays first."""
    return tuple(dict.fromkeys((*known, *further)))
