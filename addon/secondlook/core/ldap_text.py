"""Texts of LDAP: names of users, and how they stand in a distinguished name and in a filter."""

import re
from typing import Final

USER: Final = "{user}"  # where a name goes in what the operator writes
_NAME: Final = re.compile(r"[!-~]{1,64}", re.ASCII)
_SPECIAL_IN_DN: Final = frozenset('"+,;<>\\=#')
_SPECIAL_IN_FILTER: Final = frozenset("*()\\\0")


def user_name(raw: str) -> str | None:
    """Return the one spelling of a name that a directory may know; None where it cannot be one.

    Directories compare without case, and some without accents or invisible characters (RFC 4518): by another
    spelling a user would slip out of a group. So a name is printable ASCII without spaces, in lower case.
    """
    return raw.lower() if _NAME.fullmatch(raw) else None


def in_dn(template: str, name: str) -> str:
    """Put a name into a distinguished name as the value it is (RFC 4514, 2.4)."""
    return template.replace(USER, "".join(map(_dn_character, name)))


def in_filter(template: str, name: str) -> str:
    """Put a name into a search filter as the value it is (RFC 4515, 3)."""
    return template.replace(USER, "".join(map(_filter_character, name)))


def _dn_character(character: str) -> str:
    if character in _SPECIAL_IN_DN:
        return f"\\{character}"
    return _in_hex(character) if character in "\0 " else character


def _filter_character(character: str) -> str:
    return _in_hex(character) if character in _SPECIAL_IN_FILTER else character


def _in_hex(character: str) -> str:
    return f"\\{ord(character):02x}"
